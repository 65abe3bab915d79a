//! Through proxies of every kind: what each is asked for, with which login, and what it says when it refuses.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use airlift_registry::client::{Client, ClientError, ClientOptions, Repository};
use airlift_spec::error::chain;
use airlift_spec::{Class, Ctx, Explain as _, Secret};
use airlift_testkit::registry::{FakeOptions, Tls};
use airlift_testkit::samples;
use airlift_testkit::tunnel::{Manner, Tunnel};
use airlift_testkit::{FakeRegistry, Fault, On};

use super::{fetch, options, with_blob};

/// Nobody but a proxy knows where it is.
const HOST: &str = "registry.test";

fn far() -> Repository {
    Repository { host: HOST.to_owned(), path: "team/app".to_owned() }
}

/// In the clear, since no certificate is for [`HOST`].
fn plain() -> ClientOptions {
    let plain_http = BTreeSet::from([HOST.to_owned()]);
    ClientOptions { plain_http, attempts: 1.try_into().unwrap(), ..options() }
}

/// With TLS, and no look at the certificate.
fn lenient() -> ClientOptions {
    ClientOptions { verifies_tls: false, attempts: 1.try_into().unwrap(), ..options() }
}

fn tls() -> FakeOptions {
    FakeOptions { tls: Tls::On, ..FakeOptions::default() }
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn plain_http_is_asked_of_the_proxy_itself() {
    // The registry itself stands in for the proxy: it sees who asks it for another host.
    let proxy = FakeRegistry::start();
    let mut options = plain();
    options.proxy.http = Some(Secret::new(format!("jane:hunter2@{}", proxy.host())));
    let client = Client::new(options.clone()).unwrap();
    let _ = client.describe(&far(), "v1", &Ctx::default()).await;
    let seen = proxy.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("host"), Some(HOST));
    let basic = seen[0].header("proxy-authorization").unwrap();
    assert_eq!(basic, "Basic amFuZTpodW50ZXIy");

    options.proxy.no_proxy = ".test".to_owned();
    let direct = Client::new(options).unwrap();
    let err = direct.describe(&far(), "v1", &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Unreachable { .. }), "{err}");
    assert_eq!(proxy.requests().len(), 1);
}

#[tokio::test]
async fn a_proxy_may_want_tls_itself() {
    let proxy = FakeRegistry::with(tls());
    let mut options = plain();
    options.ca_pem = vec![proxy.certificates().ca_pem.clone().into_bytes()];
    options.proxy.http = Some(Secret::new(proxy.url()));
    let client = Client::new(options).unwrap();
    let _ = client.describe(&far(), "v1", &Ctx::default()).await;
    let seen = proxy.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].header("host"), seen[0].header("proxy-authorization")), (Some(HOST), None));
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let registry = FakeRegistry::with(tls());
    let (_, blob, bytes) = with_blob(&registry, 2_000_000);
    let tunnel = Tunnel::to(registry.address(), Manner::Connect).unwrap();
    let mut options = lenient();
    options.proxy.https = Some(Secret::new(format!("http://jane:hunter2@{}", tunnel.host())));
    let client = Client::new(options).unwrap();
    assert!(fetch(&client, &far(), &blob).await == bytes);
    assert!(client.describe(&far(), "v1", &Ctx::default()).await.unwrap().is_some());
    assert_eq!(tunnel.asked(), ["Basic amFuZTpodW50ZXIy registry.test:443"], "one connection");
}

#[tokio::test]
async fn tls_goes_through_socks() {
    let registry = FakeRegistry::with(tls());
    registry.put("team/app", "v1", &samples::image(1, &[10_000]));
    let tunnel = Tunnel::to(registry.address(), Manner::Socks5).unwrap();
    let mut options = lenient();
    options.proxy.https = Some(Secret::new(format!("socks5h://{}", tunnel.host())));
    let client = Client::new(options).unwrap();
    assert!(client.describe(&far(), "v1", &Ctx::default()).await.unwrap().is_some());
    assert_eq!(tunnel.asked(), ["registry.test:443"]);
}

