//! Digests: the names of content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// The hash of some content, written as its algorithm, a colon and lowercase hex digits.
///
/// A value is always well formed. Algorithms that OCI does not register are refused by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// A hash algorithm that OCI registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    #[error("`{0}` is not a digest (expected `sha256:` and 64 lowercase hex digits)")]
    Malformed(String),
    #[error("`{0}` is not a digest algorithm that OCI registers (sha256, sha512)")]
    Algorithm(String),
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::with(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` under `algorithm`.
    pub fn with(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hex digits alone.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(bytes) => hex::encode(bytes),
            Self::Sha512(bytes) => hex::encode(bytes),
        }
    }

    /// `<algorithm>/<hex>`: where the blob lies under `blobs/` of an OCI layout.
    pub fn path(&self) -> String {
        format!("{}/{}", self.algorithm(), self.hex())
    }

    /// Whether `bytes` are what this digest names.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::with(self.algorithm(), bytes) == *self
    }
}

impl Algorithm {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl FromStr for Algorithm {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| ParseDigestError::Algorithm(text.to_owned()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let malformed = || ParseDigestError::Malformed(text.to_owned());
        let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
        // `hex` would take capitals; OCI does not, and two spellings would be two names.
        if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed());
        }
        match algorithm.parse()? {
            Algorithm::Sha256 => decode(hex).map(Self::Sha256).ok_or_else(malformed),
            Algorithm::Sha512 => decode(hex).map(Self::Sha512).ok_or_else(malformed),
        }
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a digest where it stands: there are a million in a large lock's manifests.
struct Text;

impl de::Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

/// A running hash.
#[derive(Clone)]
pub enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(state) => Digest::Sha256(state.finalize().into()),
            Self::Sha512(state) => Digest::Sha512(state.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Hasher(sha256)",
            Self::Sha512(_) => "Hasher(sha512)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_empty_string_has_the_digest_everyone_knows() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert!(
            Digest::with(Algorithm::Sha512, b"").to_string().starts_with("sha512:cf83e1357eefb8bd")
        );
    }

    #[test]
    fn what_prints_parses_back() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::with(algorithm, b"some bytes");
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert!(digest.matches(b"some bytes"));
            assert!(!digest.matches(b"some bytez"));
        }
    }

    #[test]
    fn malformed_digests_are_refused() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            &EMPTY[..70],
            &EMPTY.to_uppercase(),
            "sha256:zz",
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let upper = EMPTY.replace("e3b0", "E3B0");
        assert_eq!(upper.parse::<Digest>(), Err(ParseDigestError::Malformed(upper.clone())));
    }

    #[test]
    fn an_algorithm_outside_the_register_is_named() {
        assert_eq!(
            "md5:abcd".parse::<Digest>(),
            Err(ParseDigestError::Algorithm("md5".to_owned()))
        );
    }
}
