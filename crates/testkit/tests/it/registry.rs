use airlift_spec::Digest;
use airlift_spec::oci::{Manifest, media_type, referrers_tag};
use airlift_testkit::registry::{Referrers, Tls};
use airlift_testkit::{
    Auth, Bearer, Credentials, FakeOptions, FakeRegistry, Fault, On, Sample, samples,
};
use std::io::ErrorKind;

use crate::http::{Got, get, send};

const REPOSITORY: &str = "team/app";

/// A registry with one image, its largest layer, and the path of that.
fn registry() -> (FakeRegistry, Vec<u8>, String) {
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[100_000, 10]);
    registry.put(REPOSITORY, "v1", &sample);
    let (digest, bytes) = sample.blobs_by_size()[0];
    (registry, bytes.to_vec(), format!("/v2/{REPOSITORY}/blobs/{digest}"))
}

fn location(got: &Got) -> String {
    got.header("location").unwrap().to_owned()
}

/// Begins an upload and returns where it goes on.
fn begin(registry: &FakeRegistry) -> String {
    let got = send(registry.address(), "POST", "/v2/team/app/blobs/uploads/", &[], b"");
    assert_eq!(got.status, 202, "{}", got.head);
    location(&got)
}

fn push(registry: &FakeRegistry, manifest: &samples::SampleManifest, reference: &str) -> Got {
    let path = format!("/v2/{REPOSITORY}/manifests/{reference}");
    let headers = [("Content-Type", manifest.media_type.as_str())];
    send(registry.address(), "PUT", &path, &headers, &manifest.bytes)
}

#[test]
fn what_is_put_can_be_pulled_by_tag_and_digest() {
    let sample = samples::signed(&samples::index(1, &["linux/amd64", "linux/arm64"], 5000));
    let registry = FakeRegistry::start();
    registry.put(REPOSITORY, "v1", &sample);
    for reference in ["v1", &sample.root.digest.to_string()] {
        let got = get(registry.address(), &format!("/v2/{REPOSITORY}/manifests/{reference}"));
        assert_eq!(got.body, sample.manifest(&sample.root.digest).bytes);
        assert_eq!(got.header("content-type"), Some(media_type::OCI_INDEX));
    }
    for (digest, bytes) in &sample.blobs {
        let got = get(registry.address(), &format!("/v2/{REPOSITORY}/blobs/{digest}"));
        assert_eq!((got.status, &got.body[..]), (200, &bytes[..]));
    }
    assert!(registry.holds(REPOSITORY, &sample));
    assert_eq!(get(registry.address(), "/v2/team/app/manifests/absent").status, 404);
}

#[test]
fn ranges_are_exact() {
    let (registry, bytes, path) = registry();
    for (range, expected) in [
        ("bytes=500-1499", &bytes[500..1500]),
        ("bytes=99990-", &bytes[99_990..]),
        ("bytes=-7", &bytes[99_993..]),
        ("bytes=99990-200000", &bytes[99_990..]),
    ] {
        let got = send(registry.address(), "GET", &path, &[("Range", range)], b"");
        assert_eq!((got.status, &got.body[..]), (206, expected), "{range}");
    }
    let beyond = send(registry.address(), "GET", &path, &[("Range", "bytes=100000-")], b"");
    assert_eq!(beyond.status, 416);
    assert_eq!(registry.requests()[0].range(), Some("bytes=500-1499"));
}

#[test]
fn a_cut_ends_the_connection_after_exactly_that_many_bytes() {
    for cut in [0, 1, 50_000, 99_999] {
        let (registry, bytes, path) = registry();
        registry.fail_once(On::blobs(), Fault::CutAfter(cut as u64));
        let got = get(registry.address(), &path);
        assert_eq!(got.header("content-length"), Some("100000"));
        assert_eq!(got.body.len(), cut, "cut at {cut}");
        assert_eq!(get(registry.address(), &path).body, bytes, "once means once");
        assert_eq!(registry.sent_bytes(), cut as u64 + 100_000);
    }
}

#[test]
fn a_stall_leaves_the_connection_open_and_silent() {
    let (registry, bytes, path) = registry();
    registry.fail_once(On::blobs(), Fault::StallAfter(1000));
    let got = get(registry.address(), &path);
    assert_eq!(got.body, bytes[..1000]);
    assert_eq!(got.broken, Some(ErrorKind::WouldBlock));
}

