use std::path::{Path, PathBuf};
use std::str::FromStr;

use airlift_bundle::receipt::Receipt;
use airlift_bundle::{
    CreateOptions, Created, Delivered, Earlier, Prepared, SigningKey, cut_again, prepare,
};
use airlift_spec::oci::MAX_MANIFEST_BYTES;
use airlift_spec::{Digest, Failure, Finding, Lock};
use airlift_store::Store;
use serde::Serialize;

use crate::app::{App, Exit, LOCK, blocking, read_file};
use crate::elf;
use crate::error::CliError;
use crate::output::{Report, Table, counted, findings_text, joined, short};
use crate::size::{Size, human};
use crate::sources::read_locks;
use crate::verbs::keygen::{KEY, read_signing_key};

/// Write what locks name to volumes, signed
///
/// Goes on where an interrupted run stopped. The same locks and options give the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Lock to carry; repeats
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: Vec<PathBuf>,
    #[command(flatten)]
    making: Making,
    /// Cut these volumes of an earlier bundle again, like `17,23` or `4-6`; needs neither lock nor key
    #[arg(long, value_name = "N,M", requires = "root")]
    #[arg(conflicts_with_all = ["lock", "since", "sign", "name", "volume_size", "allow_missing"])]
    volumes: Option<Ordinals>,
    /// The earlier bundle: the digest of its root, or its `NAME.bundle.json`
    #[arg(long, value_name = "DIGEST|FILE", requires = "volumes")]
    root: Option<String>,
    /// Say what would be written, then stop
    #[arg(long)]
    dry_run: bool,
}

/// Flags that decide what a bundle is like.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Making {
    /// Folder on a medium; repeats, and each is filled in turn [default with `--volumes`: this folder]
    #[arg(long, value_name = "DIR")]
    to: Vec<PathBuf>,
    /// Size of a volume, like `25GB` [default: 4088MiB, which FAT32 takes]
    #[arg(long, value_name = "SIZE")]
    volume_size: Option<Size>,
    /// Leave out what the far side has, by its receipt or by an earlier `NAME.bundle.json`
    #[arg(long, value_name = "RECEIPT|ROOT")]
    since: Option<PathBuf>,
    /// Secret key to sign with; repeats [default: the one that `airlift keygen` made]
    #[arg(long, value_name = "KEY")]
    sign: Vec<PathBuf>,
    /// Name of the bundle's files [default: the first lock's stack]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Carry what there is, although some artifacts were not fetched
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Program to lay beside the volumes instead of this one, for another architecture
    #[arg(long, value_name = "FILE")]
    carry: Option<PathBuf>,
    /// Lay no program beside the volumes
    #[arg(long, conflicts_with = "carry")]
    no_binary: bool,
    #[clap(skip)]
    earlier: Earlier,
}

pub(crate) async fn run(args: Args, app: &App) -> Result<Exit, Failure> {
    if let (Some(volumes), Some(root)) = (&args.volumes, &args.root) {
        return cut(&args.making, volumes, root, app).await;
    }
    let made =
        create(args.making, read_locks(&args.lock)?, app.open_store()?, args.dry_run, app).await?;
    app.print(&made)?;
    Ok(made.exit())
}

impl Making {
    /// As an image set is written: `name` in `folder`, in volumes of so many GiB, signed by these keys or our own.
    pub(crate) fn of_image_set(
        folder: &Path,
        volume_gib: u64,
        name: &str,
        sign: Vec<PathBuf>,
    ) -> Self {
        Self {
            to: vec![folder.to_owned()],
            volume_size: Some(Size(volume_gib << 30)),
            since: None,
            sign,
            name: Some(name.to_owned()),
            allow_missing: false,
            carry: None,
            no_binary: false,
            // As the peer does with its archives.
            earlier: Earlier::Replace,
        }
    }

    /// Says what is missing before anything is begun.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        if self.to.is_empty() {
            return Err(CliError::usage("name the folder for the volumes with `--to DIR`"));
        }
        Ok(())
    }
}

