//! What was measured, beside what was promised.

use std::fmt::Write as _;

use crate::measure::Cost;

/// What a case may cost at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) seconds: Option<f64>,
    pub(crate) mib: Option<u64>,
}

impl Limit {
    pub(crate) const NONE: Self = Self { seconds: None, mib: None };

    fn is_met(self, cost: Cost) -> bool {
        self.seconds.is_none_or(|most| cost.wall_seconds() < most)
            && self.mib.is_none_or(|most| cost.peak_mib() < most)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.seconds.map(|seconds| format!("{seconds} s"));
        let mib = self.mib.map(|mib| format!("{mib} MiB"));
        let both: Vec<String> = seconds.into_iter().chain(mib).collect();
        f.pad(&both.join(", "))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Measured { name: String, limit: Limit, cost: Cost },
    Failed { name: String, reason: String },
}

impl Table {
    pub(crate) fn row(&mut self, name: &str, limit: Limit, cost: Cost) {
        self.rows.push(Row::Measured { name: name.to_owned(), limit, cost });
    }

    pub(crate) fn failed(&mut self, name: &str, reason: &str) {
        self.rows.push(Row::Failed { name: name.to_owned(), reason: reason.to_owned() });
    }

    pub(crate) fn is_met(&self) -> bool {
        self.rows.iter().all(|row| match row {
            Row::Measured { limit, cost, .. } => limit.is_met(*cost),
            Row::Failed { .. } => false,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{:40} {:>13} {:>7} {:>7} {:>9}\n",
            "case", "limit", "wall s", "CPU s", "peak MiB"
        );
        for row in &self.rows {
            let line = match row {
                Row::Measured { name, limit, cost } => {
                    let verdict = if limit.is_met(*cost) { "ok" } else { "MISSED" };
                    let (wall, cpu) = (cost.wall_seconds(), cost.cpu_seconds());
                    format!(
                        "{name:40} {limit:>13} {wall:7.2} {cpu:7.2} {:9} {verdict}",
                        cost.peak_mib()
                    )
                }
                Row::Failed { name, reason } => format!("{name:40} MISSED: {reason}"),
            };
            writeln!(text, "{line}").expect("a string takes any text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_that_is_missed_shows_and_counts() {
        let limit = Limit { seconds: Some(1.0), mib: Some(150) };
        let cost = |millis, mib: u64| Cost {
            wall: Duration::from_millis(millis),
            cpu: Duration::from_millis(20),
            peak_bytes: mib << 20,
        };
        let mut table = Table::default();
        table.row("good", limit, cost(900, 149));
        assert!(table.is_met());
        table.row("slow", limit, cost(1001, 1));
        assert!(!table.is_met());
        table.row("large", limit, cost(1, 150));
        table.row("free", Limit::NONE, cost(9000, 9000));
        table.failed("broken", "it fell over");
        let text = table.to_text();
        let verdicts: Vec<&str> =
            text.lines().skip(1).map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        assert_eq!(verdicts, ["ok", "MISSED", "MISSED", "ok", "over"]);
        assert!(text.contains("1 s, 150 MiB    0.90    0.02       149 ok"), "{text}");
    }
}
