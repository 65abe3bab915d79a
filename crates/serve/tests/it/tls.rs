//! `--tls auto`: a CA of our own, trusted by real clients, and kept over restarts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use airlift_registry::server::ServerOptions;
use airlift_serve::tls::{self, AutoTls};
use airlift_testkit::need;
use airlift_testkit::samples;
use airlift_testkit::tools::Runner;

use crate::world::{LARGE, Served, World, serve_with, volumes};

const TODAY: tls::Day = (2026, 11, 21);

fn auto(state: &Path) -> AutoTls {
    let names = ["localhost".to_owned(), "registry.example".to_owned()];
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST)];
    tls::auto(state, "registry.example:5000", &names, &addresses, TODAY).unwrap()
}

async fn behind(folder: &Path, made: &AutoTls) -> Served {
    let tls = Some(made.config.clone());
    serve_with(vec![volumes(folder)], ServerOptions { tls, ..ServerOptions::default() }).await
}

/// A bundle of one image as `quay.io/org/app:v1`, and a folder for the state.
fn world() -> (World, PathBuf, PathBuf) {
    let world = World::new().with("quay.io/org/app:v1", &samples::image(1, &[300_000]));
    let (folder, state) = (world.cut("out", LARGE), world.path("state"));
    (world, folder, state)
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_trusts_the_ca_and_goes_on_trusting_it_after_a_restart() {
    let skopeo = need!("skopeo");
    let (_world, folder, state) = world();
    let runner = Runner::new().unwrap();
    let made = auto(&state);
    fs_err::create_dir(runner.home().join("certs")).unwrap();
    fs_err::copy(&made.ca_certificate, runner.home().join("certs/ca.crt")).unwrap();
    let copy = async |served: &Served, name: &str, to: &str| {
        let from = format!("docker://{name}:{}/quay.io/org/app:v1", served.address.port());
        let args = ["--insecure-policy", "copy", "--src-cert-dir=certs", &from, to];
        runner.run(&skopeo, args).unwrap()
    };
    let served = behind(&folder, &made).await;
    for name in ["127.0.0.1", "localhost"] {
        let ran = copy(&served, name, &format!("dir:{name}")).await;
        assert!(ran.is_success(), "{name}: {ran}");
    }
    served.stop().await;

    let restarted = behind(&folder, &auto(&state)).await;
    let ran = copy(&restarted, "127.0.0.1", "dir:again").await;
    assert!(ran.is_success(), "{ran}");

    // Another CA is another server.
    let stranger = behind(&folder, &auto(&state.join("other"))).await;
    let ran = copy(&stranger, "127.0.0.1", "dir:stranger").await;
    assert!(!ran.is_success() && ran.stderr.contains("certificate"), "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_trusts_the_ca_alone() {
    let curl = need!("curl");
    let (_world, folder, state) = world();
    let (runner, made) = (Runner::new().unwrap(), auto(&state));
    let served = behind(&folder, &made).await;
    let ca = made.ca_certificate.display().to_string();
    let resolve = format!("registry.example:{}:127.0.0.1", served.address.port());
    let url = format!("https://registry.example:{}/v2/_catalog", served.address.port());
    let args = ["--silent", "--show-error", "--noproxy", "*", "--resolve", &resolve, &url];
    let trusting = runner.succeed(&curl, [&["--cacert", &ca], &args[..]].concat());
    assert_eq!(trusting, "{\"repositories\":[\"quay.io/org/app\"]}");
    let stranger = runner.run(&curl, args).unwrap();
    assert_eq!(stranger.code, Some(60), "{stranger}");
}

#[test]
fn the_config_map_is_yaml_and_holds_the_very_certificate() {
    let (_world, _, state) = world();
    let made = auto(&state);
    let certificate = fs_err::read_to_string(&made.ca_certificate).unwrap();
    let text = fs_err::read_to_string(&made.config_map).unwrap();
    let object: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(object["apiVersion"], "v1");
    assert_eq!(object["kind"], "ConfigMap");
    assert_eq!(object["metadata"]["namespace"], "openshift-config");
    let keys = ["registry.example..5000", "ca.crt", "ca-bundle.crt"];
    assert_eq!(object["data"].as_object().unwrap().len(), keys.len());
    for key in keys {
        assert_eq!(object["data"][key].as_str().unwrap(), certificate, "{key}");
    }
}
