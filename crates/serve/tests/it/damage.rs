//! Volumes with wrong bytes in them.

use std::path::{Path, PathBuf};

use airlift_testkit::Sample;
use airlift_testkit::samples;
use tokio::io::AsyncReadExt as _;

use crate::world::{LARGE, Served, World, flip, largest, place_of, serve, volumes};

const LAYER: usize = 20 << 20;
/// Within the layer, and as it lies right behind the manifest and config, within the second chunk of 8 MiB.
const DAMAGED: u64 = 10 << 20;

/// An image with a layer over three chunks of one volume.
fn world() -> (World, Sample) {
    let sample = samples::image(1, &[LAYER]);
    (World::new().with("quay.io/org/app:v1", &sample), sample)
}

fn damage(folder: &Path, sample: &Sample, at: u64) -> PathBuf {
    let (file, offset) = place_of(folder, &largest(sample).0);
    flip(&file, offset + at);
    file
}

fn target(sample: &Sample) -> String {
    format!("/v2/quay.io/org/app/blobs/{}", largest(sample).0)
}

/// The body of an answer, which may end early.
async fn body(served: &Served, target: &str) -> Vec<u8> {
    let mut stream = served.request("GET", target).send_part(0).await;
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{:?}", &bytes[..end]);
    bytes.split_off(end + 4)
}

#[tokio::test]
async fn a_damaged_chunk_cuts_the_connection_and_is_500_from_then_on() {
    let (world, sample) = world();
    let folder = world.cut("out", LARGE);
    let file = damage(&folder, &sample, DAMAGED);
    let served = serve(vec![volumes(&folder)]).await;
    let (_, bytes) = largest(&sample);
    let got = body(&served, &target(&sample)).await;
    assert!(got.len() < 8 << 20, "bytes of the damaged chunk went out");
    assert!(!got.is_empty() && got == bytes[..got.len()]);

    // The disk may say otherwise now: what was damaged once is not believed again.
    flip(&file, place_of(&folder, &largest(&sample).0).1 + DAMAGED);
    for _ in 0..2 {
        served.get(&target(&sample)).await.expect_error(500, "UNKNOWN");
    }
    let ask =
        async |range| served.request("GET", &target(&sample)).header("Range", range).send().await;
    ask("bytes=0-12000000".to_owned()).await.expect(500);
    ask(format!("bytes={DAMAGED}-")).await.expect(500);
    // What lies beside the chunk is served on.
    assert!(ask("bytes=0-5000000".to_owned()).await.expect(206).body == bytes[..=5_000_000]);
    assert!(ask("bytes=-2000000".to_owned()).await.expect(206).body == bytes[LAYER - 2_000_000..]);

    let line = "airlift_damaged_chunks{volume=\"demo.00001.tar\",chunk=\"1\"} 1\n";
    let page = served.metrics().await;
    assert!(page.contains(line), "{page}");
    assert_eq!(served.notes(), ["demo.00001.tar: chunk 1 is damaged"], "told once");
}

#[tokio::test]
async fn another_source_goes_on_in_the_middle_of_a_blob() {
    let (world, sample) = world();
    let (bad, good) = (world.cut("bad", LARGE), world.cut("good", LARGE));
    damage(&bad, &sample, DAMAGED);
    for second in [volumes(&good), world.kept("demo")] {
        let served = serve(vec![volumes(&bad), second]).await;
        for _ in 0..2 {
            served.has_all("quay.io/org/app", &sample).await;
        }
        let page = served.metrics().await;
        assert!(page.contains("volume=\"demo.00001.tar\",chunk=\"1\""), "{page}");
        assert_eq!(served.notes(), ["demo.00001.tar: chunk 1 is damaged"]);
    }
}

#[tokio::test]
async fn two_sources_damaged_in_different_places_are_one_whole() {
    let (world, sample) = world();
    let (one, two) = (world.cut("one", LARGE), world.cut("two", LARGE));
    damage(&one, &sample, 1 << 20);
    damage(&one, &sample, 18 << 20);
    damage(&two, &sample, DAMAGED);
    let served = serve(vec![volumes(&one), volumes(&two)]).await;
    for _ in 0..2 {
        served.has_all("quay.io/org/app", &sample).await;
    }
    assert_eq!(served.notes().len(), 3, "{:?}", served.notes());
}

#[tokio::test]
async fn a_damaged_manifest_is_500_and_names_the_chunk() {
    let (world, sample) = world();
    let folder = world.cut("out", LARGE);
    let (file, offset) = place_of(&folder, &sample.root.digest);
    flip(&file, offset + 5);
    let served = serve(vec![volumes(&folder)]).await;
    for target in ["v1".to_owned(), sample.root.digest.to_string()] {
        let target = format!("/v2/quay.io/org/app/manifests/{target}");
        served.get(&target).await.expect_error(500, "UNKNOWN");
    }
    assert!(served.metrics().await.contains("chunk=\"0\"} 1\n"));
    served.get("/v2/quay.io/org/app/tags/list").await.expect(200);
}

#[tokio::test]
async fn damage_is_told_even_where_the_other_source_only_lacks_a_volume() {
    let (world, sample) = world();
    let (bad, absent) = (world.cut("bad", LARGE), world.cut("absent", LARGE));
    damage(&bad, &sample, 5);
    let (file, _) = place_of(&absent, &largest(&sample).0);
    fs_err::remove_file(file).unwrap();
    let served = serve(vec![volumes(&bad), volumes(&absent)]).await;
    for _ in 0..2 {
        served.get(&target(&sample)).await.expect_error(500, "UNKNOWN");
    }
}

#[tokio::test]
async fn without_signed_sums_a_damaged_blob_sends_nothing_and_is_named_by_its_digest() {
    let (world, sample) = world();
    let folder = world.cut("out", LARGE);
    let file = damage(&folder, &sample, LAYER as u64 - 1);
    fs_err::remove_file(file.with_extension("sums")).unwrap();
    let served = serve(vec![volumes(&folder)]).await;
    for _ in 0..2 {
        served.get(&target(&sample)).await.expect_error(500, "UNKNOWN");
    }
    let digest = largest(&sample).0;
    let line =
        format!("airlift_damaged_blobs{{volume=\"demo.00001.tar\",digest=\"{digest}\"}} 1\n");
    let page = served.metrics().await;
    assert!(page.contains(&line), "{page}");
    assert_eq!(served.notes(), [format!("demo.00001.tar: {digest} is damaged")]);
}
