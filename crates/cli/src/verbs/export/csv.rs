//! A row for each artifact, for spreadsheets and scripts.

use airlift_spec::Lock;
use airlift_spec::lock::Artifact;

use super::reason;

const HEADER: &str = "kind,reference,digest,bytes,name,version,reasons\n";

/// The lock's artifacts in their order. `digest` is empty where nothing is pinned; reasons are parted by `; `.
pub(super) fn text(lock: &Lock) -> String {
    let rows = lock.artifacts.iter().map(row);
    std::iter::once(HEADER.to_owned()).chain(rows).collect()
}

fn row(artifact: &Artifact) -> String {
    let reasons: Vec<String> = artifact.because.iter().map(reason).collect();
    let cells = [
        artifact.kind.name().to_owned(),
        artifact.reference.to_string(),
        artifact.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        artifact.bytes.to_string(),
        artifact.name.clone(),
        artifact.version.clone(),
        reasons.join("; "),
    ];
    cells.map(|cell| quoted(&cell)).join(",") + "\n"
}

/// A cell as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    // Names are others' words, and a spreadsheet runs what begins like a formula.
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{guard}{}\"", cell.replace('"', "\"\""))
    } else {
        format!("{guard}{cell}")
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::verbs::export::sample;

    #[test]
    fn each_artifact_is_a_row_with_its_reasons() {
        assert_snapshot!(text(&sample::lock()), @r#"
        kind,reference,digest,bytes,name,version,reasons
        image,localhost:5000/open:2,,0,,,referenced by manifests: ./deploy at a.yaml: spec.containers[0].image
        image,quay.io/org/app:1,sha256:c6b9baae8fc3179f60f3bd393b87b541bf1c87b6803b22a3eb58835304d48d2d,81234567,,,declared by image: quay.io/org/app:1
        image,registry.redhat.io/rhoai/dashboard:v1,sha256:61d63467b64240db1ee5301a3c0240cc77ba443c609e350d25732d4c720c08c6,5000,,,"rendered from oci.example/charts/gpu:24.9.2_1 at Deployment/a: spec.image; declared by registry.redhat.io/rhoai/operator-bundle@sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc at relatedImages[a, ""b""]"
        bundle,registry.redhat.io/rhoai/operator-bundle@sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc,sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc,70000,rhods.3.4.1,3.4.1,declared by registry.redhat.io/redhat/redhat-operator-index:v4.20 at package rhods-operator: rhods.3.4.1
        catalog,registry.redhat.io/redhat/redhat-operator-index:v4.20,sha256:32ee39659d1db75980ff1981b7bd51fec8557ed6c8b5e44a375229460fa1a6fd,20000,,,declared by catalog: index
        chart,oci.example/charts/gpu:24.9.2_1,sha256:7c655076583313bb2b2acd8ab89d0d05710899f4715d6a46db6659f6575da4b0,3000,gpu,24.9.2+1,declared by chart: oci://oci.example/charts/gpu
        "#);
    }

    #[test]
    fn a_cell_is_one_cell_whatever_is_in_it() {
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
        assert_eq!(quoted("plain; text"), "plain; text");
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(quoted("=HYPERLINK(A1)"), "'=HYPERLINK(A1)");
        assert_eq!(quoted("=A(1,2)"), "\"'=A(1,2)\"");
        assert_eq!(quoted("@a"), "'@a");
    }
}
