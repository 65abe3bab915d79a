//! A TCP proxy on loopback that spoils what passes through it.
//!
//! For what a [`FakeRegistry`](crate::FakeRegistry) cannot play: real resets, latency, a narrow line, in front of
//! any server, under TLS as well. It knows nothing of HTTP: bytes are counted on each connection anew, as the
//! server sends them, headers included.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::background::{Background, listen};

/// What the line does to the bytes of one connection. The default passes them on as they are.
///
/// All offsets count the bytes that the server sends on that connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// A reset (RST) to both sides after this many bytes.
    pub cut_after: Option<u64>,
    /// Nothing more comes after this many bytes.
    pub stall_after: Option<u64>,
    /// This byte is another.
    pub flip_byte: Option<u64>,
    /// Both sides are reset after the client has sent this many bytes.
    pub cut_upload_after: Option<u64>,
    /// How long each piece takes in each direction.
    pub latency: Duration,
    /// Bytes a second, from the server, of all connections together.
    pub bytes_per_second: Option<u64>,
    /// New connections are reset at once.
    pub refuse: bool,
}

/// A running proxy; it ends, and all connections through it, when this is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _thread: Background,
}

/// What passed through a proxy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub connections: u64,
    /// Connections open now, and the most at one moment.
    pub open: u64,
    pub max_open: u64,
    /// Bytes from the clients to the server.
    pub up_bytes: u64,
    /// Bytes from the server to the clients.
    pub down_bytes: u64,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    /// When the narrow line is free again.
    line_free: AsyncMutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct State {
    line: Line,
    /// Lines for the next connections, before `line` counts again.
    next: Vec<Line>,
    traffic: Traffic,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// How one direction of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Cut,
}

impl FaultProxy {
    /// A proxy in front of `target`.
    pub fn to(target: SocketAddr) -> io::Result<Self> {
        let (listener, address) = listen(Ipv4Addr::LOCALHOST)?;
        let shared =
            Arc::new(Shared { target, state: Mutex::default(), line_free: AsyncMutex::default() });
        let thread = Background::run("fault proxy", {
            let shared = Arc::clone(&shared);
            move || serve(listener, shared)
        });
        Ok(Self { address, shared, _thread: thread })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `127.0.0.1:PORT`, as it stands in references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// From now on the line is like this, also for connections that are open.
    pub fn set(&self, line: Line) {
        self.shared.state().line = line;
    }

    /// The next connection has this line as long as it lives; those after it are as [`set`](Self::set).
    pub fn once(&self, line: Line) {
        self.shared.state().next.push(line);
    }

    pub fn traffic(&self) -> Traffic {
        self.shared.state().traffic
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `bytes` fit through the line.
    async fn squeeze(&self, bytes: usize, bytes_per_second: u64) {
        let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / bytes_per_second);
        let mut free = self.line_free.lock().await;
        let until = free.map_or_else(Instant::now, |free| free.max(Instant::now())) + takes;
        *free = Some(until);
        drop(free);
        tokio::time::sleep_until(until).await;
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(connection(client, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let own = {
        let mut state = shared.state();
        let traffic = &mut state.traffic;
        traffic.connections += 1;
        traffic.open += 1;
        traffic.max_open = traffic.max_open.max(traffic.open);
        (!state.next.is_empty()).then(|| state.next.remove(0))
    };
    carry(client, &shared, own.as_ref()).await;
    shared.state().traffic.open -= 1;
}

async fn carry(client: TcpStream, shared: &Shared, own: Option<&Line>) {
    let line = || own.cloned().unwrap_or_else(|| shared.state().line.clone());
    let server = match TcpStream::connect(shared.target).await {
        Ok(server) if !line().refuse => server,
        _ => {
            let _ = client.set_zero_linger();
            return;
        }
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ended = {
        let up = pump(&mut from_client, &mut to_server, shared, &line, Way::Up);
        let down = pump(&mut from_server, &mut to_client, shared, &line, Way::Down);
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut up => if ended == Ended::Cut { ended } else { down.await },
            ended = &mut down => if ended == Ended::Cut { ended } else { up.await },
        }
    };
    if ended == Ended::Cut {
        for half in [to_client, to_server] {
            let _ = half.as_ref().set_zero_linger();
            half.forget();
        }
    }
}

/// Carries one direction until it ends or the line cuts it.
async fn pump(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    shared: &Shared,
    line: &impl Fn() -> Line,
    way: Way,
) -> Ended {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0_u64;
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                let _ = to.shutdown().await;
                return Ended::Well;
            }
            Ok(count) => count,
        };
        let line = line();
        if line.latency > Duration::ZERO {
            tokio::time::sleep(line.latency).await;
        }
        let piece = &mut buffer[..count];
        let (cut, stall) = match way {
            Way::Up => (line.cut_upload_after, None),
            Way::Down => (line.cut_after, line.stall_after),
        };
        if way == Way::Down {
            flip(piece, passed, line.flip_byte);
            if let Some(rate) = line.bytes_per_second {
                shared.squeeze(count, rate).await;
            }
        }
        let room =
            |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit.saturating_sub(passed));
        let fits = usize::try_from(room(cut).min(room(stall))).unwrap_or(usize::MAX).min(count);
        if to.write_all(&piece[..fits]).await.is_err() {
            return Ended::Well;
        }
        passed += fits as u64;
        count_bytes(shared, way, fits as u64);
        if cut.is_some_and(|cut| passed >= cut) {
            return Ended::Cut;
        }
        if fits < count {
            std::future::pending::<()>().await;
        }
    }
}

fn flip(piece: &mut [u8], passed: u64, at: Option<u64>) {
    let index = at.and_then(|at| usize::try_from(at.checked_sub(passed)?).ok());
    if let Some(byte) = index.and_then(|index| piece.get_mut(index)) {
        *byte ^= 0x01;
    }
}

fn count_bytes(shared: &Shared, way: Way, bytes: u64) {
    let mut state = shared.state();
    match way {
        Way::Up => state.traffic.up_bytes += bytes,
        Way::Down => state.traffic.down_bytes += bytes,
    }
}
