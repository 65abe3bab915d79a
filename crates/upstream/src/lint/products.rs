//! What knowledge packs say of products that are installed beside each other.

use airlift_scan::knowledge::{Advice, Companion, LateKind, Product, Version};
use airlift_spec::Finding;
use airlift_spec::lock::KeptPackage;

use super::order::is_before;
use super::subscriptions::OLM;
use super::{Configuration, Seen};

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    for subscription in all.of(OLM, "Subscription") {
        let package = subscription.text("/spec/name");
        let Some(version) = versions(subscription, all).into_iter().max() else { continue };
        let product = Product::Olm(package.to_owned());
        let Advice { companions, late_kinds, .. } = all.knowledge.about(&product, &version);
        let name = format!("{package} {version}");
        for companion in &companions {
            beside(subscription, companion, &name, all, findings);
        }
        for kind in &late_kinds {
            findings.extend(late(subscription, kind, &name, all));
        }
    }
}

/// The versions that may be installed: the one that is started with, or those that are kept of its channel.
fn versions(subscription: &Seen, all: &Configuration<'_>) -> Vec<Version> {
    let starting = subscription.text("/spec/startingCSV");
    if !starting.is_empty() {
        return version_of(starting).into_iter().collect();
    }
    let package = subscription.text("/spec/name");
    let kept = all.catalogs.iter().filter_map(|it| it.kept.get(package));
    kept.filter_map(|kept| kept.channels.get(channel(subscription, kept)))
        .flatten()
        .filter_map(|bundle| version_of(bundle))
        .collect()
}

fn channel<'a>(subscription: &'a Seen, kept: &'a KeptPackage) -> &'a str {
    match subscription.text("/spec/channel") {
        "" => &kept.default_channel,
        channel => channel,
    }
}

/// The version in the name of a bundle, as all but a few have it.
fn version_of(bundle: &str) -> Option<Version> {
    bundle.split_once('.')?.1.parse().ok()
}

/// Whether another operator comes in time, and in a version that `name` gets along with.
fn beside(
    subscription: &Seen,
    companion: &Companion,
    name: &str,
    all: &Configuration<'_>,
    findings: &mut Vec<Finding>,
) {
    let Companion { package, versions: wanted, first, origin } = companion;
    for other in all.of(OLM, "Subscription").filter(|it| it.text("/spec/name") == package) {
        if *first && is_before(subscription, other, all) {
            let message = format!(
                "it is applied before {other}, which {name} needs to be there when it starts: {}; put that before \
                 it, and wait until its ClusterServiceVersion has succeeded ({})",
                origin.why, origin.source
            );
            findings.push(subscription.said(Finding::warning(
                "operator-too-early",
                subscription,
                message,
            )));
        }
        let there = versions(other, all);
        let is_wanted = |it: &Version| wanted.iter().any(|range| range.contains(it));
        if !wanted.is_empty() && !there.is_empty() && !there.iter().any(is_wanted) {
            let ranges: Vec<String> = wanted.iter().map(|it| format!("`{it}`")).collect();
            let there: Vec<String> = there.iter().map(Version::to_string).collect();
            let message = format!(
                "it installs {package} {}, and {name} gets along with {} alone: {}; set `startingCSV` to one of \
                 these with `installPlanApproval: Manual`, and keep it in the catalog ({})",
                there.join(", "),
                ranges.join(", "),
                origin.why,
                origin.source
            );
            findings.push(other.said(Finding::warning("operator-version", other, message)));
        }
    }
}

/// An object of a kind that the product itself makes, beside the object that has it do so.
fn late(
    subscription: &Seen,
    late: &LateKind,
    name: &str,
    all: &Configuration<'_>,
) -> Option<Finding> {
    let LateKind { group, kind, after, origin } = late;
    let mut of_kind =
        all.objects.iter().filter(|it| it.group() == group && it.text("/kind") == kind);
    let seen = of_kind.find(|seen| {
        let makes = |it: &&Seen| it.source == seen.source && it.text("/kind") == after;
        all.objects.iter().any(|it| makes(&it)) || subscription.source == seen.source
    });
    let seen = seen.filter(|_| !all.is_defined(group, kind))?;
    let message = format!(
        "{name} makes its kind once the {after} is reconciled ({}): applied together, it ends in `no matches for \
         kind`; apply it again when the {after} is ready, or make a source of its own of it ({})",
        origin.why, origin.source
    );
    Some(seen.said(Finding::warning("kind-too-early", seen, message)))
}
