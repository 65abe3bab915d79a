//! More than the system lets a process have files for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use airlift_testkit::{FakeRegistry, World, samples};

use crate::world::{succeed, world};

/// Runs airlift, `$0`, with few files: room for the program itself and a few connections.
const FEW_FOR_NOW: &str = r#"ulimit -Sn 24; exec "$0" "$@""#;

/// Runs airlift, `$0`, with few files.
const FEW_FILES: &str = r#"ulimit -n 80; exec "$0" "$@""#;

#[test]
fn more_clients_than_a_server_has_files_wait_for_their_turn_and_all_are_served() {
    const CLIENTS: usize = 200;
    let registry = FakeRegistry::start();
    let sample = samples::image(1, &[1 << 20]);
    registry.put("team/app", "v1", &sample);
    let near = world();
    near.write_stack("demo", &[&registry.reference("team/app", "v1")]).unwrap();
    succeed(&near, ["resolve", "--store", "store"]);
    succeed(&near, ["fetch", "--store", "store"]);

    let far = World::new("sh").unwrap();
    let source = format!("store:{}", near.path().join("store").display());
    let airlift = env!("CARGO_BIN_EXE_airlift");
    let serve = ["-c", FEW_FILES, airlift, "serve", &source, "--listen", "127.0.0.1:0"];
    let mut server = far.spawn(serve).unwrap();
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let address = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();

    let (digest, bytes) = sample.blobs_by_size()[0];
    // All are there before the first of them says anything.
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let ask = |mut client: TcpStream| {
        let path = format!("/v2/team/app/blobs/{digest}");
        write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    };
    let answers: Vec<Vec<u8>> = thread::scope(|scope| {
        let clients: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(|| ask(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for answer in answers {
        let head = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        assert!(head.starts_with("HTTP/1.1 200") && answer.ends_with(bytes), "{head}");
    }
    let ended = server.terminate().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn a_limit_of_open_files_that_may_be_raised_stops_no_fetch() {
    let sizes: Vec<usize> = (0..60).map(|blob| 10_000 + blob).collect();
    let registry = FakeRegistry::start();
    registry.put("team/app", "v1", &samples::image(1, &sizes));
    let near = world();
    near.write_stack("demo", &[&registry.reference("team/app", "v1")]).unwrap();
    let few = World::new("sh").unwrap();
    let stack = near.path().join("airlift.yaml");
    let airlift = env!("CARGO_BIN_EXE_airlift");
    let stack = stack.to_str().unwrap();
    succeed(&few, ["-c", FEW_FOR_NOW, airlift, "--store", "store", "resolve", "-f", stack]);
    succeed(&few, ["-c", FEW_FOR_NOW, airlift, "--store", "store", "fetch"]);
}
