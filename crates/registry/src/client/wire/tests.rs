//! One end of a connection is ours, the other one says what a server might.

use std::time::Duration;

use airlift_spec::Secret;
use http::{HeaderName, StatusCode};
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::*;
use crate::client::auth::basic_header;

const URL: &str = "http://registry.test:5000/v2/a/blobs/b?c=d";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast";

/// A client with connections that are there already; the last one is taken first.
fn with_connections(count: usize) -> (Wire, Vec<DuplexStream>) {
    let wire = Wire::new(&ClientOptions::default()).unwrap();
    let far = (0..count).map(|_| {
        let (near, far) = tokio::io::duplex(1 << 20);
        home(&wire).keep(Box::new(near));
        far
    });
    let far = far.collect();
    (wire, far)
}

fn home(wire: &Wire) -> Home {
    let place = Place { is_verified: true, origin: "http://registry.test:5000".to_owned() };
    Home { idle: Arc::clone(&wire.idle), place }
}

fn kept(wire: &Wire) -> usize {
    wire.idle.kept.lock().unwrap().values().map(Vec::len).sum()
}

async fn send(wire: &Wire, method: Method, body: Outgoing) -> Result<Response, WireError> {
    let url = Url::parse(URL).unwrap();
    wire.exchange(Transport::Plain, method, &url, HeaderMap::new(), body).await
}

async fn get(wire: &Wire) -> Result<Response, WireError> {
    send(wire, Method::GET, nothing()).await
}

/// Reads a request up to the end of its head.
async fn head(far: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(far.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The body, read `room` bytes at a time.
async fn all(response: &mut Response, room: usize) -> Result<Vec<u8>, WireError> {
    let (mut all, mut room) = (Vec::new(), vec![0; room]);
    loop {
        match response.read(&mut room).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&room[..count]),
        }
    }
}

