//! What lies under `blobs/`, read once. Where much of it is asked for, that is cheaper than a `stat` for each, and a
//! million blobs take 32 MB.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::PathBuf;

use airlift_spec::{Algorithm, Ctx, Digest};
use fs_err as fs;

use crate::layout::BLOBS;
use crate::{Store, StoreError, cores, disk};

/// The blobs of a store as they were at one moment.
#[derive(Debug, Default)]
pub struct Listing {
    sha256: Sorted<32>,
    sha512: Sorted<64>,
    /// What is no blob.
    strays: Vec<PathBuf>,
}

impl Listing {
    pub fn len(&self) -> usize {
        self.sha256.all.len() + self.sha512.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.position(digest).is_some()
    }

    /// Which of the blobs it is, counted from 0, if it is one.
    pub fn position(&self, digest: &Digest) -> Option<usize> {
        match digest {
            Digest::Sha256(bytes) => self.sha256.position(bytes),
            Digest::Sha512(bytes) => Some(self.sha256.all.len() + self.sha512.position(bytes)?),
        }
    }

    /// The blob at a position.
    pub(crate) fn at(&self, position: usize) -> Digest {
        match position.checked_sub(self.sha256.all.len()) {
            None => Digest::Sha256(self.sha256.all[position]),
            Some(rest) => Digest::Sha512(self.sha512.all[rest]),
        }
    }

    pub(crate) fn strays(&self) -> &[PathBuf] {
        &self.strays
    }
}

/// Digests in order, and where those begin that begin with the same two bytes: digests lie evenly, so that is close
/// to the one that is looked for, where halving a million would miss the processor's cache a dozen times.
#[derive(Debug, Default)]
struct Sorted<const N: usize> {
    all: Vec<[u8; N]>,
    starts: Vec<usize>,
}

impl<const N: usize> Sorted<N> {
    fn new(mut all: Vec<[u8; N]>) -> Self {
        all.sort_unstable();
        let mut starts = vec![0; (1 << 16) + 1];
        for digest in &all {
            starts[beginning(digest) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self { all, starts }
    }

    fn position(&self, digest: &[u8; N]) -> Option<usize> {
        let at = beginning(digest);
        let (start, end) = (*self.starts.get(at)?, *self.starts.get(at + 1)?);
        self.all[start..end].binary_search(digest).ok().map(|at| start + at)
    }
}

fn beginning<const N: usize>(digest: &[u8; N]) -> usize {
    usize::from(u16::from_be_bytes([digest[0], digest[1]]))
}

impl Store {
    /// Everything that lies under `blobs/` now. Costs about half a second a million.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let (mut sha256, mut sha512, mut strays) = (Vec::new(), Vec::new(), Vec::new());
        for algorithm in Algorithm::ALL {
            let folder = self.root().join(BLOBS).join(algorithm.name());
            let entries = disk::present(fs::read_dir(&folder)).map_err(StoreError::read)?;
            for entry in entries.into_iter().flatten() {
                let entry = entry.map_err(StoreError::read)?;
                let Some(kind) = disk::present(entry.file_type()).map_err(StoreError::read)? else {
                    continue;
                };
                match digest_of(algorithm, &entry.file_name()).filter(|_| kind.is_file()) {
                    Some(Digest::Sha256(bytes)) => sha256.push(bytes),
                    Some(Digest::Sha512(bytes)) => sha512.push(bytes),
                    None => strays.push(entry.path()),
                }
            }
        }
        Ok(Listing { sha256: Sorted::new(sha256), sha512: Sorted::new(sha512), strays })
    }

    /// The size of each blob of `listing`, in its order; none for one that has gone meanwhile. On all cores.
    pub(crate) fn sizes(
        &self,
        listing: &Listing,
        ctx: &Ctx,
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let size = |at| {
            if ctx.is_cancelled() {
                Err(StoreError::Cancelled)
            } else {
                Ok(self.size(&listing.at(at)))
            }
        };
        let sizes = |share: Range<usize>| share.map(size).collect::<Result<Vec<_>, _>>();
        let shares = cores::share(listing.len(), self.tuning().threads, sizes);
        Ok(shares.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }
}

fn digest_of(algorithm: Algorithm, name: &OsStr) -> Option<Digest> {
    format!("{algorithm}:{}", name.to_str()?).parse().ok()
}
