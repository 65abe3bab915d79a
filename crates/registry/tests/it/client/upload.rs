use airlift_registry::client::{BlobPush, Client, ClientError, ClientOptions, Repository};
use airlift_spec::{Algorithm, Class, Ctx, Descriptor, Digest, Explain as _};
use airlift_testkit::disk::SmallDisk;
use airlift_testkit::registry::FakeOptions;
use airlift_testkit::samples::{self, noise};
use airlift_testkit::{FakeRegistry, Fault, On};
use http::Method;
use tempfile::TempDir;

use super::{Memory, client, descriptor, fetch, impatient, options, repository};

/// Chunks of 1 MiB from 1 MiB on.
fn chunky() -> ClientOptions {
    let mut options = options();
    options.tuning.chunk_above_bytes = 1 << 20;
    options.tuning.chunk_bytes = 1 << 20;
    options
}

async fn push(
    client: &Client,
    registry: &FakeRegistry,
    bytes: &[u8],
) -> Result<BlobPush, ClientError> {
    let source = Memory::new(bytes);
    client.push_blob(&repository(registry), &descriptor(bytes), &source, &Ctx::default()).await
}

#[track_caller]
fn assert_has(registry: &FakeRegistry, bytes: &[u8]) {
    let held = registry.blob("team/app", &Digest::of(bytes)).expect("the registry has the blob");
    assert!(held == bytes, "the registry has other bytes");
}

fn calls(registry: &FakeRegistry) -> Vec<String> {
    let requests = registry.requests();
    requests.iter().map(|it| format!("{} {}", it.method, it.status.unwrap_or(0))).collect()
}

#[tokio::test]
async fn a_small_blob_goes_in_one_request_a_larger_one_in_two() {
    let registry = FakeRegistry::start();
    let client = client();
    let (small, large) = (noise(1, 1_000), noise(2, 3_000_000));
    assert_eq!(push(&client, &registry, &small).await.unwrap(), BlobPush::Sent);
    push(&client, &registry, &large).await.unwrap();
    push(&client, &registry, b"").await.unwrap();
    for bytes in [&small[..], &large, b""] {
        assert_has(&registry, bytes);
    }
    // The first one asks at the door before it carries anything.
    assert_eq!(calls(&registry), ["GET 200", "POST 201", "POST 202", "PUT 201", "POST 201"]);
    assert_eq!(registry.received_bytes(), 3_001_000);
}

#[tokio::test]
async fn one_connection_carries_one_thing_after_the_other() {
    let registry = FakeRegistry::start();
    let (there, ctx) = (repository(&registry), Ctx::default());
    let client = Client::new(chunky()).unwrap();
    let (small, large) = (noise(1, 1_000), noise(2, 3_000_000));
    push(&client, &registry, &small).await.unwrap();
    push(&client, &registry, &large).await.unwrap();
    let sample = samples::image(1, &[1_000]);
    let root = sample.manifest(&sample.root.digest);
    for bytes in sample.blobs.values() {
        push(&client, &registry, bytes).await.unwrap();
    }
    client.push_manifest(&there, "v1", &root.media_type, &root.bytes, &ctx).await.unwrap();
    assert!(client.describe(&there, "v1", &ctx).await.unwrap().is_some());
    assert!(client.manifest(&there, "v1", &ctx).await.unwrap().is_some());
    assert!(client.manifest(&there, "v2", &ctx).await.unwrap().is_none());
    assert!(fetch(&client, &there, &descriptor(&large)).await == large);
    assert_eq!(registry.connections(), 1, "{:?}", calls(&registry));
}

