//! Progress as lines for a log: what begins, what ends, what goes wrong, and now and then how far it is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use airlift_spec::Event;

use super::{Pace, Traffic};
use crate::output::{bounded, counted};
use crate::size::human;

/// A log of a night's work stays readable.
const PAUSE: Duration = Duration::from_secs(10);

/// Pauses are not longer than this unless a server asks for it; such a one is told whenever it begins.
const LONG_WAIT_MS: u64 = 30_000;

#[derive(Debug)]
pub(super) struct PlainLines {
    phase: Option<Phase>,
    pace: Pace,
    retried: BTreeSet<String>,
}

#[derive(Debug)]
struct Phase {
    name: &'static str,
    items: u64,
    items_done: u64,
    total_bytes: u64,
    bytes: u64,
    started: Instant,
}

impl Default for PlainLines {
    fn default() -> Self {
        Self { phase: None, pace: Pace::every(PAUSE), retried: BTreeSet::new() }
    }
}

impl PlainLines {
    /// The lines that `event` leads to.
    pub(super) fn show(&mut self, event: &Event, now: Instant) -> Vec<String> {
        match event {
            Event::PhaseStarted { phase, items, total_bytes } => {
                let (items, total_bytes) = (*items, *total_bytes);
                let started = Phase {
                    name: phase,
                    items,
                    items_done: 0,
                    total_bytes,
                    bytes: 0,
                    started: now,
                };
                // The first line about how far it is comes a pause after the start.
                self.pace.last = Some(now);
                let line = started.first_line();
                self.phase = Some(started);
                vec![line]
            }
            Event::PhaseFinished { .. } => {
                self.phase.take().map(|phase| phase.last_line(now)).into_iter().collect()
            }
            Event::ItemFinished { .. } => self.advance(1, 0, now),
            Event::TransferAdvanced { bytes, .. } | Event::VolumeAdvanced { bytes, .. } => {
                self.advance(0, *bytes, now)
            }
            Event::ItemFailed { item, reason } => {
                vec![format!("failed: {item}: {}", bounded(reason))]
            }
            Event::TransferFailed { blob, reason } => {
                vec![format!("failed: {blob}: {}", bounded(reason))]
            }
            Event::Retried { what, attempt, wait_ms, reason } => {
                self.retried(what, *attempt, *wait_ms, reason)
            }
            Event::VolumeFinished { volume } => vec![format!("{volume} is done")],
            Event::Noted { message } => vec![message.clone()],
            // Starts and ends of single blobs would be thousands of lines.
            _ => Vec::new(),
        }
    }

    fn advance(&mut self, items: u64, bytes: u64, now: Instant) -> Vec<String> {
        let Some(phase) = &mut self.phase else { return Vec::new() };
        phase.items_done += items;
        phase.bytes += bytes;
        if self.pace.is_due(now) { vec![phase.line(now)] } else { Vec::new() }
    }

    /// Says once that something is tried again, and not each time, unless it takes so long that it looks like a hang.
    fn retried(&mut self, what: &str, attempt: u32, wait_ms: u64, reason: &str) -> Vec<String> {
        if self.retried.insert(what.to_owned()) || wait_ms > LONG_WAIT_MS {
            vec![format!("{what}: trying again (attempt {attempt}): {reason}")]
        } else {
            Vec::new()
        }
    }
}

impl Phase {
    fn first_line(&self) -> String {
        let items = (self.items > 0).then(|| counted(self.items, "item"));
        let bytes = (self.total_bytes > 0).then(|| human(self.total_bytes));
        let words: Vec<String> = items.into_iter().chain(bytes).collect();
        if words.is_empty() {
            format!("{} …", self.name)
        } else {
            format!("{}: {}", self.name, words.join(", "))
        }
    }

    fn line(&self, now: Instant) -> String {
        let mut words = Vec::new();
        if self.items > 0 {
            words.push(format!("{} of {}", self.items_done, counted(self.items, "item")));
        }
        if self.bytes > 0 {
            words.push(format!("{} of {}", human(self.bytes), human(self.total_bytes)));
            let rate = self.rate(now);
            words.push(format!("{}/s", human(rate)));
            let left = self.total_bytes.saturating_sub(self.bytes).checked_div(rate);
            words.extend(left.filter(|left| *left > 0).map(|left| format!("{} left", time(left))));
        }
        format!("{}: {}", self.name, words.join(", "))
    }

    fn last_line(&self, now: Instant) -> String {
        let bytes = (self.bytes > 0)
            .then(|| format!(", {} ({}/s)", human(self.bytes), human(self.rate(now))));
        let seconds = now.duration_since(self.started).as_secs();
        format!("{} done in {}{}", self.name, time(seconds), bytes.unwrap_or_default())
    }

    /// Bytes a second since the phase began.
    fn rate(&self, now: Instant) -> u64 {
        let millis = now.duration_since(self.started).as_millis().max(1);
        u64::try_from(u128::from(self.bytes) * 1000 / millis).unwrap_or(u64::MAX)
    }
}

fn time(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

pub(super) fn traffic(traffic: Traffic) -> String {
    let Traffic { requests, bytes_received, bytes_sent } = traffic;
    let (received, sent) = (human(bytes_received), human(bytes_sent));
    format!("{}, {received} received, {sent} sent", counted(requests, "request"))
}

#[cfg(test)]
mod tests {
    use airlift_spec::Digest;

    use super::*;

    #[test]
    fn a_long_phase_says_now_and_then_how_far_it_is() {
        let mut lines = PlainLines::default();
        let start = Instant::now();
        let blob = Digest::of(b"a");
        let mut said = Vec::new();
        let phase = Event::PhaseStarted { phase: "fetch", items: 2, total_bytes: 40 << 20 };
        said.extend(lines.show(&phase, start));
        for second in 1..=30 {
            let event = Event::TransferAdvanced { blob, bytes: 1 << 20 };
            said.extend(lines.show(&event, start + Duration::from_secs(second)));
        }
        let end = start + Duration::from_secs(75);
        said.extend(lines.show(&Event::ItemFinished { item: "a".into() }, end));
        said.extend(lines.show(&Event::PhaseFinished { phase: "fetch" }, end));
        insta::assert_snapshot!(said.join("\n"), @r"
        fetch: 2 items, 40.0 MiB
        fetch: 0 of 2 items, 10.0 MiB of 40.0 MiB, 1.0 MiB/s, 30s left
        fetch: 0 of 2 items, 20.0 MiB of 40.0 MiB, 1.0 MiB/s, 20s left
        fetch: 0 of 2 items, 30.0 MiB of 40.0 MiB, 1.0 MiB/s, 10s left
        fetch: 1 of 2 items, 30.0 MiB of 40.0 MiB, 409 KiB/s, 25s left
        fetch done in 1m15s, 30.0 MiB (409 KiB/s)
        ");
    }

    #[test]
    fn the_same_retry_is_told_once_but_for_long_waits() {
        let mut lines = PlainLines::default();
        let retried = |attempt, wait_ms| Event::Retried {
            what: "GET /v2/".into(),
            attempt,
            wait_ms,
            reason: "503".into(),
        };
        let now = Instant::now();
        assert_eq!(lines.show(&retried(2, 5), now), ["GET /v2/: trying again (attempt 2): 503"]);
        assert!(lines.show(&retried(3, 5), now).is_empty());
        let said = lines.show(&retried(4, 60_000), now);
        assert_eq!(said, ["GET /v2/: trying again (attempt 4): 503"]);
    }
}
