use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use airlift_registry::client::{Client, ClientError, ClientOptions, Repository};
use airlift_spec::{Class, Ctx, Digest, Explain as _, Secret};
use airlift_testkit::registry::{FakeOptions, Tls};
use airlift_testkit::samples::{self, noise};
use airlift_testkit::{Auth, Bearer, Credentials, FakeRegistry};
use base64::Engine as _;
use tempfile::TempDir;

use super::{Memory, client, descriptor, fetch, options, repository, with_blob};

fn with_auth(auth: Auth) -> FakeRegistry {
    FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() })
}

fn jane() -> Credentials {
    Credentials::new("jane", "hunter2")
}

/// An `auth.json` with one entry.
fn auth_json(key: &str, entry: &str) -> Secret<String> {
    Secret::new(format!(r#"{{"auths":{{"{key}":{{{entry}}}}}}}"#))
}

fn password(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!(r#""auth":"{}""#, base64::engine::general_purpose::STANDARD.encode(pair))
}

fn as_jane(registry: &FakeRegistry) -> ClientOptions {
    let entry = password("jane", "hunter2");
    ClientOptions { auth_json: Some(auth_json(&registry.host(), &entry)), ..options() }
}

#[tokio::test]
async fn one_refusal_and_one_token_are_enough_for_many_at_once() {
    let registry = with_auth(Auth::Bearer(Bearer::default()));
    let sample = samples::image(1, &[10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    registry.put("team/app", "v1", &sample);
    let (client, repository, ctx) = (client(), repository(&registry), Ctx::default());
    let sizes = sample.blobs.keys().map(|digest| client.blob_size(&repository, digest, &ctx));
    let manifests = (0..4).map(|_| client.describe(&repository, "v1", &ctx));
    let (sizes, manifests) =
        futures::join!(futures::future::join_all(sizes), futures::future::join_all(manifests));
    assert!(sizes.into_iter().all(|size| size.unwrap().is_some()));
    assert!(manifests.into_iter().all(|found| found.unwrap().is_some()));
    let refused = registry.requests().iter().filter(|it| it.status == Some(401)).count();
    assert_eq!((refused, registry.tokens_issued()), (1, 1));
    assert_eq!(client.counters().tokens, 1);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_renewed() {
    let registry = with_auth(Auth::Bearer(Bearer { uses: Some(2), ..Bearer::default() }));
    let (repository, blob, bytes) = with_blob(&registry, 2_000_000);
    for _ in 0..5 {
        registry.fail_once(
            airlift_testkit::On::get("/blobs/"),
            airlift_testkit::Fault::CutAfter(300_000),
        );
    }
    assert_eq!(fetch(&client(), &repository, &blob).await, bytes);
    assert_eq!(registry.tokens_issued(), 3, "six requests, two a token");
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let registry =
        with_auth(Auth::Bearer(Bearer { expires_in_seconds: Some(0), ..Bearer::default() }));
    let (repository, ..) = with_blob(&registry, 10);
    let (client, ctx) = (client(), Ctx::default());
    for _ in 0..3 {
        client.describe(&repository, "v1", &ctx).await.unwrap().unwrap();
    }
    let refused = registry.requests().iter().filter(|it| it.status == Some(401)).count();
    assert_eq!((refused, registry.tokens_issued()), (1, 3));
}

#[tokio::test]
async fn tokens_that_were_revoked_are_replaced() {
    let registry = with_auth(Auth::Bearer(Bearer::default()));
    let (repository, ..) = with_blob(&registry, 10);
    let (client, ctx) = (client(), Ctx::default());
    client.describe(&repository, "v1", &ctx).await.unwrap().unwrap();
    registry.expire_tokens();
    client.describe(&repository, "v1", &ctx).await.unwrap().unwrap();
    assert_eq!(registry.tokens_issued(), 2);
}

#[tokio::test]
async fn a_password_opens_a_registry_with_basic_or_bearer() {
    let bearer = Bearer { credentials: Some(jane()), ..Bearer::default() };
    for auth in [Auth::Basic(jane()), Auth::Bearer(bearer)] {
        let registry = with_auth(auth);
        let (repository, blob, bytes) = with_blob(&registry, 100_000);
        let client = Client::new(as_jane(&registry)).unwrap();
        assert_eq!(fetch(&client, &repository, &blob).await, bytes);
        let pushed = noise(9, 200_000);
        let (source, ctx) = (Memory::new(&pushed), Ctx::default());
        client.push_blob(&repository, &descriptor(&pushed), &source, &ctx).await.unwrap();
        assert_eq!(registry.received_bytes(), 200_000, "no body is sent before the door is open");
        client.ping(&registry.host(), &ctx).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_password_is_said_once_with_the_way_out() {
    for auth in [
        Auth::Basic(jane()),
        Auth::Bearer(Bearer { credentials: Some(jane()), ..Bearer::default() }),
    ] {
        let registry = with_auth(auth);
        let (repository, ..) = with_blob(&registry, 10);
        for entry in [password("jane", "wrong"), String::new()] {
            let auth_json = Some(auth_json(&registry.host(), &entry));
            let client = Client::new(ClientOptions { auth_json, ..options() }).unwrap();
            let err = client.manifest(&repository, "v1", &Ctx::default()).await.unwrap_err();
            assert!(matches!(err, ClientError::Denied { .. }), "{err}");
            assert_eq!(err.class(), Class::Access);
            assert_eq!(err.help().unwrap(), format!("run `airlift login {}`", registry.host()));
            assert!(client.ping(&registry.host(), &Ctx::default()).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_repository_that_is_closed_to_us_closes_no_other() {
    let denied = BTreeSet::from(["team/secret".to_owned()]);
    let registry = with_auth(Auth::Bearer(Bearer { denied, ..Bearer::default() }));
    let (repository, ..) = with_blob(&registry, 10);
    let secret = Repository { path: "team/secret".to_owned(), ..repository.clone() };
    let (client, ctx) = (client(), Ctx::default());
    let err = client.manifest(&secret, "v1", &ctx).await.unwrap_err();
    assert!(
        matches!(&err, ClientError::Denied { repository, .. } if repository == "team/secret"),
        "{err}"
    );
    assert!(client.manifest(&repository, "v1", &ctx).await.unwrap().is_some());
    let asked = registry.count("GET", "/v2/team/secret/");
    assert!(asked <= 3, "asked {asked} times");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let bearer = Bearer {
        credentials: Some(jane()),
        refresh_token: Some("refresh-me".to_owned()),
        ..Bearer::default()
    };
    let registry = with_auth(Auth::Bearer(bearer));
    let (repository, ..) = with_blob(&registry, 10);
    let auth_json = Some(auth_json(&registry.host(), r#""identitytoken":"refresh-me""#));
    let client = Client::new(ClientOptions { auth_json, ..options() }).unwrap();
    assert!(client.manifest(&repository, "v1", &Ctx::default()).await.unwrap().is_some());
    assert_eq!(registry.count("POST", "/token"), 1);
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories_in_one_token() {
    let registry = with_auth(Auth::Bearer(Bearer::default()));
    let (repository, blob, _) = with_blob(&registry, 1_000);
    let other = Repository { path: "other".to_owned(), ..repository };
    let client = client();
    assert!(client.mount_blob(&other, &blob.digest, "team/app", &Ctx::default()).await.unwrap());
    let asked = registry.requests().into_iter().find(|it| it.path.starts_with("/token")).unwrap();
    assert!(asked.path.contains("repository%3Aother%3Apull%2Cpush"), "{}", asked.path);
    assert!(asked.path.contains("repository%3Ateam%2Fapp%3Apull"), "{}", asked.path);
}

/// A credential helper that answers `get` with `script`.
fn helper(dir: &Path, name: &str, script: &str) {
    let path = dir.join(format!("docker-credential-{name}"));
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the folder is ours");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .expect("the file is ours");
}

fn with_helper(dir: &TempDir, registry: &FakeRegistry, key: &str) -> ClientOptions {
    let config = match key {
        "credsStore" => r#"{"credsStore":"test"}"#.to_owned(),
        _ => format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.host()),
    };
    let helper_dirs = vec![dir.path().to_owned()];
    ClientOptions { docker_config: Some(Secret::new(config)), helper_dirs, ..options() }
}

#[tokio::test]
async fn a_credential_helper_is_asked_once_a_host() {
    for key in ["credsStore", "credHelpers"] {
        let registry = with_auth(Auth::Basic(jane()));
        let (repository, blob, bytes) = with_blob(&registry, 100_000);
        let dir = TempDir::new().unwrap();
        let log = dir.path().join("log");
        let answer = r#"echo '{"ServerURL":"x","Username":"jane","Secret":"hunter2"}'"#;
        helper(dir.path(), "test", &format!("cat >> {}; echo >> {0}\n{answer}", log.display()));
        let client = Client::new(with_helper(&dir, &registry, key)).unwrap();
        assert_eq!(fetch(&client, &repository, &blob).await, bytes);
        client.describe(&repository, "v1", &Ctx::default()).await.unwrap().unwrap();
        assert_eq!(fs_err::read_to_string(log).unwrap(), format!("{}\n", registry.host()));
    }
}

#[tokio::test]
async fn a_helper_that_fails_or_hangs_is_named_but_one_that_knows_nothing_is_not() {
    let registry = with_auth(Auth::Anonymous);
    let (repository, ..) = with_blob(&registry, 10);
    let ask = async |script: &str| {
        let dir = TempDir::new().unwrap();
        helper(dir.path(), "test", script);
        let mut options = with_helper(&dir, &registry, "credHelpers");
        options.tuning.helper_timeout = std::time::Duration::from_millis(300);
        Client::new(options).unwrap().manifest(&repository, "v1", &Ctx::default()).await
    };
    let nothing = "echo 'credentials not found in native keychain'; exit 1";
    assert!(ask(nothing).await.unwrap().is_some());
    for script in ["echo 'vault\u{1b}[2J is sealed' >&2; exit 1", "echo hunter2", "exec sleep 60"] {
        let err = ask(script).await.unwrap_err();
        assert!(matches!(&err, ClientError::Helper { helper, .. } if helper == "test"), "{err}");
        let words = format!("{err} {err:?}");
        assert!(!words.contains("hunter2") && !words.contains('\u{1b}'), "{words}");
    }
}

#[tokio::test]
async fn a_registry_with_a_ca_of_its_own_is_trusted_when_told_to() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    let (repository, blob, bytes) = with_blob(&registry, 100_000);
    let err = client().manifest(&repository, "v1", &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::UnknownAuthority { .. }), "{err:?}");
    assert_eq!((err.class(), err.help().is_some()), (Class::Access, true));

    let ca_pem = vec![registry.certificates().ca_pem.clone().into_bytes()];
    let trusting = Client::new(ClientOptions { ca_pem, ..options() }).unwrap();
    assert_eq!(fetch(&trusting, &repository, &blob).await, bytes);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks_for_one() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::Mutual, ..FakeOptions::default() });
    let (repository, blob, bytes) = with_blob(&registry, 100_000);
    let certificates = registry.certificates();
    let ca_pem = vec![certificates.ca_pem.clone().into_bytes()];
    let without = ClientOptions { ca_pem, ..options() };
    let identity =
        format!("{}{}", certificates.client.certificate_pem, certificates.client.key_pem);
    let identity = Some(Secret::new(identity.into_bytes()));
    let with = ClientOptions { client_identity_pem: identity, ..without.clone() };

    let refused = Client::new(without).unwrap();
    let err = refused.manifest(&repository, "v1", &Ctx::default()).await.unwrap_err();
    assert_eq!((err.class(), refused.counters().retries), (Class::Access, 0), "{err}");
    assert!(err.help().unwrap().contains("--client-cert"));
    assert_eq!(fetch(&Client::new(with).unwrap(), &repository, &blob).await, bytes);
}

#[tokio::test]
async fn a_server_that_speaks_tls_where_plain_http_was_asked_for_is_called_that() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    let (repository, ..) = with_blob(&registry, 100);
    let plain_http = BTreeSet::from([registry.host()]);
    let plain =
        Client::new(ClientOptions { plain_http, attempts: 1.try_into().unwrap(), ..options() });
    let err = plain.unwrap().manifest(&repository, "v1", &Ctx::default()).await.unwrap_err();
    assert_eq!((err.class(), err.help()), (Class::Network, None), "{err}");
    assert!(err.to_string().contains("no HTTP, TLS perhaps"), "{err}");
}

#[test]
fn what_is_no_certificate_is_refused_before_anything_is_asked() {
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let ca_pem = vec![pem.as_bytes().to_vec()];
        let err = Client::new(ClientOptions { ca_pem, ..options() }).unwrap_err();
        assert_eq!(err.class(), Class::Input, "{pem}");
    }
    let identity = Some(Secret::new(b"nothing".to_vec()));
    let err =
        Client::new(ClientOptions { client_identity_pem: identity, ..options() }).unwrap_err();
    assert_eq!(err.class(), Class::Input);
}

#[tokio::test]
async fn no_secret_is_ever_printed() {
    let registry =
        with_auth(Auth::Bearer(Bearer { credentials: Some(jane()), ..Bearer::default() }));
    let (repository, ..) = with_blob(&registry, 10);
    // What logs and is first reached by another test while the subscriber is set may stay silent: it is reached before.
    Client::new(as_jane(&registry))
        .unwrap()
        .manifest(&repository, "v1", &Ctx::default())
        .await
        .unwrap();
    let client = Client::new(as_jane(&registry)).unwrap();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    {
        let _guard = tracing::subscriber::set_default(subscriber);
        client.manifest(&repository, "v1", &Ctx::default()).await.unwrap();
        let absent = Digest::of(b"absent").to_string();
        client.manifest(&repository, &absent, &Ctx::default()).await.unwrap();
    }
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("/v2/team/app/manifests/v1"), "the log does say what is asked");
    for text in [written, format!("{client:?} {:?}", as_jane(&registry))] {
        for secret in ["hunter2", "aHVudGVyMg", "token-1", "amFuZTpodW50ZXIy"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn credentials_of_one_run_go_before_those_of_files() {
    let registry = with_auth(Auth::Basic(jane()));
    registry.put("team/app", "v1", &samples::image(1, &[1000]));
    let wrong = auth_json(&registry.host(), &password("jane", "wrong"));
    let described = async |options: ClientOptions| {
        let client = Client::new(options).unwrap();
        client.describe(&repository(&registry), "v1", &Ctx::default()).await
    };
    let given = as_jane(&registry).auth_json;
    let both = ClientOptions { given_auth: given, auth_json: Some(wrong.clone()), ..options() };
    assert!(described(both).await.unwrap().is_some());
    let both = ClientOptions { given_auth: Some(wrong), ..as_jane(&registry) };
    assert_eq!(described(both).await.unwrap_err().class(), Class::Access);
}

#[tokio::test]
async fn any_certificate_will_do_where_none_is_looked_at() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    registry.put("team/app", "v1", &samples::image(1, &[1000]));
    for verifies_tls in [true, false] {
        let client = Client::new(ClientOptions { verifies_tls, ..options() }).unwrap();
        let found = client.describe(&repository(&registry), "v1", &Ctx::default()).await;
        assert_eq!(found.is_err(), verifies_tls, "{found:?}");
    }
}
