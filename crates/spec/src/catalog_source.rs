//! How a catalog is offered to a cluster: the name of its `CatalogSource`, which Subscriptions give as their source, and
//! the objects themselves, for OLM v0 a `CatalogSource` and for v1 a `ClusterCatalog`.

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::lock::Artifact;
use crate::reference::Reference;

/// The longest name that is a label as well.
const NAME_CHARS: usize = 63;

/// How much of a tag is in a name of oc-mirror's.
const TAG_CHARS: usize = 12;

/// Where the catalogs of an OpenShift cluster are, which every namespace may subscribe to.
const NAMESPACE: &str = "openshift-marketplace";

/// Who serves what a catalog's image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The program in the image.
    Own,
    /// OLM's, for a catalog that was filtered: nothing is in its image but files.
    Olm,
}

/// The `CatalogSource` `name` of the catalog in `image`.
pub fn catalog_source(name: &str, image: &str, server: Server) -> Value {
    let mut spec = json!({ "image": image, "sourceType": "grpc" });
    if server == Server::Olm {
        // Without `cacheDir`: to name a folder that is not in the image stops the pod.
        spec["grpcPodConfig"] = json!({ "extractContent": { "catalogDir": "/configs" } });
    }
    json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "CatalogSource",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": spec,
    })
}

/// The `ClusterCatalog` `name` of the catalog in `image`, which OLM v1 always serves by itself.
pub fn cluster_catalog(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "olm.operatorframework.io/v1",
        "kind": "ClusterCatalog",
        "metadata": { "name": name },
        "spec": { "source": { "image": { "ref": image }, "type": "Image" } },
    })
}

/// The names of a lock's catalogs, in their order: of each the first form that no other catalog could have.
pub fn names(catalogs: &[&Artifact]) -> Vec<String> {
    let forms: Vec<[String; 4]> = catalogs.iter().map(|catalog| forms(catalog)).collect();
    let name = |own: &[String; 4]| {
        let is_free =
            |name: &&String| forms.iter().filter(|others| others.contains(name)).count() == 1;
        own.iter().find(is_free).unwrap_or(&own[3]).clone()
    };
    forms.iter().map(name).collect()
}

/// The name by oc-mirror's rule, without the `cs-` or `cc-` before it: the last part of the repository, and what of the
/// tag fits.
pub fn oc_mirror_name(base: &str, tag: &str) -> String {
    let tag: String = tag.chars().take(TAG_CHARS).collect();
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '-') => c,
        _ => '-',
    };
    let name: String = format!("{base}-{tag}").chars().map(letter).collect();
    // Longer ones, and those that end in a dash, would be refused by the cluster.
    let fits: String = name.chars().take(NAME_CHARS - "cs--99".len()).collect();
    fits.trim_end_matches('-').to_owned()
}

/// What a catalog may be called. Stock Subscriptions expect the first.
fn forms(catalog: &Artifact) -> [String; 4] {
    let base = plain_name(&catalog.reference);
    let tag = catalog.reference.tag().unwrap_or_default();
    let of_reference = Digest::of(catalog.reference.to_string().as_bytes()).hex();
    let of_content = catalog.digest.map(|digest| digest.hex()).unwrap_or_default();
    let hashes = [of_reference, of_content].map(|hash| hash.chars().take(8).collect::<String>());
    ["", tag, &hashes[0], &hashes[1]].map(|suffix| label(&base, suffix))
}

/// `redhat-operator-index` is the index of what clusters know as `redhat-operators`.
fn plain_name(reference: &Reference) -> String {
    let base = reference.path().rsplit('/').next().unwrap_or_default();
    match base.strip_suffix("-index") {
        Some(kind) if kind.ends_with("-operator") => format!("{kind}s"),
        Some(kind) if !kind.is_empty() => kind.to_owned(),
        _ => base.to_owned(),
    }
}

/// A name as objects have it (RFC 1123), that begins with a letter, as the Service beside a catalog must.
fn label(base: &str, suffix: &str) -> String {
    let word = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.replace(|c: char| !c.is_ascii_alphanumeric(), "-").trim_matches('-').to_owned()
    };
    let (base, suffix) = (word(base), word(suffix));
    let base = if base.starts_with(|c: char| c.is_ascii_alphabetic()) {
        base
    } else {
        format!("catalog-{base}")
    };
    let suffix: String = suffix.chars().take(NAME_CHARS / 2).collect();
    let suffix = if suffix.is_empty() { suffix } else { format!("-{suffix}") };
    let kept: String = base.chars().take(NAME_CHARS - suffix.len()).collect();
    format!("{}{suffix}", kept.trim_end_matches('-')).trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Kind;

    #[track_caller]
    fn check(references: &[&str], expected: &[&str]) {
        let catalog = |it: &&str| Artifact::new(Kind::Catalog, it.parse().unwrap());
        let catalogs: Vec<Artifact> = references.iter().map(catalog).collect();
        assert_eq!(names(&catalogs.iter().collect::<Vec<_>>()), expected);
    }

    #[test]
    fn names_are_those_of_the_stock_catalogs() {
        let hosts = "registry.redhat.io/redhat";
        for (index, name) in [
            ("redhat-operator-index", "redhat-operators"),
            ("certified-operator-index", "certified-operators"),
            ("community-operator-index", "community-operators"),
            ("redhat-marketplace-index", "redhat-marketplace"),
        ] {
            check(&[&format!("{hosts}/{index}:v4.20")], &[name]);
        }
        check(&["quay.io/operatorhubio/catalog:latest"], &["catalog"]);
        check(&["quay.io/org/My_Catalog.v2:1".to_lowercase().as_str()], &["my-catalog-v2"]);
        check(&["quay.io/org/3scale-index:1"], &["catalog-3scale"]);
    }

    #[test]
    fn catalogs_of_one_name_are_told_apart_by_their_tags_and_then_by_a_hash() {
        check(&["a.io/x-index:v4.19", "a.io/x-index:v4.20"], &["x-v4-19", "x-v4-20"]);
        check(&["a.io/x-index:1", "b.io/x-index:1"], &["x-0af4ce31", "x-5c10b485"]);
        // The first cannot be `x-v1`: the last could be called so as well.
        check(
            &["a.io/x-index:v1", "a.io/x-index:v2", "a.io/x-v1:1"],
            &["x-c96703d6", "x-v2", "x-v1-1"],
        );
    }

    #[test]
    fn the_longest_name_is_a_label() {
        let long = format!("a.io/{}-index:{}", "x".repeat(100), "9".repeat(100));
        let [plain, tagged, ..] = forms(&Artifact::new(Kind::Catalog, long.parse().unwrap()));
        assert_eq!((plain.len(), tagged.len()), (63, 63));
        assert!(tagged.ends_with("xx-9999999999999999999999999999999"), "{tagged}");
    }

    #[test]
    fn oc_mirror_names_a_catalog_by_its_repository_and_tag() {
        assert_eq!(oc_mirror_name("redhat-operator-index", "v4.20"), "redhat-operator-index-v4-20");
        assert_eq!(oc_mirror_name("Own_Index", "0123456789abcdef"), "own-index-0123456789ab");
        assert!(oc_mirror_name(&"a".repeat(80), "v1").len() <= 57);
    }
}
