//! Who we are to a registry: docker's `config.json`, containers' `auth.json`, credential helpers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use airlift_spec::Secret;
use base64::Engine as _;
use http::HeaderValue;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::auth::basic_header;
use super::error::{ClientError, clean};
use super::options::ClientOptions;

/// What docker and its helpers call Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The user name by which a credential helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Password {
        user: String,
        password: Secret<String>,
    },
    /// Exchanged for access tokens at the token server.
    Identity {
        user: String,
        token: Secret<String>,
    },
    /// An access token, used as it is.
    Bearer(Secret<String>),
}

impl Credential {
    /// The credential as a name and a password; an access token is neither.
    pub(crate) fn basic_header(&self) -> Option<HeaderValue> {
        match self {
            Self::Password { user, password } | Self::Identity { user, token: password } => {
                Some(basic_header(user, password))
            }
            Self::Bearer(_) => None,
        }
    }
}

/// What the user's files say, most specific first.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    given: File,
    auth_json: File,
    docker_config: File,
    helper_dirs: Vec<PathBuf>,
    helper_timeout: Duration,
    /// What helpers said, by helper and host. Held while one is asked, so that each is asked once.
    answers: tokio::sync::Mutex<BTreeMap<(String, String), Option<Credential>>>,
}

#[derive(Debug, Default)]
pub(super) struct File {
    /// By host, or host and repository path.
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileWire {
    #[serde(default)]
    auths: BTreeMap<String, AuthWire>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthWire {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(Deserialize)]
struct HelperWire {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Credentials {
    pub(crate) fn parse(options: &ClientOptions) -> Result<Self, ClientError> {
        let read = |text: &Option<Secret<String>>, what| match text {
            Some(text) => File::parse(text.expose(), what),
            None => Ok(File::default()),
        };
        Ok(Self {
            given: read(&options.given_auth, "the credentials of this run")?,
            auth_json: read(&options.auth_json, "auth.json")?,
            docker_config: read(&options.docker_config, "docker's config.json")?,
            helper_dirs: options.helper_dirs.clone(),
            helper_timeout: options.tuning.helper_timeout,
            answers: tokio::sync::Mutex::default(),
        })
    }

    /// What is known for `host/path`.
    pub(crate) async fn find(
        &self,
        host: &str,
        path: &str,
    ) -> Result<Option<Credential>, ClientError> {
        for file in [&self.given, &self.auth_json, &self.docker_config] {
            if let Some((helper, is_for_host)) = file.helper(host) {
                match self.ask_once(helper, host).await {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) => {}
                    // A store for everything that is broken must not stop an anonymous pull.
                    Err(err) if !is_for_host => tracing::warn!(%err, "credentials store"),
                    Err(err) => return Err(err),
                }
            }
            if let Some(found) = file.auth(host, path) {
                return Ok(Some(found.clone()));
            }
        }
        Ok(None)
    }

    async fn ask_once(&self, helper: &str, host: &str) -> Result<Option<Credential>, ClientError> {
        let mut answers = self.answers.lock().await;
        let key = (helper.to_owned(), host.to_owned());
        if let Some(known) = answers.get(&key) {
            return Ok(known.clone());
        }
        let answer = self.ask(helper, host).await?;
        answers.insert(key, answer.clone());
        Ok(answer)
    }

    async fn ask(&self, helper: &str, host: &str) -> Result<Option<Credential>, ClientError> {
        let failed = |reason: String| ClientError::Helper {
            helper: helper.to_owned(),
            reason: clean(&reason),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if helper.is_empty() || !helper.chars().all(is_name) {
            return Err(failed("its name is not the name of a program".to_owned()));
        }
        let program = format!("docker-credential-{helper}");
        let in_dirs = self.helper_dirs.iter().map(|dir| dir.join(&program)).find(|p| p.is_file());
        let mut child = Command::new(in_dirs.unwrap_or_else(|| program.into()))
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|err| failed(err.to_string()))?;
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        let key = if host == airlift_spec::reference::DOCKER_HUB { HUB_KEY } else { host };
        let asked = async {
            // A helper that does not read its input still may answer.
            let _ = stdin.write_all(key.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(self.helper_timeout, asked)
            .await
            .map_err(|_| {
                failed(format!("no answer within {} s", self.helper_timeout.as_secs_f32()))
            })?
            .map_err(|err| failed(err.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            // The helpers' protocol has no other sign for this.
            if said.contains("credentials not found") {
                return Ok(None);
            }
            return Err(failed(said));
        }
        helper_answer(&output.stdout)
            .map_err(|_| failed("its answer is not the JSON it should be".to_owned()))
    }
}

impl File {
    pub(super) fn parse(text: &str, what: &'static str) -> Result<Self, ClientError> {
        // serde_json's own words could quote a piece of the secret: only the place is told.
        let wire: FileWire = serde_json::from_str(text).map_err(|err| ClientError::Config {
            what,
            reason: format!(
                "line {}, column {} is not what it should be",
                err.line(),
                err.column()
            ),
        })?;
        let mut auths = BTreeMap::new();
        for (key, auth) in wire.auths {
            let name = canonical(&key);
            let credential = auth.understand().map_err(|reason| ClientError::Config {
                what,
                reason: format!("the entry `{}` {reason}", clean(&name)),
            })?;
            auths.extend(credential.map(|credential| (name, credential)));
        }
        let helpers =
            wire.cred_helpers.into_iter().map(|(key, to)| (canonical(&key), to)).collect();
        Ok(Self { auths, helpers, store: wire.creds_store.filter(|store| !store.is_empty()) })
    }

    /// The helper for `host`, and whether it was named for that host alone.
    pub(super) fn helper(&self, host: &str) -> Option<(&str, bool)> {
        match self.helpers.get(host) {
            Some(helper) => Some((helper, true)),
            None => self.store.as_deref().map(|store| (store, false)),
        }
    }

    /// `host/a/b`, then `host/a`, then `host`.
    pub(super) fn auth(&self, host: &str, path: &str) -> Option<&Credential> {
        let name = format!("{host}/{path}");
        let mut prefix = name.as_str();
        loop {
            if let Some(found) = self.auths.get(prefix) {
                return Some(found);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

impl AuthWire {
    fn understand(self) -> Result<Option<Credential>, &'static str> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Bearer(Secret::new(self.registrytoken))));
        }
        let (mut user, mut password) = (self.username, self.password);
        if !self.auth.is_empty() {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(self.auth.trim())
                .map_err(|_| "has an `auth` that is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not text")?;
            let (name, word) = text.split_once(':').ok_or("has an `auth` without a colon")?;
            // docker pads with zero bytes.
            (user, password) = (name.to_owned(), word.trim_end_matches('\0').to_owned());
        }
        if !self.identitytoken.is_empty() {
            let token = Secret::new(self.identitytoken);
            return Ok(Some(Credential::Identity { user, token }));
        }
        Ok(credential(user, password))
    }
}

/// What a helper printed.
pub(super) fn helper_answer(stdout: &[u8]) -> serde_json::Result<Option<Credential>> {
    let HelperWire { username, secret } = serde_json::from_slice(stdout)?;
    Ok(credential(username, secret))
}

fn credential(user: String, password: String) -> Option<Credential> {
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let password = Secret::new(password);
    Some(if user == TOKEN_USER {
        Credential::Identity { user: String::new(), token: password }
    } else {
        Credential::Password { user, password }
    })
}

/// A key of `auths` as we write hosts: no scheme, no `/v1/`, and one name for Docker Hub.
pub(super) fn canonical(key: &str) -> String {
    let has_scheme = key.contains("://");
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    };
    // With a scheme, the path is the API's (`/v1`, `/v2`), not a repository's.
    if path.is_empty() || has_scheme || matches!(path, "v1" | "v2") {
        host
    } else {
        format!("{host}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::parse(text, "auth.json").unwrap()
    }

    #[track_caller]
    fn user(file: &File, host: &str, path: &str) -> Option<String> {
        match file.auth(host, path)? {
            Credential::Password { user, password } => {
                Some(format!("{user}:{}", password.expose()))
            }
            Credential::Identity { user, token } => Some(format!("{user} id {}", token.expose())),
            Credential::Bearer(token) => Some(format!("bearer {}", token.expose())),
        }
    }

    #[test]
    fn the_most_specific_entry_wins() {
        // base64 of `a:1`, `b:2`, `c:3:4`
        let file = file(
            r#"{"auths":{"quay.io":{"auth":"YToxCg=="},"quay.io/org":{"auth":"Yjoy"},
                "quay.io/org/app":{"auth":"YzozOjQ="}}, "unknown": 1}"#,
        );
        assert_eq!(user(&file, "quay.io", "org/app").unwrap(), "c:3:4");
        assert_eq!(user(&file, "quay.io", "org/other").unwrap(), "b:2");
        assert_eq!(user(&file, "quay.io", "organic/x").unwrap(), "a:1\n");
        assert_eq!(user(&file, "ghcr.io", "org/app"), None);
    }

    #[test]
    fn docker_hub_has_one_name_whatever_the_file_calls_it() {
        for key in [HUB_KEY, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"] {
            let file = file(&format!(r#"{{"auths":{{"{key}":{{"auth":"Yjoy"}}}}}}"#));
            assert_eq!(user(&file, "docker.io", "library/a").unwrap(), "b:2", "{key}");
        }
    }

    #[test]
    fn tokens_are_told_from_passwords() {
        let file = file(
            r#"{"auths":{"a":{"identitytoken":"T","auth":"dTo="},"b":{"registrytoken":"R"},
                "c":{"username":"u","password":"p"},"d":{}}}"#,
        );
        assert_eq!(user(&file, "a", "x").unwrap(), "u id T");
        assert_eq!(user(&file, "b", "x").unwrap(), "bearer R");
        assert_eq!(user(&file, "c", "x").unwrap(), "u:p");
        assert_eq!(user(&file, "d", "x"), None, "an empty entry, as docker leaves for its store");
    }

    #[test]
    fn a_broken_file_is_told_without_its_secrets() {
        for text in [
            r#"{"auths":{"a":{"auth":"hunter2!"}}}"#,
            r#"{"auths":{"a":"hunter2"}}"#,
            r#"{"auths":{"a":{"auth":"aHVudGVyMg=="}}}"#,
        ] {
            let err = File::parse(text, "auth.json").unwrap_err();
            assert!(!format!("{err:?} {err}").contains("hunter2"), "{err:?}");
        }
    }

    #[test]
    fn what_was_read_does_not_print_its_secrets() {
        let file = file(r#"{"auths":{"a":{"auth":"dTpodW50ZXIy"}}}"#);
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
