//! Objects that come before what they need to be there.

use std::collections::BTreeSet;

use airlift_spec::Finding;

use super::subscriptions::OLM;
use super::{Brought, Configuration, Seen};

const GATEWAY: &str = "gateway.networking.k8s.io";

/// Says of a gateway that whoever manages it shall have its proxies ask Authorino over TLS.
const BOOTSTRAP: &str = "/metadata/annotations/security.opendatahub.io~1authorino-tls-bootstrap";

const WAVE: &str = "/metadata/annotations/argocd.argoproj.io~1sync-wave";
const SYNC_OPTIONS: &str = "/metadata/annotations/argocd.argoproj.io~1sync-options";

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    before_gateways(all, findings);
    before_authorino(all, findings);
    before_kinds(all, findings);
}

/// Whether both are applied together, and the first before the other.
pub(super) fn is_before(first: &Seen, other: &Seen, all: &Configuration<'_>) -> bool {
    first.source == other.source && rank(first, all) < rank(other, all)
}

/// Argo CD goes by waves, and everybody by the place.
fn rank(seen: &Seen, all: &Configuration<'_>) -> (i64, Option<usize>) {
    let place = all.objects.iter().position(|it| std::ptr::eq(it, seen));
    (wave(seen), place)
}

fn wave(seen: &Seen) -> i64 {
    seen.text(WAVE).parse().unwrap_or(0)
}

/// Kuadrant's operator looks for what provides gateways when it starts, and never again.
fn before_gateways(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    for kuadrant in all.of("kuadrant.io", "Kuadrant") {
        let mut beside =
            all.of(GATEWAY, "GatewayClass").filter(|it| it.source == kuadrant.source).peekable();
        if beside.peek().is_some() && beside.all(|it| is_before(kuadrant, it, all)) {
            let message = "it is applied before any GatewayClass, and stays in `MissingDependency`: its operator \
                           looks for a gateway provider when it starts; put the GatewayClass before it, or restart \
                           the operator once the GatewayClass is accepted";
            findings.push(kuadrant.said(Finding::warning("kuadrant-too-early", kuadrant, message)));
        }
    }
}

/// Whether Authorino takes TLS is looked at once, when the gateway's annotation is seen.
fn before_authorino(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let is_asking = |it: &&Seen| it.text(BOOTSTRAP) == "true";
    for gateway in all.of(GATEWAY, "Gateway").filter(is_asking) {
        for authorino in all.of("operator.authorino.kuadrant.io", "Authorino") {
            let enabled = authorino.object.pointer("/spec/listener/tls/enabled");
            let what = if enabled.is_some_and(|it| it == false) {
                "has `spec.listener.tls.enabled: false`"
            } else if is_before(gateway, authorino, all) {
                "is applied after it"
            } else {
                continue;
            };
            let message = format!(
                "its annotation `security.opendatahub.io/authorino-tls-bootstrap` is acted upon once, and {authorino} \
                 {what}: the proxies then ask it without TLS, and requests end in 500; put an Authorino with TLS \
                 before the Gateway, or take the annotation away and set it again afterwards"
            );
            findings.push(gateway.said(Finding::warning("authorino-too-late", gateway, message)));
        }
    }
}

/// A kind that an operator brings is there once OLM has installed the operator, which takes minutes.
fn before_kinds(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    let mut said = BTreeSet::new();
    for seen in all.objects.iter().filter(|it| !it.is_awaited()) {
        let (group, kind) = (seen.group(), seen.text("/kind"));
        let brings = |by: &&Brought| by.group == group && by.kind == kind;
        let packages: BTreeSet<&str> =
            all.brought.iter().filter(brings).map(|by| by.package.as_str()).collect();
        if packages.is_empty() || all.is_defined(group, kind) {
            continue;
        }
        let subscription = all.of(OLM, "Subscription").find(|it| {
            let is_sooner = wave(it) < wave(seen);
            packages.contains(it.text("/spec/name")) && it.source == seen.source && !is_sooner
        });
        let Some(subscription) = subscription else { continue };
        if said.insert((&seen.source, group, kind)) {
            let message = format!(
                "its kind is there only once OLM has installed package `{}`, which the same source subscribes to: the \
                 first apply ends in `no matches for kind`; apply the rest again when the operator's \
                 ClusterServiceVersion has succeeded, or make two sources of it",
                subscription.text("/spec/name")
            );
            findings.push(seen.said(Finding::warning("kind-too-early", seen, message)));
        }
    }
}

impl Seen {
    /// Whether its author knows that its kind may come later.
    fn is_awaited(&self) -> bool {
        self.text(SYNC_OPTIONS).contains("SkipDryRunOnMissingResource=true")
    }
}
