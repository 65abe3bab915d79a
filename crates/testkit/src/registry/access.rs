//! Who may do what, and the tokens that say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::answer::{Answer, Call, Target};
use super::{Shared, State};

/// How clients have to show who they are.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    #[default]
    Anonymous,
    Basic(Credentials),
    Bearer(Bearer),
}

/// A user's name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// A registry that wants a token from its token endpoint. The default gives one to anybody.
#[derive(Debug, Clone, Default)]
pub struct Bearer {
    /// Who gets a token; none: anybody.
    pub credentials: Option<Credentials>,
    /// Pulling needs a token, but no credentials for it, as at public registries.
    pub anonymous_pull: bool,
    /// A refresh token (`identitytoken`) that the endpoint takes by POST.
    pub refresh_token: Option<String>,
    /// Requests that one token is good for, however little time has passed: it expires in the middle of a run.
    pub uses: Option<u32>,
    /// What the endpoint says about a token's life.
    pub expires_in_seconds: Option<u64>,
    /// Repositories to which nobody gets access: there is a token, but it does not say so.
    pub denied: BTreeSet<String>,
    /// Who only wants to pull gets no access to a repository that is not there, as if it were somebody else's.
    pub hides_absent: bool,
}

impl Credentials {
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    fn header(&self) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// The tokens given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: usize,
    valid: BTreeMap<String, Grant>,
}

#[derive(Debug)]
struct Grant {
    /// `repository:NAME:ACTION`, one each.
    scopes: BTreeSet<String>,
    uses_left: Option<u32>,
}

impl Tokens {
    pub(super) fn issued(&self) -> usize {
        self.issued
    }

    pub(super) fn expire(&mut self) {
        self.valid.clear();
    }

    fn issue(&mut self, scopes: BTreeSet<String>, uses: Option<u32>) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.valid.insert(token.clone(), Grant { scopes, uses_left: uses });
        token
    }

    /// Uses the token once. A token that is used up is as good as none.
    fn allows(&mut self, token: &str, scope: Option<&str>) -> Result<(), &'static str> {
        let grant = self.valid.get_mut(token).ok_or("invalid_token")?;
        if grant.uses_left == Some(0) {
            return Err("invalid_token");
        }
        if scope.is_some_and(|scope| !grant.scopes.contains(scope)) {
            return Err("insufficient_scope");
        }
        grant.uses_left = grant.uses_left.map(|left| left - 1);
        Ok(())
    }
}

/// Refuses `call` if the registry's rules do; the token endpoint itself is open.
pub(super) fn check(shared: &Shared, state: &mut State, call: &Call) -> Result<(), Box<Answer>> {
    match &shared.options.auth {
        _ if matches!(call.target, Target::Token) => Ok(()),
        Auth::Anonymous => Ok(()),
        Auth::Basic(credentials) if call.header("authorization") == Some(&credentials.header()) => {
            Ok(())
        }
        Auth::Basic(_) => Err(unauthorized("Basic realm=\"fake\"")),
        Auth::Bearer(_) => {
            let scope = scope(call);
            let given = call.header("authorization").and_then(|it| it.strip_prefix("Bearer "));
            let verdict = match given {
                None => Err(None),
                Some(token) => state.tokens.allows(token, scope.as_deref()).map_err(Some),
            };
            verdict.map_err(|error| unauthorized(&challenge(shared, scope.as_deref(), error)))
        }
    }
}

/// What `call` needs, as `repository:NAME:ACTION`; none for the ping.
fn scope(call: &Call) -> Option<String> {
    let action = match call.method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    };
    Some(format!("repository:{}:{action}", call.target.repository()?))
}

fn challenge(shared: &Shared, scope: Option<&str>, error: Option<&str>) -> String {
    let mut text = format!("Bearer realm=\"{}/token\",service=\"fake\"", shared.base);
    if let Some(scope) = scope {
        // Registries ask for pull wherever they ask for push.
        let scope = scope.replace(":push", ":pull,push");
        let _ = write!(text, ",scope=\"{scope}\"");
    }
    if let Some(error) = error {
        let _ = write!(text, ",error=\"{error}\"");
    }
    text
}

fn unauthorized(challenge: &str) -> Box<Answer> {
    let answer = Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    Box::new(answer.with("www-authenticate", challenge))
}

/// The token endpoint: GET as Docker defined it, POST as OAuth 2 does.
pub(super) fn token(shared: &Shared, state: &mut State, call: &Call, body: &[u8]) -> Answer {
    let Auth::Bearer(bearer) = &shared.options.auth else {
        return Answer::error(StatusCode::NOT_FOUND, "UNSUPPORTED");
    };
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let fields = if call.method == Method::POST { &form } else { &call.pairs };
    let is_known = match call.method {
        Method::POST => posted_credentials_are_good(bearer, &form),
        _ => bearer.credentials.as_ref().is_none_or(|credentials| {
            call.header("authorization") == Some(credentials.header().as_str())
        }),
    };
    // Wrong credentials are an error even where none would do.
    let is_anonymous = call.method != Method::POST && call.header("authorization").is_none();
    let is_welcome = is_known || bearer.anonymous_pull && is_anonymous;
    if !is_welcome {
        return *unauthorized("Basic realm=\"fake\"");
    }
    let asked = fields.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.as_str());
    let is_there = |name: &str| state.repositories.contains_key(name);
    let scopes = asked.flat_map(|scope| scope.split(' '));
    let scopes = scopes.flat_map(|scope| granted(bearer, scope, is_there));
    let scopes = scopes.filter(|scope| is_known || scope.ends_with(":pull"));
    let scopes: BTreeSet<String> = scopes.collect();
    let token = state.tokens.issue(scopes, bearer.uses);
    let mut answer = json!({"token": token, "access_token": token});
    if let Some(seconds) = bearer.expires_in_seconds {
        answer["expires_in"] = json!(seconds);
    }
    Answer::json(&answer.to_string())
}

fn posted_credentials_are_good(bearer: &Bearer, form: &[(String, String)]) -> bool {
    let field = |wanted: &str| {
        form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    match field("grant_type") {
        Some("refresh_token") => {
            field("refresh_token").is_some()
                && field("refresh_token") == bearer.refresh_token.as_deref()
        }
        Some("password") => bearer.credentials.as_ref().is_some_and(|credentials| {
            field("username") == Some(&credentials.user)
                && field("password") == Some(&credentials.password)
        }),
        _ => false,
    }
}

/// `repository:NAME:pull,push` as one scope an action, without what is denied.
fn granted(bearer: &Bearer, scope: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let Some((resource, actions)) = scope.rsplit_once(':') else { return Vec::new() };
    let name = resource.strip_prefix("repository:").unwrap_or(resource);
    let is_hidden = bearer.hides_absent && actions == "pull" && !is_there(name);
    if is_hidden || bearer.denied.contains(name) {
        return Vec::new();
    }
    actions.split(',').map(|action| format!("{resource}:{action}")).collect()
}
