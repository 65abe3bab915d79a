//! `cargo xtask soak`: everything at once on one store, for minutes, with faults and kills.
//!
//! ```text
//! upstream ─▶ two fetches ─▶ store ─▶ serve ─▶ clients that compare every digest
//! (fails)     (killed)         │ └──▶ bundle create, verify (killed)
//!                              └────▶ load (killed) ─▶ serve --writable (killed)
//! ```
//!
//! A verb that was killed or refused is run again until it is done; any other end is a failure. At the end a last
//! fetch, bundle and load have to succeed, `fsck` finds nothing in either store, and the server that lived all the
//! time holds no more files and memory than after its warm-up. The seed decides every choice; what meets what is the
//! machine's.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::{built, cargo};
use actors::{STACKS, Server};
use dice::Dice;
use pull::pull;
use site::Site;
use watch::Held;

mod actors;
mod dice;
mod pull;
mod site;
mod watch;

const PROGRESS: Duration = Duration::from_secs(5);
/// Clients of the served store.
const CLIENTS: u64 = 4;
/// Connections of clients that just went away are closed by then.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long, and with which choices.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    time: Duration,
    seed: u64,
}

pub(crate) fn run(words: &[&str]) -> Result {
    let plan = Plan::parse(words)?;
    let seconds = plan.time.as_secs();
    println!("{seconds} s, seed {} (`--seed {0}` makes the same choices)", plan.seed);
    let site = Site::new(program()?)?;
    soak(&site, plan)?;
    println!("sound after {seconds} s: {}", site.summary());
    Ok(())
}

impl Plan {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut plan = Self { time: Duration::from_mins(5), seed: u64::from(std::process::id()) };
        for pair in words.chunks(2) {
            match pair {
                ["--minutes", minutes] => {
                    plan.time = Duration::try_from_secs_f64(minutes.parse::<f64>()? * 60.0)?;
                }
                ["--seed", seed] => plan.seed = seed.parse()?,
                _ => return Err("usage: cargo xtask soak [--minutes N] [--seed N]".into()),
            }
        }
        Ok(plan)
    }
}

/// The release build: what is measured is what users run.
fn program() -> Result<PathBuf> {
    built(cargo().args(["build", "--release", "-p", "airlift-cli"]), "airlift")
}

fn soak(site: &Site, plan: Plan) -> Result {
    prepare(site)?;
    let served = Server::start(site, &["store:store", "--listen", "127.0.0.1:0"])?;
    let target = Server::start(site, &["--writable", "target", "--listen", "127.0.0.1:0"])?;
    let place = target.host.clone();
    target.end()?;

    let before = thread::scope(|scope| {
        let dice = |actor| Dice::new(plan.seed, actor);
        for (at, stack) in (0..).zip(&STACKS) {
            let fetch = |dice: &mut Dice| stack.fetch_some_version(site, dice);
            scope.spawn(move || site.keep_going(stack.name, dice(at), fetch));
        }
        let bundle = |dice: &mut Dice| STACKS[0].bundle(site, dice);
        scope.spawn(move || site.keep_going("bundle", dice(10), bundle));
        let target = |dice: &mut Dice| actors::serve_for_some_time(site, &place, dice);
        scope.spawn(move || site.keep_going("target", dice(11), target));
        let load = |dice: &mut Dice| actors::load(site, &place, dice);
        scope.spawn(move || site.keep_going("load", dice(12), load));
        for client in 0..CLIENTS {
            let pull = |dice: &mut Dice| pull_one(site, &served.host, dice);
            scope.spawn(move || site.keep_going("client", dice(20 + client), pull));
        }
        let before = watch(site, &served, plan.time);
        site.stop();
        before
    })?;
    site.verdict()?;
    let after = settled(site, &served)?;
    println!("the server held {before} after the warm-up, {after} at the end");
    if let Some(growth) = after.growth_since(&before) {
        return Err(format!("the server has grown: {growth}").into());
    }
    finish(site, served)
}

