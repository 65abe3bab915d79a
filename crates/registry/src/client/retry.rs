//! Trying again: which failures, how often, and after what pause.

use std::time::Duration;

use airlift_spec::error::chain;
use airlift_spec::{Ctx, Event};
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;

use super::counters::Counting;
use super::error::ClientError;
use super::options::Tuning;

/// Tries of one thing that the registry says it received otherwise, the first one included. docker-registry 2.8 says
/// so of good bytes, too: of a manifest whose blob another client names at that very moment.
const MAX_SENT_WRONG: u32 = 3;

/// The tries of one piece of work.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    what: String,
    allowed: u32,
    made: u32,
    /// How often the registry said that it received other bytes. Progress does not undo these.
    sent_wrong: u32,
    tuning: &'a Tuning,
    counting: &'a Counting,
    ctx: &'a Ctx,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(
        what: String,
        allowed: usize,
        tuning: &'a Tuning,
        counting: &'a Counting,
        ctx: &'a Ctx,
    ) -> Self {
        let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
        Self { what, allowed, made: 0, sent_wrong: 0, tuning, counting, ctx }
    }

    /// The last try brought something: count anew.
    pub(crate) fn progressed(&mut self) {
        self.made = 0;
    }

    /// Waits before the next try, or gives `err` back if there should be none.
    pub(crate) async fn pause(&mut self, err: ClientError) -> Result<(), ClientError> {
        self.made += 1;
        if !self.may_go_better(&err) || self.made >= self.allowed {
            return Err(err);
        }
        let asked = err.retry_after().filter(|asked| !asked.is_zero());
        let wait = self.wait(asked);
        let waiting = asked.map(|_| format!("; waiting {} s", wait.as_secs())).unwrap_or_default();
        self.counting.retry();
        self.ctx.events.emit(Event::Retried {
            what: self.what.clone(),
            attempt: self.made + 1,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            reason: chain(&err) + &waiting,
        });
        let slept = self.ctx.cancel.run_until_cancelled(tokio::time::sleep(wait)).await;
        slept.ok_or(ClientError::Cancelled)
    }

    fn may_go_better(&mut self, err: &ClientError) -> bool {
        if matches!(err, ClientError::SentWrong { .. }) {
            self.sent_wrong += 1;
            return self.sent_wrong < MAX_SENT_WRONG;
        }
        let is_hopeless = |asked| asked > self.tuning.retry_after_hopeless;
        err.may_pass() && !err.retry_after().is_some_and(is_hopeless)
    }

    fn wait(&self, asked: Option<Duration>) -> Duration {
        let tuning = self.tuning;
        let doubled = tuning.backoff_first.saturating_mul(1 << (self.made - 1).min(16));
        let backoff =
            doubled.min(tuning.backoff_max).mul_f64(1.0 + jitter()).min(tuning.backoff_max);
        match asked {
            Some(asked) => {
                asked.min(tuning.retry_after_max).max(backoff.min(tuning.retry_after_max))
            }
            None => backoff,
        }
    }
}

/// A number from 0 to 1, so that clients that failed together do not come back together.
fn jitter() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// How long the answer asks us to wait: seconds, or a date measured against the answer's own clock.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let now = date(headers.get(DATE)?.to_str().ok()?.trim())?;
    Duration::try_from(date(text)?.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_spec::Events;
    use http::StatusCode;
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    fn refused(status: u16, retry_after: Option<u64>) -> ClientError {
        ClientError::Refused {
            registry: "quay.io".into(),
            what: "a request".into(),
            status: StatusCode::from_u16(status).unwrap(),
            code: None,
            reason: None,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// What is told, and a context that tells it.
    fn listening() -> (Arc<Mutex<Vec<Event>>>, Ctx) {
        let told: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&told);
        let events = Events::new(move |event| sink.lock().unwrap().push(event));
        (told, Ctx { events, ..Ctx::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end_with_the_tries() {
        let (tuning, counting, ctx) = (Tuning::default(), Counting::default(), Ctx::default());
        let mut tries = Tries::new("x".into(), 4, &tuning, &counting, &ctx);
        for least in [500, 1000, 2000] {
            let start = Instant::now();
            tries.pause(refused(503, None)).await.unwrap();
            let waited = start.elapsed().as_millis();
            assert!((least..=2 * least + 1).contains(&waited), "{waited} ms, not {least}");
        }
        assert!(tries.pause(refused(503, None)).await.is_err());
        assert_eq!(counting.read().retries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_is_left_alone_for_as_long_as_it_asks_within_reason() {
        let (tuning, counting, ctx) = (Tuning::default(), Counting::default(), Ctx::default());
        let mut tries = Tries::new("x".into(), 9, &tuning, &counting, &ctx);
        let start = Instant::now();
        tries.pause(refused(429, Some(17))).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 17);
        tries.pause(refused(429, Some(600))).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 17 + tuning.retry_after_max.as_secs());
        // No number of tries outlasts a day: it is told at once.
        let err = tries.pause(refused(429, Some(86_400))).await.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 17 + tuning.retry_after_max.as_secs());
        let said = "quay.io answered 429 Too Many Requests to a request, and asks to wait 86400 s";
        assert_eq!(err.to_string(), said);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_registry_asks_to_wait_and_how_long_it_is_left_alone_is_told() {
        let (told, ctx) = listening();
        let (tuning, counting) = (Tuning::default(), Counting::default());
        let mut tries = Tries::new("x".into(), 9, &tuning, &counting, &ctx);
        for (asked, said) in [
            (Some(40), Some(", and asks to wait 40 s; waiting 40 s")),
            (Some(300), Some(", and asks to wait 300 s; waiting 120 s")),
            (Some(0), None),
            (None, None),
        ] {
            tries.pause(refused(429, asked)).await.unwrap();
            let Some(Event::Retried { reason, .. }) = told.lock().unwrap().pop() else {
                panic!("nothing is told")
            };
            let whole = format!(
                "quay.io answered 429 Too Many Requests to a request{}",
                said.unwrap_or_default()
            );
            assert_eq!(reason, whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_trouble_on_the_line_is_tried_again_and_every_time_is_told() {
        let (told, ctx) = listening();
        let (tuning, counting) = (Tuning::default(), Counting::default());
        let mut tries = Tries::new("x".into(), 9, &tuning, &counting, &ctx);
        assert!(tries.pause(refused(400, None)).await.is_err());
        assert!(told.lock().unwrap().is_empty());
        tries.pause(refused(502, None)).await.unwrap();
        assert!(matches!(&told.lock().unwrap()[..], [Event::Retried { attempt: 3, .. }]));
    }

    #[tokio::test]
    async fn a_pause_ends_when_the_user_stops_it() {
        let (tuning, counting, ctx) = (Tuning::default(), Counting::default(), Ctx::default());
        ctx.cancel.cancel();
        let mut tries = Tries::new("x".into(), 9, &tuning, &counting, &ctx);
        assert!(matches!(tries.pause(refused(503, None)).await, Err(ClientError::Cancelled)));
    }

    #[track_caller]
    fn check(after: &str, date: Option<&str>, seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{after}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:07 GMT");
        check("30", None, Some(30));
        check("Sun, 06 Nov 1994 08:49:37 GMT", date, Some(30));
        check("Sun, 06 Nov 1994 08:49:37 GMT", None, None);
        check("Sun, 06 Nov 1994 08:48:00 GMT", date, None);
        check("-5", None, None);
        check("soon", date, None);
        check("99999999999999999999", date, None);
    }
}
