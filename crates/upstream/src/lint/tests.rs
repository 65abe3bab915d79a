//! Each fault in the smallest configuration that has it, and the same without.

use std::collections::BTreeMap;

use super::*;

const SUBSCRIPTION: &str = "apiVersion: operators.coreos.com/v1alpha1\nkind: Subscription\nmetadata: {name: app, namespace: ai}\nspec: {name: app, channel: stable, source: redhat-operators, startingCSV: app.v1}\n";
const GROUP: &str = "apiVersion: operators.coreos.com/v1\nkind: OperatorGroup\nmetadata: {name: ai, namespace: ai}\nspec: {targetNamespaces: [ai]}\n";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ai}\n";
const INDEX: &str = "registry.redhat.io/redhat/redhat-operator-index:v4.20";
const CERTIFIED: &str = "registry.redhat.io/redhat/certified-operator-index:v4.20";

/// What is said about these documents, in this order, beside these artifacts.
fn said(documents: &[&str], artifacts: &[Artifact]) -> Vec<Finding> {
    said_of(&seen(documents), artifacts, &[])
}

fn seen(documents: &[&str]) -> Vec<Seen> {
    let text = documents.join("---\n");
    let seen = |document: airlift_scan::Document| Seen {
        source: "manifests: ./deploy".to_owned(),
        place: "./deploy: all.yaml".to_owned(),
        author: Author::Here,
        object: document.object,
    };
    airlift_scan::documents(text.as_bytes()).unwrap().into_iter().map(seen).collect()
}

fn said_of(objects: &[Seen], artifacts: &[Artifact], brought: &[Brought]) -> Vec<Finding> {
    let stack = "version: 1\nname: demo\nsources: [{manifests: ./deploy}]\n";
    let stack = airlift_spec::stack::parse(stack).unwrap();
    let knowledge = Knowledge::embedded();
    lint(&Sight { stack: &stack, artifacts, objects, brought, knowledge, is_whole: true })
}

fn codes(documents: &[&str], artifacts: &[Artifact]) -> Vec<String> {
    said(documents, artifacts).into_iter().map(|finding| finding.code).collect()
}

/// A catalog that keeps `app.v1` in channel `stable` of a package that can be installed for its own namespace.
fn catalog(reference: &str, package: &str) -> Artifact {
    let kept = KeptPackage {
        default_channel: "stable".to_owned(),
        channels: [("stable".to_owned(), ["app.v1".to_owned()].into())].into(),
        install_modes: ["OwnNamespace".to_owned()].into(),
    };
    let kept = BTreeMap::from([(package.to_owned(), kept)]);
    Artifact { kept, ..Artifact::new(Kind::Catalog, reference.parse().unwrap()) }
}

fn image(reference: &str) -> Artifact {
    Artifact::new(Kind::Image, reference.parse().unwrap())
}

#[test]
fn a_subscription_to_what_is_kept_is_fine() {
    let kept = [catalog(INDEX, "app")];
    assert_eq!(said(&[NAMESPACE, GROUP, SUBSCRIPTION], &kept), []);
    assert_eq!(said(&[NAMESPACE, GROUP, SUBSCRIPTION], &[]), [], "the cluster may have a catalog");
    let by_default = SUBSCRIPTION.replace("channel: stable, ", "");
    assert_eq!(said(&[NAMESPACE, GROUP, &by_default], &kept), []);
    let patch = "kind: Subscription\napiVersion: operators.coreos.com/v1alpha1\nmetadata: {name: app}\nspec: {channel: fast}\n";
    assert_eq!(said(&[patch], &kept), [], "a patch is no subscription");
}

