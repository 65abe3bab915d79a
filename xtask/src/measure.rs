//! What a process costs: its time, its processor time, and the most memory that it ever held.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::find;

/// `/proc` counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
}

impl Cost {
    pub(crate) fn wall_seconds(&self) -> f64 {
        self.wall.as_secs_f64()
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu.as_secs_f64()
    }

    pub(crate) fn peak_mib(&self) -> u64 {
        self.peak_bytes >> 20
    }
}

/// Debian's `time`, which knows what a program and all its children cost.
#[derive(Debug)]
pub(crate) struct Timer {
    program: PathBuf,
    /// Where it leaves what it has to say, and the program that it runs.
    folder: PathBuf,
}

impl Timer {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let program = find("time").ok_or("`time` is not here: run `cargo xtask tools`")?;
        Ok(Self { program, folder: folder.to_owned() })
    }

    /// A command for [`run`](Self::run). The program and its arguments are still to be appended.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-f", "%U %S %M", "-o"]).arg(self.report());
        command
    }

    /// Runs the command to its end. What it prints is shown if it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result<Cost> {
        let said = self.folder.join("said");
        let (out, err) =
            (fs_err::File::create(&said)?, fs_err::File::options().append(true).open(&said)?);
        command.stdin(Stdio::null()).stdout(out.into_parts().0).stderr(err.into_parts().0);
        let begin = Instant::now();
        let status = command.status()?;
        let wall = begin.elapsed();
        if !status.success() {
            let said = fs_err::read_to_string(&said).unwrap_or_default();
            return Err(format!("{command:?}: {status}\n{}", said.trim_end()).into());
        }
        let report = fs_err::read_to_string(self.report())?;
        parse(&report, wall).ok_or_else(|| format!("`time` said: {report}").into())
    }

    fn report(&self) -> PathBuf {
        self.folder.join("cost")
    }
}

/// What a running process has cost so far, wall time aside; none where it is gone.
pub(crate) fn of(process: u32) -> Option<Cost> {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (cpu, peak_bytes) = (cpu(&stat)?, memory_bytes(process, "VmHWM")?);
    Some(Cost { wall: Duration::ZERO, cpu, peak_bytes })
}

/// A line of `/proc/PID/status` that is about memory: `VmHWM`, the most that it was, or `VmRSS`, what it is.
pub(crate) fn memory_bytes(process: u32, field: &str) -> Option<u64> {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).ok()?;
    bytes_of(&status, field)
}

fn bytes_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// User and system time. The name of the program, in brackets, may hold blanks and brackets itself.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

/// User and system seconds, and KiB.
fn parse(report: &str, wall: Duration) -> Option<Cost> {
    let mut words = report.split_whitespace();
    let mut seconds = || Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok();
    let cpu = seconds()? + seconds()?;
    Some(Cost { wall, cpu, peak_bytes: words.next()?.parse::<u64>().ok()? << 10 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_and_the_times_are_found_among_the_rest() {
        let status = "Name:\ta (b\nVmPeak:\t  9999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(bytes_of(status, "VmHWM"), Some(2 << 20));
        assert_eq!(bytes_of(status, "VmRSS"), Some(1 << 10));
        let stat = "12 (a) (b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
    }

    #[test]
    fn a_report_is_read() {
        let wall = Duration::from_secs(2);
        let cost = Cost { wall, cpu: Duration::from_millis(1750), peak_bytes: 20 << 20 };
        assert_eq!(parse("1.50 0.25 20480\n", wall), Some(cost));
        assert_eq!(parse("Command exited with non-zero status 1", wall), None);
    }

    #[test]
    fn a_process_that_fails_is_no_measurement_and_says_why() {
        airlift_testkit::need!("time");
        let folder = tempfile::tempdir().unwrap();
        let timer = Timer::new(folder.path()).unwrap();
        let cost = timer.run(timer.command().arg("true")).unwrap();
        assert!(cost.wall > Duration::ZERO && cost.peak_bytes > 0, "{cost:?}");
        let script = "echo out; echo because >&2; exit 3";
        let err = timer.run(timer.command().args(["sh", "-c", script])).unwrap_err().to_string();
        assert!(err.contains("out") && err.contains("because"), "{err}");
    }
}
