//! Subscriptions against the catalogs that the stack keeps, and against their namespaces.

use std::collections::BTreeSet;

use airlift_spec::lock::KeptPackage;
use airlift_spec::{Finding, Reference};

use super::{Configuration, Seen};

const OLM: &str = "operators.coreos.com";

/// The catalogs that OpenShift's marketplace sets up by itself.
const MARKETPLACE: [(&str, &str); 4] = [
    ("redhat-operators", "redhat/redhat-operator-index"),
    ("certified-operators", "redhat/certified-operator-index"),
    ("community-operators", "redhat/community-operator-index"),
    ("redhat-marketplace", "redhat/redhat-marketplace-index"),
];

/// Namespaces that come with an `OperatorGroup` for all namespaces.
const GLOBAL: [&str; 2] = ["openshift-operators", "operators"];

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    for subscription in all.of(OLM, "Subscription") {
        // A patch for another object has but some of the fields.
        if !subscription.text("/spec/name").is_empty() {
            findings.extend(carried(subscription, all));
            at_home(subscription, all, findings);
        }
    }
    let mut homes = BTreeSet::new();
    for group in all.of(OLM, "OperatorGroup").filter(|it| !it.namespace().is_empty()) {
        let name = group.text("/metadata/name");
        let others = all.of(OLM, "OperatorGroup").filter(|it| it.namespace() == group.namespace());
        let other = others.map(|it| it.text("/metadata/name")).find(|it| *it != name);
        if let Some(other) = other.filter(|_| homes.insert(group.namespace())) {
            let message = format!(
                "`{other}` is in the same namespace, and with two groups OLM installs nothing there \
                 (`TooManyOperatorGroups`); keep one of them"
            );
            findings
                .push(Finding::warning("operator-group-twice", group, message).of(&group.source));
        }
    }
}

type Carried<'a> = (&'a Reference, &'a KeptPackage);

/// Whether what it subscribes to is in a catalog that the stack keeps.
fn carried(subscription: &Seen, all: &Configuration<'_>) -> Option<Finding> {
    let (package, source) = (subscription.text("/spec/name"), subscription.text("/spec/source"));
    let named = catalog_of(source, all);
    // A catalog that is carried whole has what nobody listed.
    let whole: Vec<&Reference> =
        all.catalogs.iter().filter(|(_, kept)| kept.is_empty()).map(|(at, _)| *at).collect();
    if named.map_or(!whole.is_empty(), |named| whole.contains(&named)) {
        return None;
    }
    let keep = all.catalogs.iter().filter_map(|(at, kept)| Some((*at, kept.get(package)?)));
    let keep: Vec<Carried<'_>> = keep.collect();
    let Some((first, _)) = keep.first() else {
        let message = format!(
            "no `catalog:` of the stack keeps package `{package}`; list it under `packages:` of one"
        );
        let finding = Finding::warning("subscription-package", subscription, message);
        return (!all.catalogs.is_empty() && whole.is_empty())
            .then(|| finding.of(&subscription.source));
    };
    let is_meant = |(at, _): &&Carried<'_>| named.is_none_or(|named| named == *at);
    let meant: Vec<&Carried<'_>> = keep.iter().filter(is_meant).collect();
    if let Some(named) = named.filter(|_| meant.is_empty()) {
        let message = format!(
            "`{source}` is `{named}`, which does not have package `{package}`; `{first}` has it: name its source"
        );
        let finding = Finding::warning("subscription-source", subscription, message);
        return Some(finding.of(&subscription.source));
    }
    // Where nothing says which of several it is, one that has all will do.
    let lacks: Vec<Finding> =
        meant.iter().filter_map(|(at, kept)| lacking(subscription, at, kept)).collect();
    if lacks.len() == meant.len() { lacks.into_iter().next() } else { None }
}

/// The catalog of the stack that a `CatalogSource` serves, where the manifests or the marketplace say so.
fn catalog_of<'a>(source: &str, all: &Configuration<'a>) -> Option<&'a Reference> {
    let declared = all.of(OLM, "CatalogSource").find(|it| it.text("/metadata/name") == source);
    let image = declared.and_then(|it| it.text("/spec/image").parse::<Reference>().ok());
    let path = match (&image, declared) {
        (Some(image), _) => image.path(),
        (None, Some(_)) => return None,
        (None, None) => MARKETPLACE.iter().find(|(name, _)| *name == source)?.1,
    };
    // A mirror has the path of what it mirrors, perhaps below one of its own.
    let is_it = |at: &Reference| path == at.path() || path.ends_with(&format!("/{}", at.path()));
    let mut served = all.catalogs.iter().map(|(at, _)| *at).filter(|at| is_it(at));
    // Of two versions of one index, nothing says which it is.
    served.next().filter(|_| served.next().is_none())
}

