use std::io;
use std::path::{Path, PathBuf};

use airlift_bundle::trust::SigningKey;
use airlift_spec::Failure;
use serde::Serialize;

use crate::app::{App, Exit, read_text};
use crate::error::CliError;
use crate::files::write_new;
use crate::output::Report;

/// Make the key that bundles are signed with
///
/// Keeps both halves in the config folder and prints the public one, which belongs into the config folder's
/// `trust/` on the far side. Never replaces a key; where only the secret half is there, makes the public one of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File for the secret half; the public one goes beside it, with `.pub` [default: signing.key in the
    /// config folder]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// The name that `bundle create` looks for.
pub(crate) const KEY: &str = "signing.key";

pub(crate) fn run(args: &Args, app: &App) -> Result<Exit, Failure> {
    let secret = match &args.to {
        Some(file) => file.clone(),
        None => app.config_folder()?.join(KEY),
    };
    let public = secret.with_extension("pub");
    let key = match (is_there(&secret)?, is_there(&public)?) {
        (true, true) => return Err(already_there(&secret).into()),
        (false, true) => return Err(already_there(&public).into()),
        // A run that was killed has left the one half from which the other follows.
        (true, false) => read_signing_key(&secret)?,
        (false, false) => {
            let key = SigningKey::generate()?;
            // The secret half first: without it the public one is worth nothing.
            write(&secret, &key.secret_text())?;
            key
        }
    };
    write(&public, &key.public_text())?;
    let made = Made { key_id: key.key_id(), secret, public, public_key: key.public_text() };
    app.print(&made)?;
    Ok(Exit::Success)
}

/// Reads the secret half of a key.
pub(crate) fn read_signing_key(file: &Path) -> Result<SigningKey, Failure> {
    let text = read_text("signing key", file)?;
    Ok(SigningKey::parse(&file.display().to_string(), &text)?)
}

fn is_there(file: &Path) -> Result<bool, CliError> {
    file.try_exists().map_err(|source| CliError::Read { what: "the folder of keys", source })
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    write_new(path, text.as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => CliError::Write { what: "the key", source },
    })
}

fn already_there(path: &Path) -> CliError {
    CliError::Refused {
        message: format!("`{}` is there already, and a key is never replaced", path.display()),
        help: Some("move it away first, or choose another file with `--to FILE`".to_owned()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    key_id: String,
    secret: PathBuf,
    public: PathBuf,
    public_key: String,
}

impl Report for Made {
    fn to_text(&self) -> String {
        self.public_key.trim_end().to_owned()
    }
}