/// Plans the bundle of `locks` and writes it, or only says what it would be.
pub(crate) async fn create(
    making: Making,
    locks: Vec<Lock>,
    store: Store,
    dry_run: bool,
    app: &App,
) -> Result<Made, Failure> {
    making.check()?;
    let options = options(&making, &store, dry_run, app)?;
    let signed_by = options.keys.iter().map(SigningKey::public_text).collect();
    let ctx = app.ctx.clone();
    blocking(move || -> Result<Made, Failure> {
        let prepared = prepare(&store, &locks, &options)?;
        let is_written = !dry_run && !prepared.is_blocked();
        let created =
            is_written.then(|| prepared.write(&store, &making.to, &options, &ctx)).transpose()?;
        Ok(Made::of(prepared, created, signed_by))
    })
    .await?
}

fn options(
    making: &Making,
    store: &Store,
    dry_run: bool,
    app: &App,
) -> Result<CreateOptions, Failure> {
    let defaults = CreateOptions::default();
    Ok(CreateOptions {
        name: making.name.clone(),
        volume_bytes: making.volume_size.map_or(defaults.volume_bytes, |size| size.0),
        since: making.since.as_deref().map(|file| delivered(file, store)).transpose()?,
        allow_missing: making.allow_missing,
        keys: if dry_run { Vec::new() } else { keys(&making.sign, app)? },
        carry: if dry_run { Vec::new() } else { carried(making, app)? },
        earlier: making.earlier,
    })
}

/// The keys that `--sign` names, else the one that `keygen` made.
fn keys(files: &[PathBuf], app: &App) -> Result<Vec<SigningKey>, Failure> {
    let own = app.config_folder()?.join(KEY);
    let files = if files.is_empty() { vec![own] } else { files.to_vec() };
    let read = |file: &PathBuf| -> Result<SigningKey, Failure> {
        let help = "make one with `airlift keygen`, or name one with `--sign KEY`";
        read_file("signing key", file, Some(help))?;
        read_signing_key(file)
    };
    files.iter().map(read).collect()
}

/// What the far side has, by a receipt or by an earlier root.
fn delivered(file: &Path, store: &Store) -> Result<Delivered, Failure> {
    let bytes = read_file("receipt or root", file, None)?;
    let is_root = file.to_string_lossy().ends_with(".bundle.json");
    if is_root {
        return Ok(Delivered::by_root_file(file, store)?);
    }
    let in_file = CliError::in_file(file);
    let receipt = Receipt::parse(&bytes).map_err(|err| in_file(err.into()))?;
    let read = |digest: &Digest| store.read(digest, MAX_MANIFEST_BYTES);
    Ok(receipt.delivered(read)?)
}

/// The program to lay beside the volumes: only one that runs wherever it is carried.
fn carried(making: &Making, app: &App) -> Result<Vec<(String, PathBuf)>, CliError> {
    if making.no_binary {
        return Ok(Vec::new());
    }
    let failed = |source| CliError::Read { what: "the program to carry", source };
    let program = match &making.carry {
        Some(file) => file.clone(),
        None => std::env::current_exe().map_err(failed)?,
    };
    if elf::is_static(&program).map_err(failed)? {
        return Ok(vec![("airlift".to_owned(), program)]);
    }
    if making.carry.is_some() {
        return Err(CliError::Usage {
            message: format!("`{}` is not a static program", program.display()),
            help: Some(
                "carry one without an interpreter, as `cargo xtask dist` makes it".to_owned(),
            ),
        });
    }
    app.say("airlift itself is not carried: this build needs an interpreter");
    Ok(Vec::new())
}

