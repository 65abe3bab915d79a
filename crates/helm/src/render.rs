//! What a chart renders to, by the `helm` program.
//!
//! Helm runs with an empty environment and homes of its own, asks no cluster and no network, and is stopped when it
//! takes too long. Hooks and tests are rendered as well: the cluster will pull their images.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airlift_scan::ScanError;
use airlift_spec::{Class, Ctx, Digest, Explain};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use crate::process::{self, Limits, Ran, Stopped};
use crate::scratch::Scratch;
use crate::switch::{self, Switch};
use crate::{Chart, ChartError};

mod images;
mod path;

pub use images::{Image, Images, Object};
pub use path::{FieldPath, ParsePathError};

/// The `helm` program of this machine.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    version: String,
}

/// How a chart is rendered. The default is what `helm template` does by itself.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    pub release: String,
    pub namespace: String,
    /// Values files, the later over the earlier.
    pub values: Vec<PathBuf>,
    /// `a.b=c`, over all files.
    pub sets: Vec<String>,
    /// The version of Kubernetes that the chart is told.
    pub kube_version: Option<String>,
    /// Further APIs that the chart is told of, like `monitoring.coreos.com/v1`.
    pub api_versions: Vec<String>,
    /// What one render may take.
    pub limits: Limits,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            release: "release".to_owned(),
            namespace: "default".to_owned(),
            values: Vec::new(),
            sets: Vec::new(),
            kube_version: None,
            api_versions: Vec::new(),
            limits: Limits::within(Duration::from_mins(2)),
        }
    }
}

/// A chart that lies ready to be rendered, any number of times and from several threads.
#[derive(Debug)]
pub struct Renderer<'a> {
    helm: &'a Helm,
    chart: &'a Chart,
    scratch: Scratch,
    package: PathBuf,
    /// Where images stand beside where they usually do.
    paths: Vec<FieldPath>,
    /// What was found in documents that were looked through.
    seen: Mutex<BTreeMap<Digest, Arc<Images>>>,
}

/// What a chart renders to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The objects as Helm writes them, each after a line that names its template.
    pub documents: String,
    /// The values that were changed for this render.
    pub switches: Vec<Switch>,
}

/// Why a chart was not rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    #[error("there is no `helm` program{}", .program.as_ref().map_or(String::new(), |at| format!(" at `{}`", at.display())))]
    Absent { program: Option<PathBuf> },
    #[error("`{program}` is not Helm 3 or 4: it calls itself `{said}`")]
    NotHelm { program: String, said: String },
    #[error("failed to run `{program}`")]
    Run { program: String, source: io::Error },
    #[error("failed to prepare the chart `{chart}` for Helm")]
    Scratch { chart: String, source: io::Error },
    #[error("Helm cannot render the chart `{chart}`: {message}")]
    Refused { chart: String, message: String },
    #[error("Helm was stopped while it rendered the chart `{chart}`: {problem}")]
    Exceeded { chart: String, problem: String },
    #[error("what the chart `{chart}` renders to cannot be read")]
    Unreadable { chart: String, source: ScanError },
    #[error(transparent)]
    Chart(ChartError),
    #[error(transparent)]
    Path(ParsePathError),
    #[error("cancelled")]
    Cancelled,
}

impl Explain for RenderError {
    fn class(&self) -> Class {
        match self {
            Self::Scratch { .. } => Class::Storage,
            Self::Cancelled => Class::Cancelled,
            Self::Chart(source) => source.class(),
            Self::Path(source) => source.class(),
            _ if self.no_room().is_some() => Class::Storage,
            Self::Absent { .. }
            | Self::NotHelm { .. }
            | Self::Run { .. }
            | Self::Refused { .. }
            | Self::Exceeded { .. }
            | Self::Unreadable { .. } => Class::Input,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Absent { .. } | Self::NotHelm { .. } => {
                Some("install Helm 4 (or 3) and put it on the PATH".to_owned())
            }
            Self::Refused { message, .. } => {
                self.no_room().or_else(|| remedy(message).map(str::to_owned))
            }
            Self::Run { .. } | Self::Scratch { .. } => self.no_room(),
            Self::Chart(source) => source.help(),
            Self::Path(source) => source.help(),
            _ => None,
        }
    }
}

impl RenderError {
    /// What helps where there is no room for what Helm is given, or for what it writes.
    fn no_room(&self) -> Option<String> {
        match self {
            Self::Run { source, .. } | Self::Scratch { source, .. } => {
                process::no_room(&source.to_string())
            }
            Self::Refused { message, .. } => process::no_room(message),
            _ => None,
        }
    }
}

/// What helps against the refusals that Helm words alike for all charts.
fn remedy(message: &str) -> Option<&'static str> {
    [
        ("missing in charts/", "run `helm dependency build` in the chart's folder"),
        ("incompatible with Kubernetes", "name the cluster's version of Kubernetes for this chart"),
        ("execution error at", "give the values that the chart asks for"),
        ("values don't meet the specifications", "mend the values that it names"),
    ]
    .into_iter()
    .find_map(|(part, help)| message.contains(part).then_some(help))
}

impl Helm {
    /// Finds Helm: the program at `explicit`, else the first `helm` in the folders of `search_path`.
    pub fn find(
        explicit: Option<&Path>,
        search_path: &OsStr,
        ctx: &Ctx,
    ) -> Result<Self, RenderError> {
        let named = explicit.map(Path::to_owned);
        let mut programs =
            named.clone().map_or_else(|| on_path("helm", search_path), |path| vec![path]);
        programs.retain(|program| program.is_file());
        let Some(program) = programs.into_iter().next() else {
            return Err(RenderError::Absent { program: named });
        };
        let version = version(&program, ctx)?;
        Ok(Self { program, version })
    }

