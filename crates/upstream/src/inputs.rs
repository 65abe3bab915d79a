//! The local files that decide what a stack means, by their digests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use airlift_spec::stack::{
    self, ChartPlace, Finder, FinderKind, ImageSource, Origin, Place, Stack,
};
use airlift_spec::{Algorithm, Digest, Hasher};

use crate::UpstreamError;
use crate::local::{open_regular, read_error, wrong};

/// Most files of one folder that are looked at.
const MAX_FILES: usize = 200_000;

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 64;

/// The digests of all local files that decide what `stack` means, as the lock records them.
///
/// # Errors
///
/// A file that cannot be read, with the line of the stack that names it.
pub fn inputs(stack: &Stack, base: &Path) -> Result<BTreeMap<String, Digest>, UpstreamError> {
    hashed(stack, base)
        .map(|input| input.digest.map_err(|err| err.at(input.line, input.written)))
        .collect()
}

/// The same without the files that cannot be read: each fails its own source, when that is pinned.
pub(crate) fn readable_inputs(stack: &Stack, base: &Path) -> BTreeMap<String, Digest> {
    hashed(stack, base).filter_map(|input| input.digest.ok()).collect()
}

struct Input<'a> {
    line: u64,
    written: &'a str,
    digest: Result<(String, Digest), UpstreamError>,
}

fn hashed<'a>(stack: &'a Stack, base: &'a Path) -> impl Iterator<Item = Input<'a>> {
    let images = stack.wanted_images().filter_map(|source| {
        let (path, file) = image_file(source, base)?;
        let digest = hash_file(&file).map(|digest| (path, digest));
        Some(Input { line: source.line, written: &source.written, digest })
    });
    let finders = stack.finders.iter().flat_map(move |finder| {
        paths(finder).into_iter().map(move |path| {
            let digest = hash_path(&local_file(path, base)).map(|digest| (path.to_owned(), digest));
            Input { line: finder.line, written: &finder.written, digest }
        })
    });
    let packs = stack.knowledge.iter().map(|pack| {
        let digest = hash_path(&base.join(&pack.path)).map(|digest| (pack.path.clone(), digest));
        Input { line: pack.line, written: &pack.path, digest }
    });
    images.chain(finders).chain(packs)
}

fn image_file(source: &ImageSource, base: &Path) -> Option<(String, PathBuf)> {
    match &source.origin {
        Origin::Registry => None,
        Origin::OciLayout { path, .. } => Some((path.clone(), layout_file(path, base))),
        Origin::DockerArchive { path } => Some((path.clone(), base.join(path))),
    }
}

/// All that an OCI layout holds hangs on its index.
fn layout_file(path: &str, base: &Path) -> PathBuf {
    base.join(path).join("index.json")
}

/// The files and folders that a finder depends on, as the stack writes them.
pub(crate) fn paths(finder: &Finder) -> Vec<&str> {
    fn path(place: &Place) -> Option<&str> {
        match place {
            Place::Path(path) => Some(path),
            Place::Image(written) if written.starts_with("oci:") => Some(written),
            Place::Image(_) | Place::Url(_) => None,
        }
    }
    match &finder.kind {
        FinderKind::Manifests(manifests) => path(&manifests.place).into_iter().collect(),
        FinderKind::Catalog(catalog) => path(&catalog.place).into_iter().collect(),
        FinderKind::Release(_) => Vec::new(),
        FinderKind::Chart(chart) => {
            let own = match &chart.place {
                ChartPlace::Path(path) => Some(path.as_str()),
                ChartPlace::Oci(_) | ChartPlace::Repository { .. } => None,
            };
            let values = chart.values.iter().chain(chart.variants.iter().flatten());
            own.into_iter().chain(values.map(String::as_str)).collect()
        }
    }
}

fn local_file(path: &str, base: &Path) -> PathBuf {
    match stack::origin(path) {
        Origin::OciLayout { path, .. } => layout_file(&path, base),
        Origin::Registry | Origin::DockerArchive { .. } => base.join(path),
    }
}

/// The digest of a file, or of a folder with all that is in it.
fn hash_path(path: &Path) -> Result<Digest, UpstreamError> {
    let metadata = fs_err::metadata(path).map_err(|source| read_error(path, source))?;
    if !metadata.is_dir() {
        return hash_file(path);
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for file in files_below(path)? {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy();
        let line = format!("{} {}\n", hash_file(&file)?, name);
        hasher.update(line.as_bytes());
    }
    Ok(hasher.finish())
}

fn hash_file(path: &Path) -> Result<Digest, UpstreamError> {
    let mut file = open_regular(path)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|source| read_error(path, source))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// All that lies below a folder, sorted: files, and what is none, such as a pipe or a link to nothing. What begins with a
/// dot belongs to tools such as Git.
///
/// Links to folders are followed, and each folder is entered once, so that circles end: by its own path rather than by a
/// link.
pub(crate) fn files_below(top: &Path) -> Result<Vec<PathBuf>, UpstreamError> {
    let (mut files, mut entered) = (Vec::new(), BTreeSet::new());
    let root = without_links(top)?;
    let mut folders = VecDeque::from([(top.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop_back() {
        let whole = without_links(&folder)?;
        if whole != root && root.starts_with(&whole) {
            let help = "name that folder in the stack, or remove the link".to_owned();
            return Err(wrong(
                &folder,
                format!("leads to a folder that {} lies in", top.display()),
                Some(help),
            ));
        }
        if depth > MAX_DEPTH {
            let problem = format!("lies more than {MAX_DEPTH} folders deep");
            return Err(wrong(&folder, problem, None));
        }
        if !entered.insert(whole) {
            continue;
        }
        for path in visible(&folder)? {
            if !path.is_dir() {
                files.push(path);
            } else if path.is_symlink() {
                folders.push_front((path, depth + 1));
            } else {
                folders.push_back((path, depth + 1));
            }
        }
        if files.len() > MAX_FILES || folders.len() > MAX_FILES {
            return Err(wrong(&folder, format!("is one of more than {MAX_FILES} files"), None));
        }
    }
    files.sort();
    Ok(files)
}

fn without_links(path: &Path) -> Result<PathBuf, UpstreamError> {
    fs_err::canonicalize(path).map_err(|source| read_error(path, source))
}

/// What lies in a folder, sorted, so that links are followed in the same order every time.
fn visible(folder: &Path) -> Result<Vec<PathBuf>, UpstreamError> {
    let failed = |source| read_error(folder, source);
    let is_visible = |path: &PathBuf| {
        path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    };
    let entries = fs_err::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| Ok(entry.map_err(failed)?.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, UpstreamError>>()?;
    paths.retain(is_visible);
    paths.sort();
    Ok(paths)
}
