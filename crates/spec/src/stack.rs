//! `airlift.yaml`: what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::digest::Digest;
use crate::lock::Because;
use crate::password::has_password;
use crate::platform::{Platform, Platforms};
use crate::reference::{ParseReferenceError, Reference};

mod exclude;
mod finder;
mod source;

pub use exclude::{EXCLUDED, Exclude, Expression, Pattern, excluded_by};
pub use finder::{
    CatalogSource, ChannelWish, ChartPlace, ChartSource, Dependencies, Finder, FinderKind,
    ManifestsSource, PackageWish, Place, Product, RELEASE_ARCHITECTURES, ReleaseChannel,
    ReleaseSource, Releases, Rules, Selection, Switches,
};
use source::{Source, SourceWire};

/// The version of the format that this airlift reads.
pub const VERSION: u32 = 1;

/// How many parts of a file may come from aliases: those within each other make seconds of work out of a few lines.
const MAX_FROM_ALIASES: usize = 50_000;

/// A stack: what somebody wants on the far side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub name: String,
    pub platforms: Platforms,
    /// The sources that are images by themselves.
    pub images: Vec<ImageSource>,
    /// The sources that find images.
    pub finders: Vec<Finder>,
    pub exclude: Vec<Exclude>,
    /// Knowledge packs beside those that airlift brings.
    pub knowledge: Vec<Pack>,
}

/// An entry of `knowledge:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// A file, or a folder of such, relative to the stack's folder.
    pub path: String,
    /// Line in the file, counted from 1.
    pub line: u64,
}

/// An `image:` source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// The value as it was written, which is the source's key in the lock's reasons.
    pub written: String,
    /// Line in the file, counted from 1.
    pub line: u64,
    /// The canonical name it has, here and on the far side.
    pub reference: Reference,
    pub origin: Origin,
    /// Its names in the layout of oc-mirror, where these are not its own.
    pub mirrored_as: BTreeSet<Reference>,
    /// Platforms of this source alone; the stack's where there are none.
    own_platforms: Option<Platforms>,
    /// Reasons that a request file brought along.
    requested: Vec<Because>,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Registry,
    /// An OCI layout on this machine, and the name within it where it holds several.
    OciLayout {
        path: String,
        name: Option<String>,
    },
    DockerArchive {
        path: String,
    },
}

/// Why some text is not a stack.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("{0}")]
    Yaml(String),
    #[error("version {found} of the format is newer than the {VERSION} that this airlift reads")]
    TooNew { found: u32 },
    #[error("line {line}: {message}")]
    Value { line: u64, message: String },
    #[error("line {line}: `{text}` is not an image reference")]
    Reference { line: u64, text: String, source: ParseReferenceError },
    #[error(
        "line {line}: `{field}:` has an address with a name or a password in it, which a lock must not hold"
    )]
    Password { line: u64, field: &'static str },
    #[error("line {line}: `{kind}:` sources are not supported by this version of airlift")]
    Unsupported { line: u64, kind: String },
    #[error("it wants nothing: `sources:` is absent or empty")]
    Empty,
}

impl crate::Explain for StackError {
    fn class(&self) -> crate::Class {
        crate::Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::TooNew { .. } => Some("use a newer version of airlift".to_owned()),
            Self::Unsupported { .. } => Some("list its images as `image:` sources".to_owned()),
            Self::Reference { text, .. } => {
                text.split_once("://").map(|(scheme, _)| format!("leave out `{scheme}://`"))
            }
            Self::Password { .. } => Some(
                "take it out, and let `airlift login HOST` keep it; for a Git repository, `~/.netrc`"
                    .to_owned(),
            ),
            Self::Empty => {
                Some("list what to carry, like `sources: [{image: quay.io/org/app:1}]`".to_owned())
            }
            Self::Yaml(_) | Self::Value { .. } => None,
        }
    }
}

/// Whether `text` can name a stack or a bundle: it becomes a file name on both sides and a tag.
pub fn is_name(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=40).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'-')
        && !is_windows_device(text)
}

