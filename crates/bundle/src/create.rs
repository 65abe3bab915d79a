//! Making a bundle: gather, plan, then write, volume by volume, so that a kill loses one volume at most.
//!
//! **Order on the media.** Root and signatures, table, volume 00000, README and binary, then the volumes, each
//! followed by its sums. A volume is `.partial` until every byte of it was hashed, written and synced.
//! **Crash.** A volume is finished if the store keeps its sums, and a file of its name has its size and opens with
//! its marker. Finished volumes are kept by the next run; the one that was being written starts over.
//! **Earlier bundles.** One that is to be replaced goes when all is planned, fits, and can be signed; see [`Earlier`].
//! **Read-only stores.** A store that may not be written keeps no sums. Those on the first medium take their place, where
//! we signed them: a medium is anybody's.
//! **Split blobs.** Their digest shows only with the last part. If it is wrong then, the volumes with the earlier
//! parts become `.partial` again. A run that goes on in the middle hashes the parts that lie on the media, not
//! those in the store: what was written is what must be right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airlift_spec::{Ctx, Digest, Event, Finding, Hasher, Lock, Severity};
use airlift_store::Store;
use fs_err as fs;
use serde::Serialize;

use crate::cut::{Chunks, Contents, Cutter};
use crate::earlier::Earlier;
use crate::gather::{Delivered, Rules, gather};
use crate::keep::{self, Kept};
use crate::media::{Medium, assign, everywhere_bytes};
use crate::plan::{DEFAULT_VOLUME_BYTES, Plan, plan};
use crate::root::{Member, Sums};
use crate::trust::{SigningKey, signature_names};
use crate::{BundleError, disk};

/// Larger files are not carried beside the volumes.
const MAX_CARRIED_BYTES: u64 = 256 << 20;

/// How a bundle is made. The default signs with no key, which [`Prepared::write`] refuses.
#[derive(Debug)]
pub struct CreateOptions {
    /// Else the first stack's name.
    pub name: Option<String>,
    pub volume_bytes: u64,
    /// What need not be carried.
    pub since: Option<Delivered>,
    /// Carry what there is; the root says what is missing.
    pub allow_missing: bool,
    /// Each signs root, sums, and carried files.
    pub keys: Vec<SigningKey>,
    /// Files to lay beside the volumes, by the name they get there: the binary.
    pub carry: Vec<(String, PathBuf)>,
    /// What becomes of another bundle of this name that lies there.
    pub earlier: Earlier,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            name: None,
            volume_bytes: DEFAULT_VOLUME_BYTES,
            since: None,
            allow_missing: false,
            keys: Vec::new(),
            carry: Vec::new(),
            earlier: Earlier::Keep,
        }
    }
}

/// A bundle that could be written: what it holds, and what there is to say about it.
#[derive(Debug)]
pub struct Prepared {
    pub plan: Plan,
    pub findings: Vec<Finding>,
    /// Members of volume 00000, by digest.
    named: BTreeMap<Digest, Vec<u8>>,
}

/// What a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    pub name: String,
    pub root: Digest,
    pub volumes: Vec<CreatedVolume>,
    /// Bytes of volumes written by this run.
    pub bytes_written: u64,
    /// What there is to say of this run, and so is no part of the bundle.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedVolume {
    pub ordinal: u32,
    pub file: PathBuf,
    pub size: u64,
    /// It was there, finished, before this run.
    pub is_kept: bool,
}

/// Plans the bundle of exactly these locks. Writes nothing, apart from taking damaged manifests out of the store.
pub fn prepare(
    store: &Store,
    locks: &[Lock],
    options: &CreateOptions,
) -> Result<Prepared, BundleError> {
    let rules = Rules {
        name: options.name.as_deref(),
        volume_bytes: options.volume_bytes,
        allow_missing: options.allow_missing,
        delivered: options.since.as_ref(),
    };
    let gathered = gather(store, locks, rules)?;
    let named = gathered.named.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
    Ok(Prepared { plan: plan(gathered.wanted)?, findings: gathered.findings, named })
}

