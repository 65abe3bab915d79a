//! One function for each kind of thing that registries hold.

use airlift_spec::oci::{ATTESTED_CHILD, cosign_tags};

use super::build::{Builder, platform};
use super::{
    Algorithm, Descriptor, Digest, File, Flavour, Image, Layer, Sample, gzip, hello, json,
    media_type, noise, tar,
};

/// An OCI image whose layers are incompressible, each exactly as long as said. No runtime can unpack it.
pub fn image(seed: u64, layer_bytes: &[usize]) -> Sample {
    noise_image(Flavour::Oci, Algorithm::Sha256, seed, layer_bytes).build()
}

/// The same in Docker's media types.
pub fn docker_image(seed: u64, layer_bytes: &[usize]) -> Sample {
    noise_image(Flavour::Docker, Algorithm::Sha256, seed, layer_bytes).build()
}

/// The same with every digest, that of the manifest too, being SHA-512.
pub fn sha512_image(seed: u64, layer_bytes: &[usize]) -> Sample {
    noise_image(Flavour::Oci, Algorithm::Sha512, seed, layer_bytes).build()
}

fn noise_image(flavour: Flavour, algorithm: Algorithm, seed: u64, layer_bytes: &[usize]) -> Image {
    let layers = layer_bytes.iter().zip(seed * 1000..);
    let layers = layers.map(|(length, seed)| Layer::noise(seed, *length)).collect();
    Image { flavour, algorithm, layers, ..Image::default() }
}

/// An image that a runtime unpacks and runs: `/hello` prints [`HELLO`](super::HELLO), `/payload` is `bytes` of noise.
///
/// Its two layers are gzip'd tars. `architecture` is `amd64` or `arm64`.
pub fn runnable(architecture: &str, bytes: usize) -> Sample {
    runnable_image(architecture, bytes).build()
}

/// [`runnable`] for the machine that the test runs on.
pub fn runnable_here(bytes: usize) -> Sample {
    runnable(here(), bytes)
}

/// This machine's architecture, as OCI spells it.
pub fn here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn runnable_image(architecture: &str, bytes: usize) -> Image {
    let program =
        hello(architecture).unwrap_or_else(|| panic!("no sample program for {architecture}"));
    let layers = vec![
        Layer::gzip(&[File::program("hello", program)]),
        Layer::gzip(&[File::new("payload", noise(bytes as u64, bytes))]),
    ];
    Image { platform: platform(&format!("linux/{architecture}")), layers, ..Image::default() }
}

/// An OCI index of one image a platform, in the order given. The images share their first layer.
pub fn index(seed: u64, platforms: &[&str], layer_bytes: usize) -> Sample {
    list(Flavour::Oci, seed, platforms, layer_bytes)
}

/// The same as a Docker manifest list of schema 2 images.
pub fn docker_list(seed: u64, platforms: &[&str], layer_bytes: usize) -> Sample {
    list(Flavour::Docker, seed, platforms, layer_bytes)
}

fn list(flavour: Flavour, seed: u64, platforms: &[&str], layer_bytes: usize) -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let children = children(&mut builder, flavour, seed, platforms, layer_bytes);
    let root = builder.index(index_type(flavour), &children);
    builder.finish(&root)
}

fn index_type(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Oci => media_type::OCI_INDEX,
        Flavour::Docker => media_type::DOCKER_INDEX,
    }
}

fn children(
    builder: &mut Builder,
    flavour: Flavour,
    seed: u64,
    platforms: &[&str],
    layer_bytes: usize,
) -> Vec<Descriptor> {
    let child = |(text, child_seed): (&&str, u64)| Image {
        flavour,
        platform: platform(text),
        layers: vec![Layer::noise(seed * 1000, layer_bytes), Layer::noise(child_seed, layer_bytes)],
        ..Image::default()
    };
    let images: Vec<Image> = platforms.iter().zip(seed * 1000 + 1..).map(child).collect();
    images.iter().map(|image| builder.image(image)).collect()
}

/// An index whose first child is an image, whose second an index of two more.
pub fn nested_index(seed: u64, layer_bytes: usize) -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let platforms = ["linux/amd64", "linux/arm64", "linux/s390x"];
    let children = children(&mut builder, Flavour::Oci, seed, &platforms, layer_bytes);
    let inner = builder.index(media_type::OCI_INDEX, &children[1..]);
    let root = builder.index(media_type::OCI_INDEX, &[children[0].clone(), inner]);
    builder.finish(&root)
}

/// An index as BuildKit writes it: each image with an attestation manifest that names it.
pub fn attested_index(seed: u64, platforms: &[&str], layer_bytes: usize) -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let mut children = children(&mut builder, Flavour::Oci, seed, platforms, layer_bytes);
    let attestations: Vec<Descriptor> =
        children.iter().map(|child| attestation(&mut builder, child)).collect();
    children.extend(attestations);
    let root = builder.index(media_type::OCI_INDEX, &children);
    builder.finish(&root)
}

