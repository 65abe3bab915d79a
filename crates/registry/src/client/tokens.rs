//! Proofs for requests: passwords as they are, tokens asked of the registry's token server.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

use super::auth::{Proof, Scheme, Scope, Token};
use super::counters::Kind;
use super::credentials::Credential;
use super::error::ClientError;
use super::exchange::{failed_to_reach, refusal};
use super::retry::retry_after;
use super::wire::{Outgoing, Response, Transport, is_loopback, nothing};
use super::{Endpoint, Host, Shared};

const MAX_TOKEN_BYTES: usize = 1 << 20;

impl Shared {
    /// What to show at the door.
    pub(crate) async fn prove(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<(Proof, Option<HeaderValue>), ClientError> {
        match endpoint.host.auth.scheme() {
            None | Some(Scheme::Open) => Ok((Proof::Nothing, None)),
            Some(Scheme::Basic) => {
                let known =
                    self.credentials.find(&endpoint.host.name, &endpoint.repository).await?;
                match known.as_ref().and_then(Credential::basic_header) {
                    Some(header) => Ok((Proof::Basic, Some(header))),
                    None => Ok((Proof::Nothing, None)),
                }
            }
            Some(Scheme::Bearer { realm, service, .. }) => {
                let (scope, slot) = endpoint.host.auth.slot(scope);
                // Whoever comes second waits here and finds the first one's token.
                let mut slot = slot.lock().await;
                let fresh = slot.as_ref().filter(|token| token.is_fresh()).cloned();
                let token = if let Some(token) = fresh {
                    token
                } else {
                    let service = service.as_deref();
                    let token = self.ask_token(endpoint, &realm, service, &scope).await?;
                    slot.insert(token).clone()
                };
                Ok((Proof::Token(token.serial), Some(token.header)))
            }
        }
    }

    async fn ask_token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: &Scope,
    ) -> Result<Token, ClientError> {
        let host = &endpoint.host;
        let broken = |what: &str| ClientError::Protocol {
            registry: host.name.clone(),
            what: format!("its token server {what}"),
        };
        let realm = token_server(host, realm)?;
        let known = self.credentials.find(&host.name, &endpoint.repository).await?;
        if let Some(Credential::Bearer(token)) = &known {
            return Token::new(token, None)
                .ok_or_else(|| broken("is not asked: the token is none"));
        }
        let mut response = None;
        if let Some(Credential::Identity { token, .. }) = &known {
            let form = token_form(service, scope, token.expose());
            let answer = self.token_request(host, Method::POST, realm.clone(), None, Some(form));
            // Token servers that know no POST may still take the identity token as a password.
            response = Some(answer.await?)
                .filter(|answer| !matches!(answer.status().as_u16(), 404 | 405 | 501));
        }
        let peer = host.peer(&realm);
        let mut response = if let Some(response) = response {
            response
        } else {
            let url = token_url(realm, service, scope);
            let proof = known.as_ref().and_then(Credential::basic_header);
            self.token_request(host, Method::GET, url, proof, None).await?
        };
        let status = response.status();
        let wait = retry_after(response.headers());
        let body = self.read_small(&mut response, &peer, "a token", MAX_TOKEN_BYTES).await?;
        if !status.is_success() {
            let what = "the request for a token";
            let repository = Some(endpoint.repository.as_str());
            return Err(refusal(host.name.clone(), repository, what, status, &body, wait));
        }
        parse_token(&body).ok_or_else(|| broken("gave no token"))
    }

    async fn token_request(
        &self,
        host: &Host,
        method: Method,
        url: Url,
        proof: Option<HeaderValue>,
        form: Option<String>,
    ) -> Result<Response, ClientError> {
        let peer = host.peer(&url);
        let mut headers = HeaderMap::new();
        if let Some(proof) = proof {
            headers.insert(AUTHORIZATION, proof);
        }
        let mut body = nothing();
        if let Some(form) = form {
            let is_form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, is_form);
            body = Outgoing::Left(form.into());
        }
        let asking = async {
            self.counting.request(Kind::Token);
            tracing::debug!(%method, realm = url.host_str(), "token");
            let sent = self.wire.exchange(host.transports.current(), method, &url, headers, body);
            let sent = tokio::time::timeout(self.options.stall_timeout, sent).await;
            sent.map_err(|_| self.stalled(&peer, "the request for a token"))?
                .map_err(|err| failed_to_reach(&peer, err))
        };
        self.reach.ask(&url, &peer, asking).await
    }
}

/// The token server's address, if it may be sent secrets.
fn token_server(host: &Host, realm: &str) -> Result<Url, ClientError> {
    let registry = host.name.clone();
    let url = Url::parse(realm).map_err(|_| ClientError::Redirect {
        registry: registry.clone(),
        problem: "to a token server without an address".to_owned(),
    })?;
    let is_local = url.host_str().is_some_and(|name| is_loopback(name.trim_matches(['[', ']'])));
    let in_the_clear = host.transports.current() != Transport::Tls || is_local;
    match url.scheme() {
        "https" => Ok(url),
        "http" if in_the_clear => Ok(url),
        _ => Err(ClientError::IntoTheClear {
            registry,
            problem: "to a token server without TLS".to_owned(),
        }),
    }
}

pub(super) fn token_url(mut realm: Url, service: Option<&str>, scope: &Scope) -> Url {
    {
        let mut query = realm.query_pairs_mut();
        query.extend_pairs(service.map(|service| ("service", service)));
        query.extend_pairs(scope.parameters().map(|scope| ("scope", scope)));
    }
    realm
}

fn token_form(service: Option<&str>, scope: &Scope, refresh_token: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "airlift")
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", &scope.parameters().collect::<Vec<_>>().join(" "))
        .append_pair("refresh_token", refresh_token)
        .finish()
}

pub(super) fn parse_token(body: &[u8]) -> Option<Token> {
    #[derive(serde::Deserialize)]
    struct TokenWire {
        #[serde(default)]
        token: Option<String>,
        #[serde(default)]
        access_token: Option<String>,
        #[serde(default)]
        expires_in: Option<f64>,
    }
    let wire: TokenWire = serde_json::from_slice(body).ok()?;
    let token = wire.token.or(wire.access_token).filter(|token| !token.is_empty())?;
    let life = wire.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Token::new(&airlift_spec::Secret::new(token), life)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_answer_is_read_in_both_spellings() {
        assert!(parse_token(br#"{"token":"a"}"#).is_some());
        assert!(parse_token(br#"{"access_token":"a","expires_in":300}"#).is_some());
        for text in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, "[]"] {
            assert!(parse_token(text.as_bytes()).is_none(), "{text}");
        }
        // Absurd lives must not overflow the clock.
        assert!(parse_token(br#"{"token":"a","expires_in":1e300}"#).unwrap().is_fresh());
        assert!(parse_token(br#"{"token":"a","expires_in":-1}"#).unwrap().is_fresh());
    }

    #[test]
    fn a_token_is_asked_for_every_scope_at_once() {
        let realm = Url::parse("https://auth.example/token?x=1").unwrap();
        let url = token_url(realm, Some("reg istry"), &Scope::mount("b", "a"));
        assert_eq!(
            url.as_str(),
            "https://auth.example/token?x=1&service=reg+istry&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull%2Cpush"
        );
    }
}