/// What is not kept of what it asks for: its channel, or its version.
fn lacking(subscription: &Seen, at: &Reference, kept: &KeptPackage) -> Option<Finding> {
    let channel = match subscription.text("/spec/channel") {
        "" => kept.default_channel.as_str(),
        channel => channel,
    };
    let Some(bundles) = kept.channels.get(channel) else {
        let has = listed(kept.channels.keys());
        let message = format!(
            "channel `{channel}` is not in what is kept of `{at}`, which has {has}; subscribe to one of these, \
             or list the channel under `packages:`"
        );
        let finding = Finding::warning("subscription-channel", subscription, message);
        return Some(finding.of(&subscription.source));
    };
    let starting = subscription.text("/spec/startingCSV");
    if starting.is_empty() || bundles.contains(starting) {
        return None;
    }
    let message = format!(
        "`startingCSV: {starting}` is not in what is kept of channel `{channel}`, which has {}; start with one of \
         these, or widen the range under `packages:`",
        listed(bundles)
    );
    let finding = Finding::warning("subscription-version", subscription, message);
    Some(finding.of(&subscription.source))
}

/// Whether its namespace is there, and has a group that the operator can be installed with.
fn at_home(subscription: &Seen, all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let home = subscription.namespace();
    if home.is_empty() {
        return;
    }
    let group = all.of(OLM, "OperatorGroup").find(|it| it.namespace() == home);
    let has_namespace = GLOBAL.contains(&home)
        || all.of("", "Namespace").any(|it| it.text("/metadata/name") == home)
        || all.of("project.openshift.io", "Project").any(|it| it.text("/metadata/name") == home);
    let lacks: Vec<&str> = [
        ("OperatorGroup", group.is_some() || GLOBAL.contains(&home)),
        ("Namespace", has_namespace),
    ]
    .into_iter()
    .filter_map(|(kind, is_there)| (!is_there).then_some(kind))
    .collect();
    if !lacks.is_empty() {
        let message = format!(
            "no manifest of the stack has {} `{home}`: OLM installs nothing without; add what the cluster does \
             not have",
            match lacks.as_slice() {
                [one] => format!("the {one} of"),
                _ => format!("{} of", lacks.join(" and ")),
            }
        );
        findings.push(
            Finding::warning("subscription-namespace", subscription, message)
                .of(&subscription.source),
        );
    }
    if group.is_some() || GLOBAL.contains(&home) {
        let mode = group.map_or(Some("AllNamespaces"), mode);
        findings.extend(mode.and_then(|mode| unsupported(subscription, mode, all)));
    }
}

/// The install mode that a group asks operators for; none where only the cluster knows.
fn mode(group: &Seen) -> Option<&'static str> {
    if group.object.pointer("/spec/selector").is_some_and(|it| !it.is_null()) {
        return None;
    }
    Some(match group.texts("/spec/targetNamespaces").as_slice() {
        [] | [""] => "AllNamespaces",
        [one] if *one == group.namespace() => "OwnNamespace",
        [_] => "SingleNamespace",
        _ => "MultiNamespace",
    })
}

fn unsupported(subscription: &Seen, mode: &str, all: &Configuration<'_>) -> Option<Finding> {
    let package = subscription.text("/spec/name");
    let kept = all.catalogs.iter().filter_map(|(_, kept)| kept.get(package));
    let modes: BTreeSet<&String> = kept.flat_map(|kept| &kept.install_modes).collect();
    if modes.is_empty() || modes.iter().any(|it| *it == mode) {
        return None;
    }
    let message = format!(
        "the OperatorGroup of `{}` asks for `{mode}`, and package `{package}` has only {} (`UnsupportedOperatorGroup`); \
         set `spec.targetNamespaces` of the group for one of these, or subscribe in a namespace of its own",
        subscription.namespace(),
        listed(modes)
    );
    Some(Finding::warning("operator-group-mode", subscription, message).of(&subscription.source))
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
