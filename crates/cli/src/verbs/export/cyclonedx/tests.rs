use std::process::Command;

use insta::assert_snapshot;

use super::*;
use crate::verbs::export::sample;

fn bom() -> Value {
    serde_json::from_str(&text(&sample::lock())).unwrap()
}

fn component_of<'a>(bom: &'a Value, reference: &str) -> &'a Value {
    let components = bom["components"].as_array().unwrap();
    components.iter().find(|it| it["bom-ref"] == reference).unwrap()
}

#[test]
fn an_index_is_a_container_with_what_is_known_of_it() {
    let bom = bom();
    assert_snapshot!(format!("{:#}", component_of(&bom, "image quay.io/org/app:1")), @r#"
    {
      "bom-ref": "image quay.io/org/app:1",
      "hashes": [
        {
          "alg": "SHA-256",
          "content": "c6b9baae8fc3179f60f3bd393b87b541bf1c87b6803b22a3eb58835304d48d2d"
        }
      ],
      "name": "quay.io/org/app",
      "properties": [
        {
          "name": "airlift:kind",
          "value": "image"
        },
        {
          "name": "airlift:reference",
          "value": "quay.io/org/app:1"
        },
        {
          "name": "airlift:bytes",
          "value": "81234567"
        },
        {
          "name": "airlift:pinned",
          "value": "yes"
        },
        {
          "name": "airlift:platform",
          "value": "linux/amd64 sha256:5861314d7fccb39c2192173240eab44fa35ca66426201ca2acd0630a6258dd51"
        },
        {
          "name": "airlift:referrer",
          "value": "application/spdx+json sha256:98f3ae1ef67113d8140d4f6cb8d2830070e21ea48f091be519659846c771a374"
        },
        {
          "name": "airlift:because",
          "value": "declared by image: quay.io/org/app:1"
        }
      ],
      "purl": "pkg:oci/app@sha256%3Ac6b9baae8fc3179f60f3bd393b87b541bf1c87b6803b22a3eb58835304d48d2d?repository_url=quay.io/org/app&tag=1",
      "type": "container",
      "version": "1"
    }
    "#);
}

#[test]
fn package_urls_say_where_things_are() {
    let bom = bom();
    let components = bom["components"].as_array().unwrap().iter();
    let purls: Vec<&str> = components.filter_map(|it| it["purl"].as_str()).collect();
    assert_snapshot!(purls.join("\n"), @r"
    pkg:oci/app@sha256%3Ac6b9baae8fc3179f60f3bd393b87b541bf1c87b6803b22a3eb58835304d48d2d?repository_url=quay.io/org/app&tag=1
    pkg:oci/dashboard@sha256%3A61d63467b64240db1ee5301a3c0240cc77ba443c609e350d25732d4c720c08c6?repository_url=registry.redhat.io/rhoai/dashboard&tag=v1
    pkg:oci/operator-bundle@sha256%3A1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc?repository_url=registry.redhat.io/rhoai/operator-bundle
    pkg:oci/redhat-operator-index@sha256%3A32ee39659d1db75980ff1981b7bd51fec8557ed6c8b5e44a375229460fa1a6fd?repository_url=registry.redhat.io/redhat/redhat-operator-index&tag=v4.20
    pkg:helm/gpu@24.9.2%2B1?repository_url=oci.example/charts/gpu
    ");
}

#[test]
fn what_is_not_pinned_has_neither_hash_nor_purl() {
    let bom = bom();
    let open = component_of(&bom, "image localhost:5000/open:2");
    assert_eq!((&open["hashes"], &open["purl"]), (&Value::Null, &Value::Null));
    assert_eq!(open["version"], "2");
}

#[test]
fn reasons_become_the_graph_of_dependencies() {
    let bom = bom();
    let entries = bom["dependencies"].as_array().unwrap().iter();
    assert_eq!(entries.clone().count(), 7, "one for the stack and each artifact");
    let lines = entries.map(|entry| {
        let below = entry["dependsOn"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        format!("{} -> {}", entry["ref"].as_str().unwrap(), below.collect::<Vec<_>>().join(", "))
    });
    let lines: Vec<String> = lines.filter(|line| !line.ends_with("-> ")).collect();
    assert_snapshot!(lines.join("\n"), @r"
    bundle registry.redhat.io/rhoai/operator-bundle@sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc -> image registry.redhat.io/rhoai/dashboard:v1
    catalog registry.redhat.io/redhat/redhat-operator-index:v4.20 -> bundle registry.redhat.io/rhoai/operator-bundle@sha256:1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc
    chart oci.example/charts/gpu:24.9.2_1 -> image registry.redhat.io/rhoai/dashboard:v1
    stack demo -> catalog registry.redhat.io/redhat/redhat-operator-index:v4.20, chart oci.example/charts/gpu:24.9.2_1, image localhost:5000/open:2, image quay.io/org/app:1
    ");
}

#[test]
fn the_serial_number_is_a_uuid_of_the_lock_s_digest() {
    let number = |lock: &Lock| serial_number(&lock.digest());
    assert_snapshot!(number(&Lock::new("demo")), @"urn:uuid:2fe8e830-5ec7-897a-8f0c-fa0a8eaf2090");
    assert_ne!(number(&Lock::new("demo")), number(&sample::lock()));
    assert_eq!(text(&sample::lock()), text(&sample::lock()));
}

/// The rules of the standard that its schema does not hold.
#[test]
fn every_reference_leads_to_one_component() {
    let bom = bom();
    let components = bom["components"].as_array().unwrap().iter();
    let all = components.chain([&bom["metadata"]["component"]]).map(|it| &it["bom-ref"]);
    let all: Vec<&str> = all.map(|it| it.as_str().unwrap()).collect();
    let unique: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), unique.len());
    for entry in bom["dependencies"].as_array().unwrap() {
        let named = entry["dependsOn"].as_array().unwrap().iter().chain([&entry["ref"]]);
        for reference in named.map(|it| it.as_str().unwrap()) {
            assert!(unique.contains(reference), "{reference}");
        }
    }
}

/// The validator of the standard's own Python library, where it is installed.
#[test]
fn the_validator_of_the_standard_takes_it() {
    const CHECK: &str = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()) or 'valid')";
    let folder = tempfile::tempdir().unwrap();
    let said = |bom: &str| {
        let file = folder.path().join("bom.json");
        fs_err::write(&file, bom).unwrap();
        let ran = Command::new("python3").args(["-c", CHECK]).arg(&file).output();
        let said = ran.ok().filter(|ran| ran.status.success())?.stdout;
        Some(String::from_utf8_lossy(&said).trim().to_owned())
    };
    let bom = text(&sample::lock());
    let Some(answer) = said(&bom) else {
        eprintln!("SKIPPED: needs python3 with cyclonedx-python-lib[json-validation]");
        return;
    };
    assert_eq!(answer, "valid");
    assert_ne!(said(&bom.replace("SHA-256", "SHA-0")).unwrap(), "valid");
}
