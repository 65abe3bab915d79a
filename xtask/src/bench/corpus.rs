//! What the benchmarks move: images of real files and of weights that do not compress, in the folders
//! of a registry.
//!
//! ```text
//! <corpus>/docker/registry/v2/       the storage of docker-registry and distribution, written as they would
//! ├── blobs/sha256/<xx>/<hex>/data
//! └── repositories/<name>/{_layers,_manifests}/…
//! <corpus>/images.json               what is in it
//! ```
//!
//! Written once and kept: real files are compressed for half a minute.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Result;

/// Of what a corpus is made. Another shape is another folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// 12 images that share layers, some 1.8 GB without what they share.
    Platform,
    /// 100 images of ten layers of 4 KiB each, none shared.
    Small,
}

/// A corpus on disk.
#[derive(Debug)]
pub(super) struct Corpus {
    /// What the registry is given as its root.
    pub(super) folder: PathBuf,
    pub(super) images: Vec<Image>,
}

#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) repository: String,
    pub(super) manifest: Blob,
    pub(super) config: Blob,
    pub(super) layers: Vec<Blob>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) bytes: u64,
}

/// The tag of every image.
pub(super) const TAG: &str = "v1";

/// Changes when a corpus made by an earlier version of this file would not do.
const VERSION: u32 = 1;

impl Corpus {
    /// The corpus in `home`, made if it is not there yet.
    pub(super) fn open(home: &Path, shape: Shape) -> Result<Self> {
        let name = match shape {
            Shape::Platform => "platform",
            Shape::Small => "small",
        };
        let folder = home.join(format!("{name}-v{VERSION}"));
        let list = folder.join("images.json");
        if !list.is_file() {
            eprintln!("making the corpus {}", folder.display());
            let partial = folder.with_extension("partial");
            if partial.exists() {
                fs_err::remove_dir_all(&partial)?;
            }
            let mut writer = Writer { root: partial.join("docker/registry/v2"), made: 0 };
            let images = match shape {
                Shape::Platform => platform(&mut writer)?,
                Shape::Small => small(&mut writer)?,
            };
            fs_err::write(partial.join("images.json"), Value::from_iter(images).to_string())?;
            fs_err::rename(partial, &folder)?;
        }
        let listed: Vec<Value> = serde_json::from_slice(&fs_err::read(list)?)?;
        let images: Option<Vec<Image>> = listed.iter().map(Image::read).collect();
        Ok(Self { folder, images: images.ok_or("a corpus lists images that make no sense")? })
    }

    /// What the images are called when `host` serves them.
    pub(super) fn references(&self, host: SocketAddr) -> Vec<String> {
        self.images.iter().map(|image| format!("{host}/{}:{TAG}", image.repository)).collect()
    }

    /// Every blob once, manifests included.
    pub(super) fn unique(&self) -> Vec<&Blob> {
        let all = self
            .images
            .iter()
            .flat_map(|image| image.layers.iter().chain([&image.manifest, &image.config]));
        let mut blobs: Vec<&Blob> = all.collect();
        blobs.sort();
        blobs.dedup();
        blobs
    }

    pub(super) fn unique_bytes(&self) -> u64 {
        self.unique().iter().map(|blob| blob.bytes).sum()
    }

    /// The bytes of all images, shared layers counted each time.
    pub(super) fn summed_bytes(&self) -> u64 {
        let of = |image: &Image| {
            let layers: u64 = image.layers.iter().map(|blob| blob.bytes).sum();
            layers + image.manifest.bytes + image.config.bytes
        };
        self.images.iter().map(of).sum()
    }

    /// The largest layer and the image that has it.
    pub(super) fn largest(&self) -> (&Image, &Blob) {
        let all =
            self.images.iter().flat_map(|image| image.layers.iter().map(move |it| (image, it)));
        all.max_by_key(|(_, blob)| blob.bytes).expect("a corpus has layers")
    }
}

impl Image {
    fn to_value(&self) -> Value {
        let blob = |blob: &Blob| json!([blob.digest, blob.bytes]);
        json!({
            "repository": self.repository,
            "manifest": blob(&self.manifest),
            "config": blob(&self.config),
            "layers": self.layers.iter().map(blob).collect::<Vec<_>>(),
        })
    }

    fn read(value: &Value) -> Option<Self> {
        let blob = |value: &Value| {
            Some(Blob { digest: value[0].as_str()?.to_owned(), bytes: value[1].as_u64()? })
        };
        Some(Self {
            repository: value["repository"].as_str()?.to_owned(),
            manifest: blob(&value["manifest"])?,
            config: blob(&value["config"])?,
            layers: value["layers"].as_array()?.iter().map(blob).collect::<Option<_>>()?,
        })
    }
}

/// Three bases of real files, seven applications on top of them, two models.
fn platform(writer: &mut Writer) -> Result<Vec<Value>> {
    const MEGABYTE: u64 = 1_000_000;
    let mut files = RealFiles::new()?;
    let mut real = |writer: &mut Writer, megabytes: u64| files.layer(writer, megabytes * MEGABYTE);
    let bases: Vec<Vec<Blob>> = [[90, 60, 30], [120, 40, 10], [60, 60, 60]]
        .into_iter()
        .map(|sizes| sizes.into_iter().map(|size| real(writer, size)).collect())
        .collect::<Result<_>>()?;
    let mut images = Vec::new();
    for (at, base) in bases.iter().enumerate() {
        images.push(writer.image(&format!("base/os{at}"), base)?);
    }
    for at in 0..7 {
        let mut layers = bases[at % bases.len()].clone();
        for size in [50, 20, 5, 1] {
            layers.push(real(writer, size)?);
        }
        images.push(writer.image(&format!("apps/service{at}"), &layers)?);
    }
    let runtime = &bases[0];
    for (name, shards) in [("models/small", [110, 110, 110].as_slice()), ("models/large", &[760])] {
        let mut layers = runtime.clone();
        for size in shards {
            layers.push(writer.weights(size * MEGABYTE)?);
        }
        images.push(writer.image(name, &layers)?);
    }
    Ok(images)
}

