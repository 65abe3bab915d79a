//! Throwing every switch of a chart, to see which images come.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use airlift_scan::Doubt;
use airlift_spec::{Ctx, Event, Finding, Reference};
use serde_json::Value;

use super::{Switch, candidates};
use crate::{Image, Images, RenderError, RenderOptions, Renderer};

/// How far the switches of a chart are tried.
#[derive(Debug, Clone)]
pub struct ExploreOptions {
    /// The most renders. Charts with more switches than that leave some untried, which is said.
    pub max_renders: usize,
    /// Renders at once: each is a process that uses a core.
    pub jobs: NonZeroUsize,
}

impl Default for ExploreOptions {
    fn default() -> Self {
        let jobs = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { max_renders: 600, jobs }
    }
}

/// What a chart asks for, as it is and with its switches thrown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explored {
    /// As the options say.
    pub images: Images,
    /// What comes only by a switch.
    pub gated: Vec<Gated>,
    /// What looks like an image and comes only by a switch.
    pub doubts: Vec<(Doubt, Switch)>,
    /// Switches that the chart does not take alone, with Helm's words.
    pub refused: Vec<(Switch, String)>,
    /// Switches for which no render was left.
    pub untried: Vec<Switch>,
    pub renders: usize,
}

/// An image that comes only by a switch.
#[derive(Debug, Clone, PartialEq)]
pub struct Gated {
    pub image: Image,
    /// Each of these is enough to bring it; where one names several switches, all of them are needed.
    pub by: Vec<Vec<Switch>>,
}

impl Gated {
    /// The gates in words: `a.enabled=true, or b=true with c=true`.
    pub fn gate(&self) -> String {
        let one = |switches: &Vec<Switch>| {
            let words: Vec<String> = switches.iter().map(Switch::to_string).collect();
            words.join(" with ")
        };
        self.by.iter().map(one).collect::<Vec<_>>().join(", or ")
    }
}

impl Explored {
    /// What is worth telling about `from`, the chart.
    pub fn findings(&self, from: &str) -> Vec<Finding> {
        let gated = self.gated.iter().map(|gated| {
            let message = format!("only with {} is it asked for", gated.gate());
            Finding::info("switched-image", from, message).of(&gated.image.reference)
        });
        let doubts = self.doubts.iter().map(|(doubt, switch)| {
            let message = format!("with {switch}, {}: `{}`: {}", doubt.path, doubt.text, doubt.why);
            Finding::info("switched-doubt", from, message)
        });
        let refused = self.refused.iter().map(|(switch, message)| {
            Finding::info("switch-refused", from, format!("{switch}: {message}"))
        });
        let untried = self.untried.iter().map(|switch| {
            Finding::warning("switch-untried", from, format!("what {switch} brings is not known"))
        });
        gated.chain(doubts).chain(refused).chain(untried).collect()
    }
}

impl Renderer<'_> {
    /// Renders the chart as `options` say, and again with each of its switches thrown, alone and together.
    ///
    /// # Errors
    ///
    /// If the chart cannot be rendered as the options say. A switch that it does not take is told in the result.
    pub fn explore(
        &self,
        options: &RenderOptions,
        limits: &ExploreOptions,
        ctx: &Ctx,
    ) -> Result<Explored, RenderError> {
        let images = self.found(options, &[], ctx)?;
        let values = self.chart().values_with(&options.values).map_err(RenderError::Chart)?;
        let mut all = candidates::candidates(self.chart(), &values).map_err(RenderError::Chart)?;
        // A third is kept for switches that do something only together.
        let singly = limits.max_renders.saturating_sub(1) * 2 / 3;
        let untried = all.split_off(all.len().min(singly));
        let known = images.references().into_iter().cloned().collect();
        let explored = Explored { images, untried, renders: 1, ..Explored::default() };
        let mut walk = Walk { renderer: self, options, limits, ctx, known, explored };
        walk.singly(&all)?;
        walk.together(all)?;
        Ok(walk.explored)
    }

    /// Renders each of several variants, several at once. The results stand in the order of the variants.
    pub fn variants(
        &self,
        variants: &[RenderOptions],
        limits: &ExploreOptions,
        ctx: &Ctx,
    ) -> Vec<Result<Images, RenderError>> {
        each(variants, limits.jobs, |options| self.found(options, &[], ctx))
    }

    fn found(
        &self,
        options: &RenderOptions,
        switches: &[Switch],
        ctx: &Ctx,
    ) -> Result<Images, RenderError> {
        self.images(&self.render_with(options, switches, ctx)?, ctx)
    }
}

struct Walk<'a> {
    renderer: &'a Renderer<'a>,
    options: &'a RenderOptions,
    limits: &'a ExploreOptions,
    ctx: &'a Ctx,
    /// The images that need no switch, or whose gate is found.
    known: BTreeSet<Reference>,
    explored: Explored,
}