#[test]
fn a_subscription_to_what_is_not_kept_names_what_is() {
    let kept = [catalog(INDEX, "app")];
    let channel = SUBSCRIPTION.replace("channel: stable", "channel: fast-3.x");
    let found = said(&[NAMESPACE, GROUP, &channel], &kept);
    assert_eq!(found[0].code, "subscription-channel");
    assert_eq!(
        found[0].message,
        format!(
            "channel `fast-3.x` is not in what is kept of `{INDEX}`, which has `stable`; subscribe to one of \
             these, or list the channel under `packages:`"
        )
    );
    assert_eq!(found[0].object, "./deploy: all.yaml: Subscription ai/app");
    assert_eq!(found[0].reference.as_deref(), Some("manifests: ./deploy"));
    let version = SUBSCRIPTION.replace("app.v1", "app.v2");
    assert_eq!(codes(&[NAMESPACE, GROUP, &version], &kept), ["subscription-version"]);
    let package = SUBSCRIPTION.replace("{name: app, channel", "{name: other, channel");
    assert_eq!(codes(&[NAMESPACE, GROUP, &package], &kept), ["subscription-package"]);
}

#[test]
fn a_catalog_that_is_carried_whole_has_what_nobody_listed() {
    let whole = Artifact::new(Kind::Catalog, INDEX.parse().unwrap());
    let both = [whole.clone(), catalog(CERTIFIED, "other")];
    assert_eq!(said(&[NAMESPACE, GROUP, SUBSCRIPTION], &[whole]), []);
    assert_eq!(said(&[NAMESPACE, GROUP, SUBSCRIPTION], &both), []);
    let own = SUBSCRIPTION.replace("redhat-operators", "mine");
    assert_eq!(said(&[NAMESPACE, GROUP, &own], &both), []);
}

#[test]
fn a_subscription_in_the_wrong_catalog_is_told_the_right_one() {
    let kept = [catalog(INDEX, "other"), catalog(CERTIFIED, "app")];
    let found = said(&[NAMESPACE, GROUP, SUBSCRIPTION], &kept);
    assert_eq!(found[0].code, "subscription-source");
    assert!(found[0].message.contains(CERTIFIED), "{}", found[0].message);
    let right = SUBSCRIPTION.replace("redhat-operators", "certified-operators");
    assert_eq!(said(&[NAMESPACE, GROUP, &right], &kept), []);
    let versions = [catalog(INDEX, "other"), catalog(&INDEX.replace("4.20", "4.21"), "app")];
    // It may be either, and neither will be called so.
    assert_eq!(codes(&[NAMESPACE, GROUP, SUBSCRIPTION], &versions), ["subscription-source-name"]);
    let own = SUBSCRIPTION.replace("redhat-operators", "mine");
    assert_eq!(said(&[NAMESPACE, GROUP, &own], &kept), [], "it may be any");
    let source = |path: &str| {
        format!(
            "apiVersion: operators.coreos.com/v1alpha1\nkind: CatalogSource\nmetadata: {{name: mine}}\nspec: {{image: 'mirror.example/below/redhat/{path}:1'}}\n"
        )
    };
    let served = [NAMESPACE, GROUP, &own, &source("redhat-operator-index")];
    assert_eq!(codes(&served, &kept), ["subscription-source"]);
    let served = [NAMESPACE, GROUP, &own, &source("certified-operator-index")];
    assert_eq!(said(&served, &kept), []);
}

#[test]
fn a_subscription_without_namespace_or_group_is_said() {
    let found = said(&[SUBSCRIPTION], &[]);
    assert_eq!(found[0].code, "subscription-namespace");
    assert!(found[0].message.contains("OperatorGroup and Namespace of `ai`"), "{found:?}");
    let found = said(&[SUBSCRIPTION, GROUP], &[]);
    assert!(found[0].message.contains("the Namespace of `ai`"), "{found:?}");
    let everywhere = SUBSCRIPTION.replace("namespace: ai", "namespace: openshift-operators");
    assert_eq!(said(&[&everywhere], &[]), [], "OpenShift brings both");
}

#[test]
fn a_group_asks_for_a_mode_that_the_operator_has() {
    let kept = [catalog(INDEX, "app")];
    for targets in ["{}", "{targetNamespaces: [other]}", "{targetNamespaces: [ai, other]}"] {
        let group = GROUP.replace("{targetNamespaces: [ai]}", targets);
        assert_eq!(codes(&[NAMESPACE, &group, SUBSCRIPTION], &kept), ["operator-group-mode"]);
    }
    let chosen = GROUP.replace("{targetNamespaces: [ai]}", "{selector: {matchLabels: {a: b}}}");
    assert_eq!(said(&[NAMESPACE, &chosen, SUBSCRIPTION], &kept), [], "only the cluster knows");
    let everywhere = SUBSCRIPTION.replace("namespace: ai", "namespace: openshift-operators");
    assert_eq!(codes(&[&everywhere], &kept), ["operator-group-mode"]);
    let mut unsaid = catalog(INDEX, "app");
    unsaid.kept.get_mut("app").unwrap().install_modes.clear();
    assert_eq!(said(&[&everywhere], &[unsaid]), []);
}