impl Prepared {
    /// Whether a finding forbids to write it.
    pub fn is_blocked(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Writes the bundle to `media`, each filled in turn. Finished volumes of an earlier run are kept.
    ///
    /// Blocks on disks and hashes: call it off the async threads.
    ///
    /// # Errors
    ///
    /// [`BundleError::Findings`] if it [is blocked](Self::is_blocked). [`BundleError::Busy`] if another process writes
    /// there, or the same bundle elsewhere. [`BundleError::BlobDamaged`] leaves the volume
    /// `.partial`.
    pub fn write(
        &self,
        store: &Store,
        media: &[PathBuf],
        options: &CreateOptions,
        ctx: &Ctx,
    ) -> Result<Created, BundleError> {
        if self.is_blocked() {
            return Err(BundleError::Findings);
        }
        if options.keys.is_empty() {
            return Err(BundleError::NoKey);
        }
        let carried = read_carried(&options.carry)?;
        let keys = &options.keys;
        let Plan { root, root_bytes, table_bytes, digest, .. } = &self.plan;
        let extra = carried.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let everywhere = everywhere_bytes(root, root_bytes.len() as u64, keys.len(), extra);
        let _media_held = disk::hold(media.iter().map(PathBuf::as_path))?;
        let look =
            |folder: &PathBuf| Medium::look(folder, root, digest, everywhere, options.earlier);
        let media: Vec<Medium> = media.iter().map(look).collect::<Result<_, _>>()?;
        let places = assign(root, &media)?;
        // The store first: from here on `gc` keeps what the bundle is made of.
        let by_store = store.is_writable().then(|| keep::folder(store, digest));
        let _kept_held = disk::hold(by_store.as_deref())?;
        let kept = by_store.as_deref().unwrap_or(&media[0].folder);
        media.iter().try_for_each(Medium::clear)?;
        let folders: Vec<&Path> = std::iter::once(kept)
            .chain(media.iter().map(|medium| medium.folder.as_path()))
            .collect();
        let signer = Signer { folders: &folders, keys, digest };
        signer.write(&root.file_name(), root_bytes)?;
        for folder in &folders {
            disk::write_whole(&folder.join(root.table_file()), table_bytes)?;
        }
        if by_store.is_some() {
            for (digest, bytes) in &self.named {
                store.put(*digest, bytes)?;
            }
        }
        let cutter = Cutter {
            store,
            named: &self.named,
            root,
            digest: *digest,
            contents: Contents::new(&self.plan.table),
            running: BTreeMap::new(),
            follows_parts: true,
        };
        let is_by_store = by_store.is_some();
        let run =
            Run { cutter, kept, is_by_store, media: &media, places: &places, signer: &signer };
        let mut created = run.write(&carried, ctx)?;
        created.findings.extend((!is_by_store).then(|| not_kept(&root.name)));
        let cleared = media.iter().filter(|medium| !medium.replaced.is_empty());
        created.findings.extend(cleared.map(|medium| replaced(&medium.folder)));
        Ok(created)
    }
}

fn not_kept(name: &str) -> Finding {
    let message = "the store may not be written, and keeps nothing of this bundle: to write a volume once more takes \
                   `airlift bundle create` with the same lock, options and key";
    Finding::warning("bundle-not-kept", name, message)
}

fn replaced(folder: &Path) -> Finding {
    let message = "the bundle of this name that was there before is removed";
    Finding::info("bundle-replaced", folder.display(), message)
}

/// Writes files into every folder, each with its signatures.
struct Signer<'a> {
    folders: &'a [&'a Path],
    keys: &'a [SigningKey],
    digest: &'a Digest,
}