impl Walk<'_> {
    /// Throws each switch alone.
    fn singly(&mut self, all: &[Switch]) -> Result<(), RenderError> {
        let phase = "switches";
        let items = all.len() as u64;
        self.ctx.events.emit(Event::PhaseStarted { phase, items, total_bytes: 0 });
        let results = each(all, self.limits.jobs, |switch| {
            let found = self.renderer.found(self.options, std::slice::from_ref(switch), self.ctx);
            self.ctx.events.emit(Event::ItemFinished { item: switch.to_string() });
            found
        });
        self.ctx.events.emit(Event::PhaseFinished { phase });
        self.explored.renders += results.len();
        let mut gated: BTreeMap<Reference, Gated> = BTreeMap::new();
        for (switch, result) in all.iter().zip(results) {
            if let Some(images) = self.taken(switch, result)? {
                self.note(switch, images, &mut gated);
            }
        }
        self.known.extend(gated.keys().cloned());
        self.explored.gated.extend(gated.into_values());
        Ok(())
    }

    /// The images of a render; none where the chart does not take the switch.
    fn taken(
        &mut self,
        switch: &Switch,
        result: Result<Images, RenderError>,
    ) -> Result<Option<Images>, RenderError> {
        match result {
            Ok(images) => Ok(Some(images)),
            Err(RenderError::Refused { message, .. }) => {
                self.explored.refused.push((switch.clone(), message));
                Ok(None)
            }
            Err(err @ (RenderError::Unreadable { .. } | RenderError::Exceeded { .. })) => {
                self.explored.refused.push((switch.clone(), airlift_spec::error::chain(&err)));
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }

    fn note(&mut self, switch: &Switch, images: Images, gated: &mut BTreeMap<Reference, Gated>) {
        let mut seen = BTreeSet::new();
        for image in images.images {
            let is_new = !self.known.contains(&image.reference);
            if is_new && seen.insert(image.reference.clone()) {
                let gate = vec![switch.clone()];
                let entry = gated.entry(image.reference.clone());
                entry.or_insert_with(|| Gated { image, by: Vec::new() }).by.push(gate);
            }
        }
        let explored = &mut self.explored;
        for doubt in images.doubts {
            let old = explored.images.doubts.iter();
            let later = explored.doubts.iter().map(|(doubt, _)| doubt);
            if !old.chain(later).any(|known| known.text == doubt.text) {
                explored.doubts.push((doubt, switch.clone()));
            }
        }
    }

    /// Throws all at once that switch something on: some do nothing alone.
    fn together(&mut self, all: Vec<Switch>) -> Result<(), RenderError> {
        let is_on = |switch: &Switch| switch.value == Value::Bool(true) || switch.value == "true";
        let mut groups = vec![all.into_iter().filter(is_on).collect::<Vec<_>>()];
        while let Some(mut group) = groups.pop() {
            if group.len() < 2 {
                continue;
            }
            match self.throw(&group)? {
                Some(images) => self.explain(&group, images)?,
                None if self.is_spent() => return Ok(()),
                // Some of them exclude each other.
                None => {
                    let half = group.split_off(group.len() / 2);
                    groups.extend([half, group]);
                }
            }
        }
        Ok(())
    }

    /// Finds the gate of each image that only a group of switches brings.
    fn explain(&mut self, group: &[Switch], images: Images) -> Result<(), RenderError> {
        for image in images.images {
            if self.known.insert(image.reference.clone()) {
                let by = vec![self.fewest(group.to_vec(), &image.reference)?];
                self.explored.gated.push(Gated { image, by });
            }
        }
        Ok(())
    }

    /// The switches of `group` without those that `wanted` does not need.
    fn fewest(
        &mut self,
        mut group: Vec<Switch>,
        wanted: &Reference,
    ) -> Result<Vec<Switch>, RenderError> {
        let mut size = group.len().div_ceil(2);
        loop {
            let mut at = 0;
            while at < group.len() && !self.is_spent() {
                let mut fewer = group.clone();
                fewer.drain(at..fewer.len().min(at + size));
                let brings = self.throw(&fewer)?.is_some_and(|images| {
                    images.images.iter().any(|image| image.reference == *wanted)
                });
                if brings {
                    group = fewer;
                } else {
                    at += size;
                }
            }
            if size == 1 || self.is_spent() {
                return Ok(group);
            }
            size = size.div_ceil(2);
        }
    }

    fn throw(&mut self, switches: &[Switch]) -> Result<Option<Images>, RenderError> {
        if self.is_spent() {
            return Ok(None);
        }
        self.explored.renders += 1;
        match self.renderer.found(self.options, switches, self.ctx) {
            Ok(images) => Ok(Some(images)),
            Err(
                RenderError::Refused { .. }
                | RenderError::Unreadable { .. }
                | RenderError::Exceeded { .. },
            ) => Ok(None),
            Err(err) => Err(err),
        }
    }

    fn is_spent(&self) -> bool {
        self.explored.renders >= self.limits.max_renders
    }
}

/// What `work` makes of each item, in their order, `jobs` at once.
fn each<T: Sync, R: Send>(
    items: &[T],
    jobs: NonZeroUsize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((place, item)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        } {
            done.push((place, work(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(worker)).collect();
        let results = workers.into_iter().map(thread::ScopedJoinHandle::join);
        results.flat_map(|done| done.expect("a worker does not panic")).collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
