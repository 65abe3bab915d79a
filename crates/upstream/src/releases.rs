//! Where releases are looked up: the graph of updates, what signs them, and the data of all graphs.
//!
//! Each comes from where it is published, from an address in its place, or from a folder with the same files:
//!
//! ```text
//! <graph folder>/
//! ├── amd64-stable-4.20.json          what the update service says of a channel, by architecture
//! └── graph-data.tar.gz               the data of all graphs
//! <signature folder>/
//! └── sha256=<digest>/signature-1     what signs a release
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};

use airlift_oc_mirror::{
    GRAPH_DATA, Graph, Keyring, SIGNATURES, Signed, graph_answer, graph_data_url, graph_url,
    signature_url,
};
use airlift_spec::stack::Product;
use airlift_spec::{Ctx, Digest};
use bytes::Bytes;

use crate::charts::file;
use crate::local::{read_error, read_whole, wrong};
use crate::resolve::Upstream;
use crate::{UpstreamError, blocking};

/// What the update service answers with.
const JSON: &str = "application/json";

/// Most bytes of the graph of a channel.
const MAX_GRAPH_BYTES: usize = 64 << 20;

/// Most bytes of the data of all graphs.
const MAX_GRAPH_DATA_BYTES: usize = 64 << 20;

/// Most bytes of a signature, or of a file of keys.
const MAX_SIGNATURE_BYTES: usize = 1 << 20;

/// Most files of a folder that are named where the one that is wanted is not there.
const MAX_NAMED: usize = 20;

/// What takes the place of where releases are published. The default takes none.
#[derive(Debug, Clone, Default)]
pub struct ReleasePlaces {
    /// An address, `file://DIR`, or a folder.
    pub graph: Option<String>,
    pub signatures: Option<String>,
    /// An armored file of the keys that sign releases, in place of Red Hat's.
    pub keys: Option<PathBuf>,
    /// Takes releases that nobody whom we know has signed, with a finding.
    pub trust_without_signature: bool,
    /// A folder in which answers about channels are kept, for whoever has to do without the service.
    pub answers: Option<PathBuf>,
}

/// A signature that is good.
pub(crate) struct Good {
    /// As it was found.
    pub(crate) bytes: Vec<u8>,
    pub(crate) signed: Signed,
}

/// Looks releases up.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) ctx: &'a Ctx,
}

