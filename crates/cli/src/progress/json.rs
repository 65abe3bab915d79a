//! Events for programs: one JSON object a line.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use airlift_spec::{Digest, Event};
use serde::Serialize;

use super::{Pace, Traffic};
use crate::failure::FailureDocument;
use crate::output::FORMAT;

/// Bytes are reported at most this often, however small the pieces they come in.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct JsonLines {
    pace: Pace,
    blobs: BTreeMap<Digest, u64>,
    volumes: BTreeMap<String, u64>,
    is_opened: bool,
}

/// Lines that no library emits.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum OwnLine<'a> {
    /// The first line: what wrote this, and which version of the events follows.
    Opened {
        format: u32,
        version: &'a str,
    },
    Traffic {
        requests: u64,
        bytes_received: u64,
        bytes_sent: u64,
    },
    Failed {
        #[serde(flatten)]
        failure: &'a FailureDocument,
    },
}

impl JsonLines {
    pub(super) fn new() -> Self {
        let (blobs, volumes) = (BTreeMap::new(), BTreeMap::new());
        Self { pace: Pace::every(PAUSE), blobs, volumes, is_opened: false }
    }

    /// The lines that `event` leads to: none yet for a few bytes, several where such are due.
    pub(super) fn show(&mut self, event: &Event, now: Instant) -> Vec<String> {
        let mut lines = match event {
            Event::TransferAdvanced { blob, bytes } => {
                *self.blobs.entry(*blob).or_default() += bytes;
                self.due(now)
            }
            Event::VolumeAdvanced { volume, bytes } => {
                *self.volumes.entry(volume.clone()).or_default() += bytes;
                self.due(now)
            }
            // Whatever happens next must not overtake the bytes that came before it.
            other => self.advanced().iter().chain([other]).map(line).collect(),
        };
        self.open(&mut lines);
        lines
    }

    pub(super) fn flush(&mut self) -> Vec<String> {
        self.advanced().iter().map(line).collect()
    }

    pub(super) fn note(&mut self, text: &str) -> String {
        self.opened(line(&Event::Noted { message: text.to_owned() }))
    }

    pub(super) fn traffic(&mut self, traffic: Traffic) -> String {
        let Traffic { requests, bytes_received, bytes_sent } = traffic;
        self.opened(line(&OwnLine::Traffic { requests, bytes_received, bytes_sent }))
    }

    pub(super) fn failure(&mut self, failure: &FailureDocument) -> String {
        self.opened(line(&OwnLine::Failed { failure }))
    }

    fn due(&mut self, now: Instant) -> Vec<String> {
        if self.pace.is_due(now) { self.flush() } else { Vec::new() }
    }

    /// The bytes that were held back, as events.
    fn advanced(&mut self) -> Vec<Event> {
        let blobs = std::mem::take(&mut self.blobs).into_iter();
        let volumes = std::mem::take(&mut self.volumes).into_iter();
        blobs
            .map(|(blob, bytes)| Event::TransferAdvanced { blob, bytes })
            .chain(volumes.map(|(volume, bytes)| Event::VolumeAdvanced { volume, bytes }))
            .collect()
    }

    fn opened(&mut self, line: String) -> String {
        let mut lines = vec![line];
        self.open(&mut lines);
        lines.join("\n")
    }

    fn open(&mut self, lines: &mut Vec<String>) {
        if !self.is_opened && !lines.is_empty() {
            self.is_opened = true;
            let opened = OwnLine::Opened { format: FORMAT, version: airlift_spec::VERSION };
            lines.insert(0, line(&opened));
        }
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("events have only text keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_added_up_between_lines_and_never_lost() {
        let mut lines = JsonLines::new();
        let blob = Digest::of(b"a");
        let start = Instant::now();
        let advanced = Event::TransferAdvanced { blob, bytes: 10 };
        assert_eq!(lines.show(&advanced, start).len(), 2, "the opening line, and the first bytes");
        assert!(lines.show(&advanced, start + PAUSE / 2).is_empty());
        assert!(lines.show(&advanced, start + PAUSE / 2).is_empty());
        let end = lines.show(&Event::TransferFinished { blob }, start + PAUSE / 2);
        assert!(end[0].contains(r#""bytes":20"#), "{end:?}");
        assert!(end[1].contains("transfer-finished"), "{end:?}");
        assert!(lines.flush().is_empty());
    }

    #[test]
    fn the_first_line_says_the_version_of_the_events() {
        let mut lines = JsonLines::new();
        let said = lines.note("hello");
        assert!(said.starts_with(r#"{"event":"opened","format":1,"version":"#), "{said}");
        assert_eq!(lines.note("again"), r#"{"event":"noted","message":"again"}"#);
    }
}
