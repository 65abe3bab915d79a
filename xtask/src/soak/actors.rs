//! Who does what, round after round.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use airlift_testkit::world::Running;
use airlift_testkit::{Fault, On, Sample, samples};

use super::dice::Dice;
use super::pull::Wanted;
use super::site::Site;
use crate::Result;

/// Images of each version, and the versions that tags stand for.
const IMAGES: usize = 6;
const VERSIONS: u64 = 4;
/// A server on this machine answers sooner, or never.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A stack, and which images it wants; they overlap.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) name: &'static str,
    images: std::ops::Range<usize>,
}

pub(crate) static STACKS: [Stack; 2] =
    [Stack { name: "one", images: 0..4 }, Stack { name: "two", images: 2..IMAGES }];

/// All images of one version: they share a layer with each other, and nothing with those of another version.
fn version(number: u64) -> Vec<Sample> {
    samples::sharing_layers(100 + number, IMAGES, 700_000, 400_000)
}

pub(crate) fn publish(site: &Site) {
    for number in 0..VERSIONS {
        for (at, sample) in version(number).iter().enumerate() {
            site.upstream.put(&format!("team/app{at}"), &format!("v{number}"), sample);
        }
    }
}

/// What a server offers that began when all stacks were at version 0.
pub(crate) fn wanted() -> Vec<Wanted> {
    let wanted = |(at, sample): (usize, &Sample)| Wanted {
        repository: format!("team/app{at}"),
        tag: "v0".to_owned(),
        digest: sample.root.digest,
    };
    version(0).iter().enumerate().map(wanted).collect()
}

impl Stack {
    pub(crate) fn lock(&self) -> String {
        format!("{}.lock", self.name)
    }

    /// The lock whose artifacts were all fetched last.
    fn ready(&self) -> String {
        format!("{}.ready.lock", self.name)
    }

    /// Moves the stack to some version and brings it.
    pub(crate) fn fetch(&self, site: &Site, number: u64, dice: &mut Dice) -> Result {
        let names = self.images.clone().map(|at| {
            let image = site.upstream.reference(&format!("team/app{at}"), &format!("v{number}"));
            format!("  - image: {image}\n")
        });
        let text =
            format!("version: 1\nname: {}\nsources:\n{}", self.name, names.collect::<String>());
        let (file, lock) = (format!("{}.yaml", self.name), self.lock());
        site.world.write(&file, text)?;
        let resolve = ["--store", "store", "resolve", "-f", &file, "--lock", &lock];
        // 5: a byte was flipped twice, which is an end that the next run mends.
        let fetch = ["--store", "store", "fetch", "--lock", &lock];
        if !site.until_done(dice, &resolve, &[4])? || !site.until_done(dice, &fetch, &[4, 5])? {
            return Ok(());
        }
        let (folder, copy) = (site.world.path(), format!("{}.copy", self.name));
        fs_err::copy(folder.join(&lock), folder.join(&copy))?;
        fs_err::rename(folder.join(&copy), folder.join(self.ready()))?;
        site.count("fetches", 1);
        Ok(())
    }

    pub(crate) fn fetch_some_version(&self, site: &Site, dice: &mut Dice) -> Result {
        if dice.once_in(2) {
            // In place of the last one: a fetch that finds all blobs there uses none up, and another that lacks one would
            // meet nothing but faults, more than it may try again.
            site.upstream.heal();
            site.upstream.fail_once(On::blobs(), fault(dice));
        }
        self.fetch(site, dice.below(VERSIONS), dice)
    }

    /// Makes a bundle of what was fetched last, and proves it whole.
    pub(crate) fn bundle(&self, site: &Site, dice: &mut Dice) -> Result {
        let folder = site.world.path();
        fs_err::copy(folder.join(self.ready()), folder.join("bundle.lock"))?;
        let create =
            ["--store", "store", "bundle", "create", "--lock", "bundle.lock", "--to", "bundle"];
        let create = [&create[..], &["--volume-size", "1MiB", "--no-binary"]].concat();
        let verify = ["verify", "--deep", "bundle"];
        let is_done =
            site.until_done(dice, &create, &[])? && site.until_done(dice, &verify, &[])?;
        if folder.join("bundle").is_dir() {
            fs_err::remove_dir_all(folder.join("bundle"))?;
        }
        site.count("bundles", u64::from(is_done));
        Ok(())
    }
}

/// One of the ways in which a line or a registry fails.
fn fault(dice: &mut Dice) -> Fault {
    match dice.below(5) {
        0 => Fault::CutAfter(dice.below(400_000)),
        1 => Fault::FlipByte(dice.below(400_000)),
        2 => Fault::Status(503, Vec::new()),
        3 => Fault::RetryAfter(0),
        _ => Fault::WrongContentLength(1),
    }
}

/// Loads the store into the registry that is killed now and then.
pub(crate) fn load(site: &Site, host: &str, dice: &mut Dice) -> Result {
    let to = format!("{host}/mirror");
    // 8: a stack has moved on, and not all of it is fetched yet.
    let is_done = site.until_done(dice, &["load", "store:store", "--to", &to], &[4, 8])?;
    site.count("loads", u64::from(is_done));
    Ok(())
}

/// Collects garbage, which is refused while anybody uses the store.
pub(crate) fn collect(site: &Site, store: &str) -> Result {
    let ran = site.expect(&["--store", store, "gc"], &[0, 6])?;
    site.count(if ran.is_success() { "collections" } else { "collections refused" }, 1);
    Ok(())
}

/// A server that runs beside us, and its address.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) host: String,
}

impl Server {
    pub(crate) fn start(site: &Site, args: &[&str]) -> Result<Self> {
        let mut running =
            site.world.spawn(["serve"].iter().chain(args).chain(&["--progress", "none"]))?;
        if !running.wait_until(|it| it.stdout().ends_with('\n'))? {
            return Err(format!("the server ended at once: {}", running.stderr()).into());
        }
        let host = running.stdout().trim().trim_start_matches("http://").to_owned();
        Ok(Self { running, host })
    }

    /// Asks it to end, which is a success.
    pub(crate) fn end(self) -> Result {
        let ran = self.running.terminate()?;
        if ran.is_success() {
            Ok(())
        } else {
            Err(format!("the server did not end well:\n{ran}").into())
        }
    }
}

/// A registry that clients push into: it lives some seconds, is killed or told to stop, and comes back at its place.
pub(crate) fn serve_for_some_time(site: &Site, host: &str, dice: &mut Dice) -> Result {
    let server = start_at(site, host)?;
    site.pause(Duration::from_millis(1000 + dice.below(5000)));
    if dice.once_in(3) {
        server.end()?;
        site.count("servers stopped", 1);
    } else {
        server.running.kill()?;
        site.count("servers killed", 1);
    }
    collect(site, "target")
}

/// The port was ours a moment ago, and the system may want another moment to give it back.
fn start_at(site: &Site, host: &str) -> Result<Server> {
    let begin = Instant::now();
    loop {
        match Server::start(site, &["--writable", "target", "--listen", host]) {
            Ok(server) => return Ok(server),
            Err(err) if begin.elapsed() > START_TIMEOUT => return Err(err),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A client that connects, asks for half a thing, and is gone.
pub(crate) fn knock(host: &str) -> Result {
    let mut stream = TcpStream::connect(host)?;
    stream.write_all(b"GET /v2/ HT")?;
    Ok(())
}