#[test]
fn a_hang_says_nothing_at_all() {
    let (registry, _, path) = registry();
    registry.fail_once(On::any(), Fault::Hang);
    let got = get(registry.address(), &path);
    assert_eq!((got.status, got.broken), (0, Some(ErrorKind::WouldBlock)));
}

#[test]
fn a_flipped_byte_is_the_only_difference() {
    let (registry, bytes, path) = registry();
    registry.fail_once(On::blobs(), Fault::FlipByte(70_000));
    let got = get(registry.address(), &path).body;
    let differing: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != got[*at]).collect();
    assert_eq!(differing, [70_000]);
}

#[test]
fn lengths_and_headers_lie_where_told() {
    let (registry, bytes, path) = registry();
    let one = |fault: Fault| {
        registry.fail_once(On::blobs(), fault);
        get(registry.address(), &path)
    };
    let short = one(Fault::WrongContentLength(5));
    assert_eq!((short.header("content-length"), &short.body), (Some("100005"), &bytes));
    let long = one(Fault::TooLong(5));
    assert_eq!((long.header("content-length"), long.body.len()), (Some("100005"), 100_005));
    let lie = one(Fault::LieAboutDigest);
    let told: Digest = lie.header("docker-content-digest").unwrap().parse().unwrap();
    assert!(!told.matches(&lie.body));
    assert_eq!(one(Fault::NoDigestHeader).header("docker-content-digest"), None);
    assert_eq!(one(Fault::ContentType("text/html")).header("content-type"), Some("text/html"));
}

#[test]
fn statuses_come_with_their_headers() {
    let (registry, _, path) = registry();
    let slow_down = Fault::Status(503, vec![("retry-after", "7".to_owned())]);
    registry.fail_times(2, On::blobs(), slow_down);
    registry.fail_once(On::blobs(), Fault::RetryAfter(3));
    let statuses: Vec<(u16, Option<String>)> = (0..4)
        .map(|_| get(registry.address(), &path))
        .map(|got| (got.status, got.header("retry-after").map(str::to_owned)))
        .collect();
    let after = |seconds: &str| Some(seconds.to_owned());
    assert_eq!(statuses, [(503, after("7")), (503, after("7")), (429, after("3")), (200, None)]);
    assert_eq!(registry.faults_left(), 0);
}

#[test]
fn a_fault_waits_for_a_request_it_can_apply_to() {
    let (registry, _, path) = registry();
    registry.fail_once(On::any(), Fault::CutAfter(50_000));
    registry.fail_once(On::any(), Fault::IgnoreRange);
    assert_eq!(get(registry.address(), "/v2/").status, 200);
    assert!(get(registry.address(), "/v2/team/app/manifests/v1").body.len() > 100);
    assert_eq!(registry.faults_left(), 2);
    assert_eq!(get(registry.address(), &path).body.len(), 50_000);
}

#[test]
fn ranges_are_ignored_or_begin_elsewhere() {
    let (registry, bytes, path) = registry();
    registry.fail_once(On::blobs(), Fault::IgnoreRange);
    registry.fail_once(On::blobs(), Fault::RangeWrongStart(7));
    let ask = || send(registry.address(), "GET", &path, &[("Range", "bytes=99000-")], b"");
    let whole = ask();
    assert_eq!((whole.status, whole.body), (200, bytes.clone()));
    let wrong = ask();
    assert_eq!((wrong.status, &wrong.body[..]), (206, &bytes[7..]));
    assert_eq!(wrong.header("content-range"), Some("bytes 7-99999/100000"));
}

#[test]
fn redirected_blobs_come_from_another_host_that_refuses_credentials() {
    let (registry, bytes, path) = registry();
    registry.fail_always(On::blobs(), Fault::RedirectElsewhere);
    let to = location(&get(registry.address(), &path));
    let path = to.strip_prefix(&format!("http://{}", registry.elsewhere())).unwrap();
    assert_ne!(registry.elsewhere().ip(), registry.address().ip());
    assert_eq!(get(registry.elsewhere(), path).body, bytes);
    let with_token = [("Authorization", "Bearer stray")];
    assert_eq!(send(registry.elsewhere(), "GET", path, &with_token, b"").status, 400);
    assert!(registry.requests().last().unwrap().has_authorization());
}

