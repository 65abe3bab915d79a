//! What was measured, as tables in Markdown: read in a terminal, kept in `docs/benchmarks.md`.

use crate::measure::Cost;

/// One thing that several contenders did.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: String,
    /// airlift's is the first.
    pub(super) rows: Vec<(String, Cost)>,
    /// What else there is to say, a line each.
    pub(super) notes: Vec<String>,
}

impl Table {
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        if let Some((_, ours)) = self.rows.first() {
            text += "| | wall s | CPU s | peak MiB | wall: airlift is | CPU: airlift is |\n";
            text += "|---|---:|---:|---:|---:|---:|\n";
            for (name, cost) in &self.rows {
                text += &row(name, cost, ours);
            }
        }
        for note in &self.notes {
            text.extend(["\n", note, "\n"]);
        }
        text
    }
}

fn row(name: &str, cost: &Cost, ours: &Cost) -> String {
    let (wall, cpu, peak) = (cost.wall_seconds(), cost.cpu_seconds(), cost.peak_mib());
    let wall_ratio = ratio(ours.wall_seconds(), wall);
    let cpu_ratio = ratio(ours.cpu_seconds(), cpu);
    format!("| {name} | {wall:.2} | {cpu:.2} | {peak} | {wall_ratio} | {cpu_ratio} |\n")
}

fn ratio(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 { format!("{:.2}×", ours / theirs) } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ratios_are_ours_to_theirs() {
        let cost = |wall, cpu| Cost {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(cpu),
            peak_bytes: 10 << 20,
        };
        let rows =
            vec![("airlift".to_owned(), cost(1000, 500)), ("crane".to_owned(), cost(4000, 0))];
        let table = Table { title: "Fetch".to_owned(), rows, notes: vec!["1 request".to_owned()] };
        let text = table.to_text();
        assert!(text.contains("| airlift | 1.00 | 0.50 | 10 | 1.00× | 1.00× |\n"), "{text}");
        assert!(text.contains("| crane | 4.00 | 0.00 | 10 | 0.25× | – |\n"), "{text}");
        assert!(text.ends_with("\n1 request\n"), "{text}");
    }
}
