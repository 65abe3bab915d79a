//! What the tests need beside cargo: Debian's registry and clients, and others built from the Go
//! module proxy.
//!
//! ```text
//! <cache>/              $AIRLIFT_TOOLS, else airlift-tools in the user's cache
//! ├── lock              held while anything is installed
//! ├── cargo-fuzz-<version>/
//! ├── go-<key>/         the Go toolchain, only where PATH has none that is new enough
//! └── <key>/bin/        what tools/go.mod pins; <key> is a hash of the pins
//! ```
//!
//! **Invariant.** A `go-<key>` or `<key>` folder is complete: it is built under another name.
//! **Concurrency.** A second run waits for the first, then finds everything there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::process::{cache, search_path, variable};

mod debian;
mod go;

/// Where the tools are, and what could not be had.
#[derive(Debug)]
pub(crate) struct Toolbox {
    /// The folder that holds the Go tools.
    pub(crate) bin: PathBuf,
    rows: Vec<Row>,
    missing: Vec<String>,
}

/// A line of the table that is shown at the end.
#[derive(Debug)]
struct Row {
    tool: String,
    version: String,
    place: PathBuf,
    source: String,
}

/// Installs everything and shows what is where.
pub(crate) fn run() -> Result {
    let toolbox = install()?;
    print!("{}", table(&toolbox.rows));
    match toolbox.missing.len() {
        0 => Ok(()),
        _ => Err(format!("not everything could be installed:\n{}", toolbox.missing()).into()),
    }
}

/// Installs what is not there yet. What fails is listed in the toolbox and does not stop the rest.
pub(crate) fn install() -> Result<Toolbox> {
    let pins = go::Pins::read()?;
    let home = home()?;
    let bin = go::bin(&home, &pins);
    let mut missing = Vec::new();
    if !debian::missing().is_empty() || !bin.is_dir() {
        let _lock = lock(&home)?;
        // Asked again under the lock: who held it before has done the work.
        missing.extend(debian::install().err().map(|err| err.to_string()));
        missing.extend(go::install(&home, &pins).err().map(|err| err.to_string()));
    }
    let mut rows = debian::rows();
    rows.extend(go::rows(&home, &pins));
    Ok(Toolbox { bin, rows, missing })
}

/// The folder that everything is installed into.
pub(crate) fn home() -> Result<PathBuf> {
    let home = match variable("AIRLIFT_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => cache("airlift-tools")?,
    };
    fs_err::create_dir_all(&home)?;
    Ok(home)
}

impl Toolbox {
    /// A `PATH` on which all of them are found.
    pub(crate) fn path(&self) -> Result<OsString> {
        let folders = std::iter::once(self.bin.clone()).chain(search_path());
        Ok(std::env::join_paths(folders)?)
    }

    /// What could not be had and why, a paragraph each; empty when all is there.
    pub(crate) fn missing(&self) -> String {
        let indented =
            self.missing.iter().map(|reason| format!("  {}", reason.replace('\n', "\n  ")));
        indented.collect::<Vec<_>>().join("\n")
    }
}

/// Takes the cache for this process alone. Closing the file gives it back.
fn lock(home: &Path) -> Result<fs_err::File> {
    let file = fs_err::File::create(home.join("lock"))?;
    if file.file().try_lock().is_err() {
        eprintln!("waiting for another `cargo xtask` to finish with {}", home.display());
        file.file().lock()?;
    }
    Ok(file)
}

fn table(rows: &[Row]) -> String {
    let width =
        |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).len()).max().unwrap_or(0);
    let (tool, version) = (width(|row| &row.tool), width(|row| &row.version));
    let source = width(|row| &row.source);
    let line = |row: &Row| {
        let Row { tool: name, version: number, place, source: from } = row;
        format!("{name:tool$}  {number:version$}  {from:source$}  {}\n", place.display())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_its_columns_up() {
        let row = |tool: &str, version: &str, source: &str| Row {
            tool: tool.to_owned(),
            version: version.to_owned(),
            place: PathBuf::from("/bin").join(tool),
            source: source.to_owned(),
        };
        let rows = [row("nft", "1.0.6", "Debian nftables"), row("regctl", "v0.11.5", "Go")];
        assert_eq!(
            table(&rows),
            "nft     1.0.6    Debian nftables  /bin/nft\n\
             regctl  v0.11.5  Go               /bin/regctl\n"
        );
    }

    #[test]
    fn a_second_process_waits_for_the_lock() {
        let home = tempfile::tempdir().unwrap();
        let held = lock(home.path()).unwrap();
        let other = fs_err::File::create(home.path().join("lock")).unwrap();
        assert!(other.file().try_lock().is_err(), "two hold the lock at once");
        drop(held);
        assert!(other.file().try_lock().is_ok(), "the lock outlived its holder");
    }
}