    /// As the program says it, like `v4.3.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Lays `chart` ready for renders.
    pub fn prepare<'a>(&'a self, chart: &'a Chart) -> Result<Renderer<'a>, RenderError> {
        let failed = |source| RenderError::Scratch { chart: chart.place().to_owned(), source };
        let scratch = Scratch::new().map_err(failed)?;
        let package = scratch.path().join("chart.tgz");
        fs_err::write(&package, chart.package()).map_err(failed)?;
        let (paths, seen) = (Vec::new(), Mutex::default());
        Ok(Renderer { helm: self, chart, scratch, package, paths, seen })
    }
}

fn on_path(name: &str, search_path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(search_path).map(|folder| folder.join(name)).collect()
}

fn version(program: &Path, ctx: &Ctx) -> Result<String, RenderError> {
    let name = program.display().to_string();
    let failed = |source| RenderError::Run { program: name.clone(), source };
    let scratch = Scratch::new().map_err(failed)?;
    let mut command = process::isolated(program, scratch.path());
    command.args(["version", "--template", "{{.Version}}"]);
    let limits = RenderOptions::default().limits;
    let ran = process::run(&mut command, "Helm says its version", &limits, ctx);
    let said = match ran {
        Ok(ran) => String::from_utf8_lossy(&ran.stdout).trim().to_owned(),
        Err(Stopped::Cancelled) => return Err(RenderError::Cancelled),
        Err(Stopped::Failed(source)) => return Err(failed(source)),
        Err(Stopped::TimedOut | Stopped::TooMuch | Stopped::OutOfMemory | Stopped::Killed) => {
            String::new()
        }
    };
    match crate::version::parse(&said) {
        Some(version) if matches!(version.major, 3 | 4) => Ok(said),
        _ => Err(RenderError::NotHelm { program: name, said: said.chars().take(80).collect() }),
    }
}

impl Renderer<'_> {
    /// The chart that lies ready.
    pub fn chart(&self) -> &Chart {
        self.chart
    }

    /// Renders the chart. Hooks, tests and what lies in `crds/` are included.
    pub fn render(&self, options: &RenderOptions, ctx: &Ctx) -> Result<Rendered, RenderError> {
        self.render_with(options, &[], ctx)
    }

    /// Renders it with `switches` thrown. They lie over the values files, and below what is set.
    pub fn render_with(
        &self,
        options: &RenderOptions,
        switches: &[Switch],
        ctx: &Ctx,
    ) -> Result<Rendered, RenderError> {
        if ctx.is_cancelled() {
            return Err(RenderError::Cancelled);
        }
        let thrown = self.write(&switch::values(switches))?;
        let mut command = self.command(options)?;
        command.arg("--values").arg(thrown.path());
        let ran = self.run(&mut command, &options.limits, ctx)?;
        let documents = self.said(&ran)?;
        Ok(Rendered { documents, switches: switches.to_vec() })
    }

    fn command(&self, options: &RenderOptions) -> Result<Command, RenderError> {
        let mut command = process::isolated(&self.helm.program, self.scratch.path());
        command.args(["template", &options.release]).arg(&self.package);
        command.args(["--namespace", &options.namespace, "--include-crds"]);
        for path in &options.values {
            // Whole, so that Helm takes no name for an address that it would fetch.
            let whole = fs_err::canonicalize(path).map_err(|source| {
                let file = path.display().to_string();
                RenderError::Chart(ChartError::Values { file, source })
            });
            command.arg("--values").arg(whole?);
        }
        for set in &options.sets {
            command.args(["--set", set]);
        }
        if let Some(version) = &options.kube_version {
            command.args(["--kube-version", version]);
        }
        for api in &options.api_versions {
            command.args(["--api-versions", api]);
        }
        Ok(command)
    }

    fn write(&self, values: &Map<String, Value>) -> Result<NamedTempFile, RenderError> {
        let failed = |source| RenderError::Scratch { chart: self.place(), source };
        let file = NamedTempFile::with_suffix_in(".json", self.scratch.path()).map_err(failed)?;
        serde_json::to_writer(&file, values).map_err(|err| failed(err.into()))?;
        Ok(file)
    }

    fn said(&self, ran: &Ran) -> Result<String, RenderError> {
        if !ran.is_success {
            let message = self.own_words(&ran.stderr);
            return Err(RenderError::Refused { chart: self.place(), message });
        }
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }

    /// What Helm says of an error, without what only repeats that it is one, and with the chart's own name.
    fn own_words(&self, stderr: &str) -> String {
        let from = stderr.rfind("Error: ").map_or(0, |at| at + "Error: ".len());
        let words = stderr[from..].trim();
        let hint = words.find("\n\nUse --debug flag").unwrap_or(words.len());
        let package = self.package.display().to_string();
        words[..hint].replace(&package, self.chart.place())
    }

    fn run(&self, command: &mut Command, limits: &Limits, ctx: &Ctx) -> Result<Ran, RenderError> {
        let what = format!("Helm renders the chart `{}`", self.chart.place());
        process::run(command, &what, limits, ctx).map_err(|stopped| match stopped {
            Stopped::Cancelled => RenderError::Cancelled,
            Stopped::Failed(source) => {
                RenderError::Run { program: self.helm.program.display().to_string(), source }
            }
            stopped => {
                let problem = limits.problem(&stopped).unwrap_or_default();
                RenderError::Exceeded { chart: self.place(), problem }
            }
        })
    }

    fn place(&self) -> String {
        self.chart.place().to_owned()
    }
}
