//! Who may ask: htpasswd files with bcrypt hashes, and HTTP's Basic scheme, which every client speaks.
//!
//! **Attacks.**
//! - guessing over the network: every wrong guess costs a bcrypt, and few run at once;
//! - finding out which users exist by timing: an unknown user costs a bcrypt too;
//! - burning our CPU with right passwords: what was verified once is remembered, as a hash under a key that
//!   lives as long as the process;
//! - weak hashes (`crypt`, MD5, SHA-1): the file is refused, with the line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use airlift_spec::{Algorithm, Class, Digest, Explain, Hasher, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Semaphore;

use super::blocking::blocking;
use super::error::{Code, Refusal};

/// Verifications at once. Each keeps a core busy for a good part of a second.
const VERIFYING: usize = 2;
/// A higher cost would take minutes a guess, a lower one is no protection.
const COSTS: std::ops::RangeInclusive<u32> = 4..=17;

/// Users and their bcrypt hashes.
#[derive(Debug)]
pub struct Htpasswd {
    users: BTreeMap<String, Secret<String>>,
    /// Verified for an unknown user, to take as long as for a known one.
    decoy: Secret<String>,
    /// For each user the keyed hash of the password that was right the last time.
    verified: Mutex<BTreeMap<String, Digest>>,
    key: Secret<[u8; 32]>,
    verifying: Semaphore,
}

/// Why a text is not a htpasswd file that we go by.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HtpasswdError {
    #[error("line {line} is not `user:hash`")]
    Line { line: usize },
    #[error("the hash of `{user}` in line {line} is not a bcrypt hash")]
    Hash { line: usize, user: String },
    #[error("line {line} names `{user}` a second time")]
    Twice { line: usize, user: String },
    #[error("it names no user")]
    Empty,
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Explain for HtpasswdError {
    fn class(&self) -> Class {
        match self {
            Self::Random(_) => Class::Bug,
            _ => Class::Input,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Hash { user, .. } => {
                Some(format!("write it again with `htpasswd -B FILE {user}`"))
            }
            Self::Empty => Some("add a user with `htpasswd -Bc FILE USER`".to_owned()),
            Self::Line { .. } | Self::Twice { .. } | Self::Random(_) => None,
        }
    }
}

impl Htpasswd {
    /// Reads the text of a htpasswd file; empty lines and those that begin with `#` do not count.
    pub fn parse(text: &str) -> Result<Self, HtpasswdError> {
        let mut users = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (user, hash) = text.split_once(':').ok_or(HtpasswdError::Line { line })?;
            if !is_bcrypt(hash) {
                return Err(HtpasswdError::Hash { line, user: user.to_owned() });
            }
            if users.insert(user.to_owned(), Secret::new(hash.to_owned())).is_some() {
                return Err(HtpasswdError::Twice { line, user: user.to_owned() });
            }
        }
        let decoy = users.values().next().cloned().ok_or(HtpasswdError::Empty)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(HtpasswdError::Random)?;
        Ok(Self {
            users,
            decoy,
            verified: Mutex::default(),
            key: Secret::new(key),
            verifying: Semaphore::new(VERIFYING),
        })
    }

    async fn verify(&self, user: &str, password: &str) -> bool {
        let mark = self.mark(user, password);
        // Comparing keyed hashes tells nobody anything who has not got the key, however long it takes.
        if self.remembered(user) == Some(mark) {
            return true;
        }
        let known = self.users.get(user);
        let hash = known.unwrap_or(&self.decoy).clone();
        let password = Secret::new(password.to_owned());
        let Ok(_permit) = self.verifying.acquire().await else { return false };
        // Many requests of one client wait here together at first: one verification is enough for them.
        if self.remembered(user) == Some(mark) {
            return true;
        }
        let check = move || bcrypt::verify(password.expose(), hash.expose());
        let is_right = matches!(blocking(check).await, Ok(Ok(true))) && known.is_some();
        if is_right {
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            verified.insert(user.to_owned(), mark);
        }
        is_right
    }

    fn remembered(&self, user: &str) -> Option<Digest> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied()
    }

    fn mark(&self, user: &str, password: &str) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(self.key.expose());
        hasher.update(user.as_bytes());
        // A user name holds no colon, so no two pairs come to the same text.
        hasher.update(b":");
        hasher.update(password.as_bytes());
        hasher.finish()
    }
}

fn is_bcrypt(hash: &str) -> bool {
    let is_known = ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix));
    let cost = hash.get(4..6).and_then(|cost| cost.parse().ok());
    is_known && hash.len() == 60 && cost.is_some_and(|cost| COSTS.contains(&cost))
}

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Everybody may do everything. Fit for loopback, and for reading.
    #[default]
    Open,
    /// Everybody may read; the rest needs a user.
    AnonymousPull(Arc<Htpasswd>),
    /// Everything needs a user.
    Required(Arc<Htpasswd>),
}

