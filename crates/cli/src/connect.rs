//! How registries are reached: what flags, `config.toml`, the environment, and other tools' files say
//! together, as the client takes it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airlift_registry::client::{ClientOptions, ProxyOptions, Tuning};
use airlift_spec::Secret;
use serde_json::{Map, Value};

use crate::app::{App, read_file, settings_text};
use crate::config;
use crate::error::CliError;

/// The texts of files with registry credentials.
struct Credentials {
    auth_json: Option<Secret<String>>,
    docker_config: Option<Secret<String>>,
}

/// How the registries of one side are reached, as far as that is said of this side alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// In place of all other files with credentials.
    pub(crate) authfile: Option<PathBuf>,
    /// Whether nobody is told who we are.
    pub(crate) is_anonymous: bool,
    /// Credentials, in the form of an `auth.json`.
    pub(crate) given_auth: Option<Secret<String>>,
    /// Whether any certificate will do.
    pub(crate) is_unverified: bool,
    /// A folder with certificates, as docker and podman have one for each registry.
    pub(crate) certificates: Option<PathBuf>,
    /// Tries in a row, the first one included.
    pub(crate) attempts: Option<NonZeroUsize>,
    /// Pause before each try but the first; else they grow.
    pub(crate) pause: Option<Duration>,
}

impl App {
    pub(crate) fn client_options(&self) -> Result<ClientOptions, CliError> {
        self.client_options_by(&Reach::default())
    }

    pub(crate) fn client_options_by(&self, reach: &Reach) -> Result<ClientOptions, CliError> {
        let config = self.config()?;
        let Credentials { auth_json, docker_config } = self.credentials(reach)?;
        let plain_http = self.global.plain_http.iter().chain(&config.plain_http).cloned().collect();
        let folder = reach.certificates.as_deref().map(Certificates::in_folder).transpose()?;
        let folder = folder.unwrap_or_default();
        let authorities = self.global.ca.iter().chain(&config.ca).chain(&folder.authorities);
        let ca_pem = authorities.map(|file| authority(file)).collect::<Result<_, _>>()?;
        let identity = self.global.client_cert.as_deref();
        let identity = identity.map(|file| read_file("certificate", file, None)).transpose()?;
        let defaults = ClientOptions::default();
        Ok(ClientOptions {
            max_in_flight: config.parallel.unwrap_or(defaults.max_in_flight),
            limit_rate: config.limit_rate.map(|rate| rate.0),
            attempts: reach.attempts.unwrap_or(defaults.attempts),
            verifies_tls: !reach.is_unverified,
            plain_http,
            given_auth: reach.given_auth.clone().filter(|_| !reach.is_anonymous),
            state: self.state_folder().ok(),
            auth_json,
            docker_config,
            registries_conf: self.registries_conf()?,
            upstreams: config.upstreams.clone(),
            proxy: self.proxies(),
            ca_pem,
            client_identity_pem: folder.identity.or(identity).map(Secret::new),
            tuning: tuning(reach.pause),
            ..defaults
        })
    }

    fn proxies(&self) -> ProxyOptions {
        let proxies = self.environment.proxies();
        ProxyOptions {
            http: proxies.http.map(Secret::new),
            https: proxies.https.map(Secret::new),
            no_proxy: proxies.no_proxy.unwrap_or_default(),
        }
    }

