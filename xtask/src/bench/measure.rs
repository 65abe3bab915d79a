//! Runs a command and says what it cost.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// What one run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    pub(super) wall_seconds: f64,
    /// User and system time of the command and all that it started.
    pub(super) cpu_seconds: f64,
    pub(super) peak_mib: f64,
}

/// Runs a shell script. What it prints is shown if it fails.
pub(super) fn run(script: &str, path: &OsStr, scratch: &Path) -> Result<Cost> {
    let report = scratch.join("time");
    let mut command = Command::new("time");
    command.args(["-f", "%U %S %M", "-o"]).arg(&report).args(["sh", "-ec", script]);
    let start = Instant::now();
    let output = command.env("PATH", path).stdin(Stdio::null()).output()?;
    let wall_seconds = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{script}: {}\n{said}", output.status).into());
    }
    parse(&fs_err::read_to_string(&report)?, wall_seconds)
        .ok_or_else(|| "`time` printed something else than was asked for".into())
}

fn parse(report: &str, wall_seconds: f64) -> Option<Cost> {
    let mut numbers = report.split_whitespace().map(str::parse::<f64>);
    let (user, system, peak_kib) =
        (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Cost { wall_seconds, cpu_seconds: user + system, peak_mib: peak_kib / 1024.0 })
}

/// The middle one of several runs, each figure by itself.
pub(super) fn median(costs: &[Cost]) -> Cost {
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost {
        wall_seconds: middle(|cost| cost.wall_seconds),
        cpu_seconds: middle(|cost| cost.cpu_seconds),
        peak_mib: middle(|cost| cost.peak_mib),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let cost = Cost { wall_seconds: 2.0, cpu_seconds: 1.75, peak_mib: 20.0 };
        assert_eq!(parse("1.50 0.25 20480\n", 2.0), Some(cost));
        assert_eq!(parse("Command exited with non-zero status 1", 2.0), None);
    }

    #[test]
    fn the_median_of_each_figure_counts() {
        let cost = |wall_seconds, cpu_seconds| Cost { wall_seconds, cpu_seconds, peak_mib: 1.0 };
        let costs = [cost(3.0, 1.0), cost(1.0, 9.0), cost(2.0, 2.0)];
        assert_eq!(median(&costs), cost(2.0, 2.0));
    }
}