#[test]
fn two_groups_in_one_namespace_are_said_once() {
    let second = GROUP.replace("{name: ai, namespace", "{name: second, namespace");
    assert_eq!(codes(&[GROUP, &second], &[]), ["operator-group-twice"]);
    assert_eq!(said(&[GROUP, GROUP], &[]), [], "that is one, written twice");
    let elsewhere = second.replace("namespace: ai", "namespace: other");
    assert_eq!(said(&[GROUP, &elsewhere], &[]), []);
}

#[test]
fn an_image_by_tag_needs_mirrors_by_tag() {
    let by_digest = "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata: {name: all}\nspec: {imageDigestMirrors: [{source: quay.io/org, mirrors: [mirror.example/org]}]}\n";
    let by_tag = by_digest.replace("Digest", "Tag");
    let tagged = [image("quay.io/org/app:1")];
    let found = said(&[by_digest], &tagged);
    assert_eq!(
        (found.len(), &*found[0].code, &*found[0].object),
        (1, "tag-not-mirrored", "quay.io/org/app:1")
    );
    assert_eq!(said(&[&by_tag], &tagged), []);
    assert_eq!(said(&[by_digest, &by_tag.replace("imageDigest", "imageTag")], &tagged), []);
    assert_eq!(said(&[], &tagged), []);
    let pinned = format!("quay.io/org/app@sha256:{}", "a".repeat(64));
    assert_eq!(said(&[by_digest], &[image(&pinned), image("quay.io/organisation/app:1")]), []);
    let any = by_digest.replace("quay.io/org,", "'*.io',");
    assert_eq!(codes(&[&any], &tagged), ["tag-not-mirrored"]);
}

#[test]
fn a_policy_that_is_deprecated_is_said_with_what_there_is_now() {
    let policy = "apiVersion: operator.openshift.io/v1alpha1\nkind: ImageContentSourcePolicy\nmetadata: {name: all}\nspec: {repositoryDigestMirrors: [{source: quay.io/org}]}\n";
    let found = said(&[policy], &[image("quay.io/org/app:1")]);
    let codes: Vec<&str> = found.iter().map(|it| &*it.code).collect();
    assert_eq!(codes, ["tag-not-mirrored", "mirror-set-deprecated"]);
}

#[test]
fn a_module_is_pulled_past_the_mirrors() {
    let module = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: auth, namespace: ai}\nspec: {url: 'oci://quay.io/org/shim:v1'}\n";
    let set = "apiVersion: config.openshift.io/v1\nkind: ImageTagMirrorSet\nmetadata: {name: all}\nspec: {imageTagMirrors: [{source: quay.io/org/shim}]}\n";
    assert_eq!(codes(&[set, module], &[]), ["wasm-past-mirrors"]);
    assert_eq!(said(&[module], &[]), []);
    let mirrored = module.replace("quay.io", "mirror.example");
    assert_eq!(codes(&[set, &mirrored], &[]), ["wasm-without-secret"]);
    let with_secret = mirrored.replace("v1'}", "v1', imagePullSecret: mirror}");
    assert_eq!(said(&[set, &with_secret], &[]), []);
    let plain = module.replace("oci://", "");
    assert_eq!(codes(&[set, &plain], &[]), ["wasm-past-mirrors"], "Istio takes it for an image");
}

#[test]
fn kuadrant_comes_after_what_provides_gateways() {
    let kuadrant = "apiVersion: kuadrant.io/v1beta1\nkind: Kuadrant\nmetadata: {name: kuadrant, namespace: ai}\n";
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: a}\nspec: {controllerName: a/b}\n";
    assert_eq!(codes(&[kuadrant, class], &[]), ["kuadrant-too-early"]);
    assert_eq!(said(&[class, kuadrant], &[]), []);
    assert_eq!(said(&[kuadrant], &[]), [], "the cluster may have one");
}

