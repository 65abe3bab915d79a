//! Making bundles, and making them again.

use airlift_testkit::samples;

use crate::world::{World, files, open, sources};

#[tokio::test]
async fn what_was_packed_can_be_read_back_from_the_volumes() {
    let signed = samples::signed(&samples::image(1, &[100_000, 50_000, 3]));
    let large = samples::image(2, &[400_000]);
    let world = World::new()
        .with("quay.io/a/signed:1", &signed)
        .with("quay.io/b/large:1", &large)
        .with("quay.io/c/odd:1", &samples::sha512_image(3, &[70_000]));
    let bundle = open(&world.create("out"));
    assert!(bundle.root().volumes.len() > 4, "{:?}", bundle.root().volumes);
    let sources = sources([bundle]).await;
    assert_eq!(sources.locks(), [world.lock()]);
    for sample in [&signed, &large] {
        for (digest, bytes) in &sample.blobs {
            let source = sources.blob_source(*digest, bytes.len() as u64);
            assert_eq!(source.read_at(0, bytes.len()).await.unwrap(), bytes);
        }
        for manifest in &sample.manifests {
            let read = sources.read_small(&manifest.digest, 1 << 20).await.unwrap();
            assert_eq!(read, Some(manifest.bytes.clone()));
        }
    }
}

#[test]
fn two_runs_write_the_same_bytes() {
    let world = World::new().with("quay.io/a/b:1", &samples::image(1, &[300_000, 10]));
    let (one, two) = (world.create("one"), world.create("two"));
    assert_eq!(files(&one), files(&two));
}
