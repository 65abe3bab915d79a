//! What signs a release: a message of `OpenPGP` whose text names the release by its digest.

use serde::Deserialize;

use airlift_spec::{Class, Digest, Explain};

use crate::name::ImageName;
use crate::openpgp::{Key, Message, keys};

/// Red Hat's release key 2.
const RELEASE_KEY: &str = include_str!("../../data/redhat-release-key-2.asc");

/// What the text of a signature calls itself.
const ATOMIC: &str = "atomic container signature";

/// Keys whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring(Vec<Key>);

/// What a good signature says besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The name that the release was published under; none where that is not one.
    pub name: Option<ImageName>,
}

/// Why a release is not taken for signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    #[error("the file of keys {0}")]
    Keys(String),
    #[error("the signature {0}")]
    Malformed(String),
    #[error("no trusted key has made the signature; it names {issuers}")]
    Untrusted { issuers: String },
    #[error("what is signed is no container signature: {0}")]
    Text(String),
    #[error("the signature is for {signed}, and the release is {release}")]
    Other { signed: Digest, release: Digest },
}

impl Explain for SignatureError {
    fn class(&self) -> Class {
        match self {
            Self::Keys(_) => Class::Input,
            _ => Class::Integrity,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Keys(_) => {
                Some("write the keys with `gpg --armor --export KEY`, into a file".to_owned())
            }
            Self::Untrusted { .. } => Some(
                "name the file of a key that you trust in OCP_SIGNATURE_VERIFICATION_PK".to_owned(),
            ),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct TextWire {
    critical: CriticalWire,
}

#[derive(Deserialize)]
struct CriticalWire {
    #[serde(rename = "type")]
    kind: String,
    image: ImageWire,
    identity: IdentityWire,
}

#[derive(Deserialize)]
struct ImageWire {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

#[derive(Deserialize)]
struct IdentityWire {
    #[serde(rename = "docker-reference")]
    reference: String,
}

impl Keyring {
    /// Reads an armored file of public keys.
    pub fn parse(armored: &str) -> Result<Self, SignatureError> {
        keys(armored).map(Self).map_err(SignatureError::Keys)
    }

    /// The key that Red Hat signs releases with.
    pub fn red_hat() -> Self {
        Self::parse(RELEASE_KEY).expect("the key in this repository is one")
    }

    /// The fingerprints of its keys.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.fingerprint.as_str())
    }

    /// Checks that `signature` is for `release`, by one of these keys. Nothing of it is parsed as JSON before.
    pub fn check(&self, signature: &[u8], release: Digest) -> Result<Signed, SignatureError> {
        let message = Message::parse(signature).map_err(SignatureError::Malformed)?;
        let text = message.signed_by(&self.0).ok_or_else(|| {
            let issuers = message.issuers().join(", ");
            let issuers = if issuers.is_empty() { "nobody".to_owned() } else { issuers };
            SignatureError::Untrusted { issuers }
        })?;
        let wire: TextWire =
            serde_json::from_slice(text).map_err(|err| SignatureError::Text(err.to_string()))?;
        let TextWire { critical } = wire;
        if critical.kind != ATOMIC {
            return Err(SignatureError::Text(format!("it is of type {:?}", critical.kind)));
        }
        let signed = critical.image.digest;
        if signed != release {
            return Err(SignatureError::Other { signed, release });
        }
        Ok(Signed { name: ImageName::parse(&critical.identity.reference).ok() })
    }
}

#[cfg(test)]
mod tests;
