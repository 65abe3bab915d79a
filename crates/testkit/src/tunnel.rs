//! A proxy on loopback that leads everything it is asked for to one server: `CONNECT` and SOCKS5.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::background::{Background, listen};

/// A running proxy; it ends, and all connections through it, when this is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _thread: Background,
}

/// How the proxy wants to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Connect,
    /// `CONNECT`, refused with 407.
    Refusing,
    Socks5,
    /// SOCKS5, where no login is the right one.
    RefusingSocks5,
}

impl Tunnel {
    pub fn to(target: SocketAddr, manner: Manner) -> io::Result<Self> {
        let (listener, address) = listen(Ipv4Addr::LOCALHOST)?;
        let asked = Arc::new(Mutex::default());
        let thread = Background::run("tunnel", {
            let asked = Arc::clone(&asked);
            move || async move {
                let listener = TcpListener::from_std(listener).expect("it does not block");
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(lead(client, target, manner, Arc::clone(&asked)));
                }
            }
        });
        Ok(Self { address, asked, _thread: thread })
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked for, with the login that was shown: `u:p registry.test:443`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn lead(
    mut client: TcpStream,
    target: SocketAddr,
    manner: Manner,
    asked: Arc<Mutex<Vec<String>>>,
) -> io::Result<()> {
    const NO: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let (wanted, answer, leads_on): (String, &[u8], bool) = match manner {
        Manner::Connect => (connect(&mut client).await?, b"HTTP/1.1 200 OK\r\n\r\n", true),
        Manner::Refusing => (connect(&mut client).await?, NO, false),
        Manner::Socks5 => (socks5(&mut client).await?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], true),
        Manner::RefusingSocks5 => (login(&mut client).await?, &[1, 1], false),
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(wanted);
    client.write_all(answer).await?;
    if leads_on {
        let mut server = TcpStream::connect(target).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// Reads the head of a `CONNECT`.
async fn connect(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let line = head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| format!("{value} ")).unwrap_or_default()
    };
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    Ok(header("proxy-authorization") + target.unwrap_or(&head))
}

/// Reads the greeting, the login where there is one, and the request.
async fn socks5(client: &mut TcpStream) -> io::Result<String> {
    let mut login = login(client).await?;
    if !login.is_empty() {
        client.write_all(&[1, 0]).await?;
        login.push(' ');
    }
    let [_, _, _, kind] = exactly(client).await?;
    let host = match kind {
        1 => Ipv4Addr::from(exactly(client).await?).to_string(),
        _ => text(client).await?,
    };
    Ok(format!("{login}{host}:{}", client.read_u16().await?))
}

/// Reads the greeting, and the login of who has one.
async fn login(client: &mut TcpStream) -> io::Result<String> {
    let [_, count] = exactly(client).await?;
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods).await?;
    if !methods.contains(&2) {
        client.write_all(&[5, 0]).await?;
        return Ok(String::new());
    }
    client.write_all(&[5, 2]).await?;
    let [_] = exactly(client).await?;
    Ok(format!("{}:{}", text(client).await?, text(client).await?))
}

async fn exactly<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A text after its length.
async fn text(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
