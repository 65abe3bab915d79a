//! `NAME.blobs`: where each member of the volumes lies.

use airlift_spec::Digest;
use serde::{Deserialize, Serialize};

use super::Root;
use crate::error::FormatError;
use crate::tar;

/// Every member of every volume but the markers, sorted by digest and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    members: Vec<Member>,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub digest: Digest,
    pub size: u64,
    /// Its name in the tar, if it is no ordinary blob; such members make up volume 00000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// The first of the root's artifacts that it belongs to, by position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<u32>,
    /// One piece; several, each on its own volume, if the blob is larger than a volume.
    pub pieces: Vec<Piece>,
}

/// Where some bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub volume: u32,
    /// Of the first byte of content, from the start of the volume.
    pub offset: u64,
    pub length: u64,
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

impl Table {
    pub(crate) fn new(mut members: Vec<Member>) -> Self {
        members.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        Self { members }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The blob `digest`; members with names only where there is no ordinary one.
    pub fn find(&self, digest: &Digest) -> Option<&Member> {
        let at = self.members.partition_point(|member| member.digest < *digest);
        self.members.get(at).filter(|member| member.digest == *digest)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.members.len() * 192);
        for member in &self.members {
            serde_json::to_writer(&mut bytes, member).expect("a Vec takes any bytes");
            bytes.push(b'\n');
        }
        bytes
    }

    /// Reads a table whose digest was checked against `root`.
    pub fn parse(bytes: &[u8], root: &Root) -> Result<Self, FormatError> {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let mut members = Vec::with_capacity(bytes.len() / 192);
        for (at, line) in lines.enumerate() {
            let member: Member = serde_json::from_slice(line)
                .map_err(|source| FormatError::Line { line: at + 1, source })?;
            check_member(&member, root).map_err(|what| wrong_line(at, &what))?;
            if members.last().is_some_and(|last: &Member| last.key() >= member.key()) {
                return Err(wrong_line(at, "it is out of order"));
            }
            members.push(member);
        }
        if members.len() as u64 != root.blobs.members {
            return Err(FormatError::Wrong(format!("it has {} members", members.len())));
        }
        check_layout(&root.name, &members, &root.volumes)?;
        Ok(Self { members })
    }
}

impl Member {
    fn key(&self) -> (&Digest, Option<&str>) {
        (&self.digest, self.name.as_deref())
    }
}

/// What the `part`th piece of `member` is called in its volume.
pub(crate) fn member_name(member: &Member, part: usize) -> String {
    match &member.name {
        Some(name) => name.to_string(),
        None if member.pieces.len() == 1 => format!("blobs/{}", member.digest.path()),
        None => format!("parts/{}/{part:05}", member.digest.path()),
    }
}

fn wrong_line(at: usize, what: &str) -> FormatError {
    FormatError::Wrong(format!("line {}: {what}", at + 1))
}

fn check_member(member: &Member, root: &Root) -> Result<(), String> {
    let mut total: u64 = 0;
    let mut last: Option<u32> = None;
    for piece in &member.pieces {
        let size = root.volumes.get(piece.volume as usize).ok_or("its volume does not exist")?;
        let end = piece.offset.checked_add(piece.length).filter(|end| end <= size);
        end.ok_or("it reaches beyond its volume")?;
        if last.is_some_and(|last| last >= piece.volume) {
            return Err("two of its pieces are on one volume or out of order".to_owned());
        }
        if member.name.is_some() != (piece.volume == 0) {
            return Err("volume 00000 holds members with names, and nothing else".to_owned());
        }
        total = total.checked_add(piece.length).ok_or("it is too large")?;
        last = Some(piece.volume);
    }
    if last.is_none() || total != member.size {
        return Err("its pieces do not make it up".to_owned());
    }
    if member.artifact.is_some_and(|artifact| artifact as usize >= root.artifacts.len()) {
        return Err("it belongs to an artifact that does not exist".to_owned());
    }
    match &member.name {
        Some(name) if !is_member_name(name) => {
            Err(format!("`{}` is no name for a member", name.escape_debug()))
        }
        _ => Ok(()),
    }
}

/// A relative path of plain words that is no name of ours for anything else.
fn is_member_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    name.len() <= 100
        && name.split('/').all(is_word)
        && !["blobs", "parts", "airlift-volume"]
            .contains(&name.split('/').next().unwrap_or_default())
}

/// Whether each volume is laid out exactly as we would: members one after the other, up to the very size.
///
/// That leaves no room for overlaps, holes or bytes that nobody vouches for.
pub(crate) fn check_layout(
    bundle: &str,
    members: &[Member],
    volumes: &[u64],
) -> Result<(), FormatError> {
    let first = tar::marker_len(bundle);
    let mut ends = vec![first; volumes.len()];
    let mut names = std::collections::HashSet::new();
    for (piece, member, part) in in_volume_order(members) {
        let name = member_name(member, part);
        let end = &mut ends[piece.volume as usize];
        let start = *end + tar::header_len(&name, piece.length);
        if piece.offset != start {
            return Err(FormatError::Wrong(format!(
                "{name} is said to lie at {} of volume {:05}, not at {start}",
                piece.offset, piece.volume
            )));
        }
        *end = start + tar::padded(piece.length);
        // Two members of one name would overwrite each other when untarred.
        if member.name.is_some() && !names.insert(name.clone()) {
            return Err(FormatError::Wrong(format!("two members are called {name}")));
        }
    }
    let wrong = ends.iter().zip(volumes).position(|(end, size)| end + tar::END_BYTES != *size);
    match wrong {
        Some(ordinal) => Err(FormatError::Wrong(format!("volume {ordinal:05} has another size"))),
        None => Ok(()),
    }
}

/// All pieces as they follow each other on the volumes, with their number within the member.
pub(crate) fn in_volume_order(members: &[Member]) -> Vec<(Piece, &Member, usize)> {
    let mut pieces: Vec<_> = members
        .iter()
        .flat_map(|member| {
            member.pieces.iter().enumerate().map(move |(part, p)| (*p, member, part))
        })
        .collect();
    pieces.sort_unstable_by_key(|(piece, ..)| (piece.volume, piece.offset));
    pieces
}
