//! The bundle that `docs/formats/bundle.md` goes through. What was carried once must stay readable, and its volumes
//! must come out the same when they are cut again: these files are never changed.

use std::path::{Path, PathBuf};

use airlift_bundle::{CreateOptions, prepare};
use airlift_spec::Ctx;

use crate::world::{World, files, key, open, sources};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/bundle/v1")
}

#[tokio::test]
async fn a_bundle_of_the_first_format_reads_and_is_written_again_byte_for_byte() {
    let bundle = open(&fixture());
    let world = World::new();
    for blob in bundle.table().members().iter().filter(|member| member.name.is_none()) {
        world.store.put(blob.digest, &bundle.read_whole(blob, 1 << 20).unwrap()).unwrap();
    }
    let sources = sources([bundle]).await;
    let options = CreateOptions { keys: vec![key()], ..CreateOptions::default() };
    let prepared = prepare(&world.store, sources.locks(), &options).unwrap();
    let out = world.path("out");
    prepared.write(&world.store, std::slice::from_ref(&out), &options, &Ctx::default()).unwrap();
    let mut written = files(&out);
    written.remove("README.txt");
    assert_eq!(written, files(&fixture()));
}

#[test]
fn the_documents_show_the_example_as_it_is() {
    let page = include_str!("../../../../docs/formats/bundle.md");
    let read = |name: &str| fs_err::read_to_string(fixture().join(name)).unwrap();
    for name in ["hello.bundle.json", "hello.bundle.json.minisig", "hello.00001.sums"] {
        assert!(page.contains(&read(name)), "{name}");
    }
    let table = read("hello.blobs");
    let shown: Vec<&str> = page.lines().filter(|line| line.starts_with("{\"digest\"")).collect();
    assert_eq!(shown.len(), 3);
    for line in shown {
        assert!(table.contains(line), "{line}");
    }
}
