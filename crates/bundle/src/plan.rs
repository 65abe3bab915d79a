//! Which blob goes where: pure, from digests and sizes alone.
//!
//! **Order.** Artifacts as they are given, each followed by its blobs that are not yet packed. A volume is closed
//! early rather than a blob split; only a blob that no empty volume could hold is split, and its first part opens a
//! volume. What belongs together so lies together, and a lost volume costs as few artifacts as possible.
//!
//! The media play no part in it: where the volumes are put does not change a byte of them.

use std::collections::{BTreeSet, HashMap};

use airlift_spec::{Digest, Reference};

use crate::BundleError;
use crate::root::{
    self, Artifact, FORMAT, LeftOut, MAX_VOLUMES, Member, Missing, Piece, Root, Since, StackLock,
    Table, TableFile, member_name,
};
use crate::tar;

/// Fits FAT32, whose files end below 4 GiB.
pub const DEFAULT_VOLUME_BYTES: u64 = 4088 << 20;
/// Below this a volume would be more header than content.
pub const MIN_VOLUME_BYTES: u64 = 64 << 10;

/// What a bundle is to hold.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) stacks: Vec<StackLock>,
    pub(crate) since: Option<Since>,
    /// Members of volume 00000, in order.
    pub(crate) named: Vec<Named>,
    pub(crate) artifacts: Vec<WantedArtifact>,
    pub(crate) missing: Vec<Missing>,
    /// Blobs that the far side has, of those that the artifacts reach; sorted by digest.
    pub(crate) left_out: Vec<LeftOut>,
    pub(crate) volume_bytes: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// An artifact with everything it reaches, in the order in which it is to be packed.
#[derive(Debug, Clone)]
pub(crate) struct WantedArtifact {
    pub(crate) reference: Reference,
    pub(crate) digest: Digest,
    pub(crate) blobs: Vec<(Digest, u64)>,
}

/// A bundle, complete but for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub root: Root,
    pub table: Table,
    /// The bytes that are signed, and their digest, which is the bundle's identity.
    pub root_bytes: Vec<u8>,
    pub table_bytes: Vec<u8>,
    pub digest: Digest,
}

pub(crate) fn plan(wanted: Wanted) -> Result<Plan, BundleError> {
    if wanted.volume_bytes < MIN_VOLUME_BYTES {
        let (size, least) = (wanted.volume_bytes, MIN_VOLUME_BYTES);
        return Err(BundleError::VolumeSize { size, least });
    }
    let mut tape = Tape::new(&wanted.name, wanted.volume_bytes);
    for named in &wanted.named {
        tape.push_named(named);
    }
    tape.close();
    let left_out: BTreeSet<Digest> = wanted.left_out.iter().map(|blob| blob.digest).collect();
    let mut artifacts = Vec::with_capacity(wanted.artifacts.len());
    for (at, artifact) in wanted.artifacts.into_iter().enumerate() {
        let mut volumes = BTreeSet::new();
        for (digest, size) in &artifact.blobs {
            if !left_out.contains(digest) {
                let member = tape.push_blob(*digest, *size, at)?;
                volumes.extend(member.pieces.iter().map(|piece| piece.volume));
            }
        }
        artifacts.push(Artifact {
            reference: artifact.reference,
            digest: artifact.digest,
            bytes: artifact.blobs.iter().map(|(_, size)| size).sum(),
            volumes: volumes.into_iter().collect(),
        });
    }
    let (volumes, members) = tape.finish();
    let table = Table::new(members);
    root::check_layout(&wanted.name, table.members(), &volumes)
        .expect("the tape lays members one after the other");
    let table_bytes = table.to_bytes();
    let root = Root {
        format: FORMAT,
        needs: Vec::new(),
        name: wanted.name,
        stacks: wanted.stacks,
        since: wanted.since,
        volumes,
        blobs: TableFile {
            digest: Digest::of(&table_bytes),
            size: table_bytes.len() as u64,
            members: table.members().len() as u64,
        },
        artifacts,
        missing: wanted.missing,
        left_out: wanted.left_out,
    };
    let root_bytes = root.to_bytes();
    let digest = Digest::of(&root_bytes);
    Ok(Plan { root, table, root_bytes, table_bytes, digest })
}

