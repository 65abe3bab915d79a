//! From locks and a store to what a bundle is to hold: exactly the closure of the locks, and what is missing of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use airlift_spec::closure::{Closure, closure};
use airlift_spec::lock::Artifact;
use airlift_spec::oci::{MAX_MANIFEST_BYTES, media_type};
use airlift_spec::{Descriptor, Digest, Finding, Lock, Reference, Severity};
use airlift_store::{Store, StoreError};

use crate::plan::{Named, Wanted, WantedArtifact};
use crate::root::{LeftOut, MAX_ROOT_BYTES, Missing, Root, Since, StackLock, Table};
use crate::{BundleError, disk};

/// The annotation that names an image in an OCI layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Names of the members that far-side verbs look for.
pub(crate) const LOCKS_FOLDER: &str = "airlift/locks/";
const FINDINGS: &str = "airlift/findings.json";

/// What the far side has already, by a receipt or an earlier root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// SHA-256 of the receipt, or of the earlier root.
    pub document: Option<Digest>,
    /// Digests of the locks that were delivered.
    pub locks: Vec<Digest>,
    /// Each blob with a canonical repository (`host/path`) that holds it.
    pub blobs: BTreeMap<Digest, String>,
}

impl Delivered {
    /// Takes the bundle of the root file `path` as delivered, with all that it left out itself.
    ///
    /// The table is looked for beside the root, then among the bundles made from `store`.
    pub fn by_root_file(path: &Path, store: &Store) -> Result<Self, BundleError> {
        let format = |file: &Path| {
            let file = file.to_owned();
            move |source| BundleError::Format { file, source }
        };
        let bytes = disk::read_at_most(path, MAX_ROOT_BYTES)?
            .ok_or_else(|| BundleError::NotKept { root: path.display().to_string() })?;
        let root = Root::parse(&bytes).map_err(format(path))?;
        let digest = Digest::of(&bytes);
        let beside = path.with_file_name(root.table_file());
        let kept = crate::keep::folder(store, &digest).join(root.table_file());
        for file in [beside, kept] {
            let found = disk::read_at_most(&file, root.blobs.size);
            if let Ok(Some(table)) = found
                && root.blobs.digest.matches(&table)
            {
                let table = Table::parse(&table, &root).map_err(format(&file))?;
                return Ok(Self::by_root(digest, &root, &table));
            }
        }
        Err(BundleError::TableMismatch { file: path.with_file_name(root.table_file()) })
    }

    pub(crate) fn by_root(digest: Digest, root: &Root, table: &Table) -> Self {
        let left_out = root.left_out.iter().map(|blob| (blob.digest, blob.repository.clone()));
        let packed = table.members().iter().filter_map(|member| {
            let artifact = root.artifacts.get(member.artifact? as usize)?;
            Some((member.digest, artifact.reference.repository()))
        });
        Self {
            document: Some(digest),
            locks: root.stacks.iter().map(|stack| stack.lock).collect(),
            blobs: left_out.chain(packed).collect(),
        }
    }
}

/// What came of gathering.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) wanted: Wanted,
    /// The bytes of the members of volume 00000.
    pub(crate) named: Vec<Vec<u8>>,
    pub(crate) findings: Vec<Finding>,
}

/// What decides the content of a bundle besides its locks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) volume_bytes: u64,
    pub(crate) allow_missing: bool,
    pub(crate) delivered: Option<&'a Delivered>,
}

