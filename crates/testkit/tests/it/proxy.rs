use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use airlift_testkit::proxy::{FaultProxy, Line};
use airlift_testkit::samples::noise;

/// A server that sends `bytes` to whoever sends it one byte, then reads on.
fn server(bytes: &[u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bytes = bytes.to_vec();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let bytes = bytes.clone();
            std::thread::spawn(move || {
                let _ = stream.read_exact(&mut [0]);
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                std::io::copy(&mut stream, &mut std::io::sink())
            });
        }
    });
    address
}

/// What arrives through `proxy`, and the error that ended it.
fn pull(proxy: &FaultProxy) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut bytes = Vec::new();
    let sent = stream.write_all(b"!");
    let read = stream.read_to_end(&mut bytes);
    (bytes, sent.err().or(read.err()).map(|err| err.kind()))
}

fn proxy(bytes: &[u8]) -> FaultProxy {
    FaultProxy::to(server(bytes)).unwrap()
}

#[test]
fn without_faults_everything_passes_and_is_counted() {
    let bytes = noise(1, 300_000);
    let proxy = proxy(&bytes);
    assert_eq!(pull(&proxy), (bytes, None));
    let traffic = proxy.traffic();
    assert_eq!((traffic.connections, traffic.up_bytes, traffic.down_bytes), (1, 1, 300_000));
}

#[test]
fn a_cut_is_a_reset_and_may_happen_once() {
    let bytes = noise(1, 300_000);
    let proxy = proxy(&bytes);
    proxy.once(Line { cut_after: Some(100_000), ..Line::default() });
    let (got, error) = pull(&proxy);
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    assert!(got.len() <= 100_000 && bytes.starts_with(&got));
    assert_eq!(proxy.traffic().down_bytes, 100_000);
    assert_eq!(pull(&proxy), (bytes, None));
}

#[test]
fn a_stall_is_silence() {
    let bytes = noise(1, 300_000);
    let proxy = proxy(&bytes);
    proxy.set(Line { stall_after: Some(70_000), ..Line::default() });
    assert_eq!(pull(&proxy), (bytes[..70_000].to_vec(), Some(ErrorKind::WouldBlock)));
}

#[test]
fn one_byte_is_flipped_wherever_it_lies() {
    let bytes = noise(1, 300_000);
    let proxy = proxy(&bytes);
    for at in [0, 65_535, 65_536, 299_999] {
        proxy.set(Line { flip_byte: Some(at as u64), ..Line::default() });
        let (got, _) = pull(&proxy);
        let differing: Vec<usize> = (0..bytes.len()).filter(|at| got[*at] != bytes[*at]).collect();
        assert_eq!(differing, [at]);
    }
}

#[test]
fn uploads_are_cut_as_well() {
    let proxy = proxy(b"");
    proxy.set(Line { cut_upload_after: Some(50_000), ..Line::default() });
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let sent = stream.write_all(&noise(1, 50_000_000));
    assert!(sent.is_err());
    assert_eq!(proxy.traffic().up_bytes, 50_000);
}

#[test]
fn a_refused_connection_ends_at_once() {
    let proxy = proxy(b"never");
    proxy.set(Line { refuse: true, ..Line::default() });
    let (got, error) = pull(&proxy);
    assert_eq!((got.len(), error.is_some()), (0, true));
}

#[test]
fn latency_and_rate_take_their_time() {
    let proxy = proxy(&noise(1, 100_000));
    proxy.set(Line { latency: Duration::from_millis(30), ..Line::default() });
    let begin = Instant::now();
    assert_eq!(pull(&proxy).0.len(), 100_000);
    assert!(begin.elapsed() >= Duration::from_millis(60), "30 ms up, 30 ms down");

    proxy.set(Line { bytes_per_second: Some(1_000_000), ..Line::default() });
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(pull(&proxy).0.len(), 100_000));
        }
    });
    assert!(begin.elapsed() >= Duration::from_millis(200), "two pulls share one line");
    assert_eq!(proxy.traffic().max_open, 2);
}
