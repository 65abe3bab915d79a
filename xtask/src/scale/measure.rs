//! What a process costs: its time, its processor time, and the most memory that it ever held.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::Result;

/// Between two looks at a process. The kernel keeps the peak itself, so only what comes within the last pause of a
/// process is missed.
const PAUSE: Duration = Duration::from_millis(3);
/// `/proc` counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
}

/// Runs `command` to its end. Fails where it does.
pub(crate) fn run(command: &mut Command) -> Result<Cost> {
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let (status, mut cost) = watch(&mut child)?;
    cost.wall = begin.elapsed();
    if status.success() { Ok(cost) } else { Err(format!("{command:?}: {status}").into()) }
}

fn watch(child: &mut Child) -> Result<(ExitStatus, Cost)> {
    let mut cost = Cost::default();
    loop {
        cost = of(child.id()).unwrap_or(cost);
        if let Some(status) = child.try_wait()? {
            return Ok((status, cost));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a running process has cost so far, wall time aside; none where it is gone.
pub(crate) fn of(process: u32) -> Option<Cost> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(Cost { wall: Duration::ZERO, cpu: cpu(&stat)?, peak_bytes: peak_bytes(&status)? })
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// User and system time. The name of the program, in brackets, may hold blanks and brackets itself.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_and_the_times_are_found_among_the_rest() {
        let status = "Name:\ta (b\nVmPeak:\t  9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_bytes(status), Some(2 << 20));
        let stat = "12 (a) (b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
    }

    #[test]
    fn a_process_that_fails_is_no_measurement() {
        assert!(run(&mut Command::new("true")).unwrap().wall > Duration::ZERO);
        assert!(run(&mut Command::new("false")).is_err());
    }
}