/// `--volumes`: the same bytes once more, from the store alone.
async fn cut(making: &Making, volumes: &Ordinals, root: &str, app: &App) -> Result<Exit, Failure> {
    let to = match making.to.as_slice() {
        // The line that `verify` prints is carried back as it is, and must run as it is.
        [] => PathBuf::from("."),
        [to] => to.clone(),
        _ => {
            return Err(
                CliError::usage("`--volumes` writes to one folder: give `--to` once").into()
            );
        }
    };
    let root = match root.parse() {
        Ok(digest) => digest,
        Err(_) => Digest::of(&read_file("root", Path::new(root), None)?),
    };
    let (store, to, ordinals, ctx) = (app.open_store()?, to, volumes.0.clone(), app.ctx.clone());
    let created = blocking(move || cut_again(&store, &root, &ordinals, &to, &ctx)).await??;
    app.print(&Cut { created: &created })?;
    Ok(Exit::Success)
}

/// Volumes by number, like `17,23` or `4-6`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordinals(Vec<u32>);

impl FromStr for Ordinals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is not a list of volumes (expected one like `1,4-6`)");
        let mut ordinals = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| malformed());
            let (first, last) = (number(first)?, number(last)?);
            // Ordinals have five digits: a longer range is a slip of the finger.
            if last < first || last - first > 99_999 {
                return Err(malformed());
            }
            ordinals.extend(first..=last);
        }
        ordinals.sort_unstable();
        ordinals.dedup();
        Ok(Self(ordinals))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    name: String,
    root: Digest,
    artifacts: usize,
    volumes: Vec<u64>,
    left_out_blobs: usize,
    findings: Vec<Finding>,
    /// None where nothing was written.
    created: Option<Created>,
    /// Public keys, as `trust/` on the far side takes them.
    signed_by: Vec<String>,
}

impl Made {
    fn of(prepared: Prepared, created: Option<Created>, signed_by: Vec<String>) -> Self {
        let (root, digest) = (prepared.plan.root, prepared.plan.digest);
        let mut findings = prepared.findings;
        findings.extend(created.iter().flat_map(|created| created.findings.clone()));
        Self {
            name: root.name,
            root: digest,
            artifacts: root.artifacts.len(),
            volumes: root.volumes,
            left_out_blobs: root.left_out.len(),
            findings,
            created,
            signed_by,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit::of_parts(&[], &self.findings)
    }
}

impl Report for Made {
    fn to_text(&self) -> String {
        let summary = format!(
            "{}  {}  {} on {}, {}",
            self.name,
            short(&self.root),
            counted(self.artifacts as u64, "artifact"),
            counted(self.volumes.len() as u64, "volume"),
            human(self.volumes.iter().sum()),
        );
        let signed_by = self.created.as_ref().map(|_| {
            let keys = self.signed_by.iter().filter_map(|key| key.lines().last());
            keys.map(|key| format!("signed by {key}")).collect::<Vec<_>>().join("\n")
        });
        let table = self.created.as_ref().map(volumes_text);
        joined([Some(findings_text(&self.findings)), table, Some(summary), signed_by])
    }
}

#[derive(Debug, Serialize)]
struct Cut<'a> {
    created: &'a Created,
}

impl Report for Cut<'_> {
    fn to_text(&self) -> String {
        volumes_text(self.created)
    }
}

fn volumes_text(created: &Created) -> String {
    let mut table = Table::new(&["volume", "size", "state"]).right(&[1]);
    for volume in &created.volumes {
        let state = if volume.is_kept { "there before" } else { "written" };
        table.row([volume.file.display().to_string(), human(volume.size), state.to_owned()]);
    }
    table.to_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_listed_one_by_one_or_as_ranges() {
        let table: [(&str, &[u32]); 4] =
            [("17", &[17]), ("17,23", &[17, 23]), ("4-6,1", &[1, 4, 5, 6]), ("2,2", &[2])];
        for (text, ordinals) in table {
            assert_eq!(text.parse(), Ok(Ordinals(ordinals.to_vec())), "{text}");
        }
        for text in ["", "a", "6-4", "1,,2", "-3", "0-4000000000"] {
            assert!(text.parse::<Ordinals>().is_err(), "{text}");
        }
    }
}
