//! A signed bundle of any size that takes no room: its volumes are sparse, and so is the work of making it.
//!
//! Written by docs/formats/bundle.md alone. Digests, table, root, sums and signatures are what `airlift` would make
//! of these blobs, and readers check them as ever. Only the tar headers are left out: they are the one part of a
//! volume that nobody reads who serves it, and with them every chunk would have to be hashed, for hours.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::corpus::{Blob, Content, Shape, lock};
use crate::Result;
use crate::process::run as execute;

const NAME: &str = "vast";
/// Marker, headers, and padding are made of blocks.
const BLOCK: u64 = 512;
const CHUNK_BYTES: u64 = 8 << 20;
/// airlift's default: what FAT32 takes.
const VOLUME_BYTES: u64 = 4088 << 20;

/// Writes the bundle of `shape` into `folder`, signed with the minisign key in the file `secret`.
pub(crate) fn write(folder: &Path, shape: Shape, secret: &Path) -> Result {
    fs_err::create_dir_all(folder)?;
    let mut volumes = Volumes::new(folder)?;
    let (mut artifacts, mut listed) = (Vec::new(), Vec::new());
    for image in shape.images() {
        let ordinals: BTreeSet<u64> = image
            .blobs
            .iter()
            .map(|blob| volumes.put(blob, Some(artifacts.len())))
            .collect::<Result<_>>()?;
        artifacts.push(image.artifact());
        listed.push(json!({
            "reference": image.reference,
            "digest": image.digest(),
            "bytes": image.bytes(),
            "volumes": ordinals,
        }));
    }
    volumes.close()?;
    let text = lock(NAME, &artifacts);
    volumes.first(&text)?;

    let Volumes { mut members, sizes, touched, .. } = volumes;
    members.sort_by(|a, b| a.key.cmp(&b.key));
    let count = members.len();
    let table: String = members.into_iter().map(|member| member.line + "\n").collect();
    fs_err::write(folder.join(format!("{NAME}.blobs")), &table)?;
    let root = json!({
        "format": 1,
        "needs": [],
        "name": NAME,
        "stacks": [{ "name": NAME, "lock": digest(text.as_bytes()) }],
        "volumes": sizes,
        "blobs": { "digest": digest(table.as_bytes()), "size": table.len(), "members": count },
        "artifacts": listed,
    });
    let root = serde_json::to_string(&root)?;
    let digest = digest(root.as_bytes());
    let root_file = folder.join(format!("{NAME}.bundle.json"));
    fs_err::write(&root_file, root)?;

    let mut signed = vec![root_file];
    for (ordinal, (size, touched)) in sizes.iter().zip(&touched).enumerate() {
        signed.push(write_sums(folder, &digest, ordinal, *size, touched)?);
    }
    sign(&signed, secret, &digest)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// One line of the table, and what it is sorted by.
struct Member {
    key: (String, Option<String>),
    line: String,
}

/// The volumes as they fill; volume 00000 comes last, because it holds the lock.
struct Volumes<'a> {
    folder: &'a Path,
    /// Of closed volumes.
    sizes: Vec<u64>,
    /// For each volume, the chunks that do not hold zeros alone.
    touched: Vec<BTreeSet<u64>>,
    members: Vec<Member>,
    open: fs_err::File,
    end: u64,
}

impl<'a> Volumes<'a> {
    fn new(folder: &'a Path) -> Result<Self> {
        let open = fs_err::File::create(file(folder, 1, "tar"))?;
        let (sizes, touched) = (vec![0], vec![BTreeSet::new(), BTreeSet::new()]);
        let (members, end) = (Vec::new(), marker_bytes());
        Ok(Self { folder, sizes, touched, members, open, end })
    }

    /// Lays a blob on the open volume, or on a new one if it is full, and says on which it lies.
    fn put(&mut self, blob: &Blob, artifact: Option<usize>) -> Result<u64> {
        if self.end + BLOCK + padded(blob.size) + 2 * BLOCK > VOLUME_BYTES {
            self.close()?;
            let ordinal = self.sizes.len();
            self.open = fs_err::File::create(file(self.folder, ordinal, "tar"))?;
            self.touched.push(BTreeSet::new());
            self.end = marker_bytes();
        }
        let ordinal = self.sizes.len();
        self.lay(ordinal, blob, None, artifact)?;
        Ok(ordinal as u64)
    }