#[test]
fn what_no_annotation_can_hold_is_applied_by_the_server() {
    let map = |bytes: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{a: '{}'}}\n",
            "x".repeat(bytes)
        )
    };
    assert_eq!(codes(&[&map(262_144)], &[]), ["object-too-large"]);
    assert_eq!(said(&[&map(262_000)], &[]), []);
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.ai}\nspec:\n  group: ai.example\n  names: {kind: Thing}\n  versions:\n  - {name: v1, served: false}\n  - name: v2\n    served: true\n    schema:\n      openAPIV3Schema:\n        properties:\n          spec:\n            properties:\n              parts: {items: {properties: {name: {type: string}}}}\n              labels: {additionalProperties: {type: string}}\n              free: {x-kubernetes-preserve-unknown-fields: true, properties: {a: {}}}\n              int: {anyOf: [{type: integer}, {type: string}]}\n";

fn thing(version: &str, spec: &str) -> String {
    format!(
        "apiVersion: ai.example/{version}\nkind: Thing\nmetadata: {{name: it, labels: {{a: b}}}}\nspec: {spec}\n"
    )
}

#[test]
fn an_object_is_of_a_version_and_has_the_fields_that_its_kind_has() {
    let good = thing("v2", "{parts: [{name: a}], labels: {any: a}, free: {any: 1}, int: {a: 1}}");
    assert_eq!(said(&[DEFINITION, &good], &[]), []);
    assert_eq!(codes(&[DEFINITION, &thing("v1", "{}")], &[]), ["api-version-not-served"]);
    let found = said(&[DEFINITION, &thing("v2", "{parts: [{name: a, nam: b}], old: {}}")], &[]);
    assert_eq!(found[0].code, "field-unknown");
    assert!(
        found[0].message.contains("`spec.old`, `spec.parts[0].nam` in version `v2`"),
        "{found:?}"
    );
    assert_eq!(said(&[&thing("v1", "{old: 1}")], &[]), [], "nothing says what it is");
    let serves = DEFINITION.replace("name: v1, served: false", "name: v1, served: true");
    assert_eq!(
        codes(&[DEFINITION, DEFINITION, &thing("v1", "{}")], &[]),
        ["api-version-not-served"]
    );
    assert_eq!(said(&[DEFINITION, &serves, &thing("v1", "{}")], &[]), [], "nor here");
}

#[test]
fn what_others_wrote_is_told_as_information() {
    let mut objects = seen(&[SUBSCRIPTION]);
    objects[0].author = Author::Elsewhere;
    let found = said_of(&objects, &[], &[]);
    let told: Vec<_> = found.iter().map(|it| (&*it.code, it.severity)).collect();
    assert_eq!(told, [("subscription-namespace", airlift_spec::Severity::Info)]);
}

#[test]
fn what_is_absent_proves_nothing_where_not_all_is_seen() {
    let stack = "version: 1\nname: demo\nsources: [{manifests: ./deploy}]\n";
    let stack = airlift_spec::stack::parse(stack).unwrap();
    let (artifacts, objects) = ([catalog("example.com/one:v1", "app")], seen(&[SUBSCRIPTION]));
    let sight = |is_whole| Sight {
        knowledge: Knowledge::embedded(),
        stack: &stack,
        artifacts: &artifacts,
        objects: &objects,
        brought: &[],
        is_whole,
    };
    let codes = |is_whole| lint(&sight(is_whole)).into_iter().map(|it| it.code).collect::<Vec<_>>();
    assert_eq!(codes(true), ["subscription-source-name", "subscription-namespace"]);
    assert_eq!(codes(false), [""; 0]);
}

