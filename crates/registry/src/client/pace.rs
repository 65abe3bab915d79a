//! How much at once, and how fast: a window for each registry and direction, one rate for all together.
//!
//! The window is TCP's idea: it doubles while nothing goes wrong, then grows by one for every window of good
//! answers, and halves when the registry shows that it has enough (429, 503, resets). Reads and writes have
//! windows of their own, so that a copy within one registry cannot wait for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Window {
    state: Mutex<State>,
    freed: Notify,
    max: usize,
}

#[derive(Debug)]
struct State {
    /// How many may be in flight.
    limit: usize,
    /// Good answers since it last changed.
    good: usize,
    in_flight: usize,
    /// Doubling still; over at the first sign of overload.
    is_starting: bool,
    /// Nobody asks before this.
    closed_until: Option<Instant>,
    /// Counts the times the window was cut: what was sent before a cut does not cut again.
    cuts: u64,
}

/// A place in the window. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Permit {
    window: Arc<Window>,
    cuts: u64,
}

impl Window {
    pub(crate) fn new(first: usize, max: usize) -> Arc<Self> {
        let state = State {
            limit: first.clamp(1, max),
            good: 0,
            in_flight: 0,
            is_starting: true,
            closed_until: None,
            cuts: 0,
        };
        Arc::new(Self { state: Mutex::new(state), freed: Notify::new(), max })
    }

    /// Waits for a place.
    pub(crate) async fn enter(self: &Arc<Self>) -> Permit {
        loop {
            // Registered before looking, so that a place freed in between is not missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let closed_until = {
                let mut state = self.lock();
                let now = Instant::now();
                match state.closed_until.filter(|until| *until > now) {
                    Some(until) => Some(until),
                    None if state.has_room() => {
                        state.in_flight += 1;
                        if state.has_room() {
                            self.freed.notify_one();
                        }
                        return Permit { window: Arc::clone(self), cuts: state.cuts };
                    }
                    None => None,
                }
            };
            match closed_until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => freed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.in_flight < self.limit
    }
}

impl Permit {
    /// The registry answered well: there may be room for more.
    pub(crate) fn went_well(&self) {
        let mut state = self.window.lock();
        state.good += 1;
        if state.is_starting || state.good >= state.limit {
            state.good = 0;
            state.limit = (state.limit + 1).min(self.window.max);
        }
        drop(state);
        self.window.freed.notify_one();
    }

    /// The registry has too much to do; it may have said for how long.
    pub(crate) fn was_too_much(&self, wait: Option<Duration>) {
        let mut state = self.window.lock();
        if let Some(wait) = wait {
            let until = Instant::now() + wait;
            state.closed_until = Some(state.closed_until.map_or(until, |known| known.max(until)));
        }
        state.is_starting = false;
        // One overload is answered to all who are in flight; it counts once.
        if state.cuts == self.cuts {
            state.cuts += 1;
            state.good = 0;
            state.limit = (state.limit / 2).max(1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.window.lock().in_flight -= 1;
        self.window.freed.notify_one();
    }
}

/// Bytes a second over everything that shares it.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    /// When the bytes taken so far will have been paid for.
    paid_until: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.map(|rate| rate.max(1)),
            paid_until: Mutex::new(None),
        }
    }

    /// Waits until `bytes` more fit in.
    pub(crate) async fn take(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let until = paid_until.map_or(now, |paid| paid.max(now)) + cost;
            *paid_until = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(window: &Arc<Window>) -> usize {
        window.lock().limit
    }

    #[tokio::test]
    async fn a_window_grows_with_good_answers_up_to_its_bound() {
        let window = Window::new(2, 5);
        for _ in 0..10 {
            window.enter().await.went_well();
        }
        assert_eq!(limit(&window), 5);
    }

    #[tokio::test]
    async fn one_overload_halves_the_window_once_however_many_hear_of_it() {
        let window = Window::new(8, 8);
        let mut permits = Vec::new();
        for _ in 0..8 {
            permits.push(window.enter().await);
        }
        for permit in &permits {
            permit.was_too_much(None);
        }
        assert_eq!(limit(&window), 4);
        drop(permits);
        window.enter().await.was_too_much(None);
        assert_eq!(limit(&window), 2);
        window.enter().await.went_well();
        assert_eq!(limit(&window), 2, "after an overload it grows slowly");
        window.enter().await.went_well();
        assert_eq!(limit(&window), 3);
        for _ in 0..3 {
            window.enter().await.was_too_much(None);
        }
        assert_eq!(limit(&window), 1, "one request must always be possible");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_while_the_registry_wants_to_be_left_alone() {
        let window = Window::new(4, 4);
        let start = Instant::now();
        window.enter().await.was_too_much(Some(Duration::from_secs(7)));
        drop(window.enter().await);
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test]
    async fn who_waits_for_a_place_gets_it_when_one_is_freed() {
        let window = Window::new(1, 1);
        let held = window.enter().await;
        let waiting = window.enter();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(held);
        assert!(futures::poll!(&mut waiting).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_over_all_who_share_it() {
        let rate = Rate::new(Some(1000));
        let start = Instant::now();
        futures::join!(rate.take(1500), rate.take(500), rate.take(1000));
        assert_eq!(start.elapsed().as_secs(), 3);
        Rate::new(None).take(u64::MAX).await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
