//! What people have written into guides and that does not work, and what is said of it.
//!
//! The faults are those that were found in two field guides: 1 to 11 in the one on llm-d without a network, 12 to 15 in
//! the one on models as a service. Each in the smallest configuration that has it, and the same one mended.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use airlift_testkit::{FakeRegistry, World, need, samples};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{airlift, world};

const RED_HAT: &str = "registry.redhat.io/redhat/redhat-operator-index:v4.20";
const CERTIFIED: &str = "registry.redhat.io/redhat/certified-operator-index:v4.20";

/// Files by their names; `airlift.yaml` has the sources alone.
type Files = Vec<(&'static str, String)>;

/// A fault of a guide.
struct Case {
    /// By its number, and in a few words.
    fault: &'static str,
    code: &'static str,
    wrong: Files,
    mended: Files,
}

/// An operator of a catalog: its package, its default channel, its versions in their order, and further properties of
/// each of its bundles.
pub(crate) fn operator(
    package: &str,
    channel: &str,
    versions: &[&str],
    properties: &str,
) -> String {
    let mut text = format!(
        "---\nschema: olm.package\nname: {package}\ndefaultChannel: {channel}\n---\nschema: olm.channel\npackage: {package}\nname: {channel}\nentries:\n"
    );
    let mut before = String::new();
    for version in versions {
        writeln!(text, "- {{name: {package}.v{version}{before}}}").unwrap();
        before = format!(", replaces: {package}.v{version}");
    }
    for version in versions {
        writeln!(
            text,
            "---\nschema: olm.bundle\npackage: {package}\nname: {package}.v{version}\nimage: example.com/{package}:v{version}\nproperties:\n- {{type: olm.package, value: {{packageName: {package}, version: {version}}}}}\n{properties}"
        )
        .unwrap();
    }
    text
}

/// Another channel of a package, with one version.
fn channel(package: &str, name: &str, version: &str) -> String {
    format!(
        "---\nschema: olm.channel\npackage: {package}\nname: {name}\nentries:\n- {{name: {package}.v{version}}}\n"
    )
}

fn catalog(packages: &str, more: &str) -> String {
    format!("- {{catalog: ./index, as: '{RED_HAT}', packages: [{packages}]{more}}}\n")
}

fn with_manifests(sources: &str) -> String {
    format!("{sources}- {{manifests: ./deploy}}\n")
}

fn subscription(package: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: operators.coreos.com/v1alpha1\nkind: Subscription\nmetadata: {{name: {package}, namespace: {namespace}}}\nspec: {{name: {package}, source: redhat-operators, {spec}}}\n"
    )
}

pub(crate) fn subscribed(package: &str, spec: &str) -> String {
    subscription(package, "openshift-operators", spec)
}

fn object(api: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn gateway_class() -> String {
    let spec = "{controllerName: openshift.io/gateway-controller/v1}";
    object("gateway.networking.k8s.io/v1", "GatewayClass", "openshift-default", spec)
}

fn definition(group: &str, kind: &str, version: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {}s.{group}}}\nspec: {{group: {group}, names: {{kind: {kind}}}, versions: [{{name: {version}, served: true, schema: {{openAPIV3Schema: {{type: object, properties: {{spec: {spec}}}}}}}}}]}}\n",
        kind.to_lowercase()
    )
}

/// A manifest as catalogs embed it, beside the kind that it brings.
fn embedded(group: &str, kind: &str, version: &str, spec: &str) -> String {
    let data = STANDARD.encode(definition(group, kind, version, spec));
    format!(
        "- {{type: olm.gvk, value: {{group: {group}, version: {version}, kind: {kind}}}}}\n- {{type: olm.bundle.object, value: {{data: {data}}}}}\n"
    )
}

