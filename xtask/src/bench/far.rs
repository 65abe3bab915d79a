//! From the store onto volumes, and from volumes or the store to whoever asks on the far side.

use std::path::PathBuf;

use crate::Result;
use crate::bench::corpus::{Corpus, Shape, TAG};
use crate::bench::server::Server;
use crate::bench::table::Table;
use crate::bench::{Bench, Contender};
use crate::measure::Cost;

/// Small enough that the largest layer lies on two.
const VOLUME_SIZE: &str = "512MiB";

const CLIENTS: u32 = 8;

const OURS: &str = "airlift serve, from volumes";

/// The platform corpus in a store, with the lock and the key to make a bundle of it.
struct Stock {
    corpus: Corpus,
    folder: PathBuf,
    /// Where the images came from, which is a part of their names.
    host: String,
}

impl Stock {
    fn fetch(bench: &Bench) -> Result<Self> {
        let corpus = Corpus::open(&bench.home, Shape::Platform)?;
        let folder = bench.scratch.join("stock");
        let server = Server::registry(&corpus.folder, &bench.scratch)?;
        let references: Vec<String> = corpus.references(server.address());
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        bench.shell(&super::near::airlift(bench, &folder, &references))?;
        let key = format!("{} keygen --to {}/key", bench.airlift.display(), folder.display());
        bench.shell(&key)?;
        Ok(Self { corpus, folder, host: server.address().to_string() })
    }

    /// The command that cuts a bundle into `to`.
    fn bundle(&self, bench: &Bench, to: &str) -> String {
        let (airlift, folder) = (bench.airlift.display(), self.folder.display());
        format!(
            "{airlift} --store {folder}/store --progress none bundle create --lock {folder}/airlift.lock \
             --sign {folder}/key --no-binary --volume-size {VOLUME_SIZE} --to {to}"
        )
    }
}

/// Cutting a bundle and checking it, beside what a person would do with a folder.
pub(super) fn bundle(bench: &Bench) -> Result<Vec<Table>> {
    let stock = Stock::fetch(bench)?;
    let (folder, out) = (stock.folder.display(), bench.out());
    let out = out.display();
    let create = [
        Contender::new("airlift bundle create", stock.bundle(bench, &out.to_string())),
        Contender::new(
            "cp, sync -f, sha256sum",
            format!(
                "mkdir -p {out}; cp -r {folder}/store/blobs {out}; sync -f {out}; \
                 find {out} -type f -exec sha256sum {{}} + > /dev/null"
            ),
        ),
    ];
    let create = bench.cold("Store to volumes, signed", &create)?;
    let kept = format!("{folder}/bundle");
    bench.shell(&stock.bundle(bench, &kept))?;
    let airlift = bench.airlift.display();
    let verify = [
        Contender::new(
            "airlift verify",
            format!("{airlift} verify --progress none --trust {folder}/key.pub {kept}"),
        ),
        Contender::new("sha256sum, one core", format!("sha256sum {kept}/*.tar > /dev/null")),
        Contender::new(
            "sha256sum, two at once",
            format!("ls {kept}/*.tar | xargs -n 1 -P 2 sha256sum > /dev/null"),
        ),
    ];
    Ok(vec![create, bench.cold("Checking the volumes", &verify)?])
}

