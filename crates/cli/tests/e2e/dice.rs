//! `kill -9` at random moments of a verb's whole life.
//!
//! One whole run is measured first: when each of its events comes, and when it ends. A moment is so many events and
//! a stretch of time behind the last of them. Half of the moments are spread evenly over the time, the other half
//! over the events, so that neither a long transfer nor a busy end is left out. A slower machine shifts the moments;
//! what has to hold holds at every one of them.
//!
//! `AIRLIFT_KILLS` says how often each verb is killed, `AIRLIFT_SEED` throws the dice otherwise.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Enough to meet a bug within some runs of CI, few enough for each of them.
const KILLS: u32 = 3;

/// How a whole run went.
#[derive(Debug)]
pub(crate) struct Life {
    verb: &'static str,
    /// When each event came, after the start, which comes first.
    marks: Vec<Duration>,
    end: Duration,
}

/// When to kill: after so many events, and a little later.
#[derive(Debug, Clone, Copy)]
struct Moment {
    events: usize,
    wait: Duration,
}

impl Life {
    /// Runs `command` to its end, which must be a success.
    pub(crate) fn of(verb: &'static str, mut command: Command) -> Self {
        let (mut child, begin) = (start(&mut command), Instant::now());
        let (mut marks, mut said) = (vec![Duration::ZERO], Vec::new());
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            marks.push(begin.elapsed());
            said.push(line.unwrap());
        }
        let status = child.wait().unwrap();
        assert!(status.success(), "{verb}: {status}\n{}", said.join("\n"));
        Self { verb, marks, end: begin.elapsed() }
    }

    /// Kills run after run of the `command` for a case of its own, and then hands that case to `check`.
    pub(crate) fn kill_often(&self, command: impl FnMut(&str) -> Command, check: impl FnMut(&str)) {
        self.kill_often_with(command, || (), check);
    }

    /// The same, where `others` kills at each of the moments what `command` talks to.
    #[expect(clippy::print_stderr, reason = "what a failed test is repeated by")]
    pub(crate) fn kill_often_with(
        &self,
        mut command: impl FnMut(&str) -> Command,
        mut others: impl FnMut(),
        mut check: impl FnMut(&str),
    ) {
        let seed = number("AIRLIFT_SEED").unwrap_or(1);
        let kills = number("AIRLIFT_KILLS").unwrap_or(KILLS);
        let (mut dice, mut over) = (Dice(seed.into()), 0);
        for nth in 0..kills {
            let moment = self.moment(nth, kills, &mut dice);
            let case = format!("killed-{nth}");
            let was_killed = kill(&mut command(&case), moment, &mut others);
            over += u32::from(!was_killed);
            eprintln!("{}, seed {seed}, kill {nth}: {moment:?}, in time: {was_killed}", self.verb);
            check(&case);
        }
        eprintln!("{}: {kills} kills, {over} of them after the end", self.verb);
    }

    /// The kills share the life among them, and each throws the dice within its part.
    fn moment(&self, nth: u32, kills: u32, dice: &mut Dice) -> Moment {
        let part = (f64::from(nth) + dice.fraction()) / f64::from(kills);
        if nth.is_multiple_of(2) {
            let at = self.end.mul_f64(part);
            let events = self.marks.partition_point(|mark| *mark <= at) - 1;
            return Moment { events, wait: at.saturating_sub(self.marks[events]) };
        }
        let count = u32::try_from(self.marks.len()).unwrap();
        let nearest = (0..count).rev().find(|event| f64::from(*event) <= f64::from(count) * part);
        let events = nearest.unwrap_or_default() as usize;
        let next = self.marks.get(events + 1).unwrap_or(&self.end);
        Moment { events, wait: next.saturating_sub(self.marks[events]).mul_f64(dice.fraction()) }
    }
}

/// Starts `command` and kills it at `moment`; says whether that was before its end.
fn kill(command: &mut Command, moment: Moment, others: &mut impl FnMut()) -> bool {
    let mut child = start(command);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..moment.events {
        if lines.next().is_none() {
            break;
        }
    }
    // Whether the verb is as far as it was in the whole run changes nothing of what has to hold.
    std::thread::sleep(moment.wait);
    others();
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a long run is asked for from outside")]
fn number(variable: &str) -> Option<u32> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|err| panic!("{variable}: {err}")))
}

/// Splitmix64: random enough, and the same from the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    /// From 0 to 1, without 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let upper = u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("half of 64 bits");
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}
