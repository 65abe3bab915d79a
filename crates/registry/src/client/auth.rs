//! Getting in: which proof a registry wants, and tokens, each asked for once.
//!
//! Challenges and token answers are untrusted. The parser takes any text without panicking and keeps at most what
//! a header holds; a realm in plain HTTP is refused where the registry itself speaks TLS, so that a password
//! cannot be asked out into the clear; answers are read up to 1 MiB; a token that is no header value is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airlift_spec::Secret;
use base64::Engine as _;
use http::HeaderMap;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use tokio::time::Instant;

/// How long a token lives where its server does not say; the protocol's own default.
const TOKEN_LIFE: Duration = Duration::from_mins(1);

/// A longer life is not believed: the clock of this process need not run while a machine sleeps.
const MAX_TOKEN_LIFE: Duration = Duration::from_hours(24);

/// What may be done where: repositories and actions, as token servers spell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Scope(BTreeMap<String, BTreeSet<String>>);

impl Scope {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn pull(repository: &str) -> Self {
        Self::of(repository, &["pull"])
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self::of(repository, &["pull", "push"])
    }

    pub(crate) fn delete(repository: &str) -> Self {
        Self::of(repository, &["pull", "push", "delete"])
    }

    pub(crate) fn mount(repository: &str, from: &str) -> Self {
        let mut scope = Self::push(repository);
        scope.extend(&Self::pull(from));
        scope
    }

    fn of(repository: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|&action| action.to_owned()).collect();
        Self(BTreeMap::from([(repository.to_owned(), actions)]))
    }

    /// Reads `repository:a/b:pull,push`, several separated by spaces. Other kinds of resource are left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut scope = Self::default();
        for part in text.split(' ') {
            if let Some((repository, actions)) =
                part.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'))
            {
                let actions: Vec<&str> = actions.split(',').filter(|a| !a.is_empty()).collect();
                scope.extend(&Self::of(repository, &actions));
            }
        }
        scope
    }

    fn extend(&mut self, other: &Self) {
        for (repository, actions) in &other.0 {
            self.0.entry(repository.clone()).or_default().extend(actions.iter().cloned());
        }
    }

    fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(repository, actions)| {
            self.0.get(repository).is_some_and(|granted| granted.is_superset(actions))
        })
    }

    /// One `scope` parameter for each repository.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = String> {
        // The usual order of the actions is not the alphabet's, and some servers compare texts.
        const ORDER: [&str; 3] = ["pull", "push", "delete"];
        self.0.iter().map(|(repository, actions)| {
            let mut actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            actions.sort_by_key(|action| ORDER.iter().position(|known| known == action));
            format!("repository:{repository}:{}", actions.join(","))
        })
    }
}

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Nothing, so far.
    Open,
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        /// What the registry itself says it wants; wider than ours on some.
        scope: Scope,
    },
}

/// What a request went out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Nothing,
    Basic,
    Token(u64),
}

/// What is known about getting in to one host.
#[derive(Debug, Default)]
pub(crate) struct HostAuth {
    scheme: Mutex<Option<Scheme>>,
    /// Held by the first request to the host, so that its 401 is the only one. True: somebody has been there.
    pub(crate) discovery: tokio::sync::Mutex<bool>,
    tokens: Mutex<Vec<(Scope, Arc<Slot>)>>,
    /// What a challenge asked for beyond what we would have.
    wanted: Mutex<Scope>,
    /// Somebody is going to push here.
    will_push: AtomicBool,
}

/// A place for one token; whoever holds the lock asks for it.
pub(crate) type Slot = tokio::sync::Mutex<Option<Token>>;

#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    pub(crate) serial: u64,
    refresh_at: Instant,
}

impl Token {
    pub(crate) fn new(token: &Secret<String>, life: Option<Duration>) -> Option<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let header = secret_header(&format!("Bearer {}", token.expose()))?;
        let life = life.unwrap_or(TOKEN_LIFE).min(MAX_TOKEN_LIFE);
        // A request that starts just before the end must still be let in.
        let margin = (life / 5).min(Duration::from_secs(15));
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Some(Self { header, serial, refresh_at: Instant::now() + life - margin })
    }

    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.refresh_at
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.serial)
    }
}

/// `text` as a header that no log prints; none if it is no header value.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(crate) fn basic_header(user: &str, password: &Secret<String>) -> HeaderValue {
    let pair = format!("{user}:{}", password.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    secret_header(&format!("Basic {encoded}")).expect("base64 is a header value")
}