fn small(writer: &mut Writer) -> Result<Vec<Value>> {
    let image = |at| {
        let layers: Result<Vec<Blob>> = (0..10).map(|_| writer.weights(4 << 10)).collect();
        writer.image(&format!("small/image{at:03}"), &layers?)
    };
    (0..100).map(image).collect()
}

/// Writes a registry's storage.
struct Writer {
    root: PathBuf,
    made: u64,
}

impl Writer {
    /// Keeps what `write` writes as a blob.
    fn blob(&mut self, write: impl FnOnce(&mut Hashing) -> io::Result<()>) -> Result<Blob> {
        fs_err::create_dir_all(&self.root)?;
        let partial = self.root.join("partial");
        let file = io::BufWriter::with_capacity(1 << 20, fs_err::File::create(&partial)?);
        let mut hashing = Hashing { file, hasher: Sha256::new(), bytes: 0 };
        write(&mut hashing)?;
        hashing.file.flush()?;
        let hex = hex::encode(hashing.hasher.finalize());
        let place = self.root.join("blobs/sha256").join(&hex[..2]).join(&hex);
        fs_err::create_dir_all(&place)?;
        fs_err::rename(partial, place.join("data"))?;
        Ok(Blob { digest: format!("sha256:{hex}"), bytes: hashing.bytes })
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Blob> {
        self.blob(|out| out.write_all(bytes))
    }

    /// A layer that nobody can compress.
    fn weights(&mut self, bytes: u64) -> Result<Blob> {
        let random = fs_err::File::open("/dev/urandom")?;
        let mut random = io::BufReader::with_capacity(1 << 20, random).take(bytes);
        self.blob(|out| io::copy(&mut random, out).map(drop))
    }

    fn image(&mut self, repository: &str, layers: &[Blob]) -> Result<Value> {
        self.made += 1;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"made": self.made.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|it| &it.digest).collect::<Vec<_>>()},
        });
        let config = self.bytes(config.to_string().as_bytes())?;
        let descriptor = |kind: &str, blob: &Blob| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "digest": blob.digest, "size": blob.bytes})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": layers.iter().map(|it| descriptor("layer.v1.tar+gzip", it)).collect::<Vec<_>>(),
        });
        let manifest = self.bytes(manifest.to_string().as_bytes())?;
        let image =
            Image { repository: repository.to_owned(), manifest, config, layers: layers.to_vec() };
        self.link(&image)?;
        Ok(image.to_value())
    }

    /// What makes the registry find the image: files that hold a digest each.
    fn link(&self, image: &Image) -> Result {
        let repository = self.root.join("repositories").join(&image.repository);
        let link = |place: String, digest: &str| -> Result {
            let folder = repository.join(place);
            fs_err::create_dir_all(&folder)?;
            Ok(fs_err::write(folder.join("link"), digest)?)
        };
        for blob in image.layers.iter().chain([&image.config]) {
            link(format!("_layers/{}", blob.digest.replace(':', "/")), &blob.digest)?;
        }
        let digest = &image.manifest.digest;
        let hex = digest.replace(':', "/");
        link(format!("_manifests/revisions/{hex}"), digest)?;
        link(format!("_manifests/tags/{TAG}/index/{hex}"), digest)?;
        link(format!("_manifests/tags/{TAG}/current"), digest)
    }
}

/// Counts and hashes what goes into a file.
struct Hashing {
    file: io::BufWriter<fs_err::File>,
    hasher: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// This machine's own programs and libraries, file after file.
struct RealFiles {
    files: std::vec::IntoIter<PathBuf>,
}

impl RealFiles {
    fn new() -> Result<Self> {
        let mut files = Vec::new();
        for folder in ["/usr/lib", "/usr/share", "/usr/bin", "/usr/local"] {
            collect(Path::new(folder), &mut files)?;
        }
        Ok(Self { files: files.into_iter() })
    }

    /// A layer of the next files, closed at `bytes` compressed ones.
    fn layer(&mut self, writer: &mut Writer, bytes: u64) -> Result<Blob> {
        writer.blob(|out| {
            let gzip = GzEncoder::new(out, Compression::fast());
            let mut tar = tar::Builder::new(gzip);
            while tar.get_ref().get_ref().bytes < bytes {
                let path = self.files.next();
                let path = path.ok_or_else(|| io::Error::other("not enough real files here"))?;
                // Files may vanish or be unreadable: another one will do.
                if let Ok(mut file) = fs_err::File::open(&path) {
                    let name = path.strip_prefix("/").unwrap_or(&path);
                    tar.append_file(name, file.file_mut())?;
                }
            }
            tar.into_inner()?.finish()?;
            Ok(())
        })
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result {
    let Ok(entries) = fs_err::read_dir(folder) else { return Ok(()) };
    let mut entries: Vec<_> = entries.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
