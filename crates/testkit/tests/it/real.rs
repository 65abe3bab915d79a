use airlift_testkit::real::{Kind, RealOptions, RealRegistry};
use airlift_testkit::registry::Tls;
use airlift_testkit::tools::{Runner, tool};
use airlift_testkit::{FakeOptions, FakeRegistry, need, samples};

use crate::http::{get, send};

#[test]
fn both_real_registries_answer_and_end_with_their_handle() {
    for kind in [Kind::Docker2, Kind::Distribution3] {
        let program = need!(kind.program());
        let registry = RealRegistry::start(&program, &RealOptions::default()).unwrap();
        let address = registry.address();
        assert_eq!(get(address, "/v2/").status, 200, "{kind:?}");
        drop(registry);
        assert!(std::net::TcpStream::connect(address).is_err(), "{kind:?}");
    }
}

#[test]
fn a_real_registry_asks_for_the_password_it_was_given() {
    let program = need!("docker-registry");
    // bcrypt of `secret`
    let htpasswd = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    let options = RealOptions { htpasswd: Some(htpasswd.to_owned()), ..RealOptions::default() };
    let registry = RealRegistry::start(&program, &options).unwrap();
    assert_eq!(get(registry.address(), "/v2/").status, 401);
    let known = [("Authorization", "Basic dXNlcjpzZWNyZXQ=")];
    assert_eq!(send(registry.address(), "GET", "/v2/", &known, b"").status, 200);
}

#[test]
fn skopeo_copies_every_common_sample_from_the_fake_to_a_real_registry() {
    let skopeo = need!("skopeo");
    let real = RealRegistry::start(&need!("docker-registry"), &RealOptions::default()).unwrap();
    let runner = Runner::new().unwrap();
    let fake = FakeRegistry::start();
    let platforms = ["linux/amd64", "linux/arm64"];
    for (name, sample) in [
        ("image", samples::runnable("amd64", 5000)),
        ("index", samples::index(1, &platforms, 5000)),
        ("docker", samples::docker_image(2, &[5000])),
        ("list", samples::docker_list(3, &platforms, 5000)),
        ("zstd", samples::zstd_image("amd64", 5000)),
    ] {
        fake.put(name, "v1", &sample);
        let from = format!("docker://{}", fake.reference(name, "v1"));
        let to = format!("docker://{}/{name}:v1", real.host());
        let plain = ["--src-tls-verify=false", "--dest-tls-verify=false", "--insecure-policy"];
        let args = ["copy", "--all", "--preserve-digests", &from, &to];
        runner.succeed(&skopeo, args.iter().chain(&plain));
        let path = format!("/v2/{name}/manifests/{}", sample.root.digest);
        let accept = [("Accept", sample.root.media_type.as_str())];
        let got = send(real.address(), "GET", &path, &accept, b"");
        assert_eq!(got.body, sample.manifest(&sample.root.digest).bytes, "{name}");
    }
}

#[test]
fn skopeo_pushes_to_the_fake_registry_what_a_layout_holds() {
    let skopeo = need!("skopeo");
    let runner = Runner::new().unwrap();
    let sample = samples::index(1, &["linux/amd64", "linux/arm64"], 5000);
    sample.write_layout(&runner.home().join("layout"), "v1").unwrap();
    let fake = FakeRegistry::start();
    let to = format!("docker://{}", fake.reference("pushed", "v1"));
    let args =
        ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "oci:layout:v1", &to];
    runner.succeed(&skopeo, args);
    assert!(fake.holds("pushed", &sample), "{}", fake.transcript());
}

#[test]
fn tools_run_in_a_home_of_their_own() {
    let runner = Runner::new().unwrap();
    let shell = tool("sh").unwrap();
    let said = runner.succeed(&shell, ["-c", "echo $HOME; env | grep -c ^CARGO_ || true"]);
    assert_eq!(said, format!("{}\n0\n", runner.home().display()));
    let failed = runner.run(&shell, ["-c", "echo out; echo err >&2; exit 3"]).unwrap();
    assert_eq!(failed.to_string(), "exit: 3\n----- stdout -----\nout\n----- stderr -----\nerr\n");
    assert_eq!(tool("no-such-tool"), None);
}

#[test]
fn who_trusts_the_ca_and_shows_a_certificate_is_let_in() {
    let curl = need!("curl");
    let runner = Runner::new().unwrap();
    let options = FakeOptions { tls: Tls::Mutual, ..FakeOptions::default() };
    let registry = FakeRegistry::with(options);
    let certificates = registry.certificates();
    for (name, text) in [
        ("ca.pem", &certificates.ca_pem),
        ("client.pem", &certificates.client.certificate_pem),
        ("client.key", &certificates.client.key_pem),
    ] {
        fs_err::write(runner.home().join(name), text).unwrap();
    }
    let url = format!("{}/v2/", registry.url());
    let trusting = ["-sS", "--cacert", "ca.pem", &url];
    assert!(!runner.run(&curl, trusting).unwrap().is_success(), "no certificate was shown");
    let known = ["--cert", "client.pem", "--key", "client.key"];
    assert_eq!(runner.succeed(&curl, known.iter().chain(&trusting)), "{}");
}