fn prepare(site: &Site) -> Result {
    actors::publish(site);
    site.expect(&["keygen"], &[0])?;
    let config = site.world.home().join("config/airlift");
    fs_err::create_dir(config.join("trust"))?;
    fs_err::copy(config.join("signing.pub"), config.join("trust/own.pub"))?;
    STACKS.iter().try_for_each(|stack| stack.fetch(site, 0, &mut Dice::new(0, 0)))
}

fn pull_one(site: &Site, host: &str, dice: &mut Dice) -> Result {
    let _busy = site.quiet.read().unwrap_or_else(PoisonError::into_inner);
    if dice.once_in(20) {
        return actors::knock(host);
    }
    let images = actors::wanted();
    let image = &images[usize::try_from(dice.below(images.len() as u64))?];
    let bytes = pull(host, image, dice)?;
    site.count("pulls", 1);
    site.count("bytes pulled", bytes);
    Ok(())
}

/// Says how it goes until the time is over; returns what the server held after the warm-up.
fn watch(site: &Site, served: &Server, time: Duration) -> Result<Held> {
    let begin = Instant::now();
    // By then every client has pulled every image a few times.
    let warm = time / 4;
    let mut before = None;
    let mut said = Duration::ZERO;
    while begin.elapsed() < time && !site.is_stopped() {
        site.pause(Duration::from_millis(250));
        if before.is_none() && begin.elapsed() > warm {
            before = Some(settled(site, served)?);
            // It is refused: the server uses the store.
            actors::collect(site, "store")?;
        }
        if begin.elapsed() > said + PROGRESS {
            said = begin.elapsed();
            let held = Held::by(served.running.id())?;
            println!("{:>5} s: {}; the server holds {held}", said.as_secs(), site.summary());
        }
    }
    site.verdict()?;
    before.map_or_else(|| settled(site, served), Ok)
}

/// What the server holds while nobody asks it for anything.
fn settled(site: &Site, served: &Server) -> Result<Held> {
    let _alone = site.quiet.write().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    let mut held = Held::by(served.running.id())?;
    let mut steady = 0;
    while steady < 5 && begin.elapsed() < SETTLE_TIMEOUT {
        thread::sleep(Duration::from_millis(100));
        let now = Held::by(served.running.id())?;
        steady = if now.fds == held.fds { steady + 1 } else { 0 };
        held = now;
    }
    Ok(held)
}

/// After all that: a last round of everything succeeds, and nothing is wrong in either store.
fn finish(site: &Site, served: Server) -> Result {
    site.resume();
    site.upstream.heal();
    let mut dice = Dice::new(0, 0);
    STACKS.iter().try_for_each(|stack| stack.fetch(site, 1, &mut dice))?;
    STACKS[1].bundle(site, &mut dice)?;
    served.end()?;
    let target = Server::start(site, &["--writable", "target", "--listen", "127.0.0.1:0"])?;
    let to = format!("{}/mirror", target.host);
    site.expect(&["load", "store:store", "--to", &to], &[0])?;
    target.end()?;
    for store in ["store", "target"] {
        site.expect(&["--store", store, "fsck"], &[0])?;
        site.expect(&["--store", store, "gc"], &[0])?;
        site.expect(&["--store", store, "fsck"], &[0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_and_seed_are_read_and_anything_else_is_refused() {
        let plan = Plan::parse(&["--minutes", "0.5", "--seed", "7"]).unwrap();
        assert_eq!(plan, Plan { time: Duration::from_secs(30), seed: 7 });
        assert_eq!(Plan::parse(&[]).unwrap().time, Duration::from_mins(5));
        for words in [&["--hours", "1"][..], &["--minutes"], &["--minutes", "-1"]] {
            assert!(Plan::parse(words).is_err(), "{words:?}");
        }
    }
}