#[tokio::test]
async fn a_proxy_with_a_wrong_certificate_is_not_taken_for_the_registry() {
    let proxy = FakeRegistry::with(tls());
    let mut options = plain();
    options.proxy.http = Some(Secret::new(proxy.url()));
    let client = Client::new(options).unwrap();
    let err = client.describe(&far(), "v1", &Ctx::default()).await.unwrap_err();
    assert!(matches!(err, ClientError::Unreachable { .. }), "{err:?}");
    let words = format!("the proxy {}: ", proxy.host());
    assert!(chain(&err).contains(&words), "{}", chain(&err));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    for kind in ["http", "https", "socks5h"] {
        let mut options = plain();
        let free = nobody();
        options.proxy.http = Some(Secret::new(format!("{kind}://{free}")));
        let client = Client::new(options).unwrap();
        let err = client.describe(&far(), "v1", &Ctx::default()).await.unwrap_err();
        let words = format!("the proxy {free}: ");
        assert!(chain(&err).contains(&words), "{}", chain(&err));
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_is_asked_once_and_named_and_its_password_is_not() {
    let registry = FakeRegistry::with(tls());
    let tunnel = Tunnel::to(registry.address(), Manner::Refusing).unwrap();
    let mut connect = ClientOptions { attempts: 3.try_into().unwrap(), ..lenient() };
    connect.proxy.https = Some(Secret::new(format!("http://jane:hunter2@{}", tunnel.host())));
    let passing = FakeRegistry::start();
    passing.fail_always(On::manifests(), Fault::Status(407, Vec::new()));
    let mut forward = ClientOptions { attempts: 3.try_into().unwrap(), ..plain() };
    forward.proxy.http = Some(Secret::new(format!("http://jane:hunter2@{}", passing.host())));
    let socks = Tunnel::to(registry.address(), Manner::RefusingSocks5).unwrap();
    let mut by_socks = ClientOptions { attempts: 3.try_into().unwrap(), ..lenient() };
    by_socks.proxy.https = Some(Secret::new(format!("socks5h://jane:hunter2@{}", socks.host())));
    let tries = [
        (connect, tunnel.host(), "407"),
        (forward, passing.host(), "407"),
        (by_socks, socks.host(), "SOCKS error: credentials not accepted"),
    ];
    for (options, proxy, reason) in tries {
        let client = Client::new(options).unwrap();
        let err = client.describe(&far(), "v1", &Ctx::default()).await.unwrap_err();
        let said = chain(&err);
        assert_eq!(err.class(), Class::Access, "{said}");
        assert!(said.contains(&format!("the proxy {proxy} refused: {reason}")), "{said}");
        assert!(err.help().unwrap().contains("HTTPS_PROXY"));
        assert!(!said.contains("hunter2"), "{said}");
    }
    let asked = (tunnel.asked().len(), passing.requests().len(), socks.asked().len());
    assert_eq!(asked, (1, 1, 1));
    assert!(registry.requests().is_empty());
}

#[tokio::test]
async fn socks_is_told_a_name_or_an_address_and_who_asks() {
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &[10_000]));
    let ask = async |proxy: &str, there: &Repository| {
        let tunnel = Tunnel::to(registry.address(), Manner::Socks5).unwrap();
        let mut options = plain();
        options.plain_http.insert(there.host.clone());
        options.proxy.http = Some(Secret::new(proxy.replace("HOST", &tunnel.host())));
        let client = Client::new(options).unwrap();
        let found = client.describe(there, "v1", &Ctx::default()).await;
        assert!(found.unwrap().is_some(), "{proxy}");
        tunnel.asked()
    };
    assert_eq!(ask("socks5h://HOST", &far()).await, ["registry.test:80"]);
    assert_eq!(ask("socks5h://jane:a%3Ab@HOST", &far()).await, ["jane:a:b registry.test:80"]);
    // Documentation's network: no host has this address.
    let address = Repository { host: "192.0.2.1:5000".to_owned(), path: "team/app".to_owned() };
    assert_eq!(ask("socks5://HOST", &address).await, ["192.0.2.1:5000"]);
}