#[tokio::test]
async fn a_registry_that_takes_no_blob_with_the_post_is_asked_to_once() {
    let registry = FakeRegistry::start();
    registry.fail_always(On::uploads(), Fault::RefuseSinglePost);
    let client = client();
    for seed in [1, 2] {
        let bytes = noise(seed, 1_000);
        push(&client, &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
    }
    assert_eq!(calls(&registry)[1..], ["POST 202", "PUT 201", "POST 202", "PUT 201"]);
    assert_eq!(registry.received_bytes(), 3_000);
}

#[tokio::test]
async fn a_large_blob_goes_in_chunks() {
    let registry = FakeRegistry::start();
    let bytes = noise(1, 3 << 20);
    push(&Client::new(chunky()).unwrap(), &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
    let (patches, sent) = (registry.count("PATCH", "/uploads/"), registry.received_bytes());
    assert_eq!((patches, sent), (3, 3 << 20));
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn chunks_are_as_long_as_the_registry_wants_them() {
    let registry = FakeRegistry::with(FakeOptions {
        chunk_min_bytes: Some(2 << 20),
        ..FakeOptions::default()
    });
    let bytes = noise(1, 5 << 20);
    push(&Client::new(chunky()).unwrap(), &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
    assert_eq!(registry.count("PATCH", "/uploads/"), 3);
}

#[tokio::test]
async fn a_broken_chunk_is_sent_again_from_where_the_registry_stands() {
    for reset in [0, 100_000, (1 << 20) - 1] {
        let registry = FakeRegistry::start();
        let bytes = noise(1, 3 << 20);
        registry.fail_once(On::uploads().method(Method::PATCH), Fault::ResetOnUpload(reset));
        push(&Client::new(chunky()).unwrap(), &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
        assert_eq!(registry.faults_left(), 0);
        assert_eq!(registry.count("GET", "/uploads/"), 1, "reset at {reset}");
    }
}

#[tokio::test]
async fn a_broken_upload_in_one_piece_is_sent_again() {
    let registry = FakeRegistry::start();
    let bytes = noise(1, 900_000);
    registry.fail_once(On::uploads().method(Method::PUT), Fault::ResetOnUpload(300_000));
    registry.fail_once(On::uploads().method(Method::PUT), Fault::Status(503, Vec::new()));
    push(&client(), &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
    assert_eq!(registry.faults_left(), 0);
}

#[tokio::test]
async fn a_registry_that_takes_a_body_and_says_nothing_is_given_up() {
    let registry = FakeRegistry::start();
    registry.fail_always(On::uploads().method(Method::PUT), Fault::Hang);
    let mut options = impatient();
    options.attempts = 2.try_into().unwrap();
    let err =
        push(&Client::new(options).unwrap(), &registry, &noise(1, 900_000)).await.unwrap_err();
    assert!(matches!(err, ClientError::Stalled { .. }), "{err}");
}

#[tokio::test]
async fn a_forgotten_upload_is_begun_anew() {
    for on in ["PATCH", "PUT"] {
        let registry = FakeRegistry::start();
        let bytes = noise(1, 3 << 20);
        registry.fail_once(On::uploads().method(on.parse().unwrap()), Fault::ForgetUpload);
        push(&Client::new(chunky()).unwrap(), &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
        assert_eq!(registry.count("POST", "/uploads/"), 2, "{on}");
    }
}

#[tokio::test]
async fn where_chunks_are_refused_the_blob_goes_whole_and_the_next_one_at_once() {
    let registry = FakeRegistry::start();
    registry.fail_always(On::uploads(), Fault::RefuseChunked);
    let client = Client::new(chunky()).unwrap();
    for seed in [1, 2] {
        let bytes = noise(seed, 3 << 20);
        push(&client, &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
    }
    assert_eq!(registry.count("PATCH", "/uploads/"), 1);
}

#[tokio::test]
async fn where_whole_blobs_are_refused_they_go_in_chunks() {
    let registry = FakeRegistry::start();
    registry.fail_always(On::uploads(), Fault::RefuseMonolithic);
    let bytes = noise(1, 3 << 20);
    push(&client(), &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
}

#[tokio::test]
async fn chunks_shrink_until_they_fit() {
    let registry = FakeRegistry::start();
    let too_large = Fault::Status(413, Vec::new());
    registry.fail_once(On::uploads().method(Method::PATCH), too_large);
    let mut options = chunky();
    options.tuning.chunk_bytes = 8 << 20;
    let bytes = noise(1, 8 << 20);
    push(&Client::new(options).unwrap(), &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
    assert_eq!(registry.count("PATCH", "/uploads/"), 5);
}

#[tokio::test]
async fn bytes_that_are_not_what_they_should_be_are_refused_and_not_sent_for_ever() {
    for length in [1_000, 900_000, 3 << 20] {
        let registry = FakeRegistry::start();
        let bytes = noise(1, length);
        let source = Memory::new(&noise(2, length));
        let client = Client::new(chunky()).unwrap();
        let pushed = client
            .push_blob(&repository(&registry), &descriptor(&bytes), &source, &Ctx::default())
            .await;
        let err = pushed.unwrap_err();
        assert!(matches!(err, ClientError::SentWrong { .. }), "{length}: {err}");
        assert_eq!(err.class(), Class::Integrity);
        assert_eq!(registry.received_bytes(), 3 * length as u64, "three times in all");
        assert_eq!(registry.open_uploads(), 0);
    }
}

/// As docker-registry 2.8 says of a manifest while somebody else pushes what it names.
#[tokio::test]
async fn what_a_registry_says_to_be_other_bytes_is_sent_again_before_it_is_believed() {
    let (registry, sample) = (FakeRegistry::start(), samples::image(1, &[100]));
    let client = Client::new(chunky()).unwrap();
    // One request, a whole, chunks.
    for length in [1_000, 900_000, 3 << 20] {
        let bytes = noise(1, length);
        registry.fail_times(2, On::uploads(), Fault::RefuseDigest);
        push(&client, &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
        assert_eq!((registry.faults_left(), registry.open_uploads()), (0, 0), "{length}");
    }
    for bytes in sample.blobs.values() {
        push(&client, &registry, bytes).await.unwrap();
    }
    let root = sample.manifest(&sample.root.digest);
    let place = repository(&registry);
    for wanted in ["v1", &sample.root.digest.to_string()] {
        let (ctx, media_type) = (Ctx::default(), &root.media_type);
        registry.fail_times(2, On::manifests(), Fault::RefuseDigest);
        client.push_manifest(&place, wanted, media_type, &root.bytes, &ctx).await.unwrap();
        assert_eq!(registry.faults_left(), 0, "{wanted}");

        registry.fail_always(On::manifests(), Fault::RefuseDigest);
        registry.forget_requests();
        let err = client.push_manifest(&place, wanted, media_type, &root.bytes, &ctx).await;
        assert_eq!(err.unwrap_err().class(), Class::Integrity, "{wanted}");
        assert_eq!(registry.count("PUT", "/manifests/"), 3, "{wanted}");
        registry.heal();
    }
}

#[tokio::test]
async fn a_source_that_ends_early_is_a_fault_of_ours_not_of_the_line() {
    let registry = FakeRegistry::start();
    let mut blob = descriptor(&noise(1, 500_000));
    blob.size += 1;
    let source = Memory::new(&noise(1, 500_000));
    let pushed = client().push_blob(&repository(&registry), &blob, &source, &Ctx::default()).await;
    assert_eq!(pushed.unwrap_err().class(), Class::Storage);
}

#[tokio::test]
async fn a_mount_moves_nothing_and_a_refused_one_is_an_upload_begun() {
    let registry = FakeRegistry::start();
    let bytes = noise(1, 900_000);
    let ctx = Ctx::default();
    let client = client();
    push(&client, &registry, &bytes).await.unwrap();
    registry.forget_requests();

    let other = Repository { path: "other".to_owned(), ..repository(&registry) };
    let digest = Digest::of(&bytes);
    assert!(client.mount_blob(&other, &digest, "team/app", &ctx).await.unwrap());
    assert_eq!(registry.received_bytes(), 0);

    registry.fail_always(On::uploads(), Fault::RefuseMount);
    let third = Repository { path: "third".to_owned(), ..repository(&registry) };
    assert!(!client.mount_blob(&third, &digest, "team/app", &ctx).await.unwrap());
    client.push_blob(&third, &descriptor(&bytes), &Memory::new(&bytes), &ctx).await.unwrap();
    assert_eq!(registry.blob("third", &digest).unwrap(), bytes);
    assert_eq!(registry.count("POST", "/third/blobs/uploads/"), 1, "the mount's upload is used");
}

#[tokio::test]
async fn another_process_goes_on_with_an_upload() {
    let registry = FakeRegistry::start();
    let state = TempDir::new().unwrap();
    let bytes = noise(1, 4 << 20);
    let mut options = chunky();
    options.state = Some(state.path().to_owned());
    options.attempts = 1.try_into().unwrap();
    // The second chunk ends the first process.
    registry.fail_once(
        On::uploads().method(Method::PATCH),
        Fault::SlowStart(std::time::Duration::ZERO),
    );
    registry.fail_once(On::uploads().method(Method::PATCH), Fault::ResetOnUpload(0));
    push(&Client::new(options.clone()).unwrap(), &registry, &bytes).await.unwrap_err();
    let notes = || fs_err::read_dir(state.path().join("uploads")).unwrap().count();
    assert_eq!(notes(), 1);

    let second = Client::new(options).unwrap();
    let source = Memory::new(&bytes);
    let (repository, ctx) = (repository(&registry), Ctx::default());
    second.push_blob(&repository, &descriptor(&bytes), &source, &ctx).await.unwrap();
    assert_has(&registry, &bytes);
    assert_eq!(source.first_read(), 1 << 20);
    assert_eq!((registry.count("POST", "/uploads/"), notes()), (1, 0));
}

#[tokio::test]
async fn notes_that_are_cut_or_lead_nowhere_cost_a_new_start_and_no_more() {
    let registry = FakeRegistry::start();
    let state = TempDir::new().unwrap();
    let bytes = noise(1, 3 << 20);
    let mut options = chunky();
    options.state = Some(state.path().to_owned());
    let repository = repository(&registry);
    let name = Digest::of(format!("{repository}@{}", Digest::of(&bytes)).as_bytes()).hex();
    let gone =
        format!(r#"{{"format":1,"location":"{}/v2/team/app/blobs/uploads/99"}}"#, registry.url());
    for note in ["{\"format\":1,", &gone, "{\"format\":2,\"location\":\"x\"}"] {
        fs_err::create_dir_all(state.path().join("uploads")).unwrap();
        fs_err::write(state.path().join("uploads").join(format!("{name}.json")), note).unwrap();
        let client = Client::new(options.clone()).unwrap();
        push(&client, &registry, &bytes).await.unwrap();
        assert_has(&registry, &bytes);
        registry.remove("team/app", &Digest::of(&bytes));
    }
}

#[tokio::test]
async fn a_sha512_blob_arrives_under_its_name() {
    let registry = FakeRegistry::start();
    let client = Client::new(chunky()).unwrap();
    for length in [1_000, 900_000, 3 << 20] {
        let bytes = noise(1, length);
        let digest = Digest::with(Algorithm::Sha512, &bytes);
        let blob = Descriptor::new("x", digest, length as u64);
        let (source, ctx) = (Memory::new(&bytes), Ctx::default());
        client.push_blob(&repository(&registry), &blob, &source, &ctx).await.unwrap();
        assert_eq!(registry.blob("team/app", &digest).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_state_folder_without_room_is_named_and_costs_nothing_else() {
    let Some(disk) = SmallDisk::mount(1 << 20).unwrap() else { return };
    let (registry, bytes) = (FakeRegistry::start(), noise(3, 3 << 20));
    let state = Some(disk.path().join("state"));
    let stateful = Client::new(ClientOptions { state, ..chunky() }).unwrap();
    disk.fill(0).unwrap();
    let err = push(&stateful, &registry, &bytes).await.unwrap_err();
    assert!(matches!(err, ClientError::State { .. }), "{err}");
    assert_eq!(err.class(), Class::Storage);
    assert_eq!(registry.received_bytes(), 0);
    disk.free().unwrap();
    push(&stateful, &registry, &bytes).await.unwrap();
    assert_has(&registry, &bytes);
}