#[test]
fn a_catalog_that_another_stack_may_carry_is_information() {
    let kept = [catalog(INDEX, "other")];
    let elsewhere = SUBSCRIPTION.replace("redhat-operators", "certified-operators");
    let found = said(&[NAMESPACE, GROUP, &elsewhere], &kept);
    let told: Vec<_> = found.iter().map(|it| (&*it.code, it.severity)).collect();
    assert_eq!(told, [("subscription-package", airlift_spec::Severity::Info)]);
}

#[test]
fn helm_keeps_large_objects_elsewhere() {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{a: '{}'}}\n",
        "x".repeat(262_144)
    );
    let mut objects = seen(&[&text]);
    objects[0].source = "chart: ./app".to_owned();
    assert_eq!(said_of(&objects, &[], &[]), []);
}

#[test]
fn waves_come_before_places() {
    let kuadrant = "apiVersion: kuadrant.io/v1beta1\nkind: Kuadrant\nmetadata: {name: k, annotations: {argocd.argoproj.io/sync-wave: '1'}}\n";
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: a}\nspec: {controllerName: a/b}\n";
    assert_eq!(said(&[kuadrant, class], &[]), []);
    let earlier = kuadrant.replace("'1'", "'-1'");
    assert_eq!(codes(&[class, &earlier], &[]), ["kuadrant-too-early"]);
}

#[test]
fn gateways_need_what_their_openshift_has() {
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: a}\nspec: {controllerName: openshift.io/gateway-controller/v1}\n";
    let kept = catalog(INDEX, "app");
    let found = said(&[class], std::slice::from_ref(&kept));
    assert_eq!(found[0].code, "gateway-not-carried");
    assert!(found[0].message.contains("of OpenShift 4.20 is on"), "{found:?}");
    let images: Vec<Artifact> =
        found[0].message.split('`').filter(|it| it.contains("@sha256:")).map(image).collect();
    assert_eq!(images.len(), 5, "{found:?}");
    let with_images: Vec<Artifact> = images.into_iter().chain([kept.clone()]).collect();
    assert_eq!(said(&[class], &with_images), []);
    let newer = [catalog(&INDEX.replace("4.20", "4.21"), "app")];
    assert!(said(&[class], &newer)[0].message.contains("OpenShift 4.21"));
    assert_eq!(codes(&[class], &[catalog("example.com/own:v1", "app")]), ["gateway-not-carried"]);
    assert_eq!(said(&[class], &[]), [], "another stack may carry operators");
    assert_eq!(said(&[class], &[Artifact::new(Kind::Catalog, INDEX.parse().unwrap())]), []);
    let other = class.replace("openshift.io", "istio.io");
    assert_eq!(said(&[&other], &[kept]), []);
}

#[test]
fn an_object_is_held_against_the_bundles_that_bring_its_kind() {
    let definition = |field: &str| {
        let text = format!(
            "spec: {{group: ai.example, names: {{kind: Thing}}, versions: [{{name: v2, served: true, schema: {{openAPIV3Schema: {{properties: {{spec: {{properties: {{{field}: {{}}}}}}}}}}}}}}]}}"
        );
        airlift_scan::documents(text.as_bytes()).unwrap().remove(0).object
    };
    let brought = |bundle: &str, field: &str| Brought {
        package: "app".to_owned(),
        bundle: bundle.to_owned(),
        group: "ai.example".to_owned(),
        kind: "Thing".to_owned(),
        definition: Some(definition(field)),
    };
    let objects = seen(&[&thing("v2", "{old: 1}")]);
    let [old, new] = [brought("app.v1", "old"), brought("app.v2", "new")];
    let found = said_of(&objects, &[], std::slice::from_ref(&new));
    assert_eq!(found[0].code, "field-unknown");
    assert!(found[0].message.starts_with("bundle app.v2 knows no `spec.old`"), "{found:?}");
    assert_eq!(said_of(&objects, &[], &[old, new.clone()]), [], "it may be the other");

    let both = seen(&[SUBSCRIPTION, &thing("v2", "{new: 1}")]);
    let codes = |objects: &[Seen]| -> Vec<String> {
        said_of(objects, &[], std::slice::from_ref(&new)).into_iter().map(|it| it.code).collect()
    };
    assert_eq!(codes(&both), ["subscription-namespace", "kind-too-early"]);
    let awaited = thing("v2", "{new: 1}").replace(
        "labels:",
        "annotations: {argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true}, labels:",
    );
    assert_eq!(codes(&seen(&[SUBSCRIPTION, &awaited])), ["subscription-namespace"]);
}