/// Names that Windows refuses for a file, whatever their extension.
fn is_windows_device(text: &str) -> bool {
    let numbered = |prefix: &str| {
        text.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']))
    };
    matches!(text, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

impl Stack {
    /// Images that no `exclude:` rule takes out.
    pub fn wanted_images(&self) -> impl Iterator<Item = &ImageSource> {
        self.images.iter().filter(|source| {
            let mut names = source.mirrored_as.clone();
            excluded_by(&self.exclude, &source.reference, &mut names).is_none()
        })
    }

    /// What each source that finds others asks for, by its key: what the lock's artifacts depend on beside files.
    pub fn finders(&self) -> BTreeMap<String, Digest> {
        let knowledge: Vec<&str> = self.knowledge.iter().map(|pack| pack.path.as_str()).collect();
        let normal = |finder: &Finder| {
            let asked = (&finder.kind, finder.platforms(self).to_string(), &self.exclude);
            // Locks of stacks without knowledge of their own are older than it.
            let text = if knowledge.is_empty() {
                serde_json::to_vec(&asked)
            } else {
                serde_json::to_vec(&(asked, &knowledge))
            };
            (finder.key(), Digest::of(&text.expect("a source has only text keys")))
        };
        self.finders.iter().map(normal).collect()
    }
}

impl ImageSource {
    /// A source that no stack file has: what another tool's configuration asks for.
    pub fn new(
        written: String,
        line: u64,
        reference: Reference,
        origin: Origin,
        own_platforms: Option<Platforms>,
    ) -> Self {
        let (mirrored_as, requested) = (BTreeSet::new(), Vec::new());
        Self { written, line, reference, origin, mirrored_as, own_platforms, requested }
    }

    pub fn platforms<'a>(&'a self, stack: &'a Stack) -> &'a Platforms {
        self.own_platforms.as_ref().unwrap_or(&stack.platforms)
    }

    /// The reasons that this source gives for its artifact.
    pub fn because(&self) -> Vec<Because> {
        let mut because = self.requested.clone();
        because.push(Because::of_image_source(&self.written));
        because.sort();
        because.dedup();
        because
    }

    /// The origin as the lock writes it.
    pub fn from_text(&self) -> Option<String> {
        match &self.origin {
            Origin::Registry => None,
            Origin::OciLayout { path, name: None } => Some(format!("oci:{path}")),
            Origin::OciLayout { path, name: Some(name) } => Some(format!("oci:{path}:{name}")),
            Origin::DockerArchive { path } => Some(format!("docker-archive:{path}")),
        }
    }
}

/// Reads a stack file. Pure: callers do the I/O.
pub fn parse(text: &str) -> Result<Stack, StackError> {
    // Version before content: a newer file must say "too new", not "unknown field".
    let header: Header = yaml(text)?;
    if header.version > VERSION {
        return Err(StackError::TooNew { found: header.version });
    }
    let wire: StackWire = yaml(text)?;
    if !is_name(&wire.name.value) {
        let message = format!(
            "`{}` is not a stack name (lowercase letters, digits and `-`, at most 40, and no name that Windows keeps for itself)",
            wire.name.value
        );
        return Err(StackError::Value { line: line(&wire.name), message });
    }
    let platforms = wire.platforms.map_or(Ok(Platforms::All), platforms)?;
    if wire.sources.is_empty() {
        return Err(StackError::Empty);
    }
    let (mut images, mut finders) = (Vec::new(), Vec::new());
    for source in wire.sources {
        let line = line(&source);
        match source.value.read(line)? {
            Source::Image(image) => images.push(image),
            Source::Finder(finder) => finders.push(finder),
        }
    }
    let named = images.iter().map(|image| (image.reference.to_string(), image.line));
    refuse_twins(named.chain(finders.iter().map(|finder| (finder.key(), finder.line))))?;
    let pack = |path: Spanned<String>| {
        refuse_password("knowledge", line(&path), &path.value)?;
        Ok(Pack { line: line(&path), path: path.value })
    };
    let knowledge = wire.knowledge.into_iter().map(pack).collect::<Result<Vec<Pack>, _>>()?;
    refuse_twins(knowledge.iter().map(|pack| (pack.path.clone(), pack.line)))?;
    let (name, exclude) = (wire.name.value, wire.exclude);
    Ok(Stack { name, platforms, images, finders, exclude, knowledge })
}

/// Two sources of one name cannot both be right, and one would silently win.
fn refuse_twins(sources: impl Iterator<Item = (String, u64)>) -> Result<(), StackError> {
    let mut seen = BTreeMap::new();
    for (name, line) in sources {
        if let Some(first) = seen.insert(name.clone(), line) {
            let message = format!("`{name}` stands on line {first} already");
            return Err(StackError::Value { line, message });
        }
    }
    Ok(())
}

/// A source's address stands in the lock, which lies in a repository and crosses the gap.
fn refuse_password(field: &'static str, line: u64, written: &str) -> Result<(), StackError> {
    if has_password(written) { Err(StackError::Password { line, field }) } else { Ok(()) }
}

fn yaml<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, StackError> {
    let limits = serde_saphyr::alias_limits! { max_total_replayed_events: MAX_FROM_ALIASES };
    let options = serde_saphyr::options! { alias_limits: limits };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|err| StackError::Yaml(without_advice(&err.to_string())))
}

/// The parser's words without what only a programmer can follow, and without the lines that say it all once more.
fn without_advice(message: &str) -> String {
    let message = message.split("\n -->").next().unwrap_or(message);
    let message = message.strip_prefix("error: ").unwrap_or(message);
    message
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "")
        .replace("; use from_str_multiple or from_str_multiple_with_options", "")
        .replace("recursive references require weak recursion types", "it refers to itself")
        .replace("budget breached: ", "larger than a stack may be: ")
        .replace("alias replay limit exceeded: ", "larger than a stack may be: ")
}

