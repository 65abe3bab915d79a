//! Who gives no answer any more: a registry, the host that it sends its clients to for blobs, its token server.
//!
//! One that is gone, or that a firewall swallows, must not cost each of a thousand blobs the time of all tries. After
//! [`MIN_TRIES`] and [`Tuning::lost_after`](super::Tuning::lost_after) without an answer to anybody it counts as lost,
//! until it answers. Then each thing has one try, and none while the host is left alone: for as long as it let the last
//! try wait. Who refuses connections at once is so asked as often as there are things to ask for; who lets everybody
//! wait, now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::{Position, Url};

use super::Peer;
use super::error::ClientError;

/// Tries in a row that a host has at least before it counts as lost.
const MIN_TRIES: u32 = 3;

#[derive(Debug)]
pub(crate) struct Reach {
    lost_after: Duration,
    /// The longest that one try is silent. What goes on for longer did not end for want of an answer.
    longest_silence: Duration,
    /// By host and port.
    silent: Mutex<HashMap<String, Silence>>,
}

/// Tries in a row without an answer.
#[derive(Debug)]
struct Silence {
    since: Instant,
    tries: u32,
    /// Not asked before this, once it is lost.
    left_alone_until: Instant,
}

impl Reach {
    pub(crate) fn new(lost_after: Duration, longest_silence: Duration) -> Self {
        Self { lost_after, longest_silence, silent: Mutex::default() }
    }

    /// What comes of `asking` whoever is at `url`, or [`ClientError::Lost`].
    pub(crate) async fn ask<T>(
        &self,
        url: &Url,
        peer: &Peer,
        asking: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let lost = |silence, source| {
            Err(ClientError::Lost { registry: peer.name.clone(), silence, source })
        };
        let start = Instant::now();
        if let Some(silence) = self.leaves_alone(host, start) {
            return lost(silence, None);
        }
        match asking.await {
            Err(err) if err.is_no_answer() => match self.failed(host, start) {
                Some(silence) => lost(silence, Some(Box::new(err))),
                None => Err(err),
            },
            // Whatever it says, it is there.
            answer => {
                self.answered(url);
                answer
            }
        }
    }

    /// Whoever is at `url` gave an answer, or more of one.
    pub(crate) fn answered(&self, url: &Url) {
        self.lock().remove(&url[Position::BeforeHost..Position::AfterPort]);
    }

    /// How long `host` has been silent, if it is left alone.
    fn leaves_alone(&self, host: &str, now: Instant) -> Option<Duration> {
        let silent = self.lock();
        let silence = silent.get(host).filter(|silence| now < silence.left_alone_until)?;
        Some(now - silence.since)
    }

    /// Notes a try that began at `start`. How long `host` has been silent, if it is lost.
    fn failed(&self, host: &str, start: Instant) -> Option<Duration> {
        let now = Instant::now();
        let waited = (now - start).min(self.longest_silence);
        let mut silent = self.lock();
        let silence = silent.entry(host.to_owned()).or_insert(Silence {
            since: now - waited,
            tries: 0,
            left_alone_until: now,
        });
        silence.tries += 1;
        let lasted = now - silence.since;
        let is_lost = silence.tries >= MIN_TRIES && lasted >= self.lost_after;
        is_lost.then(|| {
            silence.left_alone_until = now + waited;
            lasted
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Silence>> {
        // Whole between any two statements.
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    /// A host that lets everybody wait for `wait` and gives no answer but to whom `answers`; what was said of it.
    struct Silent {
        reach: Reach,
        asked: u32,
    }

    impl Silent {
        fn new() -> Self {
            Self { reach: Reach::new(Duration::from_mins(1), Duration::from_secs(30)), asked: 0 }
        }

        async fn ask(&mut self, wait: u64, answers: bool) -> Result<(), ClientError> {
            let url = Url::parse("https://cdn.example/blob?signed").unwrap();
            let name = "cdn.example".to_owned();
            let peer = Peer { name: name.clone(), is_registry: false };
            let asked = &mut self.asked;
            let asking = async {
                *asked += 1;
                let silence = Duration::from_secs(wait);
                sleep(silence).await;
                let err = ClientError::Stalled { registry: name, what: "a blob".into(), silence };
                if answers { Ok(()) } else { Err(err) }
            };
            self.reach.ask(&url, &peer, asking).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_lets_everybody_wait_is_lost_and_then_asked_now_and_then() {
        let mut host = Silent::new();
        let start = Instant::now();
        for _ in 0..2 {
            let err = host.ask(30, false).await.unwrap_err();
            assert!(err.may_pass(), "{err}");
        }
        let err = host.ask(30, false).await.unwrap_err();
        assert!(!err.may_pass());
        let said = airlift_spec::error::chain(&err);
        let whole = "cdn.example has given no answer for 90 s: cdn.example was silent for 30 s during a blob";
        assert_eq!(said, whole);

        for _ in 0..1000 {
            let err = host.ask(30, false).await.unwrap_err();
            assert_eq!(err.to_string(), "cdn.example has given no answer for 90 s");
        }
        assert_eq!((host.asked, start.elapsed().as_secs()), (3, 90));
        sleep(Duration::from_secs(31)).await;
        host.ask(30, false).await.unwrap_err();
        host.ask(30, false).await.unwrap_err();
        assert_eq!(host.asked, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_at_once_is_asked_for_each_thing_and_found_when_it_is_back() {
        let mut host = Silent::new();
        for _ in 0..3 {
            assert!(host.ask(0, false).await.unwrap_err().may_pass());
        }
        sleep(Duration::from_mins(1)).await;
        for _ in 0..5 {
            assert!(!host.ask(0, false).await.unwrap_err().may_pass());
        }
        host.ask(0, true).await.unwrap();
        assert_eq!(host.asked, 9, "each had its try");
        assert!(host.ask(0, false).await.unwrap_err().may_pass(), "it has all tries again");
    }

    /// The registry restarts while large blobs are on their way.
    #[tokio::test(start_paused = true)]
    async fn long_uploads_that_break_off_together_are_no_long_silence() {
        let mut host = Silent::new();
        host.ask(600, false).await.unwrap_err();
        for _ in 0..5 {
            assert!(host.ask(0, false).await.unwrap_err().may_pass());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_failures_are_no_loss_however_far_apart() {
        let mut host = Silent::new();
        host.ask(1, false).await.unwrap_err();
        sleep(Duration::from_hours(1)).await;
        assert!(host.ask(1, false).await.unwrap_err().may_pass());
    }
}