impl HostAuth {
    /// From now on questions are asked with the right to push.
    pub(crate) fn will_push(&self) {
        self.will_push.store(true, Ordering::Relaxed);
    }

    /// The right to ask for, where `asked` would do for the request alone.
    ///
    /// Registries that make a repository with its first push hide what is not there from who may only pull: they
    /// answer 401 where they answer 404 to somebody who may push.
    pub(crate) fn right_for(&self, asked: &Scope) -> Scope {
        let mut scope = asked.clone();
        if self.will_push.load(Ordering::Relaxed)
            && let [(repository, _)] = asked.0.iter().collect::<Vec<_>>()[..]
        {
            scope.extend(&Scope::push(repository));
        }
        scope
    }

    pub(crate) fn scheme(&self) -> Option<Scheme> {
        lock(&self.scheme).clone()
    }

    /// The registry let a request without proof in (or failed for another reason).
    pub(crate) fn is_open(&self) {
        lock(&self.scheme).get_or_insert(Scheme::Open);
    }

    /// A request with `proof` was answered 401. True if another try with better proof can help.
    pub(crate) async fn refused(
        &self,
        proof: Proof,
        scope: &Scope,
        headers: &HeaderMap,
        has_password: bool,
    ) -> bool {
        let challenges: Vec<Scheme> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let bearer = challenges.iter().find(|scheme| matches!(scheme, Scheme::Bearer { .. }));
        let basic = challenges.iter().find(|scheme| matches!(scheme, Scheme::Basic));
        let Some(wanted) = bearer.or(basic.filter(|_| has_password)) else { return false };
        let asks_more = match wanted {
            Scheme::Bearer { scope: asked, .. } => {
                let more = !scope.covers(asked) && !lock(&self.wanted).covers(asked);
                if more {
                    lock(&self.wanted).extend(asked);
                }
                more
            }
            Scheme::Basic | Scheme::Open => false,
        };
        *lock(&self.scheme) = Some(wanted.clone());
        match proof {
            Proof::Nothing => true,
            Proof::Basic => bearer.is_some(),
            Proof::Token(serial) => self.forget(serial).await || asks_more,
        }
    }

    /// The slot for a token that covers `scope`.
    pub(crate) fn slot(&self, scope: &Scope) -> (Scope, Arc<Slot>) {
        let mut full = scope.clone();
        for (repository, actions) in &lock(&self.wanted).0 {
            if let Some(ours) = full.0.get_mut(repository) {
                ours.extend(actions.iter().cloned());
            }
        }
        let mut tokens = lock(&self.tokens);
        // A token that may do more will do.
        if let Some((scope, slot)) = tokens.iter().find(|(granted, _)| granted.covers(&full)) {
            return (scope.clone(), Arc::clone(slot));
        }
        let slot = Arc::new(Slot::default());
        tokens.push((full.clone(), Arc::clone(&slot)));
        (full, slot)
    }

