use super::*;
use crate::documents;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One object's images as `evidence image path`, and its doubts as `? text path`.
fn said(yaml: &str) -> Vec<String> {
    let document = documents(yaml.as_bytes()).unwrap().remove(0);
    let Scan { images, doubts } = scan(&document.object);
    let path =
        |path: &str| path.split_once(": ").map_or(String::new(), |(_, path)| path.to_owned());
    let found = images.iter().map(|found| {
        assert_eq!(found.image.parse::<Reference>().unwrap(), found.reference);
        format!("{:?} {} {}", found.evidence, found.image, path(&found.path))
    });
    let doubted = doubts.iter().map(|doubt| format!("? {} {}", doubt.text, path(&doubt.path)));
    found.chain(doubted).collect()
}

#[track_caller]
fn check(yaml: &str, expected: &[&str]) {
    assert_eq!(said(yaml), expected, "{yaml}");
}

#[test]
fn a_path_names_the_object_and_the_field() {
    let yaml = "kind: Deployment\napiVersion: apps/v1\nmetadata: {namespace: kubeflow, name: ml-pipeline}\n\
                spec: {template: {spec: {containers: [{image: nginx}]}}}\n";
    let found = scan(&documents(yaml.as_bytes()).unwrap()[0].object).images.remove(0);
    assert_eq!(
        found.path,
        "Deployment kubeflow/ml-pipeline: spec.template.spec.containers[0].image"
    );
    assert_eq!(found.evidence, Evidence::Field);
    assert_eq!(found.reference.to_string(), "docker.io/library/nginx:latest");
}

#[test]
fn containers_of_every_kind_name_images() {
    check(
        "kind: A\nspec:\n  initContainers: [{image: a}]\n  ephemeralContainers: [{image: b}]\n  steps: [{image: c}]\n  volumes: [{image: {reference: quay.io/d/e:1}}]\n",
        &[
            "Field b spec.ephemeralContainers[0].image",
            "Field a spec.initContainers[0].image",
            "Field c spec.steps[0].image",
            "CustomField quay.io/d/e:1 spec.volumes[0].image.reference",
        ],
    );
    check(
        "kind: ImageStream\nspec: {tags: [{from: {kind: DockerImage, name: a/b}}, {from: {kind: ImageStreamTag, name: 'c:d'}}]}\n",
        &["Field a/b spec.tags[0].from.name"],
    );
    check("kind: Image\nspec: {image: a/b}\n", &["CustomField a/b spec.image"]);
}

#[test]
fn a_container_without_a_reference_is_never_passed_over() {
    check(
        "containers: [{image: auto}, {image: Upper/Case}, {image: '${X}'}, {image: 'https://a.example/b'}]\n",
        &[
            "? auto containers[0].image",
            "? Upper/Case containers[1].image",
            "? ${X} containers[2].image",
            "? https://a.example/b containers[3].image",
        ],
    );
}

#[test]
fn variables_and_arguments_name_images() {
    check(
        "containers:\n- env:\n  - {name: RELATED_IMAGE_X, value: a/b}\n  - {name: AGENT, value: quay.io/a/b:v1}\n  - {name: HOST, value: 'a.example/b:8080'}\n  - {name: IMAGE_PULL_POLICY, value: always}\n  - {name: MODE, value: a/b}\n",
        &["Env a/b containers[0].env[0].value", "Env quay.io/a/b:v1 containers[0].env[1].value"],
    );
    check(
        "args: [--x-image=a:1, -image, 'b:2', --executor-image, 'c:3', --reload=quay.io/d/e:v4, --from=f:5, '--image=$(IT)', --gateway, 'g:6']\n",
        &[
            "Arg a:1 args[0]",
            "Arg b:2 args[2]",
            "Arg c:3 args[4]",
            "Arg quay.io/d/e:v4 args[5]",
            "? $(IT) args[7]",
        ],
    );
    check("args: ['--image=$(IT)']\nenv: [{name: IT, value: a/b:1}]\n", &["Arg a/b:1 args[0]"]);
}