const SET: &str =
    "kind: ImageSetConfiguration\nmirror: {additionalImages: [{name: 'HOST/team/app:v1'}]}\n";

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let tempo_and_otel = format!(
        "{}{}",
        subscribed("tempo-product", "channel: stable"),
        subscribed("opentelemetry-product", "channel: stable")
    );
    let own_pack = "format: 1\nproduct: {olm: own-operator}\nsource: a page\nwhy: it looks once\nentries:\n- {versions: ['>=1.0.0'], companions: [{package: dep-operator, first: true}]}\n";
    let ai = |spec: &str| subscribed("rhods-operator", &format!("channel: stable, {spec}"));
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: maas, annotations: {security.opendatahub.io/authorino-tls-bootstrap: 'true'}}\n";
    let authorino = object(
        "operator.authorino.kuadrant.io/v1beta1",
        "Authorino",
        "authorino",
        "{listener: {tls: {enabled: true}}}",
    );
    let kuadrant = object("kuadrant.io/v1beta1", "Kuadrant", "kuadrant", "{}");
    let modular = |kserve: &str| {
        let spec = format!("{{components: {{kserve: {kserve}}}}}");
        object("datasciencecluster.opendatahub.io/v2", "DataScienceCluster", "default", &spec)
    };
    let cluster = embedded(
        "datasciencecluster.opendatahub.io",
        "DataScienceCluster",
        "v2",
        "{properties: {components: {properties: {kserve: {properties: {managementState: {type: string}}}, aigateway: {properties: {modelsAsAService: {}}}}}}}",
    );
    let quota = definition(
        "maas.opendatahub.io",
        "MaaSSubscription",
        "v1alpha1",
        "{properties: {window: {type: string, pattern: '^[1-9]\\d{0,3}(s|m|h)$'}}}",
    );
    let window = |window: &str| {
        let spec = format!("{{window: {window}}}");
        object("maas.opendatahub.io/v1alpha1", "MaaSSubscription", "free", &spec)
    };
    let mirrors = |kind: &str, list: &str| {
        let spec = format!("{{{list}: [{{source: quay.io/org, mirrors: [mirror.example/org]}}]}}");
        object("config.openshift.io/v1", kind, "all", &spec)
    };
    let old_mirrors = object(
        "operator.openshift.io/v1alpha1",
        "ImageContentSourcePolicy",
        "operator-0",
        "{repositoryDigestMirrors: [{source: quay.io/org, mirrors: [mirror.example/org]}]}",
    );
    let module = |more: &str| {
        let value = "{name: RELATED_IMAGE_WASMSHIM, value: 'mirror.example/rhcl-1/wasm-shim-rhel9@sha256:22c87cc5fa70cf8f10588687145a7e32551a5f3734d5fc81e72b9a4aab550db6'}";
        subscribed("rhcl-operator", &format!("config: {{env: [{value}{more}]}}"))
    };
    let app = operator("app", "stable", &["1.0.0"], "");
    let rhods = |versions: &[&str]| operator("rhods-operator", "stable", versions, "");
    let dashboard =
        object("opendatahub.io/v1alpha", "OdhDashboardConfig", "odh-dashboard-config", "{}");
    let chart = |text: &str| -> Files {
        vec![
            ("airlift.yaml", "- {chart: ./app}\n".to_owned()),
            ("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n".to_owned()),
            ("app/templates/secret.yaml", text.to_owned()),
        ]
    };
    vec![
        Case {
            fault: "1: a field of oc-mirror v1 in a set for v2",
            code: "imageset-old-field",
            wrong: vec![(
                "isc.yaml",
                format!(
                    "apiVersion: mirror.openshift.io/v1alpha2\nstorageConfig: {{local: {{path: ./oc-mirror}}}}\n{SET}"
                ),
            )],
            mended: vec![("isc.yaml", format!("apiVersion: mirror.openshift.io/v2alpha1\n{SET}"))],
        },
        Case {
            fault: "2: a certified operator in the catalog of Red Hat's",
            code: "package-elsewhere",
            wrong: vec![
                ("airlift.yaml", catalog("{name: gpu-operator-certified}", "")),
                ("index/app.yaml", app.clone()),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    format!(
                        "- {{catalog: ./index, as: '{CERTIFIED}', packages: [{{name: gpu-operator-certified}}]}}\n"
                    ),
                ),
                ("index/gpu.yaml", operator("gpu-operator-certified", "stable", &["26.3.3"], "")),
            ],
        },
        // Without `dependencies: report` what is required is carried, and there is no fault.
        Case {
            fault: "3: Connectivity Link without the operators that it requires",
            code: "catalog-dependency",
            wrong: vec![
                ("airlift.yaml", catalog("{name: rhcl-operator}", ", dependencies: report")),
                ("index/all.yaml", connectivity_link()),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    catalog(
                        "{name: rhcl-operator}, {name: authorino-operator}",
                        ", dependencies: report",
                    ),
                ),
                ("index/all.yaml", connectivity_link()),
            ],
        },
        Case {
            fault: "4: a channel without the default channel of its package",
            code: "not-looked-into",
            wrong: vec![
                ("airlift.yaml", catalog("{name: rhods-operator, channel: fast-3.x}", "")),
                (
                    "index/all.yaml",
                    rhods(&["2.25.0"]) + &channel("rhods-operator", "fast-3.x", "2.25.0"),
                ),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    catalog("{name: rhods-operator, channel: fast-3.x, default: fast-3.x}", ""),
                ),
                (
                    "index/all.yaml",
                    rhods(&["2.25.0"]) + &channel("rhods-operator", "fast-3.x", "2.25.0"),
                ),
            ],
        },
        Case {
            fault: "4: a Subscription to the channel that is not mirrored",
            code: "subscription-channel",
            wrong: vec![
                (
                    "airlift.yaml",
                    with_manifests(&catalog(
                        "{name: rhods-operator, channel: fast-3.x, default: fast-3.x}",
                        "",
                    )),
                ),
                (
                    "index/all.yaml",
                    rhods(&["2.25.0"]) + &channel("rhods-operator", "fast-3.x", "2.25.0"),
                ),
                ("deploy/all.yaml", subscribed("rhods-operator", "channel: stable")),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    with_manifests(&catalog(
                        "{name: rhods-operator, channel: fast-3.x, default: fast-3.x}",
                        "",
                    )),
                ),
                (
                    "index/all.yaml",
                    rhods(&["2.25.0"]) + &channel("rhods-operator", "fast-3.x", "2.25.0"),
                ),
                ("deploy/all.yaml", subscribed("rhods-operator", "channel: fast-3.x")),
            ],
        },
        // That the same guide installs it in `openshift-operators` is no fault: it supports all namespaces.
        Case {
            fault: "5: a channel that cert-manager does not have",
            code: "not-looked-into",
            wrong: vec![
                (
                    "airlift.yaml",
                    catalog("{name: openshift-cert-manager-operator, channel: stable}", ""),
                ),
                (
                    "index/all.yaml",
                    operator("openshift-cert-manager-operator", "stable-v1", &["1.18.0"], ""),
                ),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    catalog("{name: openshift-cert-manager-operator, channel: stable-v1}", ""),
                ),
                (
                    "index/all.yaml",
                    operator("openshift-cert-manager-operator", "stable-v1", &["1.18.0"], ""),
                ),
            ],
        },
        Case {
            fault: "6: a Subscription without OperatorGroup and Namespace",
            code: "subscription-namespace",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", subscription("nfd", "openshift-nfd", "channel: stable")),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                (
                    "deploy/all.yaml",
                    subscription("nfd", "openshift-nfd", "channel: stable")
                        + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: openshift-nfd}\n---\napiVersion: operators.coreos.com/v1\nkind: OperatorGroup\nmetadata: {name: nfd, namespace: openshift-nfd}\nspec: {targetNamespaces: [openshift-nfd]}\n",
                ),
            ],
        },
        Case {
            fault: "7: what oc-mirror v1 wrote into its results",
            code: "results-of-v1",
            wrong: vec![
                ("airlift.yaml", "- {manifests: ./oc-mirror/results-1764000000}\n".to_owned()),
                ("oc-mirror/results-1764000000/imageContentSourcePolicy.yaml", old_mirrors.clone()),
            ],
            mended: vec![
                ("airlift.yaml", "- {manifests: ./working-dir/cluster-resources}\n".to_owned()),
                (
                    "working-dir/cluster-resources/idms-oc-mirror.yaml",
                    mirrors("ImageDigestMirrorSet", "imageDigestMirrors"),
                ),
            ],
        },
        Case {
            fault: "7: an object that newer clusters have another for",
            code: "mirror-set-deprecated",
            wrong: vec![("airlift.yaml", with_manifests("")), ("deploy/all.yaml", old_mirrors)],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", mirrors("ImageDigestMirrorSet", "imageDigestMirrors")),
            ],
        },
        Case {
            fault: "8: Kuadrant before the class of gateways",
            code: "kuadrant-too-early",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", kuadrant.clone() + &gateway_class()),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", gateway_class() + &kuadrant),
            ],
        },
        // That the value has no `oci://` is no fault: Istio takes what has no scheme for an image. What is missing is
        // the secret, which the operator adds for a registry that it is told of alone.
        Case {
            fault: "9: a module in the mirror, which the proxy may not pull",
            code: "wasm-without-secret",
            wrong: vec![("airlift.yaml", with_manifests("")), ("deploy/all.yaml", module(""))],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                (
                    "deploy/all.yaml",
                    module(", {name: PROTECTED_REGISTRY, value: mirror.example}")
                        + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: wasm-plugin-pull-secret, namespace: openshift-ingress}\n",
                ),
            ],
        },
        Case {
            fault: "10: a model by its tag, where mirrors hold for digests",
            code: "tag-not-mirrored",
            wrong: vec![
                (
                    "airlift.yaml",
                    with_manifests("- {image: 'quay.io/org/modelcar-catalog:gpt-oss-20b'}\n"),
                ),
                ("deploy/all.yaml", mirrors("ImageDigestMirrorSet", "imageDigestMirrors")),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    with_manifests("- {image: 'quay.io/org/modelcar-catalog:gpt-oss-20b'}\n"),
                ),
                (
                    "deploy/all.yaml",
                    mirrors("ImageDigestMirrorSet", "imageDigestMirrors")
                        + &mirrors("ImageTagMirrorSet", "imageTagMirrors"),
                ),
            ],
        },
        // The same for oc-mirror's own names is a test of its own below.
        Case {
            fault: "10: a source that no catalog of the stack will be called by",
            code: "subscription-source-name",
            wrong: vec![
                (
                    "airlift.yaml",
                    with_manifests(
                        "- {catalog: ./index, as: 'example.com/own/index:v4.20', packages: [{name: app}]}\n",
                    ),
                ),
                ("index/all.yaml", app.clone()),
                ("deploy/all.yaml", subscribed("app", "channel: stable")),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests(&catalog("{name: app}", ""))),
                ("index/all.yaml", app),
                ("deploy/all.yaml", subscribed("app", "channel: stable")),
            ],
        },
        // One guide says that Service Mesh is needed, the other that it is not installed: OpenShift installs it.
        Case {
            fault: "11: gateways of OpenShift without the service mesh that it installs for them",
            code: "gateway-not-carried",
            wrong: vec![
                ("airlift.yaml", with_manifests(&catalog("{name: rhods-operator}", ""))),
                ("index/all.yaml", rhods(&["3.4.1"])),
                ("deploy/all.yaml", gateway_class()),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    with_manifests(&catalog(
                        "{name: rhods-operator}, {name: servicemeshoperator3}",
                        "",
                    )),
                ),
                (
                    "index/all.yaml",
                    rhods(&["3.4.1"]) + &operator("servicemeshoperator3", "stable", &["3.3.1"], ""),
                ),
                ("deploy/all.yaml", gateway_class()),
            ],
        },
        Case {
            fault: "12: what collects traces after the platform that looks for it",
            code: "operator-too-early",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                (
                    "deploy/all.yaml",
                    format!("{}{tempo_and_otel}", ai("startingCSV: rhods-operator.3.4.1")),
                ),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                (
                    "deploy/all.yaml",
                    format!("{tempo_and_otel}{}", ai("startingCSV: rhods-operator.3.4.1")),
                ),
            ],
        },
        Case {
            fault: "12: the same of a product that only the stack's own knowledge speaks of, in two files",
            code: "operator-too-early",
            wrong: vec![
                ("airlift.yaml", with_manifests("") + "knowledge: [./own.yaml]\n"),
                ("own.yaml", own_pack.to_owned()),
                ("deploy/1.yaml", subscribed("own-operator", "startingCSV: own-operator.v1.0.0")),
                ("deploy/2.yaml", subscribed("dep-operator", "channel: stable")),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("") + "knowledge: [./own.yaml]\n"),
                ("own.yaml", own_pack.to_owned()),
                ("deploy/1.yaml", subscribed("dep-operator", "channel: stable")),
                ("deploy/2.yaml", subscribed("own-operator", "startingCSV: own-operator.v1.0.0")),
            ],
        },
        Case {
            fault: "12: Connectivity Link in a version that the platform does not get along with",
            code: "operator-version",
            wrong: vec![
                (
                    "airlift.yaml",
                    with_manifests(&catalog("{name: rhods-operator}, {name: rhcl-operator}", "")),
                ),
                (
                    "index/all.yaml",
                    rhods(&["3.4.1"])
                        + &operator("rhcl-operator", "stable", &["1.3.4", "1.4.0"], ""),
                ),
                ("deploy/all.yaml", ai("") + &subscribed("rhcl-operator", "channel: stable")),
            ],
            mended: vec![
                (
                    "airlift.yaml",
                    with_manifests(&catalog(
                        "{name: rhods-operator}, {name: rhcl-operator, from: 1.3.4, to: 1.3.4}",
                        "",
                    )),
                ),
                (
                    "index/all.yaml",
                    rhods(&["3.4.1"])
                        + &operator("rhcl-operator", "stable", &["1.3.4", "1.4.0"], ""),
                ),
                (
                    "deploy/all.yaml",
                    ai("")
                        + &subscribed(
                            "rhcl-operator",
                            "channel: stable, startingCSV: rhcl-operator.v1.3.4",
                        ),
                ),
            ],
        },
        // The guide's sentence that it is the controller of MaaS that reacts is wrong, and stands in no configuration;
        // that it reacts once does.
        Case {
            fault: "13: a gateway before the Authorino that it shall ask over TLS",
            code: "authorino-too-late",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", gateway.to_owned() + &authorino),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", authorino + gateway),
            ],
        },
        Case {
            fault: "14: a field of 3.4 for an operator of 3.5",
            code: "field-unknown",
            wrong: vec![
                ("airlift.yaml", with_manifests(&catalog("{name: rhods-operator}", ""))),
                ("index/all.yaml", operator("rhods-operator", "stable", &["3.5.0"], &cluster)),
                ("deploy/all.yaml", modular("{modelsAsService: {managementState: Managed}}")),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests(&catalog("{name: rhods-operator}", ""))),
                ("index/all.yaml", operator("rhods-operator", "stable", &["3.5.0"], &cluster)),
                ("deploy/all.yaml", modular("{managementState: Managed}")),
            ],
        },
        Case {
            fault: "15: a template that asks a cluster that is not there",
            code: "chart-lookup",
            wrong: chart("a: {{ lookup \"v1\" \"Secret\" \"\" \"db\" }}\n"),
            mended: chart("kind: Secret\n"),
        },
        Case {
            fault: "15: a unit that the definition does not take",
            code: "value-refused",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", quota.clone() + &window("1w")),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", quota + &window("168h")),
            ],
        },
        Case {
            fault: "15: an object whose kind the dashboard brings",
            code: "kind-too-early",
            wrong: vec![
                ("airlift.yaml", with_manifests("")),
                ("deploy/all.yaml", ai("startingCSV: rhods-operator.3.4.1") + &dashboard),
            ],
            mended: vec![
                ("airlift.yaml", with_manifests("- {manifests: ./later}\n")),
                ("deploy/all.yaml", ai("startingCSV: rhods-operator.3.4.1")),
                ("later/all.yaml", dashboard),
            ],
        },
    ]
}

