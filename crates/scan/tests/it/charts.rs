//! What Helm rendered of charts that split references over fields, and manifests written by hand.

use std::collections::BTreeSet;

use airlift_scan::{documents, scan_text};
use serde_json::Value;

use crate::data::{canonical, data, files, images, measure, scan_stream};

#[test]
fn every_image_that_helm_rendered_of_the_gpu_operator_is_found_and_nothing_else() {
    let Some(folder) = data("gpu-operator") else { return };
    let mut versions = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let folder = entry.unwrap().path();
        let truth = fs_err::read(folder.join("truth-images.json")).unwrap();
        let truth: Value = serde_json::from_slice(&truth).unwrap();
        let is_rendered = |image: &&Value| image["default"] != "absent";
        let truth: BTreeSet<String> = truth
            .as_object()
            .unwrap()
            .values()
            .filter(is_rendered)
            .filter_map(|image| image["ref"].as_str().map(canonical))
            .collect();
        let scan = scan_stream(&fs_err::read(folder.join("rendered-by-helm.yaml")).unwrap());
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let measured = measure(&format!("gpu-operator {name}"), &images(&scan), &truth);
        assert_eq!(measured.missed, Vec::<String>::new(), "{name}");
        assert_eq!(measured.extra, Vec::<String>::new(), "{name}");
        // `vgpuManager` names its image and nothing else: the user supplies the registry.
        assert!(scan.doubts.iter().all(|doubt| doubt.text == "vgpu-manager"), "{:?}", scan.doubts);
        versions += 1;
    }
    assert!(versions > 0);
}

/// The other scan is a plain search for `image:`, which is right where nobody hides anything but a tag in the next line.
#[test]
fn every_image_line_of_manifests_written_by_hand_is_found_or_doubted() {
    let Some(folder) = data("onyx") else { return };
    let (mut lines, mut read) = (0, 0);
    for path in files(&folder, &["yaml", "yml"]) {
        let bytes = fs_err::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let scan = match documents(&bytes) {
            Ok(_) => scan_stream(&bytes),
            // A chart's template, which Helm has to render first.
            Err(_) => scan_text("template", &text),
        };
        read += 1;
        let said = |image: &str| {
            scan.images.iter().any(|found| found.image.starts_with(image))
                || scan.doubts.iter().any(|doubt| doubt.text == image)
        };
        let is_image = |line: &&str| line.trim_start_matches([' ', '-']).starts_with("image: ");
        for line in text.lines().filter(is_image) {
            let image = line.split_once("image: ").unwrap().1;
            let image = image.split(" #").next().unwrap().trim().trim_matches('"');
            assert!(said(image), "{}: `{image}` is not found: {scan:#?}", path.display());
            lines += 1;
        }
    }
    println!("onyx: {lines} lines in {read} files, each found or doubted");
    assert!(lines > 100);
}