/// The volumes as they fill.
struct Tape {
    first: u64,
    limit: u64,
    /// Sizes of closed volumes.
    volumes: Vec<u64>,
    /// Where the next header goes on the open volume.
    end: u64,
    members: Vec<Member>,
    packed: HashMap<Digest, usize>,
}

impl Tape {
    fn new(bundle: &str, limit: u64) -> Self {
        let first = tar::marker_len(bundle);
        let (volumes, members, packed) = (Vec::new(), Vec::new(), HashMap::new());
        Self { first, limit, volumes, end: first, members, packed }
    }

    /// Volume 00000 is never split: nothing could be read from its parts.
    fn push_named(&mut self, named: &Named) {
        let piece = self.put(&named.name, named.size);
        self.members.push(Member {
            digest: named.digest,
            size: named.size,
            name: Some(named.name.as_str().into()),
            artifact: None,
            pieces: vec![piece],
        });
    }

    fn push_blob(
        &mut self,
        digest: Digest,
        size: u64,
        artifact: usize,
    ) -> Result<&Member, BundleError> {
        if let Some(at) = self.packed.get(&digest) {
            return Ok(&self.members[*at]);
        }
        let artifact = u32::try_from(artifact).ok();
        let mut member = Member { digest, size, name: None, artifact, pieces: Vec::new() };
        self.place(&mut member)?;
        let at = self.members.len();
        self.packed.insert(digest, at);
        self.members.push(member);
        Ok(&self.members[at])
    }

    fn place(&mut self, member: &mut Member) -> Result<(), BundleError> {
        member.pieces.push(Piece { volume: 0, offset: 0, length: member.size });
        let name = member_name(member, 0);
        member.pieces.clear();
        if self.room(self.first, &name) < member.size {
            return self.split(member);
        }
        if self.room(self.end, &name) < member.size {
            self.close();
        }
        member.pieces.push(self.put(&name, member.size));
        self.check_count()
    }

    fn split(&mut self, member: &mut Member) -> Result<(), BundleError> {
        let mut rest = member.size;
        while rest > 0 {
            if self.end > self.first {
                self.close();
            }
            let name = format!("parts/{}/{:05}", member.digest.path(), member.pieces.len());
            let length = rest.min(self.room(self.first, &name));
            member.pieces.push(self.put(&name, length));
            rest -= length;
            self.check_count()?;
        }
        Ok(())
    }

    /// The largest content that a member called `name` may have if its header goes to `end`.
    fn room(&self, end: u64, name: &str) -> u64 {
        let taken = |size| end + tar::header_len(name, size) + tar::END_BYTES;
        let room = self.limit.saturating_sub(taken(0));
        // A large room may need a larger header to be used up.
        self.limit.saturating_sub(taken(room)) / tar::BLOCK * tar::BLOCK
    }

    fn put(&mut self, name: &str, length: u64) -> Piece {
        let volume = u32::try_from(self.volumes.len()).expect("`check_count` bounds the volumes");
        let offset = self.end + tar::header_len(name, length);
        self.end = offset + tar::padded(length);
        Piece { volume, offset, length }
    }

    fn close(&mut self) {
        self.volumes.push(self.end + tar::END_BYTES);
        self.end = self.first;
    }

    fn check_count(&self) -> Result<(), BundleError> {
        if self.volumes.len() < MAX_VOLUMES as usize {
            return Ok(());
        }
        Err(BundleError::TooManyVolumes { most: MAX_VOLUMES })
    }

    fn finish(mut self) -> (Vec<u64>, Vec<Member>) {
        if self.end > self.first {
            self.close();
        }
        (self.volumes, self.members)
    }
}

/// The name of a bundle: the one asked for, else the first stack's; a delta's has eight hex digits of its lock.
pub(crate) fn bundle_name(
    asked: Option<&str>,
    stacks: &[StackLock],
    is_delta: bool,
) -> Result<String, BundleError> {
    let first = stacks.first();
    let stem = asked.or(first.map(|stack| stack.name.as_str())).unwrap_or_default();
    if !airlift_spec::stack::is_name(stem) {
        return Err(BundleError::Name(stem.to_owned()));
    }
    match first.filter(|_| is_delta) {
        Some(stack) => Ok(format!("{stem}-{}", &stack.lock.hex()[..8])),
        None => Ok(stem.to_owned()),
    }
}

#[cfg(test)]
pub(crate) use tests::sample as for_tests;

#[cfg(test)]
mod tests;