fn connectivity_link() -> String {
    let requires = "- {type: olm.package.required, value: {packageName: authorino-operator, versionRange: '>=1.0.0'}}\n";
    operator("rhcl-operator", "stable", &["1.3.4"], requires)
        + &operator("authorino-operator", "stable", &["1.3.0"], "")
}

/// The codes of what is said of these files.
fn said(files: &Files) -> BTreeSet<String> {
    let (world, registry) = (world(), FakeRegistry::start());
    registry.put("team/app", "v1", &samples::image(1, &[1000]));
    for (name, text) in files {
        let text = match *name {
            "airlift.yaml" => format!("version: 1\nname: demo\nsources:\n{text}"),
            _ => text.replace("HOST", &registry.host()),
        };
        world.write(name, text).unwrap();
    }
    let ran = if files.iter().any(|(name, _)| *name == "isc.yaml") {
        let args = ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"];
        airlift(&world, args)
    } else {
        airlift(&world, ["resolve", "--offline"])
    };
    let code = |line: &str| Some(line.split_once('[')?.1.split_once("] ")?.0.to_owned());
    let of_finding =
        |line: &&str| ["error[", "warning[", "info["].iter().any(|begin| line.starts_with(begin));
    ran.stdout.lines().chain(ran.stderr.lines()).filter(of_finding).filter_map(code).collect()
}

