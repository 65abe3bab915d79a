use super::*;

fn set(mirror: &str) -> ImageSet {
    let head = "kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v2alpha1\n";
    ImageSet::parse(&format!("{head}{mirror}")).unwrap()
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let err = ImageSet::parse(text).unwrap_err();
    let message = err.to_string();
    assert!(message.contains(expected), "{message}");
}

fn warned(set: &ImageSet) -> Vec<String> {
    let text = |it: &Finding| format!("{} {}: {}", it.code, it.object, it.message);
    set.warnings.iter().map(text).collect()
}

const KIND: &str = "kind: ImageSetConfiguration\n";

#[test]
fn everything_that_the_format_knows_is_read() {
    let set = set("archiveSize: 4
mirror:
  platform:
    graph: true
    channels:
    - {name: stable-4.18, minVersion: 4.18.1, maxVersion: 4.18.7, shortestPath: true}
    - {name: okd, type: okd, full: true}
    architectures: [amd64, multi]
    kubeVirtContainer: true
  operators:
  - catalog: registry.redhat.io/redhat/redhat-operator-index:v4.18
    targetCatalog: own/index
    targetTag: v1
    targetCatalogSourceTemplate: /tmp/cs.yaml
    platforms: [{os: linux, architecture: amd64}]
    packages:
    - name: a
      defaultChannel: stable
      channels:
      - {name: stable, minVersion: 1.2.0, maxVersion: '2'}
  - {catalog: 'oci:///mnt/index', full: true}
  additionalImages:
  - {name: 'a.io/b:v1', targetRepo: x/y, targetTag: v1}
  helm:
    repositories:
    - {name: r, url: 'https://charts.example', charts: [{name: c, version: 1.10, imagePaths: ['{.x}']}]}
    - {name: whole, url: 'https://other.example'}
    local: [{name: l, path: ./l.tgz}]
  blockedImages: [{name: 'must-.*'}]
");
    assert_eq!((set.purpose, set.archive_size_gib), (Purpose::Mirror, 4));
    let wish = &set.platform;
    assert!(wish.graph && wish.kube_virt_container && wish.channels[0].shortest_path);
    assert_eq!(wish.channels[0].max, Some(semver::Version::new(4, 18, 7)));
    assert_eq!((wish.channels[1].product, wish.channels[1].full), (Product::Okd, true));
    assert_eq!(wish.architectures, ["amd64", "multi"]);
    let operator = &set.operators[0];
    assert_eq!(operator.unique_name(), "registry.redhat.io/own/index:v1");
    assert_eq!(operator.packages[0].channels[0].max.as_deref(), Some("2"));
    assert_eq!(operator.line, 13);
    assert_eq!(set.operators[1].unique_name(), "/mnt/index");
    assert_eq!(set.additional_images[0].target_repo.as_deref(), Some("x/y"));
    let charts = &set.helm.repositories[0].charts;
    assert_eq!(charts[0].version.as_deref(), Some("1.10"));
    assert!(set.helm.repositories[1].charts.is_empty());
    assert_eq!(set.helm.local[0].path.as_deref(), Some("./l.tgz"));
    let blocked = set.blocked[0].finding(&"a.io/must-gather:1".parse().unwrap());
    assert_eq!(blocked.message, "left out by `must-.*`: it stands in blockedImages");
    assert_eq!(warned(&set), [""; 0]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let set = set("mirror:\n  operators:\n  platform:\n    channels: [{name: stable-4.18}]\n");
    assert_eq!(set.archive_size_gib, 500);
    assert_eq!(set.platform.architectures, ["amd64"]);
    assert_eq!(set.platform.channels[0].product, Product::Ocp);
    assert!(set.operators.is_empty());
}

#[test]
fn platforms_thin_out_the_releases_for_many() {
    let wish = set("mirror: {platform: {platforms: [{os: linux, architecture: arm64}]}}").platform;
    assert_eq!(wish.architectures, ["multi"]);
    assert_eq!(wish.platforms[0].to_string(), "linux/arm64");
}

#[test]
fn a_file_says_what_it_is_for() {
    let delete = ImageSet::parse(
        "kind: DeleteImageSetConfiguration\ndelete:\n  additionalImages: [{name: 'a.io/b:1'}]\n",
    );
    assert_eq!(delete.unwrap().purpose, Purpose::Delete);
    refused("mirror: {}", "configuration missing `kind`");
    refused("kind: Pod\nmirror: {}", "line 1: config kind \"Pod\" not supported");
    refused(KIND, "configuration missing the `mirror` stanza");
    refused("kind: DeleteImageSetConfiguration\n", "configuration missing the `delete` stanza");
    refused(
        &format!("{KIND}mirror: {{}}\ndelete: {{}}\n"),
        "line 3: delete: is not allowed in ImageSetConfiguration",
    );
}

#[test]
fn unknown_fields_and_keys_that_stand_twice_are_refused_with_their_line() {
    refused(&format!("{KIND}mirror:\n  operator: []\n"), "line 3");
    refused(&format!("{KIND}mirror:\n  operator: []\n"), "operator");
    refused(&format!("{KIND}mirror: {{}}\nmirror: {{}}\n"), "line 3");
    refused(&format!("{KIND}metadata: {{}}\nmirror: {{}}\n"), "metadata");
}

#[test]
fn fields_of_the_first_version_are_read_with_a_word_on_what_replaced_them() {
    let set = ImageSet::parse(
        "kind: ImageSetConfiguration
apiVersion: mirror.openshift.io/v1alpha2
storageConfig: {local: {path: ./x}}
mirror:
  operators:
  - catalog: a.io/index:v1
    targetName: x
    originalRef: y
    skipDependencies: true
    packages: [{name: p, bundles: [{name: p.v1}], minBundle: z}]
  samples: [{name: s}]
",
    )
    .unwrap();
    let warned = warned(&set);
    let has = |code: &str, object: &str, line: &str| {
        let start = format!("{code} {object}: line {line}: ");
        assert!(warned.iter().any(|it| it.starts_with(&start)), "{start} in {warned:#?}");
    };
    has("imageset-old-field", "storageConfig", "3");
    has("imageset-old-field", "targetName", "7");
    has("imageset-old-field", "originalRef", "8");
    has("imageset-ignored", "skipDependencies", "9");
    has("imageset-old-field", "bundles", "10");
    has("imageset-old-field", "minBundle", "10");
    has("imageset-ignored", "s", "11");
    assert_eq!(warned.len(), 7, "{warned:#?}");
}

#[test]
fn an_unknown_version_of_the_format_is_read_and_said() {
    let set = ImageSet::parse(&format!("{KIND}apiVersion: x/v9\nmirror: {{}}\n")).unwrap();
    assert_eq!(
        warned(&set),
        ["imageset-version x/v9: line 2: it is read as mirror.openshift.io/v2alpha1"]
    );
}

#[test]
fn contradictions_are_all_named_in_the_words_of_the_peer() {
    let text = "kind: ImageSetConfiguration
mirror:
  platform:
    channels:
    - {name: stable-4.18, minVersion: 4.18.9, maxVersion: 4.18.1}
    - name: stable-4.18
    platforms: [{os: linux, architecture: amd64}]
    architectures: [amd64]
  operators:
  - catalog: a.io/i:v1
    packages:
    - {name: p, minVersion: one, channels: [{name: c, maxVersion: 1.0.0}, {name: c}]}
    - {name: p}
  - {catalog: 'a.io/i:v1', full: true, packages: [{name: q, minVersion: 1.0.0}]}
  - {catalog: a.io/untagged}
  - {catalog: 'a.io/i:v2', targetCatalog: 'x:y', targetTag: 'a b'}
  blockedImages: [{name: '('}]
";
    let err = ImageSet::parse(text).unwrap_err();
    let lines: Vec<u64> = err.mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [5, 6, 8, 10, 10, 10, 10, 14, 14, 15, 16, 16, 17], "{err}");
    assert!(err.mistakes.iter().all(|mistake| mistake.help.is_some()), "{err:?}");
    for expected in [
        "release channel \"stable-4.18\": duplicate found in configuration",
        "platform.platforms and platform.architectures cannot be used together",
        "catalog \"a.io/i:v1\": duplicate found in configuration",
        "catalog \"a.io/i:v1\": duplicate package entry \"p\"",
        "operator \"p\": duplicate channel entry \"c\"",
        "operator \"p\": minVersion \"one\" must respect semantic versioning notation",
        "mixing both filtering by minVersion/maxVersion and filtering by channel",
        "full: true cannot be mixed with versions",
        "tag and digest are empty",
        "invalid targetCatalog \"x:y\"",
        "invalid targetTag \"a b\"",
        "blocked image \"(\": invalid regular expression: unclosed group",
    ] {
        assert!(err.to_string().contains(expected), "{expected} in {err}");
    }
}

#[test]
fn channels_and_architectures_are_words() {
    let platform = |text: &str| format!("{KIND}mirror: {{platform: {{{text}}}}}");
    refused(&platform("channels: [{name: ../../x}]"), "line 2: release channel \"../../x\"");
    refused(
        &platform("architectures: [amd64, x86]"),
        "line 2: no release is for the architecture \"x86\"",
    );
    let help =
        ImageSet::parse(&platform("architectures: [x86]")).unwrap_err().mistakes.remove(0).help;
    assert_eq!(help.as_deref(), Some("write one of amd64, arm64, ppc64le, s390x, multi"));
}

#[test]
fn versions_may_be_short() {
    let with = |version: &str| {
        format!(
            "{KIND}mirror: {{operators: [{{catalog: 'a.io/i:1', packages: [{{name: p, minVersion: '{version}'}}]}}]}}"
        )
    };
    for version in ["1", "v1.2", "1.2.3-rc.1+b", "01.2.3"] {
        assert!(ImageSet::parse(&with(version)).is_ok(), "{version}");
    }
    for version in ["", "x", "1.2.3.4", "1..2", "1.2.3-", "=1.0.0"] {
        assert_eq!(ImageSet::parse(&with(version)).is_ok(), version.is_empty(), "{version}");
    }
}

#[test]
fn an_additional_image_that_is_none_is_left_out_and_said() {
    let set = set("mirror:
  additionalImages:
  - name: a.io/untagged
  - name: a.io/c:1
");
    assert_eq!(set.additional_images.len(), 1);
    let warned = warned(&set);
    assert!(warned[0].starts_with("imageset-image-left-out a.io/untagged: line 5"), "{warned:?}");
    assert_eq!(warned.len(), 1, "{warned:?}");
}

#[test]
fn where_an_image_cannot_go_is_refused_with_its_line() {
    let images = |entry: &str| format!("{KIND}mirror:\n  additionalImages:\n  - {entry}\n");
    refused(
        &images("{name: 'a.io/b:1', targetRepo: 'A/B:1'}"),
        "line 4: invalid targetRepo \"A/B:1\"",
    );
    refused(&images("{name: 'a.io/b:1', targetTag: 'a b'}"), "line 4: invalid targetTag \"a b\"");
}

#[test]
fn a_list_without_packages_means_all_of_them_which_is_said() {
    let every = set(
        "mirror:\n  operators:\n  - {catalog: 'a.io/i:1', packages: []}\n  - {catalog: 'a.io/j:1'}\n",
    );
    assert_eq!(
        warned(&every),
        [
            "imageset-every-package a.io/i:1: line 5: `packages: []` lists none, which means all that it has"
        ]
    );
}

#[test]
fn a_tag_that_the_cluster_asks_for_in_vain_is_said() {
    let hex = "a".repeat(64);
    let text = |head: &str, stanza: &str| {
        format!(
            "kind: {head}
{stanza}:
  additionalImages:
  - {{name: 'a.io/org/tool:2.0', targetRepo: own/place, targetTag: other}}
  - {{name: 'a.io/same:1', targetTag: '1'}}
  - {{name: 'a.io/pinned@sha256:{hex}', targetTag: v1}}
  - {{name: 'a.io/both:1@sha256:{hex}', targetTag: v1}}
  - {{name: 'a.io/twice:1', targetTag: v1}}
  - {{name: 'a.io/twice:1'}}
"
        )
    };
    let mirror = ImageSet::parse(&text("ImageSetConfiguration", "mirror")).unwrap();
    assert_eq!(
        warned(&mirror),
        [
            "imageset-tag-renamed a.io/org/tool:2.0: line 4: it is mirrored as `own/place:other` alone, and the \
          ImageTagMirrorSet sends who asks for the tag `2.0` to `own/place:2.0`; name it by its digest, or drop \
          `targetTag:`"
        ]
    );
    let delete = ImageSet::parse(&text("DeleteImageSetConfiguration", "delete")).unwrap();
    assert_eq!(warned(&delete), [""; 0]);
}

#[test]
fn aliases_cannot_make_much_of_little() {
    let mut bomb = format!("{KIND}mirror: {{}}\nstorageConfig:\n  - &a [x, x, x, x, x, x, x, x]\n");
    for (name, before) in ('b'..='j').zip('a'..) {
        let of = vec![format!("*{before}"); 8].join(", ");
        bomb.extend([format!("  - &{name} [{of}]\n")]);
    }
    assert!(ImageSet::parse(&bomb).is_err());
}