    /// Forgets a token that was refused; true, since the next one may be taken.
    async fn forget(&self, serial: u64) -> bool {
        let slots: Vec<_> = lock(&self.tokens).iter().map(|(_, slot)| Arc::clone(slot)).collect();
        for slot in slots {
            let mut token = slot.lock().await;
            if token.as_ref().is_some_and(|token| token.serial == serial) {
                *token = None;
            }
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The challenges of one `WWW-Authenticate` header that we can answer.
pub(super) fn challenges(text: &str) -> Vec<Scheme> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text;
    while let Some((word, after)) = next_word(rest) {
        rest = after.trim_start();
        if let Some(value) = rest.strip_prefix('=') {
            let (value, after) = next_value(value.trim_start());
            rest = after;
            if let Some((_, parameters)) = found.last_mut() {
                // The first one counts: a second one is a way to smuggle.
                parameters.entry(word.to_ascii_lowercase()).or_insert(value);
            }
        } else {
            found.push((word.to_ascii_lowercase(), BTreeMap::new()));
        }
    }
    found.into_iter().filter_map(|(name, parameters)| understand(&name, parameters)).collect()
}

fn understand(name: &str, mut parameters: BTreeMap<String, String>) -> Option<Scheme> {
    match name {
        "basic" => Some(Scheme::Basic),
        "bearer" => Some(Scheme::Bearer {
            realm: parameters.remove("realm")?,
            service: parameters.remove("service"),
            scope: parameters.remove("scope").map(|s| Scope::parse(&s)).unwrap_or_default(),
        }),
        _ => None,
    }
}

/// The next run of token characters, whatever separates it from here.
fn next_word(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    let start = text.find(is_word)?;
    let text = &text[start..];
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    Some(text.split_at(end))
}

/// A quoted string or a bare word, and what follows it.
fn next_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Scope) -> Scheme {
        Scheme::Bearer { realm: realm.into(), service: service.map(Into::into), scope }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        assert_eq!(
            challenges(
                r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#
            ),
            [bearer("https://auth.example/token", Some("registry"), Scope::push("a/b"))]
        );
        assert_eq!(challenges(r#"Basic realm="Registry Realm""#), [Scheme::Basic]);
        assert_eq!(challenges("basic"), [Scheme::Basic]);
        assert_eq!(
            challenges(
                r#"Negotiate, Basic realm="a, b", Bearer realm=https://x/t , service = "s""#
            ),
            [Scheme::Basic, bearer("https://x/t", Some("s"), Scope::none())]
        );
        assert_eq!(
            challenges(r#"Bearer realm="a\"b",realm="evil""#),
            [bearer("a\"b", None, Scope::none())]
        );
    }

    #[test]
    fn challenges_that_lead_nowhere_are_left_out() {
        for text in
            ["", ",,,", "=", "\"", "Bearer", "Bearer service=\"x\"", "realm=\"x\"", "Digest a=b"]
        {
            assert_eq!(challenges(text), [], "{text}");
        }
        assert_eq!(challenges("Bearer realm=\"open"), [bearer("open", None, Scope::none())]);
    }

    proptest! {
        #[test]
        fn no_challenge_makes_the_parser_panic(text in "(Bearer |Basic |[a-z]{1,4}[= ])?[\\x20-\\x7e\"\\\\,=é]{0,60}") {
            challenges(&text);
            Scope::parse(&text);
        }
    }

    #[test]
    fn scopes_are_written_in_the_order_that_servers_expect() {
        let written: Vec<_> = Scope::mount("b", "a").parameters().collect();
        assert_eq!(written, ["repository:a:pull", "repository:b:pull,push"]);
        let written: Vec<_> = Scope::delete("b").parameters().collect();
        assert_eq!(written, ["repository:b:pull,push,delete"]);
    }

    #[tokio::test]
    async fn a_token_that_may_do_more_serves_for_less() {
        let auth = HostAuth::default();
        let (_, push) = auth.slot(&Scope::push("a"));
        assert!(Arc::ptr_eq(&push, &auth.slot(&Scope::pull("a")).1));
        assert!(!Arc::ptr_eq(&push, &auth.slot(&Scope::pull("b")).1));
        assert!(!Arc::ptr_eq(&push, &auth.slot(&Scope::mount("a", "b")).1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_it_ends() {
        let token = Token::new(&Secret::new("t".into()), Some(Duration::from_secs(100))).unwrap();
        tokio::time::advance(Duration::from_secs(80)).await;
        assert!(token.is_fresh());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!token.is_fresh());
    }

    #[tokio::test]
    async fn a_refused_token_is_forgotten_and_only_that_one() {
        let auth = HostAuth::default();
        let mut serials = Vec::new();
        for repository in ["a", "b"] {
            let token = Token::new(&Secret::new("t".into()), None).unwrap();
            serials.push(token.serial);
            *auth.slot(&Scope::pull(repository)).1.lock().await = Some(token);
        }
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"https://x\""));
        assert!(auth.refused(Proof::Token(serials[0]), &Scope::pull("a"), &headers, false).await);
        assert!(auth.slot(&Scope::pull("a")).1.lock().await.is_none());
        assert!(auth.slot(&Scope::pull("b")).1.lock().await.is_some());
    }

    #[tokio::test]
    async fn basic_is_answered_only_by_who_has_a_password() {
        let auth = HostAuth::default();
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"x\""));
        assert!(!auth.refused(Proof::Nothing, &Scope::none(), &headers, false).await);
        assert!(auth.refused(Proof::Nothing, &Scope::none(), &headers, true).await);
        assert!(!auth.refused(Proof::Basic, &Scope::none(), &headers, true).await);
    }

    #[test]
    fn a_token_that_is_no_header_is_refused_and_none_is_printed() {
        assert!(Token::new(&Secret::new("a\r\nHost: evil".into()), None).is_none());
        let token = Token::new(&Secret::new("hunter2".into()), None).unwrap();
        assert!(!format!("{token:?} {:?}", token.header).contains("hunter2"));
        let basic = basic_header("u", &Secret::new("p".into()));
        assert_eq!(format!("{basic:?}"), "Sensitive");
    }
}