/// A server that hears one request, answers it in pieces, and hangs up if that is how its answers end.
async fn hear(mut far: DuplexStream, answer: &[&[u8]], hangs_up: bool) -> DuplexStream {
    head(&mut far).await;
    for piece in answer {
        far.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    if hangs_up {
        far.shutdown().await.unwrap();
    }
    far
}

/// What comes of a GET, read `room` bytes at a time, and how many connections are kept after it.
async fn answered(
    answer: &[&[u8]],
    hangs_up: bool,
    room: usize,
) -> (Result<Vec<u8>, WireError>, usize) {
    let (wire, mut far) = with_connections(1);
    let asked = async { all(&mut get(&wire).await?, room).await };
    let (_far, found) = tokio::join!(hear(far.remove(0), answer, hangs_up), asked);
    (found, kept(&wire))
}

#[tokio::test]
async fn a_request_says_what_it_is_about() {
    let (wire, mut far) = with_connections(1);
    let server = async {
        let head = head(&mut far[0]).await;
        far[0].write_all(LAST).await.unwrap();
        head
    };
    let (head, answer) = tokio::join!(server, get(&wire));
    answer.unwrap();
    assert!(head.starts_with("GET /v2/a/blobs/b?c=d HTTP/1.1\r\n"), "{head}");
    for line in ["host: registry.test:5000\r\n", "accept: */*\r\n", "user-agent: airlift/"] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

/// What is sent for `url` by a client with a proxy for everything.
fn sent_for(url: &str, given: &[(HeaderName, &'static str)]) -> Request<Outgoing> {
    let mut options = ClientOptions::default();
    let proxy = Some(Secret::new("http://jane:hunter2@proxy.test".to_owned()));
    (options.proxy.http, options.proxy.https) = (proxy.clone(), proxy);
    let mut request = Request::new(nothing());
    for (name, value) in given {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let url = Url::parse(url).unwrap();
    Wire::new(&options).unwrap().complete(&mut request, &url).unwrap();
    request
}

#[test]
fn a_proxy_is_sent_the_whole_address_and_its_login_and_nobody_else_is() {
    let login = basic_header("jane", &Secret::new("hunter2".to_owned()));
    let request = sent_for("http://registry.test/v2/?a=b#c", &[]);
    assert_eq!(request.uri(), "http://registry.test/v2/?a=b");
    assert_eq!(request.headers().get(PROXY_AUTHORIZATION), Some(&login));
    for url in ["https://registry.test/v2/?a=b#c", "http://127.0.0.1/v2/?a=b"] {
        let request = sent_for(url, &[]);
        assert_eq!(request.uri(), "/v2/?a=b");
        assert_eq!(request.headers().get(PROXY_AUTHORIZATION), None, "{url}");
    }
}

#[test]
fn a_login_in_an_address_goes_into_a_header_where_there_is_no_other() {
    let login = basic_header("u", &Secret::new("a:b".to_owned()));
    let url = "http://u:a%3Ab@registry.test:81/v2/";
    let request = sent_for(url, &[]);
    assert_eq!(request.uri(), "http://registry.test:81/v2/");
    assert_eq!(request.headers()[HOST], "registry.test:81");
    assert_eq!(request.headers()[AUTHORIZATION], login);
    let request = sent_for(url, &[(AUTHORIZATION, "Bearer t")]);
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer t");
}

#[tokio::test]
async fn a_connection_is_kept_where_nothing_but_the_body_was_on_it() {
    const CHUNKS: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nla\r\n2\r\nst\r\n0\r\n\r\n";
    const CLOSING: &[u8] =
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 4\r\n\r\nlast";
    const OLD: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nlast";
    const OTHER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nlast";
    let is = async |answer: &[&[u8]], hangs_up, body: &str, kept| {
        for room in [1, 3, 100] {
            let found = answered(answer, hangs_up, room).await;
            assert_eq!(
                (found.0.unwrap().as_slice(), found.1),
                (body.as_bytes(), kept),
                "{answer:?}"
            );
        }
    };
    is(&[LAST], false, "last", 1).await;
    is(&[CHUNKS], false, "last", 1).await;
    is(&[EMPTY], false, "", 1).await;
    is(&[CLOSING], false, "last", 0).await;
    is(&[OLD], false, "last", 0).await;
    is(&[ENDLESS], true, "last", 0).await;
    is(&[OTHER], false, "", 0).await;
    // Kept, the rest would be taken for the answer to the next question.
    is(&[&[LAST, LAST].concat()], false, "last", 0).await;
}

#[tokio::test]
async fn a_body_is_whole_wherever_it_is_cut_on_its_way() {
    let body = vec![7; 20_000];
    let whole = [b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n".as_slice(), &body].concat();
    let begin = whole.len() - body.len();
    for cut in [1, 20, begin - 1, begin, begin + 1, 8_191, 8_192, 8_193, whole.len() - 1] {
        let (first, rest) = whole.split_at(cut);
        let (found, kept) = answered(&[first, rest], false, 1_000).await;
        assert!(found.unwrap() == body, "cut at {cut}");
        assert_eq!(kept, 1, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_and_the_end_of_its_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlast",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlast",
    ] {
        // Seen with the last bytes, or after them.
        for pieces in [&[answer.as_bytes()] as &[&[u8]], &[answer.as_bytes(), b""]] {
            let (found, kept) = answered(pieces, true, 100).await;
            assert!(found.is_err(), "{answer}");
            assert_eq!(kept, 0, "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_nobody_reads_keeps_its_connection_if_it_came_whole() {
    for (length, kept_then) in [(4, 1), (5, 0)] {
        let (wire, mut far) = with_connections(1);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nlast");
        let answer = [answer.as_bytes()];
        let (_far, response) = tokio::join!(hear(far.remove(0), &answer, false), get(&wire));
        drop(response.unwrap());
        assert_eq!(kept(&wire), kept_then);
    }
}

#[tokio::test]
async fn an_answer_before_all_is_sent_ends_the_connection_and_is_read() {
    let (wire, mut far) = with_connections(1);
    let (tx, rx) = mpsc::channel(1);
    tx.send(Bytes::from_static(b"half")).await.unwrap();
    let asked = async {
        let body = Outgoing::Right(SizedBody::new(rx, 8));
        let mut response = send(&wire, Method::PUT, body).await.unwrap();
        // Whoever made the body sees the answer, and stops.
        drop(tx);
        (response.status(), all(&mut response, 100).await.unwrap())
    };
    let no = [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n" as &[u8], b"no"];
    let (_far, found) = tokio::join!(hear(far.remove(0), &no, false), asked);
    assert_eq!(found, (StatusCode::FORBIDDEN, b"no".to_vec()));
    assert_eq!(kept(&wire), 0, "the other half of the body may still be expected on it");
}

#[tokio::test]
async fn an_answer_after_all_is_sent_keeps_the_connection() {
    const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    const OLD: &[u8] =
        b"HTTP/1.0 201 Created\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    for (answer, is_read, kept_then) in
        [(LAST, true, 1), (CREATED, true, 1), (CREATED, false, 1), (OLD, true, 0)]
    {
        let (wire, mut far) = with_connections(1);
        let server = async {
            head(&mut far[0]).await;
            far[0].read_exact(&mut [0; 8]).await.unwrap();
            far[0].write_all(answer).await.unwrap();
        };
        let asked = async {
            let body = Outgoing::Left(Bytes::from_static(b"complete").into());
            let mut response = send(&wire, Method::PUT, body).await.unwrap();
            if is_read {
                assert!(answer.ends_with(&all(&mut response, 100).await.unwrap()));
            }
        };
        tokio::join!(server, asked);
        assert_eq!(kept(&wire), kept_then, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_or_lay_too_long_is_not_used() {
    let (wire, mut far) = with_connections(2);
    far[1].write_all(LAST).await.unwrap();
    // Nobody asked: whatever it says is no answer.
    assert!(wire.idle.take(&home(&wire).place).is_some());
    assert!(wire.idle.take(&home(&wire).place).is_none());

    let (wire, mut far) = with_connections(2);
    drop(far.pop());
    assert!(wire.idle.take(&home(&wire).place).is_some());
    assert!(wire.idle.take(&home(&wire).place).is_none(), "its end was seen");

    let (wire, _far) = with_connections(1);
    tokio::time::advance(IDLE_FOR + Duration::from_secs(1)).await;
    assert!(wire.idle.take(&home(&wire).place).is_none());

    let (wire, _far) = with_connections(1);
    tokio::time::advance(IDLE_FOR + Duration::from_secs(1)).await;
    let elsewhere = Place { is_verified: true, origin: "https://cdn.test".to_owned() };
    Home { idle: Arc::clone(&wire.idle), place: elsewhere }.keep(Box::new(tokio::io::empty()));
    assert_eq!(kept(&wire), 1, "the old one went, though nobody asks there again");
}

#[tokio::test]
async fn a_question_that_a_dying_connection_swallows_is_asked_on_the_next() {
    let (wire, mut far) = with_connections(2);
    let dying = hear(far.pop().unwrap(), &[], true);
    let alive = hear(far.pop().unwrap(), &[LAST], false);
    let asked = async { all(&mut get(&wire).await.unwrap(), 100).await.unwrap() };
    let (_dying, _alive, found) = tokio::join!(dying, alive, asked);
    assert_eq!((found.as_slice(), kept(&wire)), (b"last".as_slice(), 1));
}

#[tokio::test]
async fn what_changes_something_is_not_sent_twice_unasked() {
    let (wire, mut far) = with_connections(2);
    let dying = hear(far.pop().unwrap(), &[], true);
    let (_dying, sent) = tokio::join!(dying, send(&wire, Method::POST, nothing()));
    assert!(sent.is_err());
    assert_eq!(kept(&wire), 1, "the other one was left alone");
}

#[tokio::test]
async fn no_more_connections_are_kept_than_may_be_used_at_once() {
    let max = ClientOptions::default().max_in_flight.get();
    let (wire, _far) = with_connections(max + 3);
    assert_eq!(kept(&wire), max);
    let elsewhere = Place { is_verified: true, origin: "https://cdn.test".to_owned() };
    for _ in 0..2 {
        let home = Home { idle: Arc::clone(&wire.idle), place: elsewhere.clone() };
        home.keep(Box::new(tokio::io::duplex(1).0));
    }
    assert_eq!(kept(&wire), max, "wherever they lead");
    assert_eq!(wire.idle.kept.lock().unwrap()[&elsewhere].len(), 2);
}