    /// The one file that somebody chose; else containers' files joined, and docker's.
    fn credentials(&self, reach: &Reach) -> Result<Credentials, CliError> {
        if reach.is_anonymous {
            return Ok(Credentials { auth_json: None, docker_config: None });
        }
        let chosen = match &reach.authfile {
            Some(file) => Some(file.clone()),
            None => self.chosen_auth_file()?,
        };
        if let Some(chosen) = chosen {
            let text = file_text(&chosen)?.ok_or_else(|| CliError::Absent {
                what: "file with credentials",
                path: chosen.clone(),
                help: Some("make it with `airlift login HOST`"),
            })?;
            parse_auth(&chosen, &text)?;
            return Ok(Credentials { auth_json: Some(Secret::new(text)), docker_config: None });
        }
        let mut joined = None;
        for file in self.environment.containers_auth_files() {
            if let Some(text) = file_text(&file)? {
                let found = parse_auth(&file, &text)?;
                joined = Some(match joined {
                    None => found,
                    Some(first) => join(first, found),
                });
            }
        }
        let auth_json = joined.map(|joined| Secret::new(Value::Object(joined).to_string()));
        let mut docker_config = None;
        if let Some(file) = self.environment.docker_config_file()
            && let Some(text) = file_text(&file)?
        {
            parse_auth(&file, &text)?;
            docker_config = Some(Secret::new(text));
        }
        Ok(Credentials { auth_json, docker_config })
    }

    /// The file with credentials that a flag, the environment or `config.toml` names.
    pub(crate) fn chosen_auth_file(&self) -> Result<Option<PathBuf>, CliError> {
        if let Some(file) = &self.global.authfile {
            return Ok(Some(file.clone()));
        }
        if let Some(file) = self.environment.chosen_auth_file() {
            return Ok(Some(file));
        }
        Ok(self.config()?.authfile.clone())
    }

    /// `registries.conf` and its drop-ins, in the order in which they override.
    fn registries_conf(&self) -> Result<Vec<String>, CliError> {
        let (files, folders) = self.environment.registries_conf();
        let mut texts = Vec::new();
        for file in &files {
            if let Some(text) = conf_text(file)? {
                texts.push(text);
                break;
            }
        }
        for file in drop_ins(&folders)? {
            texts.extend(conf_text(&file)?);
        }
        Ok(texts)
    }
}

fn tuning(pause: Option<Duration>) -> Tuning {
    let defaults = Tuning::default();
    match pause {
        Some(pause) => Tuning { backoff_first: pause, backoff_max: pause, ..defaults },
        None => defaults,
    }
}

/// What a folder of certificates holds: authorities in `*.crt`, and our own in `NAME.cert` with `NAME.key`.
#[derive(Debug, Default)]
struct Certificates {
    authorities: Vec<PathBuf>,
    identity: Option<Vec<u8>>,
}

