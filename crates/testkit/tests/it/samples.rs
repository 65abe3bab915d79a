use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use airlift_spec::oci::{Manifest, ManifestError};
use airlift_spec::{Algorithm, Descriptor, Digest};
use airlift_testkit::samples::{self, File, Layer, Sample};

/// Every sample that is whole, by name.
fn whole() -> Vec<(&'static str, Sample)> {
    let platforms = ["linux/amd64", "linux/arm64"];
    let image = samples::image(1, &[3000, 500]);
    vec![
        ("docker image", samples::docker_image(1, &[3000, 500])),
        ("sha512 image", samples::sha512_image(1, &[3000, 500])),
        ("runnable", samples::runnable("amd64", 3000)),
        ("runnable for arm64", samples::runnable("arm64", 3000)),
        ("index", samples::index(1, &platforms, 3000)),
        ("docker list", samples::docker_list(1, &platforms, 3000)),
        ("nested index", samples::nested_index(1, 3000)),
        ("attested index", samples::attested_index(1, &platforms, 3000)),
        ("artifact", samples::artifact(1, 3000)),
        ("unknown media types", samples::unknown_media_types(1)),
        ("zstd image", samples::zstd_image("amd64", 300_000)),
        ("non-distributable", samples::non_distributable(1, "https://vendor.test/layer")),
        ("signed", samples::signed(&image)),
        ("cosigned", samples::cosigned(&image)),
        ("empty index", samples::empty_index()),
        ("image", image),
    ]
}

/// Digests that the sample's manifests name but the sample does not have.
fn dangling(sample: &Sample) -> BTreeSet<Digest> {
    let mut named = BTreeSet::from([sample.root.digest]);
    named.extend(sample.tags.values());
    for manifest in &sample.manifests {
        let parsed = Manifest::parse(&manifest.bytes, Some(&manifest.media_type)).unwrap();
        let links = parsed.manifests.iter().chain(&parsed.blobs).chain(&parsed.subject);
        named.extend(links.map(|link| link.digest));
    }
    let has = |digest: &Digest| {
        sample.blobs.contains_key(digest) || sample.manifests.iter().any(|m| m.digest == *digest)
    };
    named.into_iter().filter(|digest| !has(digest)).collect()
}

#[test]
fn every_whole_sample_has_all_that_it_names_under_its_true_digest() {
    for (name, sample) in whole() {
        assert_eq!(dangling(&sample), BTreeSet::new(), "{name}");
        assert!(sample.blobs.iter().all(|(digest, bytes)| digest.matches(bytes)), "{name}");
        assert!(sample.manifests.iter().all(|m| m.digest.matches(&m.bytes)), "{name}");
    }
}

#[test]
fn samples_never_change() {
    let root = samples::image(7, &[10_000, 200]).root.digest.to_string();
    assert_eq!(root, "sha256:0933f9acc5543c6e5be796210049afe58413c5ad66dcaa913c598414a84790e3");
    for ((name, first), (_, second)) in whole().into_iter().zip(whole()) {
        assert_eq!(first.root, second.root, "{name}");
    }
}

#[test]
fn seeds_and_sizes_make_different_samples() {
    let roots = [
        samples::image(1, &[100, 100]),
        samples::image(2, &[100, 100]),
        samples::image(1, &[100, 101]),
    ];
    let roots: BTreeSet<Digest> = roots.into_iter().map(|sample| sample.root.digest).collect();
    assert_eq!(roots.len(), 3);
}

#[test]
fn images_that_share_layers_share_just_those() {
    let images = samples::sharing_layers(3, 4, 5000, 100);
    let all: BTreeSet<Digest> =
        images.iter().flat_map(|image| image.blobs.keys().copied()).collect();
    // One shared layer, and a config and a layer for each.
    assert_eq!(all.len(), 1 + 2 * 4);
    let children = samples::index(1, &["linux/amd64", "linux/arm64"], 100);
    assert_eq!(children.blobs.len(), 1 + 2 * 2);
}

