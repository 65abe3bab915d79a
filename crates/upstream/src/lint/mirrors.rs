//! Mirrors that do not hold for what is pulled.

use std::collections::BTreeSet;

use airlift_scan::Evidence;
use airlift_spec::{Finding, Reference};
use serde_json::Value;

use super::subscriptions::OLM;
use super::{Configuration, Seen};

/// What Kuadrant's operator takes a gateway's WebAssembly module from.
const MODULE: &str = "RELATED_IMAGE_WASMSHIM";

/// Registries to whose modules Kuadrant's operator adds the pull secret [`SECRET`]; this variable says another.
const PROTECTED: (&str, &str) = ("PROTECTED_REGISTRY", "registry.redhat.io");
const SECRET: &str = "wasm-plugin-pull-secret";

/// Registries that give public images to everybody.
const PUBLIC: [&str; 6] =
    ["docker.io", "gcr.io", "ghcr.io", "quay.io", "registry.access.redhat.com", "registry.k8s.io"];

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
            let finding = Finding::warning("tag-not-mirrored", image, message);
            findings.push(finding.of(&it.set.source));
        }
    }
    past_nodes(all, &mirrored, findings);
    policies(all, findings);
    results_of_v1(all, findings);
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

/// A WebAssembly module that a gateway's proxy pulls by itself.
struct Module {
    reference: Reference,
    path: String,
}

fn modules(seen: &Seen) -> Vec<Module> {
    let written = |url: &str, path: &str| {
        // Istio takes what has no scheme for an image as well.
        let bare = url.strip_prefix("oci://").unwrap_or(url);
        Some(Module { reference: bare.parse().ok()?, path: path.to_owned() })
    };
    if seen.group() == "extensions.istio.io" {
        return written(seen.text("/spec/url"), "spec.url").into_iter().collect();
    }
    if seen.group() == OLM {
        let value =
            variable(seen, MODULE).and_then(|it| written(it, &format!("spec.config.env {MODULE}")));
        return value.into_iter().collect();
    }
    let scan = airlift_scan::scan(&seen.object);
    let modules = scan.images.into_iter().filter(|it| it.evidence == Evidence::Wasm);
    modules.map(|it| Module { reference: it.reference, path: it.path }).collect()
}

/// A variable that a Subscription sets in its operator.
fn variable<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    let variables = seen.object.pointer("/spec/config/env").and_then(Value::as_array)?;
    variables.iter().find(|it| it["name"] == name)?["value"].as_str()
}

/// What the nodes are told of mirrors and of pull secrets does not hold for proxies.
fn past_nodes(all: &Configuration<'_>, mirrored: &[Mirrored<'_>], findings: &mut Vec<Finding>) {
    for seen in all.objects {
        for Module { reference, path } in modules(seen) {
            if mirrored.iter().any(|it| covers(it.source, &reference)) {
                let message = format!(
                    "{path}: a gateway's proxy pulls `{reference}` by itself, past the mirrors of the nodes; name it \
                     in the mirror's own registry"
                );
                findings.push(seen.said(Finding::warning("wasm-past-mirrors", seen, message)));
            } else if !PUBLIC.contains(&reference.host())
                && let Some(remedy) = without_secret(seen, &reference, all)
            {
                let message = format!(
                    "{path}: a gateway's proxy pulls `{reference}` by itself, without the pull secret of the nodes; \
                     {remedy}, unless that registry gives it to everybody"
                );
                findings.push(seen.said(Finding::warning("wasm-without-secret", seen, message)));
            }
        }
    }
}

/// What gives a proxy the secret that it lacks.
fn without_secret(seen: &Seen, module: &Reference, all: &Configuration<'_>) -> Option<String> {
    if seen.group() != OLM {
        let names = seen.text("/spec/imagePullSecret");
        return names
            .is_empty()
            .then(|| "name a Secret of its namespace in `spec.imagePullSecret`".to_owned());
    }
    let (name, stock) = PROTECTED;
    let host = module.host();
    if !module.to_string().contains(variable(seen, name).unwrap_or(stock)) {
        return Some(format!(
            "set `{name}` to `{host}` beside it, and add a Secret `{SECRET}` to the namespace of the Gateway"
        ));
    }
    let is_there = all.of("", "Secret").any(|it| it.text("/metadata/name") == SECRET);
    (all.is_whole && !is_there)
        .then(|| format!("add a Secret `{SECRET}` to the namespace of the Gateway"))
}

fn policies(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    for policy in all.of("operator.openshift.io", "ImageContentSourcePolicy") {
        let message = "OpenShift 4.13 and later have ImageDigestMirrorSet in its place; `oc adm migrate icsp FILE` \
                       makes one of it";
        findings.push(Finding::info("mirror-set-deprecated", policy, message).of(&policy.source));
    }
}

/// What oc-mirror v1 wrote after a run speaks of the registry as that run left it.
fn results_of_v1(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let mut said = BTreeSet::new();
    let is_result = |seen: &&Seen| seen.place.split(['/', ' ', ':']).any(is_results_folder);
    for seen in all.objects.iter().filter(is_result) {
        if said.insert(&seen.source) {
            let message = "it lies in a folder of results of oc-mirror v1, whose mirrors and catalogs are those of \
                           that run; v2 and `airlift oc-mirror` write `working-dir/cluster-resources/` \
                           (`idms-oc-mirror.yaml`, `itms-oc-mirror.yaml`, `cs-….yaml`): apply these in its place";
            findings.push(seen.said(Finding::warning("results-of-v1", seen, message)));
        }
    }
}

/// `results-` and the time of a run, as oc-mirror v1 calls the folder of what it wrote.
pub(crate) fn is_results_folder(name: &str) -> bool {
    let time = name.strip_prefix("results-");
    let is_time = |it: &str| it.len() >= 9 && it.bytes().all(|byte| byte.is_ascii_digit());
    time.is_some_and(|it| it == "*" || is_time(it))
}