#[test]
fn a_blob_can_be_pushed_whole_in_chunks_and_by_mount() {
    let registry = FakeRegistry::start();
    let bytes = samples::noise(1, 3000);
    let digest = Digest::of(&bytes);

    let to = format!("{}&digest={digest}", begin(&registry));
    assert_eq!(send(registry.address(), "PUT", &to, &[], &bytes).status, 201);
    assert_eq!(registry.blob(REPOSITORY, &digest).unwrap(), bytes);

    registry.remove(REPOSITORY, &digest);
    let to = begin(&registry);
    let first = [("Content-Range", "0-999")];
    let got = send(registry.address(), "PATCH", &to, &first, &bytes[..1000]);
    assert_eq!((got.status, got.header("range")), (202, Some("0-999")));
    let again = send(registry.address(), "PATCH", &to, &first, &bytes[..1000]);
    assert_eq!((again.status, again.header("range")), (416, Some("0-999")));
    assert_eq!(get(registry.address(), &to).status, 204);
    let close = format!("{}&digest={digest}", location(&again));
    assert_eq!(send(registry.address(), "PUT", &close, &[], &bytes[1000..]).status, 201);
    assert_eq!(registry.blob(REPOSITORY, &digest).unwrap(), bytes);
    assert_eq!(registry.open_uploads(), 0);

    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from={REPOSITORY}");
    assert_eq!(send(registry.address(), "POST", &mount, &[], b"").status, 201);
    assert_eq!(registry.blob("other", &digest).unwrap(), bytes);
}

#[test]
fn bytes_under_a_wrong_digest_are_not_stored() {
    let registry = FakeRegistry::start();
    let digest = Digest::of(b"right");
    let to = format!("{}&digest={digest}", begin(&registry));
    assert_eq!(send(registry.address(), "PUT", &to, &[], b"wrong").status, 400);
    assert_eq!(registry.blob(REPOSITORY, &digest), None);
}

#[test]
fn uploads_are_refused_forgotten_and_reset() {
    let (registry, bytes, _) = registry();
    let digest = Digest::of(b"new");
    let all = |fault: Fault| {
        registry.heal();
        registry.fail_always(On::any(), fault);
    };
    let mount = format!("/v2/other/blobs/uploads/?mount={}&from={REPOSITORY}", Digest::of(&bytes));
    all(Fault::RefuseMount);
    assert_eq!(send(registry.address(), "POST", &mount, &[], b"").status, 202);

    all(Fault::RefuseChunked);
    assert_eq!(send(registry.address(), "PATCH", &begin(&registry), &[], b"new").status, 405);

    all(Fault::RefuseMonolithic);
    let to = format!("{}&digest={digest}", begin(&registry));
    assert_eq!(send(registry.address(), "PUT", &to, &[], b"new").status, 413);

    all(Fault::RefuseSinglePost);
    let single = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    assert_eq!(send(registry.address(), "POST", &single, &[], b"new").status, 202);

    all(Fault::ForgetUpload);
    assert_eq!(send(registry.address(), "PATCH", &begin(&registry), &[], b"new").status, 404);
    assert_eq!(registry.blob(REPOSITORY, &digest), None);

    registry.heal();
    let to = begin(&registry);
    registry.forget_requests();
    registry.fail_once(On::uploads(), Fault::ResetOnUpload(200_000));
    let reset = send(registry.address(), "PATCH", &to, &[], &samples::noise(1, 8_000_000));
    assert_eq!(reset.status, 0);
    assert!(reset.broken.is_some(), "the connection was reset");
    assert!(registry.received_bytes() > 200_000, "{}", registry.received_bytes());
}

#[test]
fn a_manifest_is_refused_before_its_blobs_and_a_sparse_index_where_told() {
    let registry = FakeRegistry::start();
    let image = samples::image(1, &[10]);
    let refused = push(&registry, &image.manifests[0], "v1");
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("MANIFEST_BLOB_UNKNOWN"));

    let sparse = samples::sparse_index(1, &["linux/amd64", "linux/arm64"], "linux/arm64", 10);
    let root = sparse.manifest(&sparse.root.digest);
    registry.fail_once(On::manifests(), Fault::RefuseSparseIndex);
    assert_eq!(push(&registry, root, "v1").status, 400);
    assert_eq!(push(&registry, root, "v1").status, 201);
    assert_eq!(registry.tags(REPOSITORY)["v1"], sparse.root.digest);
}