/// What a request wants to do, as far as permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    /// The first request of a client, from which it learns whether it must log in.
    Ping,
    Push,
}

impl Auth {
    pub(super) fn has_credentials(&self) -> bool {
        !matches!(self, Self::Open)
    }

    /// Refuses a request that brings wrong credentials, or none where some are needed.
    pub(super) async fn check(&self, headers: &HeaderMap, access: Access) -> Result<(), Refusal> {
        let (users, is_free) = match self {
            Self::Open => return Ok(()),
            Self::AnonymousPull(users) => (users, access == Access::Pull),
            Self::Required(users) => (users, false),
        };
        match credentials(headers) {
            Credentials::None if is_free => Ok(()),
            Credentials::Given { user, password }
                if users.verify(&user, password.expose()).await =>
            {
                Ok(())
            }
            Credentials::None | Credentials::Given { .. } | Credentials::Unreadable => {
                Err(challenge())
            }
        }
    }
}

fn challenge() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, "log in first").with(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"airlift\", charset=\"UTF-8\""),
    )
}

pub(super) enum Credentials {
    None,
    Given { user: String, password: Secret<String> },
    Unreadable,
}

pub(super) fn credentials(headers: &HeaderMap) -> Credentials {
    let Some(header) = headers.get(AUTHORIZATION) else { return Credentials::None };
    let parsed = || {
        let (scheme, text) = header.to_str().ok()?.split_once(' ')?;
        let text = STANDARD.decode(scheme.eq_ignore_ascii_case("basic").then_some(text.trim())?);
        let text = String::from_utf8(text.ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), Secret::new(password.to_owned())))
    };
    match parsed() {
        // Podman and skopeo answer a challenge like this when they know no user.
        Some((user, password)) if user.is_empty() && password.expose().is_empty() => {
            Credentials::None
        }
        Some((user, password)) => Credentials::Given { user, password },
        None => Credentials::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cost 4: the cheapest that bcrypt knows.
    fn line(user: &str, password: &str) -> String {
        format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    fn basic(user: &str, password: &str) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        [(AUTHORIZATION, HeaderValue::try_from(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn weak_hashes_are_refused_with_their_line() {
        let good = line("ann", "a");
        for hash in ["{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "$apr1$x$y", "plain", "$2y$05$short"] {
            let err = Htpasswd::parse(&format!("# users\n{good}bob:{hash}\n")).unwrap_err();
            assert!(
                matches!(&err, HtpasswdError::Hash { line: 3, user } if user == "bob"),
                "{err}"
            );
        }
        assert!(matches!(Htpasswd::parse("bob"), Err(HtpasswdError::Line { line: 1 })));
        assert!(matches!(Htpasswd::parse("\n#\n"), Err(HtpasswdError::Empty)));
        let twice = format!("{good}{good}");
        assert!(matches!(Htpasswd::parse(&twice), Err(HtpasswdError::Twice { line: 2, .. })));
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_opens() {
        let users = Htpasswd::parse(&(line("ann", "secret") + &line("bob", "other"))).unwrap();
        let auth = Auth::Required(Arc::new(users));
        for _ in 0..2 {
            assert!(auth.check(&basic("ann", "secret"), Access::Push).await.is_ok());
            assert!(auth.check(&basic("ann", "other"), Access::Push).await.is_err());
            assert!(auth.check(&basic("bob", "secret"), Access::Pull).await.is_err());
            assert!(auth.check(&basic("eve", "secret"), Access::Pull).await.is_err());
        }
        assert!(auth.check(&HeaderMap::new(), Access::Pull).await.is_err());
    }

    #[tokio::test]
    async fn anonymous_pull_still_refuses_a_wrong_password_and_every_push() {
        let users = Arc::new(Htpasswd::parse(&line("ann", "secret")).unwrap());
        let auth = Auth::AnonymousPull(users);
        assert!(auth.check(&HeaderMap::new(), Access::Pull).await.is_ok());
        assert!(auth.check(&basic("", ""), Access::Pull).await.is_ok());
        assert!(auth.check(&basic("ann", "wrong"), Access::Pull).await.is_err());
        assert!(auth.check(&HeaderMap::new(), Access::Push).await.is_err());
        assert!(auth.check(&HeaderMap::new(), Access::Ping).await.is_err());
    }

    #[tokio::test]
    async fn a_verified_password_is_not_hashed_again() {
        let users = Htpasswd::parse(&line("ann", "secret")).unwrap();
        assert!(users.verify("ann", "secret").await);
        // No permit is left: only what is remembered can pass now.
        users.verifying.close();
        assert!(users.verify("ann", "secret").await);
        assert!(!users.verify("ann", "wrong").await);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let users = Htpasswd::parse(&line("ann", "secret")).unwrap();
        assert!(!format!("{users:?}").contains("$2"), "{users:?}");
    }
}