impl Lookup<'_> {
    /// What the update service says of a channel.
    pub(crate) async fn graph(
        &self,
        product: Product,
        architecture: &str,
        channel: &str,
    ) -> Result<Graph, UpstreamError> {
        let places = &self.upstream.releases;
        let name = graph_answer(architecture, channel);
        let (place, bytes) = if let Some(folder) = folder(places.graph.as_deref()) {
            let path = folder.join(&name);
            let bytes = saved(&folder, &path, MAX_GRAPH_BYTES).await?;
            (path.display().to_string(), bytes)
        } else {
            let url = graph_url(product, places.graph.as_deref(), architecture, channel);
            // The service refuses whoever does not say so.
            let client = &self.upstream.client;
            let found = client.file_of_type(&url, JSON, MAX_GRAPH_BYTES, self.ctx).await;
            let found =
                found.map_err(|source| UpstreamError::Client { reference: url.clone(), source })?;
            let bytes = found.ok_or_else(|| UpstreamError::Absent { reference: url.clone() })?;
            (url, bytes)
        };
        let understood = Graph::parse(&bytes);
        let graph = understood.map_err(|source| UpstreamError::Answer { place, source })?;
        if let Some(folder) = places.answers.clone() {
            blocking(move || keep(&folder, &name, &bytes)).await?;
        }
        Ok(graph)
    }

    /// The data of all graphs, and where it is.
    pub(crate) async fn graph_data(&self) -> Result<(String, Bytes), UpstreamError> {
        let place = self.upstream.releases.graph.as_deref();
        let place = match folder(place) {
            Some(folder) => format!("file://{}", folder.join(GRAPH_DATA).display()),
            None => graph_data_url(place),
        };
        let data = self.graph_data_at(&place).await?;
        Ok((place, data))
    }

    pub(crate) async fn graph_data_at(&self, place: &str) -> Result<Bytes, UpstreamError> {
        match folder(Some(place)) {
            Some(path) => {
                let above = path.parent().unwrap_or(&path).to_owned();
                saved(&above, &path, MAX_GRAPH_DATA_BYTES).await
            }
            None => file(place, MAX_GRAPH_DATA_BYTES, self.upstream, self.ctx).await,
        }
    }

    /// What signs a release, checked.
    pub(crate) async fn signature(
        &self,
        reference: &str,
        release: Digest,
    ) -> Result<Good, UpstreamError> {
        let keys = self.keys().await?;
        let base = self.upstream.releases.signatures.as_deref().unwrap_or(SIGNATURES);
        let place = signature_url(base, release);
        let bytes = if let Some(path) = folder(Some(&place)) {
            on_disk(path, MAX_SIGNATURE_BYTES).await?
        } else {
            let found = self.upstream.client.file(&place, MAX_SIGNATURE_BYTES, self.ctx).await;
            found.map_err(|source| UpstreamError::Client { reference: place.clone(), source })?
        };
        let reference = reference.to_owned();
        let Some(bytes) = bytes else { return Err(UpstreamError::Unsigned { reference, place }) };
        match keys.check(&bytes, release) {
            Ok(signed) => Ok(Good { bytes: bytes.to_vec(), signed }),
            Err(source) => Err(UpstreamError::Signature { reference, source }),
        }
    }

    /// The keys whose signatures count.
    pub(crate) async fn keys(&self) -> Result<Keyring, UpstreamError> {
        let Some(file) = self.upstream.releases.keys.clone() else { return Ok(Keyring::red_hat()) };
        let path = file.display().to_string();
        let read = move || {
            if !file.exists() {
                let help =
                    "correct OCP_SIGNATURE_VERIFICATION_PK; without it, Red Hat's own key counts";
                return Err(wrong(&file, "is not there".to_owned(), Some(help.to_owned())));
            }
            read_whole(&file, MAX_SIGNATURE_BYTES as u64)
        };
        let text = blocking(read).await?;
        let read = Keyring::parse(&String::from_utf8_lossy(&text));
        read.map_err(|source| UpstreamError::Keys { path, source })
    }
}

/// The path that a place is, if it is on this machine.
fn folder(place: Option<&str>) -> Option<PathBuf> {
    let place = place?;
    match place.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(PathBuf::from(place)),
    }
}

/// A file of this machine; none where it is not there.
async fn on_disk(path: PathBuf, limit: usize) -> Result<Option<Bytes>, UpstreamError> {
    blocking(move || match fs_err::exists(&path) {
        Ok(false) => Ok(None),
        Ok(true) => read_whole(&path, limit as u64).map(|bytes| Some(bytes.into())),
        Err(source) => Err(read_error(&path, source)),
    })
    .await
}

/// A file of a folder of saved answers. Where it is not there, those that are say what was meant perhaps.
async fn saved(folder: &Path, path: &Path, limit: usize) -> Result<Bytes, UpstreamError> {
    if let Some(bytes) = on_disk(path.to_owned(), limit).await? {
        return Ok(bytes);
    }
    let (folder, path) = (folder.to_owned(), path.display().to_string());
    let names = blocking(move || names(&folder)).await;
    let help = (!names.is_empty()).then(|| format!("its folder has {}", names.join(", ")));
    Err(UpstreamError::Local { path, problem: "is not there".to_owned(), help })
}

/// The names in a folder; none where it cannot be read, which the file in it has said already.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.truncate(MAX_NAMED);
    names
}

/// Replaces an answer as a whole.
fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), UpstreamError> {
    let path = folder.join(name);
    let partial = folder.join(format!("{name}.partial"));
    let failed = |source| UpstreamError::Keep { path: path.display().to_string(), source };
    let write = || {
        fs_err::create_dir_all(folder)?;
        let mut file = fs_err::File::create(&partial)?;
        file.write_all(bytes)?;
        // Before it has its name: a power cut leaves no empty answer.
        file.sync_all()?;
        fs_err::rename(&partial, &path)
    };
    write().map_err(failed)
}

impl UpstreamError {
    /// Whether nothing but its signature is wrong with a release.
    pub(crate) fn is_about_a_signature(&self) -> bool {
        matches!(self, Self::Unsigned { .. } | Self::Signature { .. })
    }
}