impl Certificates {
    fn in_folder(folder: &Path) -> Result<Self, CliError> {
        let failed = |source| CliError::Read { what: "a folder of certificates", source };
        let mut found = Self::default();
        let entries = fs_err::read_dir(folder).map_err(failed)?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
        // Of two certificates of a client, the last one by its name is shown, whatever the disk's order.
        paths.sort();
        for path in paths {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => found.authorities.push(path),
                Some("cert") => {
                    let mut pem = read_file("certificate", &path, None)?;
                    pem.push(b'\n');
                    let help = Some("lay the key of the certificate beside it");
                    pem.extend(read_file("key", &path.with_extension("key"), help)?);
                    found.identity = Some(pem);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The fields of a file with credentials; says where it is wrong, but never what it holds.
pub(crate) fn parse_auth(path: &Path, text: &str) -> Result<Map<String, Value>, CliError> {
    serde_json::from_str(text).map_err(|err| CliError::File {
        path: path.to_owned(),
        line: Some(err.line()),
        message: "it is not a JSON object, so it holds no credentials".to_owned(),
        help: None,
    })
}

/// Both files' entries; where both have one, the first file's.
fn join(first: Map<String, Value>, second: Map<String, Value>) -> Map<String, Value> {
    let mut joined = first;
    for (field, value) in second {
        match (joined.get_mut(&field), value) {
            (Some(Value::Object(known)), Value::Object(more)) => {
                for (name, entry) in more {
                    known.entry(name).or_insert(entry);
                }
            }
            (Some(_), _) => (),
            (None, value) => {
                joined.insert(field, value);
            }
        }
    }
    joined
}

/// A configuration that is TOML at least; the client says what it makes of it.
fn conf_text(path: &Path) -> Result<Option<String>, CliError> {
    let Some(text) = file_text(path)? else { return Ok(None) };
    config::toml::<toml::Table>(path, &text)?;
    Ok(Some(text))
}

/// The text of a file that need not be there.
pub(crate) fn file_text(path: &Path) -> Result<Option<String>, CliError> {
    settings_text("a file that says how to reach registries", path)
}

/// The `*.conf` files of all folders by name; of two with one name, the later folder's.
fn drop_ins(folders: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { what: "a folder of registries.conf.d", source };
    let mut files = BTreeMap::new();
    for folder in folders {
        let entries = match fs_err::read_dir(folder) {
            Ok(entries) => entries,
            Err(err) if err.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                files.insert(path.file_name().map(ToOwned::to_owned), path);
            }
        }
    }
    Ok(files.into_values().collect())
}

/// The file of an authority. Looked into here already: the client does not know which of several files it has.
fn authority(file: &Path) -> Result<Vec<u8>, CliError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let pem = read_file("certificate", file, None)?;
    if pem.windows(BEGIN.len()).any(|bytes| bytes == BEGIN) {
        return Ok(pem);
    }
    Err(CliError::File {
        path: file.to_owned(),
        line: None,
        message: "it holds no certificate in PEM form".to_owned(),
        help: Some("`openssl x509 -inform der -in FILE` makes PEM of DER".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_are_laid_over_each_other_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (system, own) = (folder.path().join("system"), folder.path().join("own"));
        for dir in [&system, &own] {
            fs_err::create_dir(dir).unwrap();
        }
        for file in [
            system.join("20-b.conf"),
            system.join("10-a.conf"),
            system.join("30-c.conf.bak"),
            own.join("10-a.conf"),
        ] {
            fs_err::write(file, "").unwrap();
        }
        let found = drop_ins(&[system.clone(), own.clone(), folder.path().join("absent")]).unwrap();
        assert_eq!(found, [own.join("10-a.conf"), system.join("20-b.conf")]);
    }

    #[test]
    fn what_never_ends_or_is_no_text_is_no_file_of_settings() {
        assert_eq!(file_text(Path::new("/dev/null")).unwrap().as_deref(), Some(""));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        assert_eq!(file_text(&path).unwrap(), None);
        fs_err::write(&path, [0xff, 0xfe, b'{', 0]).unwrap();
        for path in [path, PathBuf::from("/dev/zero"), PathBuf::from("/dev/urandom")] {
            let err = file_text(&path).unwrap_err();
            assert!(matches!(err, CliError::File { .. }), "{}: {err}", path.display());
        }
    }

    #[test]
    fn of_two_entries_for_one_host_the_first_files_counts() {
        let map = |text| parse_auth(Path::new("a"), text).unwrap();
        let first = map(r#"{"auths": {"a": 1, "b": 1}}"#);
        let second = map(r#"{"auths": {"b": 2, "c": 2}, "credHelpers": {"d": "x"}}"#);
        let expected = map(r#"{"auths": {"a": 1, "b": 1, "c": 2}, "credHelpers": {"d": "x"}}"#);
        assert_eq!(join(first, second), expected);
    }

    #[test]
    fn a_broken_file_with_credentials_is_named_without_its_contents() {
        let err = parse_auth(Path::new("auth.json"), "{\n\"auths\": hunter2").unwrap_err();
        assert_eq!(
            err.to_string(),
            "auth.json:2: it is not a JSON object, so it holds no credentials"
        );
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.der");
        fs_err::write(&file, [0x30, 0x82]).unwrap();
        let err = authority(&file).unwrap_err();
        assert!(err.to_string().ends_with("ca.der: it holds no certificate in PEM form"), "{err}");
        fs_err::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(authority(&file).is_ok());
    }
}