#[test]
fn annotations_of_pods_name_images_and_those_of_others_describe() {
    check(
        "kind: D\napiVersion: v1\nmetadata: {annotations: {containerImage: 'quay.io/old:1'}}\nspec: {template: {metadata: {annotations: {images.v1_28_5.istiod: 'quay.io/a:v1'}}}}\n",
        &[
            "Annotation quay.io/a:v1 spec.template.metadata.annotations[\"images.v1_28_5.istiod\"]",
            "? quay.io/old:1 metadata.annotations.containerImage",
        ],
    );
    check(
        "kind: C\napiVersion: v1\nmetadata: {annotations: {alm-examples: '[{\"kind\": \"X\", \"apiVersion\": \"v1\", \"spec\": {\"repository\": \"q.io/n\", \"image\": \"d\", \"version\": \"1\"}}]'}}\n",
        &["Parts q.io/n/d:1 metadata.annotations.alm-examples > [0].spec"],
    );
}

#[test]
fn texts_in_texts_are_read_to_the_bottom() {
    check(
        "kind: ConfigMap\napiVersion: v1\ndata:\n  agent: '{\"image\": \"a/b:1\"}'\n  TENSORBOARD_IMAGE: c/d:2\n  web.yaml: |\n    image:\n      value: e/f:3\n      options: [e/f:3, g/h:4]\n  params.env: |\n    # why\n    x=quay.io/i/j:v5\n    x-image=k/l:6\n  deep: |\n    inner: |\n      {\"image\": \"m/n:7\"}\n",
        &[
            "CustomField c/d:2 data.TENSORBOARD_IMAGE",
            "ConfigMapJson a/b:1 data.agent > image",
            "ConfigMapJson m/n:7 data.deep > inner > image",
            "ConfigMapLine quay.io/i/j:v5 data[\"params.env\"] line 2",
            "ConfigMapLine k/l:6 data[\"params.env\"] line 3",
            "ConfigMapYaml e/f:3 data[\"web.yaml\"] > image.options[0]",
            "ConfigMapYaml g/h:4 data[\"web.yaml\"] > image.options[1]",
            "ConfigMapYaml e/f:3 data[\"web.yaml\"] > image.value",
        ],
    );
}

#[test]
fn lists_in_files_whose_name_says_image_are_read() {
    check(
        "kind: ConfigMap\napiVersion: v1\ndata:\n  jupyter-images: |\n    - a/b:1\n    - c/d\n  others: |\n    - quay.io/e/f:v1\n    - g/h:1\n",
        &[
            "ConfigMapYaml a/b:1 data.jupyter-images > [0]",
            "ConfigMapYaml c/d data.jupyter-images > [1]",
            "ConfigMapYaml quay.io/e/f:v1 data.others > [0]",
        ],
    );
}

#[test]
fn scripts_and_templates_are_doubted_but_for_what_stands_in_them_literally() {
    check(
        "kind: ConfigMap\napiVersion: v1\ndata:\n  run.sh: |\n    #!/bin/sh\n    docker run quay.io/a/b:v1 sh\n  pod: |\n    {{ if .X }}\n    image: c/d:1\n    image: {{ .Image }}\n    {{ end }}\n",
        &[
            "ConfigMapYaml c/d:1 data.pod line 2",
            "? {{ .Image }} data.pod line 3",
            "? quay.io/a/b:v1 data[\"run.sh\"] line 2",
        ],
    );
}

#[test]
fn templates_are_filled_with_what_their_parameters_have_by_default() {
    check(
        "kind: Template\napiVersion: template.openshift.io/v1\nparameters: [{name: IMG, value: a/b}, {name: NONE}]\nobjects: [{kind: P, apiVersion: v1, metadata: {}, spec: {containers: [{image: '${IMG}:1'}, {image: '${NONE}'}, {image: '${{IMG}}:2'}]}}]\n",
        &[
            "Field a/b:1 objects[0].spec.containers[0].image",
            "Field a/b:2 objects[0].spec.containers[2].image",
            "? ${NONE} objects[0].spec.containers[1].image",
        ],
    );
}

