//! Progress as a stream of events, and the context every long operation is handed.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;

/// Something that happened while a verb worked. Printed one a line by `--progress json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// A stretch of work begins; `total_bytes` and `items` are what it will move, as far as is known.
    PhaseStarted {
        phase: &'static str,
        items: u64,
        total_bytes: u64,
    },
    /// The stretch of work is over.
    PhaseFinished {
        phase: &'static str,
    },
    /// One item of the phase is done (a manifest resolved, an artifact pushed).
    ItemFinished {
        item: String,
    },
    /// One item could not be done; the rest goes on.
    ItemFailed {
        item: String,
        reason: String,
    },
    /// A blob starts to move. `resumed_bytes` of it were there already.
    TransferStarted {
        blob: Digest,
        total_bytes: u64,
        resumed_bytes: u64,
    },
    /// `bytes` more of a blob have moved.
    TransferAdvanced {
        blob: Digest,
        bytes: u64,
    },
    TransferFinished {
        blob: Digest,
    },
    /// The transfer of a blob stopped short of its end.
    TransferFailed {
        blob: Digest,
        reason: String,
    },
    /// A request is made again after a pause.
    Retried {
        what: String,
        attempt: u32,
        wait_ms: u64,
        reason: String,
    },
    /// A volume is being written or read.
    VolumeStarted {
        volume: String,
        total_bytes: u64,
    },
    VolumeAdvanced {
        volume: String,
        bytes: u64,
    },
    VolumeFinished {
        volume: String,
    },
    /// Something a person should read that is no error.
    Noted {
        message: String,
    },
}

/// Whom to tell. Cheap to clone; the default tells nobody.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }

    pub fn note(&self, message: impl Into<String>) {
        self.emit(Event::Noted { message: message.into() });
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// What every long operation is handed: whom to tell, and when to stop.
#[derive(Debug, Clone, Default)]
pub struct Ctx {
    pub events: Events,
    pub cancel: CancellationToken,
}

impl Ctx {
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
