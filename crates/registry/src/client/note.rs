//! Where an unfinished upload goes on, on disk.
//!
//! ```text
//! <state>/uploads/<hex>.json    `{"format":1,"location":…}`; <hex> names registry, repository and blob
//! ```
//!
//! **Concurrency.** The file is held by flock while its upload runs; who comes second uploads without a note.
//! **Crash.** A note that was cut is no note; one that leads nowhere costs one request and a new start.
//! **Secrets.** A `Location` may let its bearer write to that upload: the file is the owner's alone.

use std::io::Read as _;
use std::path::Path;

use fs_err as fs;
use fs_err::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use url::Url;

use super::error::ClientError;

/// A note is a few hundred bytes, most of them the registry's `Location`.
const MAX_NOTE_BYTES: u64 = 64 << 10;

/// Where an upload goes on, on disk and held by us.
#[derive(Debug)]
pub(crate) struct Note {
    file: fs::File,
    /// It was not there: nothing is known of an earlier upload.
    pub(crate) is_new: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct NoteWire {
    format: u32,
    location: String,
}

impl Note {
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Option<Self>, ClientError> {
        let path = folder.join(format!("{name}.json"));
        let failed = |source| ClientError::State { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(err)) => return Err(failed(err)),
        }
        let is_new = file.metadata().map_err(failed)?.len() == 0;
        Ok(Some(Self { file, is_new }))
    }

    pub(crate) fn read(&self) -> Option<Url> {
        let mut text = Vec::new();
        (&self.file).take(MAX_NOTE_BYTES).read_to_end(&mut text).ok()?;
        let wire: NoteWire = serde_json::from_slice(&text).ok()?;
        (wire.format == 1).then(|| Url::parse(&wire.location).ok())?
    }

    pub(crate) fn write(&self, location: &Url) -> Result<(), ClientError> {
        let wire = NoteWire { format: 1, location: location.to_string() };
        let text = serde_json::to_vec(&wire).expect("a number and a text are JSON");
        let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(&text, 0));
        written.map_err(|source| self.failed(source))
    }

    pub(crate) fn remove(self) -> Result<(), ClientError> {
        fs::remove_file(self.file.path()).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> ClientError {
        ClientError::State { path: self.file.path().to_owned(), source }
    }
}
