//! Who vouches for a bundle: Ed25519 signatures in minisign's prehashed format.
//!
//! ```text
//! NAME.bundle.json.minisig            by the first key
//! NAME.bundle.json.<keyid>.minisig    by a further key
//! NAME.00017.sums[.<keyid>].minisig   the same for the sums of a volume
//! ```
//!
//! The trusted comment is the root's digest and no time, so that signing twice gives the same bytes (Ed25519
//! itself is deterministic). `minisign -V` reads these files, and we read what `minisign -S -H` writes.
//!
//! What lies beside a file on a medium is not to be believed:
//!
//! - *A key on the medium*: never read; keys come from [`TrustRoots`] alone.
//! - *A signature under another file name*: names decide nothing, every `FILE*.minisig` is tried.
//! - *A signature by a stranger, or no signature at all in the file*: ignored, as if it were not there.
//! - *A bad signature by a trusted key*: the file is refused, whatever else vouches for it.
//! - *A good signature of another file*: it is bad for this one.
//! - *A flood of signatures, or a long one*: their number and length are capped.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use blake2::Digest as _;
use minisign_verify::{Error as VerifyError, PublicKey, Signature};
use ring::rand::SecureRandom as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use airlift_spec::Digest;

use crate::{BundleError, disk};

/// More signatures than anybody has keys.
const MAX_SIGNATURES: usize = 64;
const MAX_SIGNATURE_BYTES: u64 = 4096;

/// Public keys that somebody on this side chose to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustRoots {
    keys: Vec<TrustedKey>,
    /// `--insecure-trust-unsigned`
    is_blind: bool,
}

#[derive(Debug, Clone)]
struct TrustedKey {
    name: String,
    key: PublicKey,
}

impl TrustRoots {
    /// Keys as (name, text) pairs: minisign's two lines, or the bare base64 line.
    pub fn parse(texts: &[(String, String)]) -> Result<Self, BundleError> {
        let parse = |(name, text): &(String, String)| {
            let line = key_line(text);
            let key = line.and_then(|line| PublicKey::from_base64(line).ok());
            let reason = "it is no public key";
            let key = key.ok_or_else(|| BundleError::Key { name: name.clone(), reason })?;
            Ok(TrustedKey { name: name.clone(), key })
        };
        let keys = texts.iter().map(parse).collect::<Result<_, BundleError>>()?;
        Ok(Self { keys, is_blind: false })
    }

    /// The only way round: every signature is believed, and none is needed.
    pub fn trust_without_signature() -> Self {
        Self { keys: Vec::new(), is_blind: true }
    }

    /// Whether signatures are not asked for.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Checks that a trusted key has signed `bytes`, by the signatures beside `file`.
    pub(crate) fn check(&self, file: &Path, bytes: &[u8]) -> Result<(), BundleError> {
        if self.is_blind {
            return Ok(());
        }
        let mut is_vouched_for = false;
        for text in signatures_of(file)? {
            is_vouched_for |= self.check_one(file, bytes, &text)?;
        }
        if is_vouched_for { Ok(()) } else { Err(BundleError::Untrusted { file: file.into() }) }
    }

    /// Whether `text` is a good signature by one of our keys; an error if it claims to be and is not.
    pub(crate) fn check_one(
        &self,
        file: &Path,
        bytes: &[u8],
        text: &str,
    ) -> Result<bool, BundleError> {
        let Ok(signature) = Signature::decode(text) else { return Ok(false) };
        let mut bad = None;
        for trusted in &self.keys {
            match trusted.key.verify(bytes, &signature, false) {
                Ok(()) => return Ok(true),
                Err(VerifyError::UnexpectedKeyId) => {}
                Err(_) => bad = Some(&trusted.name),
            }
        }
        match bad {
            Some(key) => Err(BundleError::BadSignature { file: file.into(), key: key.clone() }),
            None => Ok(false),
        }
    }
}

/// The texts of all signatures beside `file`, in the order of their names.
fn signatures_of(file: &Path) -> Result<Vec<String>, BundleError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_signature = |path: &PathBuf| {
        let found = path.file_name().and_then(|found| found.to_str());
        let rest = found.and_then(|found| found.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".minisig"))
    };
    let mut paths: Vec<_> = disk::list(folder)?.into_iter().filter(is_signature).collect();
    paths.sort();
    paths.truncate(MAX_SIGNATURES);
    let read = |path: PathBuf| {
        let bytes = disk::read_at_most(&path, MAX_SIGNATURE_BYTES)?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    };
    paths.into_iter().filter_map(|path| read(path).transpose()).collect()
}

/// A signing key in minisign's format, without a password.
#[derive(Debug)]
pub struct SigningKey {
    id: [u8; 8],
    seed: airlift_spec::Secret<[u8; 32]>,
    pair: Ed25519KeyPair,
}