#[test]
fn the_faults_of_the_guides_are_said_and_their_remedies_are_not() {
    let cases = cases();
    let numbers: BTreeSet<&str> =
        cases.iter().filter_map(|case| Some(case.fault.split_once(':')?.0)).collect();
    assert_eq!(numbers.len(), 15, "{numbers:?}");
    for Case { fault, code, wrong, mended } in cases {
        let found = said(&wrong);
        assert!(found.contains(code), "{fault}: {found:?}");
        let found = said(&mended);
        assert!(!found.contains(code), "mended, {fault}: {found:?}");
    }
}

/// A registry with a catalog as Red Hat's is called.
pub(crate) fn with_index(text: String) -> FakeRegistry {
    let registry = FakeRegistry::start();
    let file = samples::File::new("configs/all.yaml", text);
    let image = samples::Image {
        layers: vec![samples::Layer::gzip(&[file])],
        labels: [(
            "operators.operatorframework.io.index.configs.v1".to_owned(),
            "/configs".to_owned(),
        )]
        .into(),
        ..samples::Image::default()
    };
    registry.put("redhat/redhat-operator-index", "v4.20", &image.build());
    registry
}

/// Fault 3, for who stays with oc-mirror's configuration: nothing is added to it.
#[test]
fn a_set_says_what_its_operators_require_and_it_does_not_bring() {
    let registry = with_index(connectivity_link());
    let world = world();
    let dry_run = |packages: &str| {
        let set = format!(
            "kind: ImageSetConfiguration\nmirror:\n  operators: [{{catalog: '{}/redhat/redhat-operator-index:v4.20', packages: [{packages}]}}]\n",
            registry.host()
        );
        world.write("isc.yaml", set).unwrap();
        let ran =
            airlift(&world, ["oc-mirror", "-c", "isc.yaml", "file://disk", "--v2", "--dry-run"]);
        assert!(ran.is_success(), "{ran}");
        let mapping =
            String::from_utf8(world.read("disk/working-dir/dry-run/mapping.txt").unwrap());
        (ran.stdout, mapping.unwrap().lines().count())
    };
    let (wrong, lines) = dry_run("{name: rhcl-operator}");
    assert!(wrong.contains("[catalog-dependency]") && wrong.contains("authorino"), "{wrong}");
    assert_eq!(lines, 2, "the catalog, and the one bundle that is asked for");
    let (mended, _) = dry_run("{name: rhcl-operator}, {name: authorino-operator}");
    assert!(!mended.contains("[catalog-dependency]"), "{mended}");
}

