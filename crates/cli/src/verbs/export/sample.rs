//! A lock with something of everything that can be exported.

use airlift_spec::lock::{Artifact, Because, Child, Evidence, Kind, Referrer};
use airlift_spec::oci::media_type::OCI_MANIFEST;
use airlift_spec::{Digest, Lock};

const CATALOG: &str = "registry.redhat.io/redhat/redhat-operator-index:v4.20";
const BUNDLE: &str = "registry.redhat.io/rhoai/operator-bundle@sha256:";

fn artifact(
    kind: Kind,
    reference: &str,
    bytes: u64,
    because: &[(&str, &str, Evidence)],
) -> Artifact {
    let because = because.iter().map(|(from, path, evidence)| Because {
        from: (*from).to_owned(),
        path: (*path).to_owned(),
        evidence: *evidence,
    });
    Artifact {
        digest: Some(Digest::of(reference.as_bytes())),
        media_type: OCI_MANIFEST.to_owned(),
        size: 500,
        bytes,
        because: because.collect(),
        ..Artifact::new(kind, reference.parse().unwrap())
    }
}

pub(super) fn catalog(reference: &str) -> Artifact {
    let from = Some(format!("catalog:{reference}@{}", Digest::of(b"whole")));
    let because = [("catalog: index", "", Evidence::Declared)];
    Artifact { from, ..artifact(Kind::Catalog, reference, 20_000, &because) }
}

/// An image that is not pinned, an index with a signature, a catalog with a bundle and its image, and a chart.
pub(super) fn lock() -> Lock {
    let bundle = format!("{BUNDLE}{}", Digest::of(b"bundle").hex());
    let source = [("image: quay.io/org/app:1", "", Evidence::Declared)];
    let image = Artifact {
        children: vec![Child {
            digest: Digest::of(b"amd64"),
            platform: Some("linux/amd64".parse().unwrap()),
        }],
        referrers: vec![Referrer {
            subject: Digest::of(b"amd64"),
            digest: Digest::of(b"sbom"),
            media_type: OCI_MANIFEST.to_owned(),
            size: 10,
            bytes: 20,
            artifact_type: Some("application/spdx+json".to_owned()),
            tag: None,
        }],
        ..artifact(Kind::Image, "quay.io/org/app:1", 81_234_567, &source)
    };
    let open = [("manifests: ./deploy", "a.yaml: spec.containers[0].image", Evidence::Referenced)];
    let open =
        Artifact { digest: None, ..artifact(Kind::Image, "localhost:5000/open:2", 0, &open) };
    let of_catalog = [(CATALOG, "package rhods-operator: rhods.3.4.1", Evidence::Declared)];
    let operator = Artifact {
        name: "rhods.3.4.1".to_owned(),
        version: "3.4.1".to_owned(),
        digest: Some(Digest::of(b"bundle")),
        ..artifact(Kind::Bundle, &bundle, 70_000, &of_catalog)
    };
    let related = [
        (bundle.as_str(), "relatedImages[a, \"b\"]", Evidence::Declared),
        ("oci.example/charts/gpu:24.9.2_1", "Deployment/a: spec.image", Evidence::Rendered),
    ];
    let related = artifact(Kind::Image, "registry.redhat.io/rhoai/dashboard:v1", 5_000, &related);
    let chart = [("chart: oci://oci.example/charts/gpu", "", Evidence::Declared)];
    let chart = Artifact {
        name: "gpu".to_owned(),
        version: "24.9.2+1".to_owned(),
        ..artifact(Kind::Chart, "oci.example/charts/gpu:24.9.2_1", 3_000, &chart)
    };
    let mut lock = Lock::new("demo");
    lock.artifacts = vec![image, open, catalog(CATALOG), operator, related, chart];
    Lock::parse(lock.to_text().as_bytes()).unwrap()
}
