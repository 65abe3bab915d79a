//! Mirrors that do not hold for what is pulled.

use airlift_scan::Evidence;
use airlift_spec::{Finding, Reference};
use serde_json::Value;

use super::{Configuration, Seen};

/// A set of mirrors: its group, its kind, where its list is, and whether it holds for digests or for tags.
const SETS: [(&str, &str, &str, Pulled); 3] = [
    ("config.openshift.io", "ImageDigestMirrorSet", "/spec/imageDigestMirrors", Pulled::ByDigest),
    ("config.openshift.io", "ImageTagMirrorSet", "/spec/imageTagMirrors", Pulled::ByTag),
    (
        "operator.openshift.io",
        "ImageContentSourcePolicy",
        "/spec/repositoryDigestMirrors",
        Pulled::ByDigest,
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulled {
    ByDigest,
    ByTag,
}

struct Mirrored<'a> {
    set: &'a Seen,
    /// A host, a namespace or a repository.
    source: &'a str,
    pulled: Pulled,
}

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let mirrored = mirrored(all);
    for image in &all.images {
        let of =
            |pulled| mirrored.iter().find(|it| it.pulled == pulled && covers(it.source, image));
        let digest_only = image.digest().is_none() && of(Pulled::ByTag).is_none();
        if let Some(it) = of(Pulled::ByDigest).filter(|_| digest_only) {
            let message = format!(
                "it is pulled by tag, and the mirrors of `{}` hold for digests alone ({}); name it by its digest, \
                 or add an ImageTagMirrorSet for `{}`",
                it.source, it.set.place, it.source
            );
            findings.push(Finding::warning("tag-not-mirrored", image, message).of(&it.set.source));
        }
    }
    past_mirrors(all, &mirrored, findings);
    policies(all, findings);
}

fn mirrored<'a>(all: &Configuration<'a>) -> Vec<Mirrored<'a>> {
    let mut found = Vec::new();
    for (group, kind, list, pulled) in SETS {
        for set in all.of(group, kind) {
            let listed = set.object.pointer(list).and_then(Value::as_array);
            let sources = listed.into_iter().flatten().filter_map(|it| it["source"].as_str());
            found.extend(sources.map(|source| Mirrored { set, source, pulled }));
        }
    }
    found
}

/// Whether a mirror's source is the image's repository, or is above it; `*.` takes any host below one.
fn covers(source: &str, image: &Reference) -> bool {
    if let Some(domain) = source.strip_prefix("*.") {
        return image.host().ends_with(&format!(".{domain}"));
    }
    let repository = image.repository();
    repository.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Proxies pull WebAssembly modules by themselves: what the nodes are told of mirrors does not hold for them.
fn past_mirrors(all: &Configuration<'_>, mirrored: &[Mirrored<'_>], findings: &mut Vec<Finding>) {
    for seen in all.objects {
        let scan = airlift_scan::scan(&seen.object);
        for module in scan.images.iter().filter(|it| it.evidence == Evidence::Wasm) {
            if mirrored.iter().any(|it| covers(it.source, &module.reference)) {
                let message = format!(
                    "{}: a gateway's proxy pulls `{}` by itself, past the mirrors of the nodes; name it in the \
                     mirror's own registry",
                    module.path, module.image
                );
                findings
                    .push(Finding::warning("wasm-past-mirrors", seen, message).of(&seen.source));
            }
        }
    }
}

fn policies(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    for policy in all.of("operator.openshift.io", "ImageContentSourcePolicy") {
        let message = "OpenShift 4.13 and later have ImageDigestMirrorSet in its place; `oc adm migrate icsp FILE` \
                       makes one of it";
        findings.push(Finding::info("mirror-set-deprecated", policy, message).of(&policy.source));
    }
}
