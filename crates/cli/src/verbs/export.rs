use std::path::{Path, PathBuf};

use airlift_spec::lock::Because;
use airlift_spec::{Failure, Layout, Lock};
use serde::Serialize;

use crate::app::{App, Exit, LOCK, read_lock};
use crate::error::CliError;
use crate::files;
use crate::output::{Report, findings_summary, has_errors};
use crate::place::RegistryPlace;
use crate::verbs::why::words;

mod csv;
mod cyclonedx;
mod olm;

/// Write a lock in a form that other tools read
///
/// `csv` is a row for each artifact, `cyclonedx` an SBOM of them all, and `olm` the objects that offer the lock's
/// catalogs to a cluster. The same lock gives the same bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lock to write
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write to, or for `olm` the folder that gets a file for each object [default: stdout]
    #[arg(long, value_name = "FILE|DIR")]
    to: Option<PathBuf>,
    /// The registry that a cluster pulls catalogs from, with the prefix that was loaded under; for `olm`
    #[arg(long, value_name = "REGISTRY[/PREFIX]", required_if_eq("format", "olm"))]
    registry: Option<RegistryPlace>,
    /// How names became repositories there: `host`, `oc-mirror`, `oc-mirror:N` or `flat:N`
    #[arg(long, value_name = "LAYOUT", default_value_t, requires = "registry")]
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A row for each artifact
    Csv,
    /// A CycloneDX 1.6 SBOM, as JSON
    Cyclonedx,
    /// A `CatalogSource` and a `ClusterCatalog` for each catalog
    Olm,
}

pub(crate) fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let lock = read_lock(&args.lock)?;
    let texts = texts(&lock, args)?;
    // What is written says nothing of what is missing, and whoever passes it on has to know.
    if let Some(findings) = findings_summary(&lock.findings).filter(|_| has_errors(&lock.findings))
    {
        app.say(format_args!("the lock has {findings}, which `airlift tree` shows"));
    }
    match &args.to {
        None => {
            let texts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
            app.print_as_is(&texts.concat())?;
        }
        Some(to) => {
            let files = texts.iter().map(|(name, text)| write(to, name.as_deref(), text));
            app.print(&Written { files: files.collect::<Result<_, _>>()? })?;
        }
    }
    Ok(Exit::Success)
}

/// What is written; each part with the name of its file where the parts go to a folder.
fn texts(lock: &Lock, args: &Args) -> Result<Vec<(Option<String>, String)>, Failure> {
    match (args.format, &args.registry) {
        (Format::Csv, None) => Ok(vec![(None, csv::text(lock))]),
        (Format::Cyclonedx, None) => Ok(vec![(None, cyclonedx::text(lock))]),
        (Format::Olm, Some(registry)) => {
            let objects = olm::objects(lock, registry, args.layout)?;
            Ok(objects.into_iter().map(|object| (Some(object.file), object.text)).collect())
        }
        (Format::Csv | Format::Cyclonedx, Some(_)) | (Format::Olm, None) => {
            Err(CliError::usage("`--registry` and `--format olm` go together").into())
        }
    }
}

fn write(to: &Path, name: Option<&str>, text: &str) -> Result<PathBuf, CliError> {
    let file = name.map_or_else(|| to.to_owned(), |name| to.join(name));
    let what = "what is exported";
    files::replace(&file, text.as_bytes()).map_err(|source| CliError::Write { what, source })?;
    Ok(file)
}

/// A reason on one line.
fn reason(because: &Because) -> String {
    let place = if because.path.is_empty() { "" } else { " at " };
    format!("{} {}{place}{}", words(because.evidence), because.from, because.path)
}

#[derive(Debug, Serialize)]
struct Written {
    files: Vec<PathBuf>,
}

impl Report for Written {
    fn to_text(&self) -> String {
        let lines = self.files.iter().map(|file| format!("wrote {}", file.display()));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod sample;