impl Signer<'_> {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.write_to(self.folders, name, bytes)
    }

    fn write_to(&self, folders: &[&Path], name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let signatures: Vec<_> = signature_names(name, self.keys)
            .map(|(name, key)| (name, key.sign(bytes, self.digest)))
            .collect();
        for folder in folders {
            disk::write_whole(&folder.join(name), bytes)?;
            for (name, text) in &signatures {
                disk::write_whole(&folder.join(name), text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Whether each key has signed just these bytes in `folder`, as we would.
    fn has_signed(&self, folder: &Path, name: &str, bytes: &[u8]) -> bool {
        signature_names(name, self.keys).all(|(name, key)| {
            let text = key.sign(bytes, self.digest);
            let found = disk::read_at_most(&folder.join(name), text.len() as u64);
            found.is_ok_and(|found| found.as_deref() == Some(text.as_bytes()))
        })
    }
}

/// One run of writing.
struct Run<'a> {
    cutter: Cutter<'a>,
    /// Where the sums of finished volumes are kept.
    kept: &'a Path,
    /// Whether that is in the store, which is believed.
    is_by_store: bool,
    media: &'a [Medium],
    /// Where each volume from 00001 on goes.
    places: &'a [(u32, usize)],
    signer: &'a Signer<'a>,
}

impl Run<'_> {
    fn write(mut self, carried: &[(String, Vec<u8>)], ctx: &Ctx) -> Result<Created, BundleError> {
        let root = self.cutter.root;
        let jobs: Vec<(u32, usize)> =
            (0..self.media.len()).map(|at| (0, at)).chain(self.places.iter().copied()).collect();
        let size = |(ordinal, _): &(u32, usize)| root.volumes[*ordinal as usize];
        ctx.events.emit(Event::PhaseStarted {
            phase: "bundle",
            items: jobs.len() as u64,
            total_bytes: jobs.iter().map(size).sum(),
        });
        let mut volumes = Vec::with_capacity(jobs.len());
        for (at, (ordinal, medium)) in jobs.into_iter().enumerate() {
            if at == self.media.len() {
                self.write_beside(carried)?;
            }
            volumes.push(self.volume(ordinal, &self.media[medium], ctx)?);
        }
        if self.places.is_empty() {
            self.write_beside(carried)?;
        }
        ctx.events.emit(Event::PhaseFinished { phase: "bundle" });
        let fresh = volumes.iter().filter(|volume| !volume.is_kept);
        Ok(Created {
            name: root.name.clone(),
            root: self.cutter.digest,
            bytes_written: fresh.map(|volume| volume.size).sum(),
            volumes,
            findings: Vec::new(),
        })
    }

    /// Lays what is no part of the bundle itself beside it, on every medium.
    fn write_beside(&self, carried: &[(String, Vec<u8>)]) -> Result<(), BundleError> {
        let folders = &self.signer.folders[1..];
        let executable: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let readme = readme(&self.cutter.root.name);
        for folder in folders {
            disk::write_whole(&folder.join("README.txt"), readme.as_bytes())?;
        }
        for (name, bytes) in carried {
            self.signer.write_to(folders, name, bytes)?;
            for folder in folders {
                // FAT has no such bit, and needs none.
                if let Err(err) = fs::set_permissions(folder.join(name), executable.clone()) {
                    tracing::debug!(%err, "the binary cannot be made executable");
                }
            }
        }
        Ok(())
    }

    fn volume(
        &mut self,
        ordinal: u32,
        medium: &Medium,
        ctx: &Ctx,
    ) -> Result<CreatedVolume, BundleError> {
        let root = self.cutter.root;
        let file = medium.folder.join(root.volume_file(ordinal));
        let size = root.volumes[ordinal as usize];
        let known = self.known(ordinal)?;
        let is_kept = medium.present.contains(&ordinal) && known.is_some();
        let sums = match known {
            Some(sums) if is_kept => {
                // Whatever was running would lack this volume's part.
                self.cutter.running.clear();
                sums
            }
            known => self.cut(ordinal, &file, known, ctx)?,
        };
        self.signer.write(&root.sums_file(ordinal), &sums.to_bytes())?;
        Ok(CreatedVolume { ordinal, file, size, is_kept })
    }

    /// The sums of a volume that was finished once.
    fn known(&self, ordinal: u32) -> Result<Option<Sums>, BundleError> {
        let root = self.cutter.root;
        let found = keep::sums(self.kept, root, &self.cutter.digest, ordinal)?;
        let (kept, name) = (self.kept, root.sums_file(ordinal));
        let is_ours =
            |sums: &Sums| self.is_by_store || self.signer.has_signed(kept, &name, &sums.to_bytes());
        Ok(found.filter(is_ours))
    }

    fn cut(
        &mut self,
        ordinal: u32,
        file: &Path,
        known: Option<Sums>,
        ctx: &Ctx,
    ) -> Result<Sums, BundleError> {
        self.catch_up(ordinal)?;
        let partial = disk::partial_path(file);
        let sha256 = match self.cutter.cut(ordinal, &partial, ctx) {
            Err(BundleError::BlobDamaged { digest }) => {
                self.take_back(&digest, ordinal)?;
                return Err(BundleError::BlobDamaged { digest });
            }
            cut => cut?,
        };
        let root = self.cutter.root;
        let size = root.volumes[ordinal as usize];
        let sums = Sums::new(self.cutter.digest, ordinal, size, sha256);
        if known.is_some_and(|known| known != sums) {
            return Err(self.cutter.blame(ordinal));
        }
        // Kept before the volume has its name: a finished volume without kept sums would be written again.
        self.signer.write_to(&[self.kept], &root.sums_file(ordinal), &sums.to_bytes())?;
        self.cutter.publish(ordinal, &partial, file, ctx)?;
        Ok(sums)
    }

    /// Hashes the earlier parts of a split blob that goes on on this volume, as they lie on the media.
    fn catch_up(&mut self, ordinal: u32) -> Result<(), BundleError> {
        let Some((_, member, part)) = self.cutter.contents.of(ordinal).first().copied() else {
            return Ok(());
        };
        if part == 0 || self.cutter.running.contains_key(&member.digest) {
            return Ok(());
        }
        let mut hasher = Hasher::new(member.digest.algorithm());
        for piece in &member.pieces[..part] {
            let path = self.path_of(piece.volume);
            let doing = || BundleError::disk(format!("failed to read {}", path.display()));
            let file = fs::File::open(&path).map_err(doing())?;
            let mut offset = piece.offset;
            while offset < piece.end() {
                let length = (piece.end() - offset).min(1 << 20);
                let mut frame = vec![0; usize::try_from(length).unwrap_or_default()];
                let count = disk::read_full_at(&file, &mut frame, offset).map_err(doing())?;
                if count == 0 {
                    return Err(doing()(std::io::ErrorKind::UnexpectedEof.into()));
                }
                hasher.update(&frame[..count]);
                offset += count as u64;
            }
        }
        self.cutter.running.insert(member.digest, hasher);
        Ok(())
    }

    /// Makes the volumes with earlier parts of a damaged blob unfinished again.
    fn take_back(&self, digest: &Digest, until: u32) -> Result<(), BundleError> {
        let root = self.cutter.root;
        let parts = self.cutter.contents.pieces_of(digest);
        for ordinal in parts.map(|piece| piece.volume).filter(|ordinal| *ordinal < until) {
            keep::forget_sums(self.kept, root, ordinal)?;
            let file = self.path_of(ordinal);
            let doing = || BundleError::disk(format!("failed to take back {}", file.display()));
            fs::rename(&file, disk::partial_path(&file)).map_err(doing())?;
            for medium in self.media {
                keep::forget_sums(&medium.folder, root, ordinal)?;
            }
        }
        Ok(())
    }

    fn path_of(&self, ordinal: u32) -> PathBuf {
        let found = self.places.iter().find(|(known, _)| *known == ordinal);
        let medium = found.map_or(0, |(_, medium)| *medium);
        self.media[medium].folder.join(self.cutter.root.volume_file(ordinal))
    }
}

/// Cuts volumes of an earlier bundle again, from the store alone, and checks each against the sums it had.
///
/// Needs no lock and no key: what was signed then is copied beside them. A volume that lies there whole is read and
/// left alone.
pub fn cut_again(
    store: &Store,
    root: &Digest,
    ordinals: &[u32],
    to: &Path,
    ctx: &Ctx,
) -> Result<Created, BundleError> {
    let kept = Kept::open(store, root)?;
    let count = kept.root.ordinals().end;
    if let Some(ordinal) = ordinals.iter().copied().find(|ordinal| *ordinal >= count) {
        return Err(BundleError::NoSuchVolume { ordinal });
    }
    let _held = disk::hold([to])?;
    // Refuses a folder with another bundle of this name.
    let medium = Medium::look(to, &kept.root, root, 0, Earlier::Keep)?;
    for name in [kept.root.file_name(), kept.root.table_file()] {
        kept.copy(&name, to)?;
    }
    let mut cutter = Cutter {
        store,
        named: &BTreeMap::new(),
        root: &kept.root,
        digest: kept.digest,
        contents: Contents::new(&kept.table),
        running: BTreeMap::new(),
        follows_parts: false,
    };
    let again = |ordinal: &u32| kept.cut_again(*ordinal, &medium, &mut cutter, ctx);
    let volumes = ordinals.iter().map(again).collect::<Result<Vec<_>, _>>()?;
    let fresh = volumes.iter().filter(|volume| !volume.is_kept);
    let bytes_written = fresh.map(|volume| volume.size).sum();
    let (name, findings) = (kept.root.name.clone(), Vec::new());
    Ok(Created { name, root: *root, volumes, bytes_written, findings })
}

impl Kept {
    fn cut_again(
        &self,
        ordinal: u32,
        medium: &Medium,
        cutter: &mut Cutter<'_>,
        ctx: &Ctx,
    ) -> Result<CreatedVolume, BundleError> {
        let name = self.root.volume_file(ordinal);
        let known = keep::sums(&self.folder, &self.root, &self.digest, ordinal)?;
        let known = known.ok_or(BundleError::NeverFinished { volume: name.clone() })?;
        let (file, size) = (medium.folder.join(name), known.size);
        // Its size and its marker say nothing of a flipped byte, which may be why it is cut again.
        let is_kept = medium.present.contains(&ordinal) && has_sums(&file, &known.sha256)?;
        if !is_kept {
            let partial = disk::partial_path(&file);
            if cutter.cut(ordinal, &partial, ctx)? != known.sha256 {
                return Err(cutter.blame(ordinal));
            }
            cutter.publish(ordinal, &partial, &file, ctx)?;
        }
        self.copy(&self.root.sums_file(ordinal), &medium.folder)?;
        Ok(CreatedVolume { ordinal, file, size, is_kept })
    }

    /// Copies a small file and its signatures to `folder`.
    fn copy(&self, name: &str, folder: &Path) -> Result<(), BundleError> {
        for path in self.with_signatures(name)? {
            let bytes = disk::read_at_most(&path, u64::MAX - 1)?.unwrap_or_default();
            disk::write_whole(&folder.join(path.file_name().unwrap_or_default()), &bytes)?;
        }
        Ok(())
    }
}

impl Cutter<'_> {
    /// Why a volume differs from the first time: a part of a split blob is damaged in the store, or we are.
    fn blame(&self, ordinal: u32) -> BundleError {
        let is_split = |member: &&Member| member.pieces.len() > 1;
        let pieces = self.contents.of(ordinal).iter().map(|(_, member, _)| *member);
        for member in pieces.filter(is_split) {
            match hash_stored(self.store, &member.digest) {
                Ok(digest) if digest == member.digest => {}
                Ok(_) => return self.discard(member.digest),
                Err(err) => return err,
            }
        }
        BundleError::CutDiffers { volume: self.root.volume_file(ordinal) }
    }
}

