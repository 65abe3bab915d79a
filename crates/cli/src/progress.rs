//! How a verb's events look: bars on a terminal, plain lines, JSON lines, or nothing. All of it on stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airlift_spec::{Event, Events};

use crate::failure::FailureDocument;
use crate::output::harmless;
use bars::Bars;
use json::JsonLines;
use plain::PlainLines;

mod bars;
mod json;
mod plain;

/// The choice that `--progress` offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// A line now and then
    Plain,
    /// One JSON event a line
    Json,
    None,
}

/// Where progress and words for people go. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<Look>>);

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Progress")
    }
}

enum Look {
    Bars(Bars),
    Plain(PlainLines),
    Json(JsonLines),
    None,
}

/// Requests and bytes, as every run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

impl Progress {
    pub(crate) fn new(mode: Mode, is_dumb_terminal: bool) -> Self {
        let look = match mode {
            Mode::Auto if io::stderr().is_terminal() && !is_dumb_terminal => {
                Look::Bars(Bars::new())
            }
            Mode::Auto | Mode::Plain => Look::Plain(PlainLines::default()),
            Mode::Json => Look::Json(JsonLines::new()),
            Mode::None => Look::None,
        };
        Self(Arc::new(Mutex::new(look)))
    }

    /// The sink that libraries are handed.
    pub(crate) fn events(&self) -> Events {
        let own = self.clone();
        Events::new(move |event| own.show(&event))
    }

    fn show(&self, event: &Event) {
        let now = Instant::now();
        self.with(|look| match look {
            Look::Bars(bars) => bars.show(event),
            Look::Plain(lines) => {
                lines.show(event, now).iter().for_each(|line| write_line(&harmless(line)));
            }
            Look::Json(lines) => lines.show(event, now).iter().for_each(|line| write_line(line)),
            Look::None => (),
        });
    }

    /// Words for people that are neither data nor an error.
    pub(crate) fn say(&self, text: &str) {
        self.with(|look| match look {
            Look::Bars(bars) => bars.say(&harmless(text)),
            Look::Plain(_) => write_line(&harmless(text)),
            Look::Json(lines) => write_line(&lines.note(text)),
            Look::None => (),
        });
    }

    /// Takes the bars away, so that what is printed next stays.
    pub(crate) fn finish(&self) {
        self.with(|look| match look {
            Look::Bars(bars) => bars.clear(),
            Look::Json(lines) => lines.flush().iter().for_each(|line| write_line(line)),
            Look::Plain(_) | Look::None => (),
        });
    }

    /// The last line of a run that asked anybody for anything.
    pub(crate) fn say_traffic(&self, traffic: Traffic) {
        if traffic == Traffic::default() {
            return;
        }
        self.with(|look| match look {
            Look::Bars(_) | Look::Plain(_) => write_line(&plain::traffic(traffic)),
            Look::Json(lines) => write_line(&lines.traffic(traffic)),
            Look::None => (),
        });
    }

    pub(crate) fn say_failure(&self, failure: &FailureDocument) {
        self.with(|look| match look {
            Look::Json(lines) => write_line(&lines.failure(failure)),
            // Nothing to see is no reason to hide why a run failed.
            Look::Bars(_) | Look::Plain(_) | Look::None => {
                write_line(&harmless(&failure.to_text()));
            }
        });
    }

    fn with(&self, act: impl FnOnce(&mut Look)) {
        // A panic elsewhere must not silence the message that says so.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn write_line(line: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Lets something happen at most once in a while.
#[derive(Debug)]
struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn every(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= self.pause);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}
