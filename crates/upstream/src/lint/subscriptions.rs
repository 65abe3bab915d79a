//! Subscriptions against the catalogs that the stack keeps, and against their namespaces.

use std::collections::BTreeSet;

use airlift_spec::lock::KeptPackage;
use airlift_spec::stack::Rules;
use airlift_spec::{Finding, Reference};

use super::{Carried, Configuration, Seen, listed};

pub(super) const OLM: &str = "operators.coreos.com";

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
            findings.extend(is_served(subscription, all));
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
            findings.push(group.said(Finding::warning("operator-group-twice", group, message)));
        }
    }
}

type Kept<'a> = (&'a Carried<'a>, &'a KeptPackage);

/// Whether what it subscribes to is in a catalog that the stack keeps.
fn carried(subscription: &Seen, all: &Configuration<'_>) -> Option<Finding> {
    let (package, source) = (subscription.text("/spec/name"), subscription.text("/spec/source"));
    let named = catalog_of(source, all);
    // A catalog that is carried whole has what nobody listed.
    let is_whole = |it: &Carried<'_>| it.kept.is_empty();
    if named.map_or_else(|| all.catalogs.iter().any(is_whole), is_whole) {
        return None;
    }
    let keep = all.catalogs.iter().filter_map(|it| Some((it, it.kept.get(package)?)));
    let keep: Vec<Kept<'_>> = keep.collect();
    let Some((first, _)) = keep.first() else { return nowhere(subscription, named, all) };
    let is_meant = |(it, _): &&Kept<'_>| named.is_none_or(|named| named.reference == it.reference);
    let meant: Vec<&Kept<'_>> = keep.iter().filter(is_meant).collect();
    if let Some(named) = named.filter(|_| meant.is_empty()) {
        let message = format!(
            "`{source}` is `{}`, which does not have package `{package}`; `{}` has it: name its source",
            named.reference, first.reference
        );
        return Some(subscription.said(Finding::warning(
            "subscription-source",
            subscription,
            message,
        )));
    }
    // Where nothing says which of several it is, one that has all will do.
    let lacks: Vec<Finding> =
        meant.iter().filter_map(|(it, kept)| lacking(subscription, it.reference, kept)).collect();
    if lacks.len() == meant.len() { lacks.into_iter().next() } else { None }
}

/// What there is to say of a package that no catalog of the stack keeps.
fn nowhere(
    subscription: &Seen,
    named: Option<&Carried<'_>>,
    all: &Configuration<'_>,
) -> Option<Finding> {
    let (package, source) = (subscription.text("/spec/name"), subscription.text("/spec/source"));
    if let Some(named) = named {
        let message = format!(
            "`{source}` is `{}`, of which the stack does not keep package `{package}`; list it under its \
             `packages:`",
            named.reference
        );
        return Some(subscription.said(Finding::warning(
            "subscription-package",
            subscription,
            message,
        )));
    }
    // Another stack may carry that catalog.
    let (_, index) = MARKETPLACE.iter().find(|(name, _)| *name == source)?;
    let message = format!(
        "no `catalog:` of the stack is `{index}`, from which `{source}` has package `{package}`; add one, unless \
         another stack carries it"
    );
    let finding = Finding::info("subscription-package", subscription, message);
    // Of a source that failed, its own error says more.
    let is_wanted = all.wanted.iter().any(|catalog| is_at(index, catalog));
    (!all.catalogs.is_empty() && !is_wanted && !is_declared(source, all))
        .then(|| finding.of(&subscription.source))
}

