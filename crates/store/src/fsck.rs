//! Checks the store against its roots, and its bytes against their digests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use airlift_spec::error::chain;
use airlift_spec::{Ctx, Digest, Event, Finding, Hasher};

use crate::reach::{Anchor, Kept};
use crate::{Listing, Store, StoreError, cores, disk};

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
        let mut findings = Vec::new();
        let kept = self.kept(|object, err| {
            findings.push(Finding::error("bad-root", object, chain(&err)));
            Ok(())
        })?;
        let listing = self.list()?;
        let sizes = self.sizes(&listing, ctx)?;
        let here = Here { store: self, listing: &listing, sizes: &sizes };
        let stray =
            |path: &PathBuf| Finding::warning("stray-file", path.display(), "it is no blob");
        findings.extend(listing.strays().iter().map(stray));
        findings.extend(here.check(&kept, ctx)?);
        if depth != Fsck::Quick {
            let sizes = sizes.iter().enumerate();
            let blobs: Vec<_> =
                sizes.filter_map(|(at, size)| Some((listing.at(at), (*size)?))).collect();
            findings.extend(self.hash_all(&blobs, depth, ctx)?);
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

/// What is in the store, to hold against what should be.
struct Here<'a> {
    store: &'a Store,
    listing: &'a Listing,
    sizes: &'a [Option<u64>],
}

/// What some artifacts are found to lack.
#[derive(Default)]
struct Lacks {
    findings: Vec<Finding>,
    blobs: Vec<Lack>,
}

/// A blob that is not here as somebody needs it.
struct Lack {
    digest: Digest,
    /// As the one who needs it says.
    size: Option<u64>,
    needed_by: Option<Arc<str>>,
}

impl Here<'_> {
    fn check(&self, kept: &Kept, ctx: &Ctx) -> Result<Vec<Finding>, StoreError> {
        let mut lacks = Lacks::default();
        // Not those of a push: one that is absent was never pushed to its end, and nothing needs it but a manifest.
        for digest in &kept.blobs {
            self.blob(digest, None, None, &mut lacks);
        }
        let share = |share: Range<usize>| {
            let mut lacks = Lacks::default();
            for anchor in &kept.anchors[share] {
                if ctx.is_cancelled() {
                    return Err(StoreError::Cancelled);
                }
                self.artifact(anchor, &mut lacks)?;
            }
            Ok(lacks)
        };
        for share in cores::share(kept.anchors.len(), self.store.tuning().threads, share) {
            let share = share?;
            lacks.findings.extend(share.findings);
            lacks.blobs.extend(share.blobs);
        }
        let Lacks { mut findings, blobs } = lacks;
        findings.extend(self.say(blobs));
        Ok(findings)
    }

    fn artifact(&self, anchor: &Anchor, lacks: &mut Lacks) -> Result<(), StoreError> {
        if let Some(repository) = &anchor.untagged_in
            && !self.listing.contains(&anchor.manifest.digest)
        {
            let message = "a push of it was not finished, or it is lost; no tag leads to it";
            let finding = Finding::warning("missing-blob", anchor.manifest.digest, message);
            lacks.findings.push(finding.of(repository));
            return Ok(());
        }
        let name = anchor.name.clone().unwrap_or_else(|| anchor.manifest.digest.to_string());
        let closure = match self.store.reach(anchor) {
            Ok(closure) => closure,
            Err(StoreError::DamagedBlob { expected, actual }) => {
                let message = format!("its bytes have the digest {actual}");
                lacks.findings.push(Finding::error("damaged-blob", expected, message).of(&name));
                return Ok(());
            }
            Err(StoreError::TooLarge { digest, size_bytes, .. }) => {
                let message = format!("it is a manifest, but {size_bytes} bytes long");
                lacks.findings.push(Finding::error("size-mismatch", digest, message).of(&name));
                return Ok(());
            }
            Err(err) => return Err(err),
        };
        for unreadable in &closure.unreadable {
            let digest = unreadable.manifest.digest;
            lacks
                .findings
                .push(Finding::error("unreadable-manifest", digest, &unreadable.reason).of(&name));
        }
        let name = name.into();
        for blob in closure.all() {
            // A layer that nobody is given is not lost: its artifact is carried without it.
            if !blob.is_non_distributable() || self.listing.contains(&blob.digest) {
                self.blob(&blob.digest, Some(blob.size), Some(&name), lacks);
            }
        }
        Ok(())
    }

    fn blob(
        &self,
        digest: &Digest,
        size: Option<u64>,
        needed_by: Option<&Arc<str>>,
        lacks: &mut Lacks,
    ) {
        let is_sound =
            self.size(digest).is_some_and(|actual| size.is_none_or(|size| size == actual));
        if !is_sound {
            lacks.blobs.push(Lack { digest: *digest, size, needed_by: needed_by.cloned() });
        }
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        self.sizes[self.listing.position(digest)?]
    }

    /// One finding for each blob, as the first who needs it would say it, and how many do.
    fn say(&self, lacks: Vec<Lack>) -> Vec<Finding> {
        let mut by_blob: BTreeMap<Digest, (Lack, u64)> = BTreeMap::new();
        for lack in lacks {
            by_blob.entry(lack.digest).or_insert((lack, 0)).1 += 1;
        }
        by_blob.into_values().map(|(lack, count)| self.finding(&lack, count)).collect()
    }

    fn finding(&self, lack: &Lack, count: u64) -> Finding {
        let mut finding = match (self.size(&lack.digest), lack.size) {
            (Some(actual), Some(size)) => {
                let message = format!("it has {actual} bytes instead of {size}");
                Finding::error("size-mismatch", lack.digest, message)
            }
            _ => Finding::error("missing-blob", lack.digest, "it is not in the store"),
        };
        if count > 1 {
            finding.message = format!("{}; {count} artifacts need it", finding.message);
        }
        match &lack.needed_by {
            Some(name) => finding.of(name),
            None => finding,
        }
    }
}
