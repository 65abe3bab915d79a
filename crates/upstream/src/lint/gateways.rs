//! Gateways of OpenShift's own controller, which brings a service mesh that no release and no catalog lists for it.

use std::collections::BTreeSet;

use airlift_scan::knowledge::{Knowledge, Known, Product, Version};
use airlift_spec::{Finding, Reference};

use super::{Carried, Configuration, Seen};

const GROUP: &str = "gateway.networking.k8s.io";

/// What `controllerName` begins with; a version follows.
const CONTROLLER: &str = "openshift.io/gateway-controller/";

/// The class that OpenShift's documents name.
const CLASS: &str = "openshift-default";

/// The operator that the controller subscribes to by itself.
const MESH: &str = "servicemeshoperator3";

pub(super) fn lint(all: &Configuration<'_>, findings: &mut Vec<Finding>) {
    // A stack without catalogs carries no operators; another one may.
    if all.catalogs.is_empty() || all.catalogs.iter().any(has_mesh) {
        return;
    }
    let Some(asking) = asking(all) else { return };
    let versions: BTreeSet<Version> = all.catalogs.iter().filter_map(openshift).collect();
    let lacks = |version: &Version| {
        let known = mesh_images(version);
        let lacks = known.iter().any(|it| !all.images.contains(&&it.reference));
        (known.is_empty() || lacks).then_some(known)
    };
    let unanswered = versions.iter().find_map(|version| Some((version, lacks(version)?)));
    let remedy = match (&unanswered, versions.is_empty()) {
        (None, false) => return,
        (Some((version, known)), _) if !known.is_empty() => {
            let images: Vec<String> =
                known.iter().map(|it| format!("`{}`", it.reference)).collect();
            format!(
                "or, where the feature gate GatewayAPIWithoutOLM of OpenShift {} is on, the images {}",
                short(version),
                images.join(", ")
            )
        }
        (Some((version, _)), _) => format!(
            "or, where the feature gate GatewayAPIWithoutOLM is on, the images that the ingress operator of \
             OpenShift {} has in it, which are not known here",
            short(version)
        ),
        (None, true) => "or, where the feature gate GatewayAPIWithoutOLM is on, the images that the ingress \
                         operator of your OpenShift has in it (no tag of a catalog says which that is)"
            .to_owned(),
    };
    let message = format!(
        "OpenShift's ingress operator installs a service mesh for it, and the stack carries none; add package `{MESH}` \
         to the `catalog:` of the Red Hat operators, {remedy}"
    );
    findings.push(asking.said(Finding::warning("gateway-not-carried", asking, message)));
}

/// The first class of that controller, or else a gateway of the class by which it is known.
fn asking<'a>(all: &Configuration<'a>) -> Option<&'a Seen> {
    let of_controller = |it: &&Seen| it.text("/spec/controllerName").starts_with(CONTROLLER);
    let of_class = |it: &&Seen| it.text("/spec/gatewayClassName") == CLASS;
    let class = all.of(GROUP, "GatewayClass").find(of_controller);
    class.or_else(|| all.of(GROUP, "Gateway").find(of_class))
}

fn has_mesh(catalog: &Carried<'_>) -> bool {
    let is_red_hats = catalog.reference.path().ends_with("redhat-operator-index");
    catalog.kept.contains_key(MESH) || (catalog.kept.is_empty() && is_red_hats)
}

/// The version of OpenShift that a catalog is for: its tag, as in `redhat-operator-index:v4.20`.
fn openshift(catalog: &Carried<'_>) -> Option<Version> {
    let tag: &str = Reference::tag(catalog.reference)?;
    let minor = tag.strip_prefix("v4.").or_else(|| tag.strip_prefix("v5."))?;
    minor.bytes().all(|it| it.is_ascii_digit()).then(|| tag.parse().ok())?
}

fn mesh_images(version: &Version) -> Vec<Known> {
    let openshift = Product::Platform("openshift".to_owned());
    let images = Knowledge::embedded().about(&openshift, version).images;
    images.into_iter().filter(|it| it.reference.path().contains("service-mesh")).collect()
}

/// As people call a release: `4.20`.
fn short(version: &Version) -> String {
    version.to_string().trim_end_matches(".0").to_owned()
}