/// Fault 10, for who goes on with oc-mirror's own resources.
#[test]
fn a_set_says_what_oc_mirror_will_call_its_catalogs() {
    let helm = need!("helm");
    let registry = with_index(operator("app", "stable", &["1.0.0"], ""));
    let mut world = world();
    world.set("PATH", &helm.parent().unwrap().display().to_string());
    let chart = |world: &World, source: &str| {
        let text = subscribed("app", "channel: stable");
        let text = text.replace("source: redhat-operators", &format!("source: {source}"));
        world.write("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n").unwrap();
        world.write("app/templates/sub.yaml", text).unwrap();
    };
    let set = format!(
        "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\nmirror:\n  operators: [{{catalog: '{}/redhat/redhat-operator-index:v4.20', packages: [{{name: app}}]}}]\n  helm: {{local: [{{name: app, path: ./app}}]}}\n",
        registry.host()
    );
    world.write("isc.yaml", set).unwrap();
    let said = |world: &World| airlift(world, ["resolve", "-f", "isc.yaml"]).stdout;
    chart(&world, "redhat-operators");
    let wrong = said(&world);
    assert!(wrong.contains("[subscription-source-name]"), "{wrong}");
    assert!(wrong.contains("`cs-redhat-operator-index-v4-20`"), "{wrong}");
    chart(&world, "cs-redhat-operator-index-v4-20");
    let mended = said(&world);
    assert!(!mended.contains("[subscription-source-name]"), "{mended}");
}