fn line<T>(spanned: &Spanned<T>) -> u64 {
    spanned.referenced.line()
}

fn platforms(written: Spanned<PlatformsWire>) -> Result<Platforms, StackError> {
    let line = line(&written);
    let wrong = |message: String| StackError::Value { line, message };
    match written.value {
        PlatformsWire::Word(word) if word == "all" => Ok(Platforms::All),
        PlatformsWire::Word(word) => {
            Err(wrong(format!("`platforms: {word}` is neither `all` nor a list")))
        }
        PlatformsWire::List(list) if list.is_empty() => {
            Err(wrong("`platforms:` is an empty list".to_owned()))
        }
        PlatformsWire::List(list) => {
            let parse =
                |text: &String| text.parse::<Platform>().map_err(|err| wrong(err.to_string()));
            Ok(Platforms::Only(list.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?))
        }
    }
}

/// What a source's value, or the `from` of a lock, says about where the bytes are.
pub fn origin(written: &str) -> Origin {
    if let Some(path) = written.strip_prefix("docker-archive:") {
        return Origin::DockerArchive { path: path.to_owned() };
    }
    let Some(rest) = written.strip_prefix("oci:") else {
        return Origin::Registry;
    };
    match rest.split_once(':') {
        Some((path, name)) => {
            Origin::OciLayout { path: path.to_owned(), name: Some(name.to_owned()) }
        }
        None => Origin::OciLayout { path: rest.to_owned(), name: None },
    }
}

#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// The file as written. Never leaves this module.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StackWire {
    #[expect(dead_code, reason = "`Header` read it; here it is only a known field")]
    version: u32,
    name: Spanned<String>,
    platforms: Option<Spanned<PlatformsWire>>,
    #[serde(default)]
    sources: Vec<Spanned<SourceWire>>,
    #[serde(default)]
    exclude: Vec<Exclude>,
    #[serde(default)]
    knowledge: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`all` or a list of platforms like `linux/amd64`")]
enum PlatformsWire {
    Word(String),
    List(Vec<String>),
}

#[cfg(test)]
mod tests;
