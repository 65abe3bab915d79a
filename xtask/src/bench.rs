//! `cargo xtask bench`: airlift beside its peers, in turn, on this machine, with everybody's data on the
//! disk when he says that he is done.
//!
//! ```text
//! <home>/                $AIRLIFT_BENCH, else airlift-bench in the user's cache
//! ├── platform-v1/ …     what is moved; kept
//! └── scratch/           one run's output; removed before the next
//! ```

use std::ffi::OsString;
use std::path::PathBuf;

use crate::Result;
use crate::process::{built, cache, cargo, output, variable};
use crate::tools;

mod corpus;
mod far;
mod line;
mod near;
mod server;
mod table;

use crate::measure::{Cost, Timer};
use table::Table;

type Case = fn(&Bench) -> Result<Vec<Table>>;

const CASES: &[(&str, Case)] = &[
    ("fetch", near::loopback),
    ("line", near::far_away),
    ("small", near::small),
    ("bundle", far::bundle),
    ("load", far::load),
    ("serve", far::serve),
];

/// How often each contender has his turn, unless `AIRLIFT_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 3;

/// Runs all cases, or those that are named.
pub(crate) fn run(names: &[&str]) -> Result {
    if let Some(unknown) = names.iter().find(|name| !CASES.iter().any(|(case, _)| case == *name)) {
        let known: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no case `{unknown}`, only {}", known.join(", ")).into());
    }
    let bench = Bench::prepare()?;
    for (name, case) in CASES {
        if names.is_empty() || names.contains(name) {
            for table in case(&bench)? {
                println!("\n{}", table.to_text());
            }
        }
    }
    fs_err::remove_dir_all(&bench.scratch)?;
    Ok(())
}

/// One who is measured: a name and a shell script.
#[derive(Debug)]
struct Contender {
    name: String,
    script: String,
}

impl Contender {
    fn new(name: &str, script: String) -> Self {
        Self { name: name.to_owned(), script }
    }
}

struct Bench {
    airlift: PathBuf,
    /// Where the peers are found.
    path: OsString,
    home: PathBuf,
    scratch: PathBuf,
    rounds: usize,
    timer: Timer,
}

impl Bench {
    fn prepare() -> Result<Self> {
        let toolbox = tools::install()?;
        if !toolbox.missing().is_empty() {
            return Err(format!("these are needed:\n{}", toolbox.missing()).into());
        }
        let path = toolbox.path()?;
        let mut build = cargo();
        build.args([
            "build",
            "--release",
            "--locked",
            "--package",
            "airlift-cli",
            "--bin",
            "airlift",
        ]);
        let airlift = built(&mut build, "airlift")?;
        let home = match variable("AIRLIFT_BENCH") {
            Some(folder) => PathBuf::from(folder),
            None => cache("airlift-bench")?,
        };
        let scratch = home.join("scratch");
        if scratch.exists() {
            fs_err::remove_dir_all(&scratch)?;
        }
        fs_err::create_dir_all(&scratch)?;
        let timer = Timer::new(&scratch)?;
        let rounds = variable("AIRLIFT_BENCH_ROUNDS").map_or(Ok(ROUNDS), |text| text.parse())?;
        Ok(Self { airlift, path, home, scratch, rounds: rounds.max(1), timer })
    }

    /// Where a contender leaves what he made.
    fn out(&self) -> PathBuf {
        self.scratch.join("out")
    }

    /// Takes away what the last contender made, and waits until the disk has nothing left to do.
    fn fresh(&self) -> Result {
        if self.out().exists() {
            fs_err::remove_dir_all(self.out())?;
        }
        output(&mut std::process::Command::new("sync"))?;
        Ok(())
    }

    /// Runs a script for what it does and says what it cost.
    fn shell(&self, script: &str) -> Result<Cost> {
        let mut command = self.timer.command();
        self.timer.run(command.args(["sh", "-ec", script]).env("PATH", &self.path))
    }

    fn run(&self, contender: &Contender) -> Result<Cost> {
        let cost = self.shell(&contender.script)?;
        eprintln!(
            "{}: {:.2} s, {:.2} CPU s",
            contender.name,
            cost.wall_seconds(),
            cost.cpu_seconds()
        );
        Ok(cost)
    }

    /// Each from nothing, in turn, the middle of all rounds.
    fn cold(&self, title: &str, contenders: &[Contender]) -> Result<Table> {
        eprintln!("\n== {title}");
        self.rounds(title, contenders, |contender| {
            self.fresh()?;
            self.run(contender)
        })
    }

    /// Each once more over what he made before.
    fn again(&self, title: &str, contenders: &[Contender]) -> Result<Table> {
        eprintln!("\n== {title}");
        self.rounds(title, contenders, |contender| {
            self.fresh()?;
            self.shell(&contender.script)?;
            self.run(contender)
        })
    }

    fn rounds(
        &self,
        title: &str,
        contenders: &[Contender],
        mut turn: impl FnMut(&Contender) -> Result<Cost>,
    ) -> Result<Table> {
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); contenders.len()];
        for _ in 0..self.rounds {
            for (contender, costs) in contenders.iter().zip(&mut costs) {
                costs.push(turn(contender)?);
            }
        }
        let medians = costs.iter().map(|costs| median(costs));
        let rows = contenders.iter().map(|it| it.name.clone()).zip(medians).collect();
        Ok(Table { title: title.to_owned(), rows, notes: Vec::new() })
    }
}

/// The middle one of several runs, each figure by itself.
fn median(costs: &[Cost]) -> Cost {
    fn middle<T: Ord + Copy>(costs: &[Cost], figure: fn(&Cost) -> T) -> T {
        let mut figures: Vec<T> = costs.iter().map(figure).collect();
        figures.sort();
        figures[figures.len() / 2]
    }
    Cost {
        wall: middle(costs, |cost| cost.wall),
        cpu: middle(costs, |cost| cost.cpu),
        peak_bytes: middle(costs, |cost| cost.peak_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_of_each_figure_counts() {
        let cost = |wall, cpu| Cost {
            wall: Duration::from_secs(wall),
            cpu: Duration::from_secs(cpu),
            peak_bytes: 1,
        };
        assert_eq!(median(&[cost(3, 1), cost(1, 9), cost(2, 2)]), cost(2, 2));
    }
}