/// Whether the chunks of a volume's file have these sums. A disk that cannot be read is as bad as other bytes.
fn has_sums(file: &Path, sums: &[[u8; 32]]) -> Result<bool, BundleError> {
    let doing = || BundleError::disk(format!("failed to open {}", file.display()));
    let file = fs::File::open(file).map_err(doing())?;
    let (mut chunks, mut frame, mut offset) = (Chunks::default(), vec![0; 1 << 20], 0);
    loop {
        match disk::read_full_at(&file, &mut frame, offset) {
            Err(_) => return Ok(false),
            Ok(0) => return Ok(chunks.finish() == sums),
            Ok(count) => {
                chunks.update(&frame[..count]);
                offset += count as u64;
            }
        }
    }
}

fn hash_stored(store: &Store, digest: &Digest) -> Result<Digest, BundleError> {
    let doing = || BundleError::disk(format!("failed to read {digest} from the store"));
    let blob = store.open_blob(digest)?.ok_or(BundleError::BlobMissing { digest: *digest })?;
    let mut hasher = Hasher::new(digest.algorithm());
    let (mut frame, mut offset) = (vec![0; 1 << 20], 0);
    loop {
        match disk::read_full_at(&blob, &mut frame, offset).map_err(doing())? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&frame[..count]);
                offset += count as u64;
            }
        }
    }
}

fn read_carried(carry: &[(String, PathBuf)]) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
    let read = |(name, path): &(String, PathBuf)| {
        let missing = || BundleError::disk(format!("failed to read {}", path.display()));
        let bytes = disk::read_at_most(path, MAX_CARRIED_BYTES)?
            .ok_or_else(|| missing()(std::io::ErrorKind::NotFound.into()))?;
        Ok((name.clone(), bytes))
    };
    carry.iter().map(read).collect()
}

/// The commands that make an OCI layout of the volumes in the current folder.
fn join_commands(name: &str) -> String {
    include_str!("create/join.sh").replace("{name}", name)
}

fn readme(name: &str) -> String {
    let mut commands = String::new();
    for line in join_commands(name).lines() {
        commands.extend([
            "    ", line, "
",
        ]);
    }
    include_str!("create/README.txt").replace("{name}", name).replace("{loop}", &commands)
}
