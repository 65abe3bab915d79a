//! Bars on a terminal: one for the whole, and one for each thing that moves, as far as they fit.

use std::collections::BTreeMap;

use airlift_spec::{Digest, Event};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{bounded, harmless};

/// More would push what was said before off a small screen; the rest is in the bar of the whole.
const MOST_SHOWN: usize = 8;
const REDRAWS_A_SECOND: u8 = 10;

pub(super) struct Bars {
    screen: MultiProgress,
    whole: Option<Whole>,
    parts: BTreeMap<String, ProgressBar>,
}

struct Whole {
    bar: ProgressBar,
    measures: Measures,
}

/// What the bar of the whole is long in.
enum Measures {
    Items,
    /// The items, where there are any, are counted behind the bar.
    Bytes {
        items: u64,
        items_done: u64,
    },
}

impl Bars {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND);
        let screen = MultiProgress::with_draw_target(target);
        Self { screen, whole: None, parts: BTreeMap::new() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted { phase, items, total_bytes } => {
                self.start(phase, *items, *total_bytes);
            }
            Event::PhaseFinished { .. } => self.clear(),
            Event::ItemFinished { .. } => self.item_done(),
            Event::ItemFailed { item, reason } => {
                self.item_done();
                self.say(&harmless(&format!("failed: {item}: {}", bounded(reason))));
            }
            Event::TransferStarted { blob, total_bytes, resumed_bytes } => {
                self.add(short(blob), *total_bytes, *resumed_bytes);
            }
            Event::TransferAdvanced { blob, bytes } => self.advance(&short(blob), *bytes),
            Event::TransferFinished { blob } => self.remove(&short(blob)),
            Event::TransferFailed { blob, reason } => {
                self.remove(&short(blob));
                self.say(&harmless(&format!("failed: {}: {}", short(blob), bounded(reason))));
            }
            Event::VolumeStarted { volume, total_bytes } => {
                self.add(volume.clone(), *total_bytes, 0);
            }
            Event::VolumeAdvanced { volume, bytes } => self.advance(volume, *bytes),
            Event::VolumeFinished { volume } => self.remove(volume),
            Event::Retried { what, reason, .. } => {
                if let Some(whole) = &self.whole {
                    whole.bar.set_message(format!("{what}: trying again: {reason}"));
                }
            }
            Event::Noted { message } => self.say(message),
            _ => (),
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.screen.suspend(|| super::write_line(text));
    }

    pub(super) fn clear(&mut self) {
        for bar in std::mem::take(&mut self.parts).into_values() {
            bar.finish_and_clear();
        }
        if let Some(whole) = self.whole.take() {
            whole.bar.finish_and_clear();
        }
    }

    fn start(&mut self, phase: &'static str, items: u64, total_bytes: u64) {
        self.clear();
        let bar = ProgressBar::new(if total_bytes > 0 { total_bytes } else { items });
        let template = if total_bytes > 0 {
            "{prefix:22} {bar:28} {binary_bytes:>10} of {binary_total_bytes:10} {binary_bytes_per_sec:>12}  {eta:>4}  {wide_msg}"
        } else {
            "{prefix:22} {bar:28} {pos} of {len}  {wide_msg}"
        };
        bar.set_style(style(template));
        let bar = self.screen.add(bar);
        bar.set_prefix(phase);
        let bytes = Measures::Bytes { items, items_done: 0 };
        let measures = if total_bytes > 0 { bytes } else { Measures::Items };
        self.whole = Some(Whole { bar, measures });
    }

    fn item_done(&mut self) {
        let Some(whole) = &mut self.whole else { return };
        match &mut whole.measures {
            Measures::Items => whole.bar.inc(1),
            Measures::Bytes { items, items_done } => {
                *items_done += 1;
                whole.bar.set_message(format!("{items_done} of {items}"));
            }
        }
    }

    fn add(&mut self, name: String, total_bytes: u64, resumed_bytes: u64) {
        self.advance_whole(resumed_bytes);
        if self.parts.len() >= MOST_SHOWN {
            return;
        }
        let bar = ProgressBar::new(total_bytes).with_position(resumed_bytes);
        bar.set_style(style("  {prefix:20} {bar:28} {binary_bytes:>10} of {binary_total_bytes}"));
        let bar = self.screen.add(bar);
        bar.set_prefix(name.clone());
        self.parts.insert(name, bar);
    }

    fn advance(&self, name: &str, bytes: u64) {
        self.advance_whole(bytes);
        if let Some(bar) = self.parts.get(name) {
            bar.inc(bytes);
        }
    }

    fn advance_whole(&self, bytes: u64) {
        if let Some(Whole { bar, measures: Measures::Bytes { .. } }) = &self.whole {
            bar.inc(bytes);
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(bar) = self.parts.remove(name) {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    style.progress_chars("━━─")
}

/// Enough of a digest to tell two apart.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
