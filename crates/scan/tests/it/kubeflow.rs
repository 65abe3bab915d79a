//! Upstream Kubeflow as kustomize renders it.

use std::collections::BTreeSet;
use std::io::Read as _;

use crate::data::{canonical, data, images, measure, scan_stream};

/// The lists were made by two other scans. Reviewed: each line is an image that the manifests name, none is left out
/// here, and nothing is found beside them. What no manifest names, constants in the code of a program, is not in them.
#[test]
fn every_image_of_rendered_kubeflow_is_found_and_nothing_else() {
    let Some(folder) = data("kubeflow/manifests") else { return };
    for version in ["v1.9.1", "v1.10-branch"] {
        let packed = fs_err::read(folder.join(format!("example-{version}.yaml.gz"))).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        let scan = scan_stream(&bytes);

        let list = folder.join(format!("truth-candidates-{version}.txt"));
        let list = fs_err::read_to_string(list).unwrap();
        let truth: BTreeSet<String> = list.lines().map(canonical).collect();
        let measured = measure(&format!("kubeflow {version}"), &images(&scan), &truth);
        assert_eq!(measured.missed, Vec::<String>::new(), "{version}");
        assert_eq!(measured.extra, Vec::<String>::new(), "{version}");

        // What stays in doubt are templates and variables, which only their programs can fill in.
        for doubt in &scan.doubts {
            println!("doubt: {} at {}: {}", doubt.text, doubt.path, doubt.why);
            assert!(doubt.text.contains(['{', '$']), "{doubt:?}");
        }
    }
}
