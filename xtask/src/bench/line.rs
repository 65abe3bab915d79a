//! A line as it is outside: so much latency, and so many bytes a second for all connections together.
//!
//! Threads and blocking sockets: each connection has one thread that reads and one that writes in each
//! direction, with the bytes that are on their way in a queue between them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// What a line is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    /// From a request's last byte to the first of its answer, if the server takes no time.
    pub(super) round_trip: Duration,
    /// In each direction.
    pub(super) bytes_per_second: u64,
}

const PIECE_BYTES: usize = 64 << 10;

/// Pieces under way on one connection: a line of 1 Gbit/s and 30 ms holds 58.
const PIECES_UNDER_WAY: usize = 256;

/// When a direction of the line is free again.
#[derive(Debug, Clone)]
struct Wire {
    free: Arc<Mutex<Instant>>,
    quality: Quality,
}

impl Wire {
    fn new(quality: Quality) -> Self {
        Self { free: Arc::new(Mutex::new(Instant::now())), quality }
    }

    /// When bytes that are sent now arrive on the other side.
    fn arrival(&self, bytes: usize) -> Instant {
        let takes =
            Duration::from_nanos(1_000_000_000 * bytes as u64 / self.quality.bytes_per_second);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + takes;
        *free + self.quality.round_trip / 2
    }
}

/// Opens a line to `server`, for as long as this process lives.
pub(super) fn open(server: SocketAddr, quality: Quality) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let (up, down) = (Wire::new(quality), Wire::new(quality));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (up, down) = (up.clone(), down.clone());
            thread::spawn(move || connection(client, server, up, down));
        }
    });
    Ok(address)
}

/// Ends when either side does.
fn connection(client: TcpStream, server: SocketAddr, up: Wire, down: Wire) -> Option<()> {
    // The handshake goes there and back before anything else does.
    thread::sleep(up.quality.round_trip);
    let server = TcpStream::connect(server).ok()?;
    for socket in [&client, &server] {
        socket.set_nodelay(true).ok()?;
    }
    let (from_client, to_client) = (client.try_clone().ok()?, client);
    let (from_server, to_server) = (server.try_clone().ok()?, server);
    carry(from_client, to_server, up);
    carry(from_server, to_client, down);
    Some(())
}

fn carry(from: TcpStream, to: TcpStream, wire: Wire) {
    let (tx, rx) = sync_channel(PIECES_UNDER_WAY);
    thread::spawn(move || send(from, &tx, &wire));
    thread::spawn(move || deliver(&rx, to));
}

type Piece = (Instant, Vec<u8>);

fn send(mut from: TcpStream, tx: &SyncSender<Piece>, wire: &Wire) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if tx.send((wire.arrival(count), buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(rx: &Receiver<Piece>, mut to: TcpStream) {
    while let Ok((due, bytes)) = rx.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Also tells the thread that reads from the other end of this socket.
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_after_half_a_round_trip_and_one_after_the_other() {
        let wire =
            Wire::new(Quality { round_trip: Duration::from_secs(2), bytes_per_second: 1000 });
        let start = Instant::now();
        let (first, second) = (wire.arrival(1000), wire.clone().arrival(500));
        assert!(first - start >= Duration::from_secs(2), "{:?}", first - start);
        assert_eq!(second - first, Duration::from_millis(500));
    }

    #[test]
    fn what_goes_in_comes_out() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = listener.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut bytes = [0; 5];
            socket.read_exact(&mut bytes).unwrap();
            socket.write_all(&bytes).unwrap();
        });
        let quality = Quality { round_trip: Duration::from_millis(1), bytes_per_second: 1_000_000 };
        let mut socket = TcpStream::connect(open(server, quality).unwrap()).unwrap();
        socket.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"hello");
        echo.join().unwrap();
    }
}
