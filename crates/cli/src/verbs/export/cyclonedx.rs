//! A CycloneDX 1.6 bill of materials.
//!
//! It holds no time, and its serial number comes from the lock's digest: the same lock gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::lock::{Artifact, Because, Kind};
use airlift_spec::{Algorithm, Digest, Lock};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::reason;

/// What a package URL has unencoded in a name or a version.
const PURL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// In the value of a qualifier, also slashes.
const QUALIFIER: &AsciiSet = &PURL.remove(b'/');

pub(super) fn text(lock: &Lock) -> String {
    let components: Vec<Value> = lock.artifacts.iter().map(component).collect();
    let stack = json!({ "type": "application", "name": lock.stack, "bom-ref": stack_ref(lock) });
    let tool = json!({ "type": "application", "name": "airlift" });
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(&lock.digest()),
        "version": 1,
        "metadata": { "tools": { "components": [tool] }, "component": stack },
        "components": components,
        "dependencies": dependencies(lock),
    });
    format!("{bom:#}\n")
}

fn component(artifact: &Artifact) -> Value {
    let mut component = json!({
        "type": if artifact.kind == Kind::Chart { "application" } else { "container" },
        "bom-ref": artifact_ref(artifact),
        "name": name(artifact),
        "properties": properties(artifact),
    });
    if let Some(version) = version(artifact) {
        component["version"] = json!(version);
    }
    if let Some(digest) = &artifact.digest {
        component["hashes"] = json!([{ "alg": algorithm(digest), "content": digest.hex() }]);
        component["purl"] = json!(purl(artifact, digest));
    }
    component
}

fn name(artifact: &Artifact) -> String {
    match artifact.name.as_str() {
        "" => artifact.reference.repository(),
        name => name.to_owned(),
    }
}

fn version(artifact: &Artifact) -> Option<String> {
    let tag = || artifact.reference.tag().map(str::to_owned);
    let own = Some(artifact.version.clone()).filter(|version| !version.is_empty());
    own.or_else(tag).or_else(|| artifact.digest.map(|digest| digest.to_string()))
}

fn algorithm(digest: &Digest) -> &'static str {
    match digest.algorithm() {
        Algorithm::Sha256 => "SHA-256",
        Algorithm::Sha512 => "SHA-512",
    }
}

/// The package URL: of type `helm` for a chart, of type `oci` for anything else.
fn purl(artifact: &Artifact, digest: &Digest) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, PURL).to_string();
    let repository = artifact.reference.repository();
    let place = utf8_percent_encode(&repository, QUALIFIER).to_string();
    if artifact.kind == Kind::Chart {
        let version = version(artifact).unwrap_or_default();
        let (name, version) = (encoded(&name(artifact)), encoded(&version));
        return format!("pkg:helm/{name}@{version}?repository_url={place}");
    }
    let name = repository.rsplit('/').next().unwrap_or_default();
    let tag = artifact.reference.tag().map(|tag| format!("&tag={}", encoded(tag)));
    let (name, version) = (encoded(name), encoded(&digest.to_string()));
    format!("pkg:oci/{name}@{version}?repository_url={place}{}", tag.unwrap_or_default())
}

/// What the standard has no field for: a name may come more than once.
fn properties(artifact: &Artifact) -> Vec<Value> {
    let one = |name: &str, value: String| (name.to_owned(), value);
    let pin = if artifact.digest.is_some() { "yes" } else { "no" };
    let mut all = vec![
        one("kind", artifact.kind.name().to_owned()),
        one("reference", artifact.reference.to_string()),
        one("bytes", artifact.bytes.to_string()),
        one("pinned", pin.to_owned()),
    ];
    all.extend(artifact.from.iter().map(|from| one("from", from.clone())));
    let platforms = artifact.children.iter().filter_map(|child| {
        let platform = child.platform.as_ref()?;
        Some(one("platform", format!("{platform} {}", child.digest)))
    });
    let referrers = artifact.referrers.iter().map(|referrer| {
        let what = referrer.artifact_type.as_ref().or(referrer.tag.as_ref());
        let what = what.unwrap_or(&referrer.media_type);
        one("referrer", format!("{what} {}", referrer.digest))
    });
    all.extend(platforms.chain(referrers));
    all.extend(artifact.because.iter().map(|because| one("because", reason(because))));
    let property = |(name, value)| json!({ "name": format!("airlift:{name}"), "value": value });
    all.into_iter().map(property).collect()
}

/// For the stack and each artifact, what is there because of it.
fn dependencies(lock: &Lock) -> Vec<Value> {
    let mut parents: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    below.insert(stack_ref(lock), BTreeSet::new());
    for artifact in &lock.artifacts {
        let reference = artifact_ref(artifact);
        below.insert(reference.clone(), BTreeSet::new());
        parents.entry(artifact.reference.to_string()).or_default().push(reference);
    }
    // A reason that is no artifact is a source of the stack.
    let of = |because: &Because| {
        parents.get(&because.from).cloned().unwrap_or_else(|| vec![stack_ref(lock)])
    };
    for artifact in &lock.artifacts {
        for parent in artifact.because.iter().flat_map(of) {
            below.entry(parent).or_default().insert(artifact_ref(artifact));
        }
    }
    let entry = |(reference, below)| json!({ "ref": reference, "dependsOn": below });
    below.into_iter().map(entry).collect()
}

fn stack_ref(lock: &Lock) -> String {
    format!("stack {}", lock.stack)
}

/// A catalog may have the name of an image beside it.
fn artifact_ref(artifact: &Artifact) -> String {
    format!("{} {}", artifact.kind.name(), artifact.reference)
}

/// A UUID of version 8, which leaves its other bits to whoever makes it.
fn serial_number(digest: &Digest) -> String {
    let bits = u128::from_str_radix(&digest.hex()[..32], 16).expect("a digest is written in hex");
    let bits = (bits & !(0xf << 76)) | (8 << 76);
    let bits = (bits & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests;
