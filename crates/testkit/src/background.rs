//! A server's own thread and runtime, so that tests may be synchronous, or pause their clock.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

/// Work on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    cancel: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs `work` until it ends or this is dropped; everything that it spawned ends with it.
    pub(crate) fn run<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()>,
    {
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs a few file descriptors");
            runtime.block_on(async { cancelled.run_until_cancelled(work()).await });
        });
        Self { cancel, thread: Some(thread.expect("a thread can be started")) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.cancel.cancel();
        // A panic over there was printed over there; a second one here would abort the test run.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A listener on a free port of `ip`, ready for tokio.
pub(crate) fn listen(ip: impl Into<IpAddr>) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((ip.into(), 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