fn attestation(builder: &mut Builder, child: &Descriptor) -> Descriptor {
    let statement =
        json!({"predicateType": "https://slsa.dev/provenance/v1", "subject": child.digest});
    let layer = builder.blob("application/vnd.in-toto+json", statement.to_string());
    let config = json!({"architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]}});
    let config = builder.blob(media_type::OCI_CONFIG, config.to_string());
    let content = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": config, "layers": [layer]});
    let mut manifest = builder.manifest(media_type::OCI_MANIFEST, &content);
    manifest.platform = Some(airlift_spec::oci::DescriptorPlatform {
        architecture: "unknown".to_owned(),
        os: "unknown".to_owned(),
        variant: None,
    });
    manifest.annotations.insert(ATTESTED_CHILD.to_owned(), child.digest.to_string());
    manifest
        .annotations
        .insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
    manifest
}

/// `count` images that all have the same first layer of `shared_bytes`, and one of `own_bytes` each.
pub fn sharing_layers(
    seed: u64,
    count: usize,
    shared_bytes: usize,
    own_bytes: usize,
) -> Vec<Sample> {
    let shared = Layer::noise(seed * 1000, shared_bytes);
    let own = (seed * 1000 + 1..).take(count).map(|seed| Layer::noise(seed, own_bytes));
    own.map(|own| Image { layers: vec![shared.clone(), own], ..Image::default() }.build()).collect()
}

/// An artifact in the OCI 1.1 manner: an artifact type, the empty config, one layer of its own type.
pub fn artifact(seed: u64, layer_bytes: usize) -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let config = builder.blob(media_type::OCI_EMPTY, "{}");
    let layer = builder.blob("application/vnd.example.weights", noise(seed, layer_bytes));
    let content = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.example.model", "config": config, "layers": [layer]});
    let root = builder.manifest(media_type::OCI_MANIFEST, &content);
    builder.finish(&root)
}

/// A manifest with config, layers and fields that nobody has heard of, oddly spaced, so that
/// whoever writes it anew instead of carrying its bytes is found out.
pub fn unknown_media_types(seed: u64) -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let config = builder.blob("application/x-strange.config", "not even JSON");
    let layer = builder.blob("application/x-strange.layer+brotli", noise(seed, 4096));
    let text = format!(
        "{{ \"layers\" : [ {{\"size\":{}, \"digest\":\"{}\", \"mediaType\":\"{}\", \"data\":null, \"x-odd\":[1]}} ],\n\
         \t\"config\":{},\n\"mediaType\":\"{}\", \"x-more\":{{\"b\":1,\"a\":2}}, \"schemaVersion\":2}}\n\n",
        layer.size,
        layer.digest,
        layer.media_type,
        json!(config),
        media_type::OCI_MANIFEST,
    );
    let root = builder.manifest_bytes(media_type::OCI_MANIFEST, text.into());
    builder.finish(&root)
}

/// A runnable image whose second layer is behind zstd.
pub fn zstd_image(architecture: &str, bytes: usize) -> Sample {
    let mut image = runnable_image(architecture, 0);
    image.layers[1] = Layer::zstd(&[File::new("payload", noise(bytes as u64, bytes))]);
    image.build()
}

/// An image one of whose layers may not be in registries: `urls` of that layer has `url` alone.
///
/// The layer's bytes are among the blobs: whether a registry has them is up to the test.
pub fn non_distributable(seed: u64, url: &str) -> Sample {
    let licensed = [File::new("licensed", noise(seed, 5000))];
    let layers = vec![Layer::noise(seed * 1000, 3000), Layer::non_distributable(&licensed, url)];
    Image { layers, ..Image::default() }.build()
}

/// The digest of the non-distributable layer of [`non_distributable`].
pub fn non_distributable_layer(sample: &Sample) -> Digest {
    let root = sample.manifest(&sample.root.digest);
    let manifest = airlift_spec::Manifest::parse(&root.bytes, None).expect("a sample parses");
    let layer = manifest.blobs.iter().find(|blob| blob.is_non_distributable());
    layer.expect("the sample has such a layer").digest
}

/// The artifact types of [`signed`]: a signature, an SBOM, and the signature of that SBOM.
pub const SIGNATURE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub const SBOM_TYPE: &str = "application/spdx+json";