    fn lay(
        &mut self,
        ordinal: usize,
        blob: &Blob,
        name: Option<&str>,
        artifact: Option<usize>,
    ) -> Result {
        let offset = self.end + BLOCK;
        self.end = offset + padded(blob.size);
        if let Content::Bytes(bytes) = &blob.content {
            self.open.file().write_all_at(bytes, offset)?;
            let last = (offset + blob.size.max(1) - 1) / CHUNK_BYTES;
            self.touched[ordinal].extend(offset / CHUNK_BYTES..=last);
        }
        let piece = json!({ "volume": ordinal, "offset": offset, "length": blob.size });
        let mut line = json!({ "digest": blob.digest(), "size": blob.size, "pieces": [piece] });
        if let Some(name) = name {
            line["name"] = name.into();
        }
        if let Some(artifact) = artifact {
            line["artifact"] = artifact.into();
        }
        let key = (blob.hex.clone(), name.map(str::to_owned));
        self.members.push(Member { key, line: line.to_string() });
        Ok(())
    }

    /// Ends the open volume.
    fn close(&mut self) -> Result {
        self.sizes.push(self.end + 2 * BLOCK);
        Ok(self.open.set_len(self.end + 2 * BLOCK)?)
    }

    /// Writes volume 00000.
    fn first(&mut self, lock: &str) -> Result {
        self.open = fs_err::File::create(file(self.folder, 0, "tar"))?;
        self.end = marker_bytes();
        let lock_name = format!("airlift/locks/{NAME}.json");
        for (name, text) in [
            ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json", r#"{"schemaVersion":2,"manifests":[]}"#),
            (&lock_name, lock),
            ("airlift/findings.json", r#"{"findings":[],"format":1}"#),
        ] {
            self.lay(0, &Blob::of(text.as_bytes().to_vec()), Some(name), None)?;
        }
        self.sizes[0] = self.end + 2 * BLOCK;
        Ok(self.open.set_len(self.sizes[0])?)
    }
}

/// The header of the marker, and its one block of content.
fn marker_bytes() -> u64 {
    2 * BLOCK
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

fn file(folder: &Path, ordinal: usize, ending: &str) -> PathBuf {
    folder.join(format!("{NAME}.{ordinal:05}.{ending}"))
}

/// The sums of a volume, of which only the chunks in `touched` are read.
fn write_sums(
    folder: &Path,
    root: &str,
    ordinal: usize,
    size: u64,
    touched: &BTreeSet<u64>,
) -> Result<PathBuf> {
    let volume = fs_err::File::open(file(folder, ordinal, "tar"))?;
    let mut chunk = vec![0; usize::try_from(CHUNK_BYTES)?];
    let sums = (0..size.div_ceil(CHUNK_BYTES)).map(|number| -> Result<String> {
        let start = number * CHUNK_BYTES;
        let length = CHUNK_BYTES.min(size - start);
        if length == CHUNK_BYTES && !touched.contains(&number) {
            return Ok(zeros_sum().to_owned());
        }
        let chunk = &mut chunk[..usize::try_from(length)?];
        volume.file().read_exact_at(chunk, start)?;
        Ok(hex::encode(Sha256::digest(&*chunk)))
    });
    let sums: Vec<Value> = sums.map(|sum| Ok(Value::from(sum?))).collect::<Result<_>>()?;
    let text = json!({
        "format": 1,
        "needs": [],
        "root": root,
        "volume": ordinal,
        "size": size,
        "chunkBytes": CHUNK_BYTES,
        "sha256": sums,
    });
    let path = file(folder, ordinal, "sums");
    fs_err::write(&path, text.to_string())?;
    Ok(path)
}

/// The sum of a whole chunk of zeros.
fn zeros_sum() -> &'static str {
    static SUM: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SUM.get_or_init(|| {
        let zeros = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or_default()];
        hex::encode(Sha256::digest(zeros))
    })
}

/// The public half of the key that [`keygen`] makes, in the same folder.
pub(crate) const PUBLIC_KEY: &str = "scale.pub";

/// Makes a key without a password, and says where its secret half lies.
pub(crate) fn keygen(folder: &Path) -> Result<PathBuf> {
    let secret = folder.join("scale.key");
    let mut command = Command::new("minisign");
    command.args(["-G", "-W", "-s"]).arg(&secret).arg("-p").arg(folder.join(PUBLIC_KEY));
    execute(command.stdout(Stdio::null()))?;
    Ok(secret)
}

fn sign(files: &[PathBuf], secret: &Path, root: &str) -> Result {
    // A command line has a limit.
    for files in files.chunks(500) {
        let mut command = Command::new("minisign");
        command.args(["-S", "-W", "-t", root, "-s"]).arg(secret).arg("-m").args(files);
        execute(command.stdout(Stdio::null()))?;
    }
    Ok(())
}
