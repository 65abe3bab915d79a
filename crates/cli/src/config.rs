//! `config.toml` in the config folder: what is the same in every run on this machine.
//!
//! ```toml
//! parallel = 8                          # blobs in flight
//! limit-rate = "25MB"                   # a second, over all connections
//! plain-http = ["registry.lab:5000"]    # beside loopback
//! ca = ["/etc/pki/company.pem"]
//! authfile = "/etc/airlift/auth.json"
//!
//! [upstreams]                           # where the bytes of a name really come from; the longest wins
//! "docker.io" = "artifactory.example/docker-remote"
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::settings_text;
use crate::error::CliError;
use crate::size::Size;

/// The file as written. It has no inner form: every field is a default of a flag.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Config {
    pub(crate) parallel: Option<NonZeroUsize>,
    #[serde(deserialize_with = "size")]
    pub(crate) limit_rate: Option<Size>,
    pub(crate) plain_http: Vec<String>,
    pub(crate) ca: Vec<PathBuf>,
    pub(crate) authfile: Option<PathBuf>,
    /// From a host, or a host and the beginning of a path, to where its bytes come from.
    pub(crate) upstreams: BTreeMap<String, String>,
}

/// Reads the file at `path`; the defaults where there is none.
pub(crate) fn read(path: &Path) -> Result<Config, CliError> {
    let text = settings_text("airlift's configuration", path)?;
    text.map_or_else(|| Ok(Config::default()), |text| parse(path, &text))
}

fn parse(path: &Path, text: &str) -> Result<Config, CliError> {
    toml(path, text)
}

/// A TOML file, with the line in the message where something is wrong.
pub(crate) fn toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, CliError> {
    toml::from_str(text).map_err(|err| {
        let (message, help) = split_hint(err.message());
        let line = err.span().map(|span| 1 + text[..span.start].matches('\n').count());
        CliError::File { path: path.to_owned(), line, message, help }
    })
}

/// serde lists the fields it knows in its message: that list is the hint.
fn split_hint(message: &str) -> (String, Option<String>) {
    let what = message.lines().next().unwrap_or_default();
    match what.split_once(", expected one of ") {
        Some((what, known)) => (what.to_owned(), Some(format!("use one of {known}"))),
        None => (what.to_owned(), None),
    }
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Size>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureDocument;

    fn refused(text: &str) -> String {
        FailureDocument::of(&parse(Path::new("config.toml"), text).unwrap_err()).to_text()
    }

    #[test]
    fn every_setting_is_read() {
        let text = r#"
            parallel = 8
            limit-rate = "25MB"
            plain-http = ["registry.lab:5000"]
            ca = ["/etc/pki/company.pem"]
            authfile = "/etc/airlift/auth.json"
            [upstreams]
            "docker.io" = "artifactory.example/docker-remote"
        "#;
        let config = parse(Path::new("config.toml"), text).unwrap();
        assert_eq!(config.parallel, NonZeroUsize::new(8));
        assert_eq!(config.limit_rate, Some(Size(25_000_000)));
        assert_eq!(config.plain_http, ["registry.lab:5000"]);
        assert_eq!(config.upstreams["docker.io"], "artifactory.example/docker-remote");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        insta::assert_snapshot!(refused("parallel = 4\nparalel = 8\n"), @r"
        error: config.toml:2: unknown field `paralel`
        help: use one of `parallel`, `limit-rate`, `plain-http`, `ca`, `authfile`, `upstreams`
        ");
        insta::assert_snapshot!(refused("\n\nlimit-rate = \"fast\"\n"), @"error: config.toml:3: `fast` is not a size (expected a number and a unit, like `4088MiB`, `25GB` or `500k`)");
        insta::assert_snapshot!(refused("[upstreams\n"), @"error: config.toml:1: unclosed table, expected `]`");
    }

    #[test]
    fn no_file_is_no_settings() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("config.toml")).unwrap().upstreams.is_empty());
    }
}