/// `sample` with a signature and an SBOM as OCI 1.1 referrers, and a signature of the SBOM: a referrer of a referrer.
pub fn signed(sample: &Sample) -> Sample {
    let mut builder = Builder::new(sample.root.digest.algorithm());
    builder.add(sample);
    let payload = |what: &str, of: &Descriptor| json!({"what": what, "of": of.digest}).to_string();
    builder.referrer(&sample.root, SIGNATURE_TYPE, &payload("signature", &sample.root));
    let sbom = builder.referrer(&sample.root, SBOM_TYPE, &payload("sbom", &sample.root));
    builder.referrer(&sbom, SIGNATURE_TYPE, &payload("signature", &sbom));
    builder.finish(&sample.root)
}

/// `sample` with cosign's three tags: `.sig`, `.att` and `.sbom`.
pub fn cosigned(sample: &Sample) -> Sample {
    let mut builder = Builder::new(sample.root.digest.algorithm());
    builder.add(sample);
    let kinds = [
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.dsse.envelope.v1+json",
        "text/spdx+json",
    ];
    for (tag, kind) in cosign_tags(&sample.root.digest).into_iter().zip(kinds) {
        let payload = json!({"critical": {"image": {"docker-manifest-digest": sample.root.digest}}, "for": tag});
        let mut layer = builder.blob(kind, payload.to_string());
        layer
            .annotations
            .insert("dev.cosignproject.cosign/signature".to_owned(), "c2lnbmVk".to_owned());
        let config = json!({"architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest]}});
        let config = builder.blob(media_type::OCI_CONFIG, config.to_string());
        let content = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": config, "layers": [layer]});
        let manifest = builder.manifest(media_type::OCI_MANIFEST, &content);
        builder.tag(tag, &manifest);
    }
    builder.finish(&sample.root)
}

/// A Docker schema 1 manifest, as only very old images have: airlift refuses these by name.
pub fn schema1() -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let layer = builder.blob(
        "application/vnd.docker.container.image.rootfs.diff+x-gtar",
        gzip(&tar(&[File::new("old", "old")])),
    );
    let content = json!({"schemaVersion": 1, "name": "library/old", "tag": "1", "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest}], "history": [{"v1Compatibility": "{}"}], "signatures": []});
    let root = builder.manifest(media_type::DOCKER_SCHEMA1_SIGNED, &content);
    builder.finish(&root)
}

/// An index of nothing.
pub fn empty_index() -> Sample {
    let mut builder = Builder::new(Algorithm::Sha256);
    let root = builder.index(media_type::OCI_INDEX, &[]);
    builder.finish(&root)
}

/// An [`index`] of which only the child for `kept` is there; its own bytes still name all of them.
pub fn sparse_index(seed: u64, platforms: &[&str], kept: &str, layer_bytes: usize) -> Sample {
    let whole = index(seed, platforms, layer_bytes);
    let root = whole.manifest(&whole.root.digest);
    let index = airlift_spec::Manifest::parse(&root.bytes, None).expect("a sample parses");
    let keeps = |child: &&Descriptor| child.platform() == Some(platform(kept));
    let dropped = index.manifests.iter().filter(|child| !keeps(child));

    let mut builder = Builder::new(Algorithm::Sha256);
    builder.add(&whole);
    let kept_blobs: Vec<Digest> =
        index.manifests.iter().filter(keeps).flat_map(|child| blobs_of(&whole, child)).collect();
    for child in dropped {
        builder = builder.without(&child.digest);
        for blob in blobs_of(&whole, child).into_iter().filter(|blob| !kept_blobs.contains(blob)) {
            builder = builder.without(&blob);
        }
    }
    builder.finish(&whole.root)
}

fn blobs_of(sample: &Sample, manifest: &Descriptor) -> Vec<Digest> {
    let bytes = &sample.manifest(&manifest.digest).bytes;
    let manifest = airlift_spec::Manifest::parse(bytes, None).expect("a sample parses");
    manifest.blobs.iter().map(|blob| blob.digest).collect()
}

/// What `docker save` writes for an image of `layers`, known as `name` (`HOST/PATH:TAG`).
pub fn docker_archive(name: &str, layers: &[Layer]) -> Vec<u8> {
    let image = Image { flavour: Flavour::Docker, layers: layers.to_vec(), ..Image::default() };
    let sample = image.build();
    let config = blobs_of(&sample, &sample.root)[0];
    let config_name = format!("{}.json", config.hex());
    let layer_names: Vec<String> =
        layers.iter().map(|layer| format!("{}/layer.tar", Digest::of(&layer.tar).hex())).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": [name], "Layers": layer_names}]);
    let mut files = vec![
        File::new("manifest.json", manifest.to_string()),
        File::new(&config_name, sample.blobs[&config].to_vec()),
    ];
    files.extend(
        layer_names.iter().zip(layers).map(|(name, layer)| File::new(name, &layer.tar[..])),
    );
    tar(&files)
}