/// From the store into an empty registry.
pub(super) fn load(bench: &Bench) -> Result<Vec<Table>> {
    let stock = Stock::fetch(bench)?;
    let (airlift, folder) = (bench.airlift.display(), stock.folder.display());
    let skopeo: Vec<String> = stock
        .corpus
        .images
        .iter()
        .map(|image| {
            let name = &image.repository;
            format!(
                "skopeo copy -q --all --dest-tls-verify=false oci:{folder}/store:{}/{name}:{TAG} \
                 docker://HOST/{name}:{TAG}\n",
                stock.host
            )
        })
        .collect();
    let contenders = [
        Contender::new(
            "airlift load",
            format!(
                "{airlift} load --progress none --state {folder}/state --receipts {folder} store:{folder}/store --to HOST"
            ),
        ),
        Contender::new("skopeo copy, one after the other", skopeo.concat()),
    ];
    let title = "Store to an empty docker-registry";
    let mut registry = vec![0.0; contenders.len()];
    let mut table = bench.rounds(title, &contenders, |contender| {
        bench.fresh()?;
        let server = Server::registry(&bench.out(), &bench.scratch)?;
        let script = contender.script.replace("HOST", &server.address().to_string());
        let cost = bench.run(&Contender::new(&contender.name, script))?;
        let at = contenders.iter().position(|it| it.name == contender.name);
        registry[at.expect("one of them")] = server.cost()?.cpu_seconds();
        Ok(cost)
    })?;
    let told =
        contenders.iter().zip(&registry).map(|(it, cpu)| format!("{cpu:.1} for {}", it.name));
    table
        .notes
        .push(format!("CPU s of the registry itself: {}.", told.collect::<Vec<_>>().join(", ")));
    Ok(vec![table])
}

/// One large blob, which lies on two volumes, to many clients at once.
pub(super) fn serve(bench: &Bench) -> Result<Vec<Table>> {
    let stock = Stock::fetch(bench)?;
    let folder = stock.folder.display();
    let volumes = stock.folder.join("bundle");
    bench.shell(&stock.bundle(bench, &volumes.display().to_string()))?;
    let (image, blob) = stock.corpus.largest();
    let path = format!("v2/{}/blobs/{}", image.repository, blob.digest);
    let key = PathBuf::from(format!("{folder}/key.pub"));
    let start = |name: &str| match name {
        OURS => Server::airlift(&bench.airlift, &volumes, &key, &bench.scratch),
        _ => Server::registry(&stock.corpus.folder, &bench.scratch),
    };
    let first = pull(bench, "The first read of that blob, by one client", &path, 1, &start)?;
    let mut many = pull(bench, "One blob to 8 clients at once", &path, CLIENTS, &start)?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let gigabytes = blob.bytes as f64 * f64::from(CLIENTS) / 1e9;
    let told = many.rows.iter().map(|(name, cost)| {
        let (rate, cpu) = (gigabytes / cost.wall_seconds(), cost.cpu_seconds() / gigabytes);
        format!("{name}: {rate:.2} GB/s, {cpu:.2} CPU s/GB")
    });
    let told = told.collect::<Vec<_>>().join("; ");
    many.notes.push(format!("{} MB, split over two volumes. {told}.", blob.bytes / 1_000_000));
    Ok(vec![first, many])
}

/// CPU and memory here are the servers', not the clients'. One client is the first; many find the blob read before.
fn pull(
    bench: &Bench,
    title: &str,
    path: &str,
    clients: u32,
    start: &dyn Fn(&str) -> Result<Server>,
) -> Result<Table> {
    eprintln!("\n== {title}");
    let get = format!("curl -sSf -o /dev/null http://HOST/{path}");
    let script = format!(
        "pids=; for client in $(seq {clients}); do {get} & pids=\"$pids $!\"; done; \
         for pid in $pids; do wait $pid; done"
    );
    let contenders = [OURS, "docker-registry"].map(|name| Contender::new(name, script.clone()));
    let mut table = bench.rounds(title, &contenders, |contender| {
        let server = start(&contender.name)?;
        let host = server.address().to_string();
        if clients > 1 {
            bench.shell(&get.replace("HOST", &host))?;
        }
        let before = server.cost()?;
        let script = contender.script.replace("HOST", &host);
        let run = bench.run(&Contender::new(&contender.name, script))?;
        let after = server.cost()?;
        let cpu = after.cpu.saturating_sub(before.cpu);
        Ok(Cost { wall: run.wall, cpu, ..after })
    })?;
    table.notes.push("CPU and memory are the server's.".to_owned());
    Ok(table)
}