#[test]
fn a_signed_sample_has_a_referrer_of_a_referrer() {
    let signed = samples::signed(&samples::image(1, &[10]));
    let referrers = signed.referrers();
    assert_eq!(referrers.len(), 3);
    let of_root = referrers.iter().filter(|(_, subject)| *subject == signed.root.digest).count();
    assert_eq!(of_root, 2);
    assert!(referrers.iter().any(|(_, of)| referrers.iter().any(|(other, _)| other.digest == *of)));
}

#[test]
fn attestations_name_the_child_they_are_about() {
    let index = samples::attested_index(1, &["linux/amd64", "linux/arm64"], 10);
    let root = Manifest::parse(&index.manifest(&index.root.digest).bytes, None).unwrap();
    let attested: Vec<Digest> = root.manifests.iter().filter_map(Descriptor::attests).collect();
    let images: Vec<Digest> =
        root.manifests.iter().filter(|c| c.platform().is_some()).map(|c| c.digest).collect();
    assert_eq!(attested, images);
    assert_eq!(images.len(), 2);
}

#[test]
fn a_sparse_index_lacks_exactly_the_other_children() {
    let platforms = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let whole = samples::index(1, &platforms, 100);
    let sparse = samples::sparse_index(1, &platforms, "linux/arm64", 100);
    assert_eq!(sparse.root, whole.root);
    assert_eq!(sparse.manifests.len(), 2);
    assert_eq!(dangling(&sparse).len(), 2);
    assert_eq!(sparse.blobs.len(), 3, "the shared layer, the child's own, its config");
}

#[test]
fn sha512_goes_all_the_way_down() {
    let sample = samples::sha512_image(1, &[10]);
    assert_eq!(sample.root.digest.algorithm(), Algorithm::Sha512);
    assert!(sample.blobs.keys().all(|digest| digest.algorithm() == Algorithm::Sha512));
}

#[test]
fn schema_1_is_what_readers_refuse_as_such() {
    let old = samples::schema1();
    let manifest = &old.manifests[0];
    let refused = Manifest::parse(&manifest.bytes, Some(&manifest.media_type));
    assert!(matches!(refused, Err(ManifestError::Schema1)));
}

#[test]
fn the_sample_program_runs_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hello");
    fs_err::write(&path, samples::hello(samples::here()).unwrap()).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), samples::HELLO);
    assert!(output.status.success());
}

#[test]
fn layers_unpack_to_what_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let long = samples::noise(1, 300_001);
    let layer = Layer::gzip(&[File::new("empty", ""), File::program("bin/long", long.clone())]);
    fs_err::write(dir.path().join("layer.tar.gz"), &layer.bytes).unwrap();
    let untar = Command::new("tar").args(["xzf", "layer.tar.gz"]).current_dir(dir.path()).status();
    assert!(untar.unwrap().success());
    assert_eq!(fs_err::read(dir.path().join("bin/long")).unwrap(), long);
    assert_eq!(fs_err::metadata(dir.path().join("empty")).unwrap().len(), 0);

    let mut inflated = Vec::new();
    flate2::read::GzDecoder::new(&layer.bytes[..]).read_to_end(&mut inflated).unwrap();
    assert_eq!(inflated, layer.tar);
}

#[test]
fn noise_does_not_compress() {
    assert!(samples::gzip(&samples::noise(5, 100_000)).len() > 100_000);
}

#[test]
fn a_layout_on_disk_holds_every_blob_once() {
    let dir = tempfile::tempdir().unwrap();
    let sample = samples::signed(&samples::index(1, &["linux/amd64"], 100));
    sample.write_layout(dir.path(), "v1").unwrap();
    let files = fs_err::read_dir(dir.path().join("blobs/sha256")).unwrap().count();
    assert_eq!(files, sample.blobs.len() + sample.manifests.len());
    let index = fs_err::read(dir.path().join("index.json")).unwrap();
    let index = Manifest::parse(&index, None).unwrap();
    assert_eq!(index.manifests[0].digest, sample.root.digest);
    assert_eq!(index.manifests[0].annotations["org.opencontainers.image.ref.name"], "v1");
}
