//! From a registry into the store, beside what peers take for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::bench::corpus::{Corpus, Shape};
use crate::bench::line::{self, Quality};
use crate::bench::server::Server;
use crate::bench::table::Table;
use crate::bench::{Bench, Contender};

/// 1 Gbit/s and 30 ms there and back.
const LINE: Quality =
    Quality { round_trip: Duration::from_millis(30), bytes_per_second: 125_000_000 };

/// Who brings the images of a registry onto the disk. `all` of them leave it durable: airlift does by
/// itself, the others with a `sync`. Those who cannot do it twice are there only if `all` are asked for.
pub(super) fn contenders(
    bench: &Bench,
    corpus: &Corpus,
    host: SocketAddr,
    all: bool,
) -> Vec<Contender> {
    let references = corpus.references(host);
    let out = bench.out();
    let out = out.display();
    let each = |line: &dyn Fn(usize, &str) -> String| -> String {
        references.iter().enumerate().map(|(at, it)| line(at, it) + "\n").collect()
    };
    let synced = |script: String| format!("mkdir -p {out}\n{script}\nsync -f {out}");
    let mut found = vec![
        Contender::new("airlift resolve, fetch", airlift(bench, &bench.out(), &references)),
        Contender::new(
            "crane pull --format=oci",
            synced(format!(
                "crane pull --insecure --format=oci {} {out}/oci",
                references.join(" ")
            )),
        ),
        Contender::new(
            "regctl image copy",
            synced(each(&|at, it| {
                format!(
                    "regctl --host reg={host},tls=disabled image copy {it} ocidir://{out}/oci:i{at}"
                )
            })),
        ),
        Contender::new(
            "skopeo copy to one layout",
            synced(each(&|at, it| {
                format!(
                    "skopeo copy -q --all --src-tls-verify=false docker://{it} oci:{out}/oci:i{at}"
                )
            })),
        ),
    ];
    if all {
        found.push(Contender::new(
            "skopeo sync",
            synced(each(&|_, it| {
                format!("skopeo sync --all --scoped --src-tls-verify=false --src docker --dest dir {it} {out}")
            })),
        ));
    }
    found
}

/// The script that brings `references` into a store in `out`.
pub(super) fn airlift(bench: &Bench, out: &Path, references: &[String]) -> String {
    let (airlift, out) = (bench.airlift.display(), out.display());
    let mut script = format!(
        "mkdir -p {out}\ncat > {out}/airlift.yaml <<'END'\nversion: 1\nname: bench\nsources:\n"
    );
    for reference in references {
        writeln!(script, "- image: {reference}").expect("a string takes everything");
    }
    write!(
        script,
        "END\n\
         {airlift} --store {out}/store --progress none resolve -f {out}/airlift.yaml --lock {out}/airlift.lock\n\
         {airlift} --store {out}/store --progress none fetch --lock {out}/airlift.lock"
    )
    .expect("a string takes everything");
    script
}

/// The platform corpus over plain loopback, cold and again, with the requests that airlift made.
pub(super) fn loopback(bench: &Bench) -> Result<Vec<Table>> {
    let corpus = Corpus::open(&bench.home, Shape::Platform)?;
    let server = Server::registry(&corpus.folder, &bench.scratch)?;
    let all = contenders(bench, &corpus, server.address(), true);
    let mut cold = bench.cold("Registry to store, loopback", &all)?;
    cold.notes.push(describe(&corpus));
    // `skopeo sync` refuses a folder that it has filled before.
    let repeatable = contenders(bench, &corpus, server.address(), false);
    let again = bench.again("The same once more, nothing new", &repeatable)?;
    Ok(vec![cold, again, requests(bench, &corpus)?])
}

/// The same through a line of 1 Gbit/s and 30 ms.
pub(super) fn far_away(bench: &Bench) -> Result<Vec<Table>> {
    let corpus = Corpus::open(&bench.home, Shape::Platform)?;
    let server = Server::registry(&corpus.folder, &bench.scratch)?;
    let address = line::open(server.address(), LINE)?;
    let mut table = bench.cold(
        "Registry to store, 30 ms away at 1 Gbit/s",
        &contenders(bench, &corpus, address, false),
    )?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let least = corpus.unique_bytes() as f64 / LINE.bytes_per_second as f64;
    let ours = table.rows[0].1.wall_seconds();
    table.notes.push(format!(
        "The line alone takes {least:.1} s for the unique bytes; airlift takes {:.2}× that.",
        ours / least
    ));
    Ok(vec![table])
}

/// 100 images of ten layers of 4 KiB, on both lines.
pub(super) fn small(bench: &Bench) -> Result<Vec<Table>> {
    let corpus = Corpus::open(&bench.home, Shape::Small)?;
    let server = Server::registry(&corpus.folder, &bench.scratch)?;
    let near = server.address();
    let far = line::open(near, LINE)?;
    Ok(vec![
        bench.cold(
            "100 images of ten 4 KiB layers, loopback",
            &contenders(bench, &corpus, near, false),
        )?,
        bench.cold(
            "100 images of ten 4 KiB layers, 30 ms away at 1 Gbit/s",
            &contenders(bench, &corpus, far, false),
        )?,
    ])
}

fn describe(corpus: &Corpus) -> String {
    format!(
        "{} images, {} blobs; {} MB unique, {} MB if shared layers are counted for each image.",
        corpus.images.len(),
        corpus.unique().len(),
        corpus.unique_bytes() / 1_000_000,
        corpus.summed_bytes() / 1_000_000
    )
}

/// Counts what airlift asks a registry of its own for, cold and again, beside what it must ask for.
fn requests(bench: &Bench, corpus: &Corpus) -> Result<Table> {
    let server = Server::registry(&corpus.folder, &bench.scratch)?;
    let ours = contenders(bench, corpus, server.address(), false).swap_remove(0);
    bench.fresh()?;
    bench.run(&ours)?;
    let cold = server.requests()?;
    bench.run(&ours)?;
    let again = server.requests()?.split_off(cold.len());
    let images = corpus.images.len();
    let blobs: BTreeSet<_> =
        corpus.images.iter().flat_map(|image| image.layers.iter().chain([&image.config])).collect();
    let mut text = String::from("| requests | made | least |\n|---|---:|---:|\n");
    let mut row = |what: &str, made: usize, least: usize| {
        writeln!(text, "| {what} | {made} | {least} |").expect("a string takes everything");
    };
    let count = |made: &[String], part: &str| made.iter().filter(|it| it.contains(part)).count();
    let fallback = count(&cold, "/manifests/sha256-");
    row("manifests: one an image", count(&cold, "/manifests/") - fallback, images);
    row("configs and layers: one a blob", count(&cold, "/blobs/"), blobs.len());
    row(
        "referrers: one a manifest, and one to learn that there is no such API",
        count(&cold, "/referrers/") + fallback,
        images + 1,
    );
    row("tags: one page a repository, which is all of them", count(&cold, "/tags/list"), images);
    row("all, the first run", cold.len(), images + blobs.len() + images + 1 + images);
    row("all, the second run", again.len(), 0);
    Ok(Table { title: "Requests of airlift".to_owned(), rows: Vec::new(), notes: vec![text] })
}
