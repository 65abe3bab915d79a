//! Trust (API sketch).
#![expect(unused_variables, reason = "sketch")]

use std::path::Path;

use airlift_spec::Digest;

use crate::BundleError;
use crate::root::Root;

/// Public keys that somebody on this side chose to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustRoots {}

/// A bundle whose root a trusted key has signed.
#[derive(Debug)]
pub struct TrustedBundle {}

/// A signing key in minisign's format.
#[derive(Debug)]
pub struct SigningKey {}

impl SigningKey {
    pub fn generate() -> Result<Self, BundleError> {
        unimplemented!()
    }
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        unimplemented!()
    }
    pub fn secret_text(&self) -> String {
        unimplemented!()
    }
    pub fn public_text(&self) -> String {
        unimplemented!()
    }
    pub fn key_id(&self) -> String {
        unimplemented!()
    }
}

impl TrustRoots {
    /// Keys as `*.pub` texts (minisign's two-line format, or the bare base64 line).
    pub fn parse(texts: &[(String, String)]) -> Result<Self, BundleError> {
        unimplemented!()
    }
    /// The only way round: accepts any root and says so in a finding.
    pub fn trust_without_signature() -> Self {
        unimplemented!()
    }
}

impl TrustedBundle {
    /// Opens the bundle in `folder` (several bundles of other names in one folder: all of them). Signature before parsing.
    pub fn open_all(folder: &Path, roots: &TrustRoots) -> Result<Vec<Self>, BundleError> {
        unimplemented!()
    }
    pub fn root(&self) -> &Root {
        unimplemented!()
    }
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
}
