//! Checks the store against its roots, and its bytes against their digests.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use airlift_spec::error::chain;
use airlift_spec::{Algorithm, Ctx, Digest, Event, Finding, Hasher};
use fs_err as fs;

use crate::gc::digest_of;
use crate::layout::BLOBS;
use crate::reach::Anchor;
use crate::roots::read_root;
use crate::{Store, StoreError, disk};

/// How closely `fsck` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsck {
    /// Presence and sizes of what the roots reach.
    Quick,
    /// Every byte of every blob, on all cores.
    Deep,
    /// Every byte, and damaged blobs are taken out, so that the next fetch brings them again.
    Repair,
}

impl Store {
    /// Checks the store: `missing-blob`, `size-mismatch`, `damaged-blob`, `unreadable-manifest`, `bad-root`, `stray-file`.
    ///
    /// # Errors
    ///
    /// Where the check itself cannot run; whatever it finds is a finding.
    pub fn fsck(&self, depth: Fsck, ctx: &Ctx) -> Result<Vec<Finding>, StoreError> {
        let mut check = Check { store: self, findings: Vec::new(), blobs: HashMap::new() };
        for anchor in check.anchors()? {
            if ctx.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            check.artifact(&anchor)?;
        }
        check.say_what_is_wrong();
        let listed = check.list_blobs()?;
        let mut findings = check.findings;
        if depth != Fsck::Quick {
            findings.extend(self.hash_all(&listed, depth, ctx)?);
        }
        findings.sort();
        Ok(findings)
    }

    fn hash_all(
        &self,
        blobs: &[(Digest, u64)],
        depth: Fsck,
        ctx: &Ctx,
    ) -> Result<Vec<Finding>, StoreError> {
        let total_bytes = blobs.iter().map(|(_, size)| size).sum();
        ctx.events.emit(Event::PhaseStarted {
            phase: "fsck",
            items: blobs.len() as u64,
            total_bytes,
        });
        let next = AtomicUsize::new(0);
        let findings = Mutex::new(Vec::new());
        let work = || {
            while let Some((digest, _)) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let found = self.hash_one(digest, depth, ctx)?;
                findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(found);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> =
                (0..self.tuning().threads.get()).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect("hashing does not panic"))
        })?;
        ctx.events.emit(Event::PhaseFinished { phase: "fsck" });
        Ok(findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn hash_one(
        &self,
        digest: &Digest,
        depth: Fsck,
        ctx: &Ctx,
    ) -> Result<Option<Finding>, StoreError> {
        let message = match self.hash_blob(digest, ctx)? {
            Ok(actual) if actual == *digest => return Ok(None),
            Ok(actual) => format!("its bytes have the digest {actual}"),
            Err(err) => format!("it cannot be read: {err}"),
        };
        if depth == Fsck::Repair {
            self.discard(digest)?;
            return Ok(Some(Finding::error(
                "damaged-blob",
                digest,
                format!("{message}; it was taken out"),
            )));
        }
        Ok(Some(Finding::error("damaged-blob", digest, message)))
    }

    /// The outer error ends the check, the inner one is about this blob.
    fn hash_blob(&self, digest: &Digest, ctx: &Ctx) -> Result<std::io::Result<Digest>, StoreError> {
        let Some(file) = self.open_blob(digest)? else { return Ok(Ok(*digest)) };
        let total_bytes = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(err) => return Ok(Err(err)),
        };
        let blob = *digest;
        ctx.events.emit(Event::TransferStarted { blob, total_bytes, resumed_bytes: 0 });
        let mut hasher = Hasher::new(digest.algorithm());
        let step = self.tuning().checkpoint_bytes;
        let mut offset = 0;
        while offset < total_bytes {
            if ctx.is_cancelled() {
                return Err(StoreError::Cancelled);
            }
            let end = total_bytes.min(offset + step);
            let read = disk::read_range(&file, offset..end, self.tuning().buffer_bytes, |part| {
                hasher.update(part);
            });
            if let Err(err) = read {
                return Ok(Err(err));
            }
            ctx.events.emit(Event::TransferAdvanced { blob, bytes: end - offset });
            offset = end;
        }
        ctx.events.emit(Event::TransferFinished { blob });
        Ok(Ok(hasher.finish()))
    }
}

/// The quick part, as it goes.
struct Check<'a> {
    store: &'a Store,
    findings: Vec<Finding>,
    blobs: HashMap<Digest, Verdict>,
}

/// What is known of a blob that some artifact reaches.
#[derive(Debug)]
enum Verdict {
    Sound,
    /// What is wrong, as the first artifact that needs it says it, and how many do.
    Wrong {
        finding: Box<Finding>,
        artifacts: u64,
    },
}