/// Whether there will be a `CatalogSource` of that name where the catalogs of the stack are served.
fn is_served(subscription: &Seen, all: &Configuration<'_>) -> Option<Finding> {
    let (package, source) = (subscription.text("/spec/name"), subscription.text("/spec/source"));
    let is_stock = MARKETPLACE.iter().any(|(name, _)| *name == source);
    let mut keep = all.catalogs.iter().filter(|it| {
        it.kept.contains_key(package)
            || catalog_of(source, all).is_some_and(|of| of.reference == it.reference)
    });
    let catalog = keep.next().filter(|_| is_stock && all.is_whole && !is_declared(source, all))?;
    if keep.next().is_some() || catalog.source_name == source {
        return None;
    }
    let by = match catalog.rules {
        Rules::Own => "`airlift export --format olm`",
        Rules::OcMirror => "oc-mirror",
    };
    let message = format!(
        "{by} gives `{}` to the cluster as CatalogSource `{}`, and nothing of the stack makes one that is called \
         `{source}`; write `source: {}`, or add a CatalogSource `{source}` of that image to the manifests",
        catalog.reference, catalog.source_name, catalog.source_name
    );
    Some(subscription.said(Finding::warning("subscription-source-name", subscription, message)))
}

fn is_declared(source: &str, all: &Configuration<'_>) -> bool {
    all.of(OLM, "CatalogSource").any(|it| it.text("/metadata/name") == source)
}

/// The catalog of the stack that a `CatalogSource` serves, where the manifests, the marketplace, or whoever writes the
/// `CatalogSource` say so.
fn catalog_of<'c, 'a>(source: &str, all: &'c Configuration<'a>) -> Option<&'c Carried<'a>> {
    let declared = all.of(OLM, "CatalogSource").find(|it| it.text("/metadata/name") == source);
    let image = declared.and_then(|it| it.text("/spec/image").parse::<Reference>().ok());
    let stock = MARKETPLACE.iter().find(|(name, _)| *name == source);
    let path = match (&image, declared, stock) {
        (Some(image), ..) => image.path(),
        (None, Some(_), _) => return None,
        (None, None, Some((_, path))) => path,
        (None, None, None) => return all.catalogs.iter().find(|it| it.source_name == source),
    };
    let mut served = all.catalogs.iter().filter(|it| is_at(path, it.reference));
    // Of two versions of one index, nothing says which it is.
    served.next().filter(|_| served.next().is_none())
}

/// Whether an image with this path is that catalog: a mirror has the path of what it mirrors, perhaps below one of its
/// own.
fn is_at(path: &str, catalog: &Reference) -> bool {
    let at = catalog.path();
    path == at || path.ends_with(&format!("/{at}"))
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
        return Some(subscription.said(Finding::warning(
            "subscription-channel",
            subscription,
            message,
        )));
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
    Some(subscription.said(Finding::warning("subscription-version", subscription, message)))
}

/// Whether its namespace is there, and has a group that the operator can be installed with.
fn at_home(subscription: &Seen, all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let home = subscription.namespace();
    if home.is_empty() {
        return;
    }
    let group = all.of(OLM, "OperatorGroup").find(|it| it.namespace() == home);
    let has_namespace = GLOBAL.contains(&home)
        || all.namespaces.contains(&home)
        || all.of("", "Namespace").any(|it| it.text("/metadata/name") == home)
        || all.of("project.openshift.io", "Project").any(|it| it.text("/metadata/name") == home);
    let lacks: Vec<&str> = [
        ("OperatorGroup", group.is_some() || GLOBAL.contains(&home)),
        ("Namespace", has_namespace),
    ]
    .into_iter()
    .filter_map(|(kind, is_there)| (!is_there).then_some(kind))
    .collect();
    if all.is_whole && !lacks.is_empty() {
        let message = format!(
            "no manifest of the stack has {} `{home}`: OLM installs nothing without; add what the cluster does \
             not have",
            match lacks.as_slice() {
                [one] => format!("the {one} of"),
                _ => format!("{} of", lacks.join(" and ")),
            }
        );
        findings.push(subscription.said(Finding::warning(
            "subscription-namespace",
            subscription,
            message,
        )));
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
    let kept = all.catalogs.iter().filter_map(|it| it.kept.get(package));
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
    Some(subscription.said(Finding::warning("operator-group-mode", subscription, message)))
}