/// Algorithm, key derivation (none) and checksum algorithm of a secret key file.
const SECRET_PREFIX: &[u8; 6] = b"Ed\0\0B2";
/// Salt and limits of the key derivation, which do not matter without one.
const SECRET_KDF_BYTES: usize = 32 + 8 + 8;
const SECRET_BYTES: usize = 6 + SECRET_KDF_BYTES + 8 + 64 + 32;

impl SigningKey {
    pub fn generate() -> Result<Self, BundleError> {
        let (mut id, mut seed) = ([0; 8], [0; 32]);
        let random = ring::rand::SystemRandom::new();
        random.fill(&mut id).map_err(|_| BundleError::Random)?;
        random.fill(&mut seed).map_err(|_| BundleError::Random)?;
        Ok(Self::new(id, seed))
    }

    pub(crate) fn new(id: [u8; 8], seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed has 32 bytes");
        Self { id, seed: airlift_spec::Secret::new(seed), pair }
    }

    /// Reads the text of a secret key file; `name` is for messages.
    pub fn parse(name: &str, text: &str) -> Result<Self, BundleError> {
        let wrong = |reason| BundleError::Key { name: name.to_owned(), reason };
        let line = key_line(text).ok_or_else(|| wrong("it is empty"))?;
        let bytes = BASE64.decode(line).map_err(|_| wrong("it is not base64"))?;
        if bytes.len() != SECRET_BYTES {
            return Err(wrong("it is no secret key"));
        }
        if bytes[..2] == SECRET_PREFIX[..2] && bytes[2..4] != SECRET_PREFIX[2..4] {
            return Err(wrong("it has a password; make one without by `minisign -G -W`"));
        }
        if !bytes.starts_with(SECRET_PREFIX) {
            return Err(wrong("it is no secret key"));
        }
        let (key, checksum) = bytes[6 + SECRET_KDF_BYTES..].split_at(8 + 64);
        let id = key[..8].try_into().expect("the length was checked");
        let seed = key[8..40].try_into().expect("the length was checked");
        let parsed = Self::new(id, seed);
        // Without a password some tools leave the checksum empty.
        let is_checked = checksum == parsed.checksum() || checksum.iter().all(|byte| *byte == 0);
        if !is_checked || parsed.pair.public_key().as_ref() != &key[40..] {
            return Err(wrong("it is damaged"));
        }
        Ok(parsed)
    }

    /// The key as `minisign -s` takes it. Keep it where nobody else can read it.
    pub fn secret_text(&self) -> String {
        let mut bytes = SECRET_PREFIX.to_vec();
        bytes.extend([0; SECRET_KDF_BYTES]);
        bytes.extend(self.id);
        bytes.extend(self.pair_bytes());
        bytes.extend(self.checksum());
        format!(
            "untrusted comment: airlift secret key {}\n{}\n",
            self.key_id(),
            BASE64.encode(bytes)
        )
    }

    /// The public half as `minisign -p` and `--trust` take it.
    pub fn public_text(&self) -> String {
        let bytes = [b"Ed", &self.id[..], self.pair.public_key().as_ref()].concat();
        format!(
            "untrusted comment: airlift public key {}\n{}\n",
            self.key_id(),
            BASE64.encode(bytes)
        )
    }

    /// As minisign prints it.
    pub fn key_id(&self) -> String {
        format!("{:016X}", u64::from_le_bytes(self.id))
    }

    /// The text of a signature on `bytes`. The same bytes give the same text.
    pub(crate) fn sign(&self, bytes: &[u8], root: &Digest) -> String {
        let signature = self.pair.sign(&blake2::Blake2b512::digest(bytes));
        let comment = root.to_string();
        let global = self.pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let first = [b"ED", &self.id[..], signature.as_ref()].concat();
        format!(
            "untrusted comment: signature by airlift key {}\n{}\ntrusted comment: {comment}\n{}\n",
            self.key_id(),
            BASE64.encode(first),
            BASE64.encode(global)
        )
    }

    fn pair_bytes(&self) -> Vec<u8> {
        [&self.seed.expose()[..], self.pair.public_key().as_ref()].concat()
    }

    fn checksum(&self) -> Vec<u8> {
        type Blake2b256 = blake2::Blake2b<blake2::digest::consts::U32>;
        let bytes = [b"Ed", &self.id[..], &self.pair_bytes()].concat();
        Blake2b256::digest(bytes).to_vec()
    }
}

/// Names of the signature files of `file`, one for each of `keys`.
pub(crate) fn signature_names<'a>(
    file: &str,
    keys: &'a [SigningKey],
) -> impl Iterator<Item = (String, &'a SigningKey)> {
    keys.iter().enumerate().map(move |(at, key)| match at {
        0 => (format!("{file}.minisig"), key),
        _ => (format!("{file}.{}.minisig", key.key_id()), key),
    })
}

/// The line that holds a key: the last one that is neither empty nor a comment.
fn key_line(text: &str) -> Option<&str> {
    text.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with("untrusted comment:"))
}

#[cfg(test)]
mod tests;