#[test]
fn referrers_are_found_by_the_api_or_by_the_fallback_tag() {
    let sample = samples::signed(&samples::image(1, &[10]));
    let path = format!("/v2/{REPOSITORY}/referrers/{}", sample.root.digest);

    let options = FakeOptions { page_size: Some(1), ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    registry.put(REPOSITORY, "v1", &sample);
    let first = get(registry.address(), &path);
    assert_eq!(Manifest::parse(&first.body, None).unwrap().manifests.len(), 1);
    assert!(first.header("link").unwrap().contains("rel=\"next\""));
    let filtered = get(registry.address(), &format!("{path}?artifactType={}", samples::SBOM_TYPE));
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(filtered.header("link"), None);

    let options = FakeOptions { referrers: Referrers::TagOnly, ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    registry.put(REPOSITORY, "v1", &sample);
    assert_eq!(get(registry.address(), &path).status, 404);
    let fallback = registry.manifest(REPOSITORY, &referrers_tag(&sample.root.digest)).unwrap();
    assert_eq!(Manifest::parse(&fallback, None).unwrap().manifests.len(), 2);
}

#[test]
fn tags_come_in_pages() {
    let options = FakeOptions { page_size: Some(2), ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    for tag in ["c", "a", "b"] {
        registry.put(REPOSITORY, tag, &samples::empty_index());
    }
    let first = get(registry.address(), "/v2/team/app/tags/list");
    assert!(String::from_utf8_lossy(&first.body).contains(r#"["a","b"]"#));
    assert_eq!(first.header("link"), Some("</v2/team/app/tags/list?n=2&last=b>; rel=\"next\""));
    let last = get(registry.address(), "/v2/team/app/tags/list?n=2&last=b");
    assert_eq!(last.header("link"), None);
}

#[test]
fn basic_credentials_are_wanted_where_set() {
    let auth = Auth::Basic(Credentials::new("user", "secret"));
    let registry = FakeRegistry::with(FakeOptions { auth, ..FakeOptions::default() });
    let refused = get(registry.address(), "/v2/");
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Basic realm=\"fake\""))
    );
    let header = [("Authorization", "Basic dXNlcjpzZWNyZXQ=")];
    assert_eq!(send(registry.address(), "GET", "/v2/", &header, b"").status, 200);
}

fn token(registry: &FakeRegistry, scope: &str) -> String {
    let got = get(registry.address(), &format!("/token?service=fake&scope={scope}"));
    let text = String::from_utf8_lossy(&got.body).into_owned();
    format!("Bearer {}", text.split('"').nth(3).unwrap())
}

#[test]
fn tokens_are_scoped_counted_and_used_up() {
    let bearer = Bearer { uses: Some(2), ..Bearer::default() };
    let options = FakeOptions { auth: Auth::Bearer(bearer), ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    let sample: Sample = samples::image(1, &[10]);
    registry.put(REPOSITORY, "v1", &sample);
    let path = "/v2/team/app/manifests/v1";
    let challenge = get(registry.address(), path);
    let asked = challenge.header("www-authenticate").unwrap();
    assert!(asked.contains("scope=\"repository:team/app:pull\""), "{asked}");

    let good = token(&registry, "repository:team/app:pull");
    let with = |token: &str| {
        send(registry.address(), "GET", path, &[("Authorization", token)], b"").status
    };
    assert_eq!([with(&good), with(&good), with(&good)], [200, 200, 401]);
    assert_eq!(with(&token(&registry, "repository:other:pull")), 401);
    assert_eq!(registry.tokens_issued(), 2);
    let third = token(&registry, "repository:team/app:pull");
    registry.expire_tokens();
    assert_eq!(with(&third), 401);
}

#[test]
fn a_client_without_the_ca_gets_no_answer_over_tls() {
    let registry = FakeRegistry::with(FakeOptions { tls: Tls::On, ..FakeOptions::default() });
    assert_eq!(get(registry.address(), "/v2/").status, 0);
    assert!(registry.url().starts_with("https://"));
    assert!(registry.certificates().ca_pem.contains("BEGIN CERTIFICATE"));
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn the_transcript_tells_what_was_asked() {
    let (registry, _, _) = registry();
    get(registry.address(), "/v2/");
    get(registry.address(), "/v2/team/app/manifests/absent");
    assert_eq!(registry.transcript(), "GET /v2/ 200\nGET /v2/team/app/manifests/absent 404\n");
    assert_eq!(registry.count("GET", "/manifests/"), 1);
    assert_eq!(registry.connections(), 2);
    assert_eq!(registry.max_in_flight(), 1);
}