impl Check<'_> {
    /// All that is kept, over the roots that can be read.
    fn anchors(&mut self) -> Result<Vec<Anchor>, StoreError> {
        let mut anchors = Vec::new();
        for path in self.store.root_files()? {
            match read_root(&path) {
                Ok(root) => {
                    let Some(root) = root else { continue };
                    anchors.extend(root.anchors());
                    for digest in &root.blobs {
                        self.blob(digest, None, None);
                    }
                }
                Err(err) => self.bad_root(&path.display().to_string(), &err),
            }
        }
        for repository in self.store.pushed_repositories()? {
            match self.store.pushed(&repository) {
                Ok(pushed) => {
                    let Some(pushed) = pushed else { continue };
                    // What is pushed is announced before it comes. A bare blob that is absent was never pushed to
                    // its end, and nothing needs it but a manifest; a manifest may be lost as well.
                    let store = self.store;
                    let (kept, absent): (Vec<_>, Vec<_>) =
                        pushed.anchors(&repository).into_iter().partition(|anchor| {
                            let digest = anchor.manifest.digest;
                            store.contains(&digest) || pushed.tags.values().any(|it| *it == digest)
                        });
                    anchors.extend(kept);
                    self.findings.extend(absent.iter().map(|anchor| {
                        let message =
                            "a push of it was not finished, or it is lost; no tag leads to it";
                        let digest = anchor.manifest.digest;
                        Finding::warning("missing-blob", digest, message).of(&repository)
                    }));
                }
                Err(err) => self.bad_root(&repository, &err),
            }
        }
        Ok(anchors)
    }

    fn bad_root(&mut self, object: &str, err: &StoreError) {
        self.findings.push(Finding::error("bad-root", object, chain(err)));
    }

    fn artifact(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        let name = anchor.name.clone().unwrap_or_else(|| anchor.manifest.digest.to_string());
        let closure = match self.store.reach(anchor) {
            Ok(closure) => closure,
            Err(StoreError::DamagedBlob { expected, actual }) => {
                let message = format!("its bytes have the digest {actual}");
                self.findings.push(Finding::error("damaged-blob", expected, message).of(&name));
                return Ok(());
            }
            Err(StoreError::TooLarge { digest, size_bytes, .. }) => {
                let message = format!("it is a manifest, but {size_bytes} bytes long");
                self.findings.push(Finding::error("size-mismatch", digest, message).of(&name));
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        for unreadable in &closure.unreadable {
            let digest = unreadable.manifest.digest;
            self.findings
                .push(Finding::error("unreadable-manifest", digest, &unreadable.reason).of(&name));
        }
        for blob in closure.all() {
            // A layer that nobody is given is not lost: its artifact is carried without it.
            if blob.is_non_distributable() && !self.store.contains(&blob.digest) {
                continue;
            }
            self.blob(&blob.digest, Some(blob.size), Some(&name));
        }
        Ok(())
    }

    fn blob(&mut self, digest: &Digest, size: Option<u64>, name: Option<&str>) {
        let store = self.store;
        let verdict = self.blobs.entry(*digest).or_insert_with(|| {
            let finding = match (store.size(digest), size) {
                (None, _) => Finding::error("missing-blob", digest, "it is not in the store"),
                (Some(actual), Some(size)) if actual != size => {
                    let message = format!("it has {actual} bytes instead of {size}");
                    Finding::error("size-mismatch", digest, message)
                }
                (Some(_), _) => return Verdict::Sound,
            };
            let finding = Box::new(match name {
                Some(name) => finding.of(name),
                None => finding,
            });
            Verdict::Wrong { finding, artifacts: 0 }
        });
        if let Verdict::Wrong { artifacts, .. } = verdict {
            *artifacts += 1;
        }
    }

    fn say_what_is_wrong(&mut self) {
        for verdict in std::mem::take(&mut self.blobs).into_values() {
            let Verdict::Wrong { mut finding, artifacts } = verdict else { continue };
            if artifacts > 1 {
                finding.message = format!("{}; {artifacts} artifacts need it", finding.message);
            }
            self.findings.push(*finding);
        }
    }

    /// Every blob with its size, in the order of the folder; what does not belong there is a finding.
    fn list_blobs(&mut self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut blobs = Vec::new();
        for algorithm in Algorithm::ALL {
            let folder = self.store.root().join(BLOBS).join(algorithm.name());
            let Some(entries) = disk::present(fs::read_dir(&folder)).map_err(StoreError::read)?
            else {
                continue;
            };
            for entry in entries {
                let entry = entry.map_err(StoreError::read)?;
                let Some(metadata) = disk::present(entry.metadata()).map_err(StoreError::read)?
                else {
                    continue;
                };
                match digest_of(algorithm, &entry.file_name()) {
                    Some(digest) if metadata.is_file() => blobs.push((digest, metadata.len())),
                    _ => {
                        let object = entry.path().display().to_string();
                        self.findings.push(Finding::warning("stray-file", object, "it is no blob"));
                    }
                }
            }
        }
        Ok(blobs)
    }
}