#[test]
fn modules_that_a_proxy_pulls_are_found_and_other_artifacts_are_doubted() {
    check(
        "kind: WasmPlugin\napiVersion: v1\nspec: {url: 'oci://quay.io/a/shim:v1'}\n",
        &["Wasm quay.io/a/shim:v1 spec.url"],
    );
    check(
        "env: [{name: RELATED_IMAGE_WASMSHIM, value: 'oci://quay.io/a/shim:v1'}]\n",
        &["Env quay.io/a/shim:v1 env[0].value"],
    );
    check(
        "spec: {model: {storageUri: 'oci://quay.io/a/model:v1'}}\n",
        &["CustomField quay.io/a/model:v1 spec.model.storageUri"],
    );
    check(
        "spec: {repoURL: 'oci://quay.io/a/charts'}\n",
        &["? oci://quay.io/a/charts spec.repoURL"],
    );
}

#[test]
fn what_a_digest_pins_is_an_image_wherever_it_stands() {
    check(
        &format!("spec: {{anything: quay.io/a/b@{DIGEST}}}\n"),
        &[&format!("CustomField quay.io/a/b@{DIGEST} spec.anything")],
    );
    check("spec: {anything: quay.io/a/b:v1}\n", &["? quay.io/a/b:v1 spec.anything"]);
}

#[test]
fn related_images_are_declared_and_the_rest_is_referenced() {
    check(
        "spec: {relatedImages: [{name: a, image: quay.io/a/b:1}]}\n",
        &["Related quay.io/a/b:1 spec.relatedImages[0].image"],
    );
    assert_eq!(
        airlift_spec::lock::Evidence::from(Evidence::Related),
        airlift_spec::lock::Evidence::Declared
    );
    assert_eq!(
        airlift_spec::lock::Evidence::from(Evidence::Env),
        airlift_spec::lock::Evidence::Referenced
    );
}

#[test]
fn what_is_no_image_is_not_found() {
    check(
        "kind: A\napiVersion: v1\nmetadata: {labels: {image: a/b:1}}\nstatus: {image: a/b:1}\nspec:\n  image: https://example.com/logo.png\n  logoImage: static/logo.svg\n  diskImage: /var/lib/disk\n  description: 'run quay.io/a/b:v1'\n  imagePullPolicy: always\n  imagePullSecrets: [{name: regcred}]\n  endpoint: https://a.example/b:v1\n  package: org.example/pkg\n  go: example.com/mod\n  ports: 'a:8080'\n  repository: org/source\n  version: v1\n  image-enabled: 'true'\n",
        &[],
    );
    check(
        "kind: CustomResourceDefinition\napiVersion: v1\nspec: {versions: [{schema: {openAPIV3Schema: {properties: {image: {type: string, default: quay.io/a/b:1, description: 'quay.io/c/d:v1'}}}}}]}\n",
        &["? quay.io/a/b:1 spec.versions[0].schema.openAPIV3Schema.properties.image.default"],
    );
    check("kind: Secret\napiVersion: v1\ndata: {image: cXVheS5pby9h}\n", &[]);
}

#[test]
fn what_stands_beside_a_value_is_read_as_well() {
    check(
        "a: [{name: X, value: y, image: b/c:1}, {name: image, default: d/e:2}]\n",
        &["CustomField b/c:1 a[0].image", "Env d/e:2 a[1].default"],
    );
    check(
        "kind: ConfigMap\napiVersion: v1\ndata:\n  examples: |\n    image: a/b:1\n  images.json: '{\"x\": \"c/d:2\"}'\n",
        &[
            "ConfigMapYaml a/b:1 data.examples > image",
            "ConfigMapJson c/d:2 data[\"images.json\"] > x",
        ],
    );
}

/// Each text may be as deep as its reader allows, and they stand in each other.
#[test]
fn the_deepest_texts_in_texts_fit_on_a_stack() {
    let nest = |inner: &str| {
        let inner = serde_json::to_string(inner).unwrap();
        format!("{}{inner}{}", "[{\"a\":".repeat(60), "}]".repeat(60))
    };
    let mut text = "a/b:1".to_owned();
    for _ in 0..6 {
        text = nest(&text);
    }
    let document = documents(text.as_bytes()).unwrap().remove(0);
    let Scan { images, doubts } = scan(&document.object);
    assert_eq!((images.len(), doubts.len()), (0, 1), "{doubts:?}");
}
