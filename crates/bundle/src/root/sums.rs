//! `NAME.NNNNN.sums`: what lets a volume be checked on all cores, and piece by piece while it is served.

use airlift_spec::Digest;
use serde::{Deserialize, Serialize};

use super::{FORMAT, check_header, refuse_longer};
use crate::error::FormatError;

/// How much of a volume one sum covers.
pub const CHUNK_BYTES: u64 = 8 << 20;

/// The sums of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    pub format: u32,
    #[serde(default)]
    pub needs: Vec<String>,
    pub root: Digest,
    pub volume: u32,
    pub size: u64,
    pub chunk_bytes: u64,
    /// Hex digits of each chunk's SHA-256, as `sha256sum` prints them.
    #[serde(with = "hex_lines")]
    pub sha256: Vec<[u8; 32]>,
}

impl Sums {
    pub(crate) fn new(root: Digest, volume: u32, size: u64, sha256: Vec<[u8; 32]>) -> Self {
        let needs = Vec::new();
        Self { format: FORMAT, needs, root, volume, size, chunk_bytes: CHUNK_BYTES, sha256 }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("sums have only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// Reads sums, which must be those of volume `ordinal` of the bundle `root`, `size` bytes long.
    pub fn parse(
        bytes: &[u8],
        root: &Digest,
        ordinal: u32,
        size: u64,
    ) -> Result<Self, FormatError> {
        refuse_longer(bytes.len() as u64, max_bytes(size))?;
        check_header(bytes)?;
        let sums: Self = serde_json::from_slice(bytes).map_err(FormatError::Json)?;
        let wrong = |what: String| Err(FormatError::Wrong(what));
        if sums.root != *root {
            return wrong(format!("it belongs to the bundle with the root {}", sums.root));
        }
        if (sums.volume, sums.size) != (ordinal, size) {
            return wrong(format!("it is about volume {} of {} bytes", sums.volume, sums.size));
        }
        if sums.chunk_bytes != CHUNK_BYTES || sums.sha256.len() as u64 != size.div_ceil(CHUNK_BYTES)
        {
            return wrong(format!("it has {} sums", sums.sha256.len()));
        }
        Ok(sums)
    }
}

/// No sums of a volume of `volume_bytes` are longer.
pub(crate) fn max_bytes(volume_bytes: u64) -> u64 {
    4096 + volume_bytes.div_ceil(CHUNK_BYTES) * 128
}

mod hex_lines {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(sums: &[[u8; 32]], ser: S) -> Result<S::Ok, S::Error> {
        ser.collect_seq(sums.iter().map(hex::encode))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<[u8; 32]>, D::Error> {
        let decode = |line: String| {
            let mut sum = [0; 32];
            hex::decode_to_slice(&line, &mut sum).map(|()| sum).map_err(D::Error::custom)
        };
        Vec::<String>::deserialize(de)?.into_iter().map(decode).collect()
    }
}
