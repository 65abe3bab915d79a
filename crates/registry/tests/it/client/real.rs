//! Against docker-registry 2.8 and distribution 3, as they are in the field.

use std::path::PathBuf;

use airlift_registry::client::{
    BlobPush, Client, ClientError, ClientOptions, Referrers, Repository,
};
use airlift_spec::{Class, Ctx, Descriptor, Digest, Explain as _, Secret};
use airlift_testkit::real::{Kind, RealOptions, RealRegistry};
use airlift_testkit::samples::{self, noise};
use airlift_testkit::tls::Certificates;
use airlift_testkit::{Sample, tools};
use tempfile::TempDir;

use super::{Memory, descriptor, fetch, options};

/// bcrypt of `secret`
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// The real registries that are on this machine.
fn programs() -> Vec<PathBuf> {
    let kinds = [Kind::Docker2, Kind::Distribution3].into_iter();
    kinds
        .filter_map(|kind| {
            let found = tools::tool(kind.program());
            if found.is_none() {
                tools::skip(&format!("needs {}", kind.program()));
            }
            found
        })
        .collect()
}

/// Chunks of 1 MiB from 1 MiB on.
fn chunky() -> ClientOptions {
    let mut options = options();
    options.tuning.chunk_above_bytes = 1 << 20;
    options.tuning.chunk_bytes = 1 << 20;
    options
}

async fn push_all(
    client: &Client,
    repository: &Repository,
    sample: &Sample,
) -> Result<(), ClientError> {
    let ctx = Ctx::default();
    for bytes in sample.blobs.values() {
        client.push_blob(repository, &descriptor(bytes), &Memory::new(bytes), &ctx).await?;
    }
    for manifest in &sample.manifests {
        let (wanted, media_type) = (manifest.digest.to_string(), &manifest.media_type);
        client.push_manifest(repository, &wanted, media_type, &manifest.bytes, &ctx).await?;
    }
    let root = sample.manifest(&sample.root.digest);
    client.push_manifest(repository, "v1", &root.media_type, &root.bytes, &ctx).await.map(|_| ())
}

#[tokio::test]
async fn what_is_pushed_is_pulled_back_through_tls_and_a_password() {
    for program in programs() {
        let tls = Certificates::generate();
        let ca_pem = vec![tls.ca_pem.clone().into_bytes()];
        let real = RealOptions {
            htpasswd: Some(HTPASSWD.to_owned()),
            tls: Some(tls),
            ..RealOptions::default()
        };
        let registry = RealRegistry::start(&program, &real).unwrap();
        let auths =
            format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.host());
        let trusting = ClientOptions { ca_pem, ..chunky() };
        let known = ClientOptions { docker_config: Some(Secret::new(auths)), ..trusting.clone() };
        let client = Client::new(known).unwrap();
        let repository = Repository { host: registry.host(), path: "team/app".to_owned() };
        let sample = samples::index(1, &["linux/amd64", "linux/arm64"], 3 << 20);

        push_all(&client, &repository, &sample).await.unwrap();
        let ctx = Ctx::default();
        let found = client.manifest(&repository, "v1", &ctx).await.unwrap().unwrap();
        assert_eq!(found.digest, sample.root.digest);
        for (digest, bytes) in &sample.blobs {
            let blob = Descriptor::new("x", *digest, bytes.len() as u64);
            assert!(fetch(&client, &repository, &blob).await == bytes[..], "{digest}");
            let size = client.blob_size(&repository, digest, &ctx).await.unwrap();
            assert_eq!(size, Some(bytes.len() as u64));
        }
        assert_eq!(client.tags(&repository, &ctx).await.unwrap().unwrap(), ["v1"]);
        let other = Repository { path: "other".to_owned(), ..repository.clone() };
        let layer = sample.blobs_by_size()[0].0;
        assert!(client.mount_blob(&other, &layer, "team/app", &ctx).await.unwrap());
        assert!(
            client.delete_manifest(&repository, &found.digest.to_string(), &ctx).await.unwrap()
        );
        assert_eq!(client.manifest(&repository, "v1", &ctx).await.unwrap(), None);

        let stranger = Client::new(trusting).unwrap();
        let err = stranger.manifest(&repository, "v1", &ctx).await.unwrap_err();
        assert_eq!(err.class(), Class::Access, "{err}");
    }
}

#[tokio::test]
async fn a_plain_registry_on_loopback_just_works_and_has_no_referrers_api() {
    for program in programs() {
        let registry = RealRegistry::start(&program, &RealOptions::default()).unwrap();
        let repository = Repository { host: registry.host(), path: "team/app".to_owned() };
        let client = Client::new(options()).unwrap();
        let sample = samples::image(1, &[200_000, 10_000]);
        push_all(&client, &repository, &sample).await.unwrap();
        let ctx = Ctx::default();
        let found = client.referrers(&repository, &sample.root.digest, &ctx).await.unwrap();
        assert_eq!(found, Referrers::FallbackTag(Vec::new()));
        assert_eq!(client.tags(&repository, &ctx).await.unwrap().unwrap(), ["v1"]);
        let nobody = Repository { path: "nobody".to_owned(), ..repository.clone() };
        assert_eq!(client.tags(&nobody, &ctx).await.unwrap(), None);
        let absent = Digest::of(b"absent");
        assert_eq!(client.blob_size(&repository, &absent, &ctx).await.unwrap(), None);
        assert!(!client.mount_blob(&nobody, &absent, "team/app", &ctx).await.unwrap());
    }
}

#[tokio::test]
async fn an_upload_to_a_real_registry_goes_on_in_another_process() {
    for program in programs() {
        let registry = RealRegistry::start(&program, &RealOptions::default()).unwrap();
        let repository = Repository { host: registry.host(), path: "team/app".to_owned() };
        let state = TempDir::new().unwrap();
        let options = ClientOptions { state: Some(state.path().to_owned()), ..chunky() };
        let bytes = noise(1, 5 << 20);
        let (blob, ctx) = (descriptor(&bytes), Ctx::default());

        // The source fails after two chunks, as a disk that is pulled out does.
        let source = Memory::new(&bytes[..2 << 20]);
        let first = Client::new(options.clone()).unwrap();
        let err = first.push_blob(&repository, &blob, &source, &ctx).await.unwrap_err();
        assert_eq!(err.class(), Class::Storage, "{err}");

        let source = Memory::new(&bytes);
        let second = Client::new(options).unwrap();
        let pushed = second.push_blob(&repository, &blob, &source, &ctx).await.unwrap();
        assert_eq!((pushed, source.first_read()), (BlobPush::Sent, 2 << 20), "{program:?}");
        assert!(fetch(&second, &repository, &blob).await == bytes);
    }
}

#[tokio::test]
async fn a_real_registry_says_that_the_bytes_are_wrong() {
    for program in programs() {
        let registry = RealRegistry::start(&program, &RealOptions::default()).unwrap();
        let repository = Repository { host: registry.host(), path: "team/app".to_owned() };
        let client = Client::new(chunky()).unwrap();
        for length in [1_000, 900_000, 3 << 20] {
            let blob = descriptor(&noise(1, length));
            let source = Memory::new(&noise(2, length));
            let err =
                client.push_blob(&repository, &blob, &source, &Ctx::default()).await.unwrap_err();
            assert!(matches!(err, ClientError::SentWrong { .. }), "{length}: {err}");
        }
    }
}