pub(crate) fn gather(
    store: &Store,
    locks: &[Lock],
    rules: Rules<'_>,
) -> Result<Gathered, BundleError> {
    let locks = in_text_order(locks)?;
    let stacks: Vec<_> = locks
        .iter()
        .map(|lock| StackLock { name: lock.stack.clone(), lock: lock.digest() })
        .collect();
    let name = crate::plan::bundle_name(rules.name, &stacks, rules.delivered.is_some())?;
    let mut harvest = Harvest::new(store, rules);
    for artifact in locks.iter().flat_map(|lock| &lock.artifacts) {
        harvest.add(artifact)?;
    }
    let mut findings = tag_conflicts(&locks);
    findings.append(&mut harvest.findings);
    let named = named_members(&locks, &harvest.index, &findings);
    let list = |(name, bytes): &(String, Vec<u8>)| Named {
        name: name.clone(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let wanted = Wanted {
        name,
        stacks,
        since: rules.delivered.and_then(|delivered| {
            Some(Since { document: delivered.document?, locks: delivered.locks.clone() })
        }),
        named: named.iter().map(list).collect(),
        artifacts: harvest.artifacts,
        missing: harvest.missing,
        left_out: harvest.left_out.into_values().collect(),
        volume_bytes: rules.volume_bytes,
    };
    Ok(Gathered { wanted, named: named.into_iter().map(|(_, bytes)| bytes).collect(), findings })
}

/// The locks as their texts have them: two spellings of one lock must not make two bundles.
fn in_text_order(locks: &[Lock]) -> Result<Vec<Lock>, BundleError> {
    let mut sorted: Vec<Lock> = Vec::with_capacity(locks.len());
    for lock in locks {
        if sorted.iter().any(|known| known.stack == lock.stack) {
            return Err(BundleError::StackTwice(lock.stack.clone()));
        }
        let place = || format!("the stack `{}`", lock.stack);
        let parsed = Lock::parse(lock.to_text().as_bytes());
        sorted.push(parsed.map_err(|source| BundleError::Lock { place: place(), source })?);
    }
    Ok(sorted)
}

/// Two stacks that pin one tag to different digests cannot both have it on the far side.
pub(crate) fn tag_conflicts(locks: &[Lock]) -> Vec<Finding> {
    let mut pins: HashMap<(String, &str), (Digest, &str)> = HashMap::new();
    let mut findings = Vec::new();
    for lock in locks {
        for artifact in &lock.artifacts {
            let reference = &artifact.reference;
            let (Some(tag), Some(digest)) = (reference.tag(), artifact.digest) else { continue };
            let key = (reference.repository(), tag);
            let (first, stack) = *pins.entry(key).or_insert((digest, &lock.stack));
            if first != digest {
                let message = format!(
                    "stack `{stack}` pins it to {first}, stack `{}` to {digest}",
                    lock.stack
                );
                findings.push(Finding::error("tag-conflict", reference, message).of(reference));
            }
        }
    }
    findings
}

/// What is being gathered, artifact by artifact.
struct Harvest<'a> {
    store: &'a Store,
    rules: Rules<'a>,
    artifacts: Vec<WantedArtifact>,
    missing: Vec<Missing>,
    left_out: BTreeMap<Digest, LeftOut>,
    /// Entries of `index.json`.
    index: Vec<Descriptor>,
    listed: BTreeSet<(Digest, Option<String>)>,
    findings: Vec<Finding>,
    seen: BTreeSet<(Reference, Digest)>,
}

impl<'a> Harvest<'a> {
    fn new(store: &'a Store, rules: Rules<'a>) -> Self {
        Self {
            store,
            rules,
            artifacts: Vec::new(),
            missing: Vec::new(),
            left_out: BTreeMap::new(),
            index: Vec::new(),
            listed: BTreeSet::new(),
            findings: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, artifact: &Artifact) -> Result<(), BundleError> {
        let reference = &artifact.reference;
        let unpinned = || BundleError::Unpinned { reference: reference.to_string() };
        let manifest = artifact.descriptor().ok_or_else(unpinned)?;
        let digest = manifest.digest;
        if !self.seen.insert((reference.clone(), digest)) {
            return Ok(());
        }
        let mut closures = vec![self.walk(&manifest, &artifact.left_out_digests())?];
        for referrer in &artifact.referrers {
            closures.push(self.walk(&referrer.descriptor(), &BTreeSet::new())?);
        }
        let lacks = self.lacks(&closures);
        if let Some(reason) = lacks.essential {
            self.miss(reference, digest, reason);
            return Ok(());
        }
        for (digest, size) in &lacks.foreign {
            let message =
                format!("{digest} ({size} bytes) may not be distributed and was not fetched");
            self.findings
                .push(Finding::warning("non-distributable", reference, message).of(reference));
        }
        let blobs = self.blobs(&closures, &lacks.foreign);
        let leaves_out = self.leave_out(&closures, &lacks.foreign);
        if !leaves_out && lacks.foreign.is_empty() {
            self.list(artifact, manifest);
        }
        self.artifacts.push(WantedArtifact { reference: reference.clone(), digest, blobs });
        Ok(())
    }

    fn walk(&self, from: &Descriptor, left_out: &BTreeSet<Digest>) -> Result<Closure, BundleError> {
        closure(from, left_out, |manifest| {
            match self.store.read(&manifest.digest, MAX_MANIFEST_BYTES) {
                Err(StoreError::DamagedBlob { expected, .. }) => {
                    self.store.discard(&expected)?;
                    Err(BundleError::BlobDamaged { digest: expected })
                }
                read => Ok(read?),
            }
        })
    }

    fn lacks(&self, closures: &[Closure]) -> Lacks {
        let mut lacks = Lacks::default();
        for closure in closures {
            if let Some(unreadable) = closure.unreadable.first() {
                let text = format!("{}: {}", unreadable.manifest.digest, unreadable.reason);
                lacks.essential.get_or_insert(text);
            }
            if let Some(manifest) = closure.missing.first() {
                lacks.essential.get_or_insert(format!("the store has no {}", manifest.digest));
            }
            for blob in &closure.blobs {
                if self.store.contains(&blob.digest) || self.is_delivered(&blob.digest) {
                    continue;
                }
                if blob.is_non_distributable() {
                    lacks.foreign.insert(blob.digest, blob.size);
                } else {
                    let text = format!("the store has no {}", blob.digest);
                    lacks.essential.get_or_insert(text);
                }
            }
        }
        lacks
    }

    fn is_delivered(&self, digest: &Digest) -> bool {
        self.rules.delivered.is_some_and(|delivered| delivered.blobs.contains_key(digest))
    }

    fn miss(&mut self, reference: &Reference, digest: Digest, reason: String) {
        self.missing.push(Missing { reference: reference.clone(), digest });
        let mut finding = Finding::error("not-fetched", reference, reason).of(reference);
        if self.rules.allow_missing {
            finding.severity = Severity::Warning;
        }
        self.findings.push(finding);
    }

    /// Everything the artifact reaches, in the order in which it is packed, each blob once.
    fn blobs(&self, closures: &[Closure], foreign: &BTreeMap<Digest, u64>) -> Vec<(Digest, u64)> {
        let mut seen = BTreeSet::new();
        let reached = closures.iter().flat_map(Closure::all);
        let reached = reached.filter(|blob| !foreign.contains_key(&blob.digest));
        reached
            .filter(|blob| seen.insert(blob.digest))
            // The store has measured it; a descriptor only claims.
            .map(|blob| (blob.digest, self.store.size(&blob.digest).unwrap_or(blob.size)))
            .collect()
    }

    /// Notes which of the artifact's blobs the far side has. Manifests always travel: whoever has them knows what
    /// belongs together without asking the far side.
    fn leave_out(&mut self, closures: &[Closure], foreign: &BTreeMap<Digest, u64>) -> bool {
        let Some(delivered) = self.rules.delivered else { return false };
        let mut leaves_out = false;
        let manifests: BTreeSet<Digest> = closures
            .iter()
            .flat_map(|closure| &closure.manifests)
            .map(|blob| blob.digest)
            .collect();
        for blob in closures.iter().flat_map(|closure| &closure.blobs) {
            let Some(repository) = delivered.blobs.get(&blob.digest) else { continue };
            if manifests.contains(&blob.digest) || foreign.contains_key(&blob.digest) {
                continue;
            }
            leaves_out = true;
            let (digest, repository) = (blob.digest, repository.clone());
            let size = self.store.size(&digest).unwrap_or(blob.size);
            self.left_out.entry(digest).or_insert(LeftOut { digest, size, repository });
        }
        leaves_out
    }

    fn list(&mut self, artifact: &Artifact, mut manifest: Descriptor) {
        manifest.annotations.insert(REF_NAME.to_owned(), artifact.reference.to_string());
        let entries = std::iter::once(manifest)
            .chain(artifact.referrers.iter().map(airlift_spec::lock::Referrer::descriptor));
        for entry in entries {
            let name = entry.annotations.get(REF_NAME).cloned();
            if self.listed.insert((entry.digest, name)) {
                self.index.push(entry);
            }
        }
    }
}

/// What is not in the store of what an artifact reaches.
#[derive(Default)]
struct Lacks {
    /// Why the artifact cannot be carried.
    essential: Option<String>,
    /// Layers whose licence forbids to have them, and their sizes: the artifact goes without.
    foreign: BTreeMap<Digest, u64>,
}

fn named_members(
    locks: &[Lock],
    index: &[Descriptor],
    findings: &[Finding],
) -> Vec<(String, Vec<u8>)> {
    let text = |value: &serde_json::Value| {
        let mut bytes = serde_json::to_vec_pretty(value).expect("a value has only text keys");
        bytes.push(b'\n');
        bytes
    };
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": index,
    });
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
    let mut members =
        vec![("oci-layout".to_owned(), layout.to_vec()), ("index.json".to_owned(), text(&index))];
    for lock in locks {
        members.push((format!("{LOCKS_FOLDER}{}.json", lock.stack), lock.to_text().into_bytes()));
    }
    let known = locks.iter().flat_map(|lock| &lock.findings).chain(findings);
    let findings: Vec<_> = known.collect();
    let findings = serde_json::json!({"format": crate::root::FORMAT, "findings": findings});
    members.push((FINDINGS.to_owned(), text(&findings)));
    members
}