#[test]
fn a_value_is_what_its_definition_takes() {
    let definition = |spec: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.ai}}\nspec: {{group: ai.example, names: {{kind: Thing}}, versions: [{{name: v2, served: true, schema: {{openAPIV3Schema: {{required: [apiVersion, spec], properties: {{spec: {spec}}}}}}}}}]}}\n"
        )
    };
    let check = |schema: &str, value: &str| {
        let spec = format!("{{properties: {{it: {schema}}}}}");
        let object = thing("v2", &format!("{{it: {value}}}"));
        said(&[&definition(&spec), &object], &[]).into_iter().map(|it| it.message).next()
    };
    for (schema, good, bad, why) in [
        ("{type: string}", "a", "1", "`spec.it` is `1`, and not of type string"),
        ("{type: integer}", "1.0", "1.5", "is `1.5`, and not of type integer"),
        ("{type: boolean}", "true", "'true'", "not of type boolean"),
        ("{type: array, items: {type: number}}", "[1, 2.5]", "[a]", "`spec.it[0]` is"),
        ("{x-kubernetes-int-or-string: true, type: string}", "1", "[]", "integer or string"),
        ("{enum: [a, b]}", "a", "c", r#"is `"c"`, and not one of `"a"`, `"b"`"#),
        ("{pattern: '^[1-9]\\d{0,3}(s|m|h)$'}", "24h", "1w", "is `1w`, which does not match"),
        ("{pattern: '^a$'}", "'${NAME}'", "b", "does not match"),
        ("{minimum: 1, maximum: 3}", "3", "4", "is 4, above 3"),
        ("{minimum: 1, exclusiveMinimum: true}", "2", "1", "is 1, below 1"),
        ("{minLength: 2}", "ab", "a", "has 1 characters, fewer than 2"),
        ("{maxItems: 1}", "[1]", "[1, 2]", "has 2 items, more than 1"),
        (
            "{type: object, required: [a, b], properties: {a: {}, b: {default: 1}}}",
            "{a: 1}",
            "{b: 1}",
            "`spec.it.a` is missing",
        ),
        ("{additionalProperties: {type: string}}", "{a: b}", "{a: 1}", "`spec.it.a` is `1`"),
        ("{type: string}", "null", "{}", "not of type string"),
    ] {
        assert_eq!(check(schema, good), None, "{schema}: {good}");
        let said = check(schema, bad).unwrap_or_default();
        assert!(said.contains(why), "{schema}: {bad}: {said}");
        assert!(said.contains("refuses it in version `v2`"), "{said}");
    }
    assert_eq!(check("{pattern: '(?<=a)b'}", "c"), None, "that is for the cluster to judge");
}

#[test]
fn a_patch_need_not_be_complete() {
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.ai}\nspec: {group: ai.example, names: {kind: Thing}, versions: [{name: v2, served: true, schema: {openAPIV3Schema: {properties: {spec: {required: [a], properties: {a: {}, b: {}}}}}}}]}\n";
    let (whole, patch) = (thing("v2", "{a: 1}"), thing("v2", "{b: 1}"));
    assert_eq!(codes(&[definition, &patch], &[]), ["value-refused"]);
    assert_eq!(said(&[definition, &whole, &patch], &[]), []);
}

/// A code that is not in the list would be said twice by the second run, once from the lock.
#[test]
fn every_code_that_is_said_is_in_the_list() {
    let sources = [
        include_str!("../lint.rs"),
        include_str!("gateways.rs"),
        include_str!("mirrors.rs"),
        include_str!("order.rs"),
        include_str!("products.rs"),
        include_str!("schema.rs"),
        include_str!("subscriptions.rs"),
    ];
    let made = sources.iter().flat_map(|text| text.split("Finding::").skip(1));
    let said: std::collections::BTreeSet<&str> =
        made.filter_map(|text| text.split('"').nth(1)).collect();
    assert_eq!(said, CODES.into());
}
