//! A server that is told to stop while it sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use airlift_spec::Digest;

use crate::plant::Plant;

#[test]
fn a_server_that_is_told_to_stop_finishes_what_it_sends() {
    // More than sockets hold between the two ends, so that the answer is still under way.
    let plant = Plant::bundled(&[48 << 20], "20MiB");
    let (digest, bytes) = plant.image.blobs_by_size()[0];
    let mut server = plant.start(&["serve", "out", "--listen", "127.0.0.1:0"]);
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let address = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();

    let mut download = TcpStream::connect(&address).unwrap();
    let path = format!("/v2/team/app/blobs/{digest}");
    write!(download, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut first = [0; 4096];
    let count = download.read(&mut first).unwrap();
    server.signal("TERM").unwrap();
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }

    let mut answer = first[..count].to_vec();
    download.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(answer.len() - end, bytes.len(), "it was cut short");
    assert_eq!(Digest::of(&answer[end..]), digest);
    let ended = server.wait().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
}
