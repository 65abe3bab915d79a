//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use std::collections::BTreeMap;

use airlift_spec::error::turns_letters;
use airlift_spec::reference::{is_host, is_tag};
use http::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use url::Url;

use super::auth::{Scheme, Scope, challenges};
use super::blob::ContentRange;
use super::credentials::{File, canonical, helper_answer};
use super::error::{MAX_REASON_CHARS, clean, reason};
use super::exchange::{check_descent, sent_on};
use super::listing::{next_link, page_after, tags_of};
use super::push::held_bytes;
use super::retry::retry_after;
use super::substitute::{Purpose, Substitutions};
use super::tokens::{parse_token, token_url};
use super::wire::{self, is_loopback};

/// `WWW-Authenticate`: what is understood reads back, is no longer than the header, and asks nobody but its realm.
pub fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = challenges(text);
    assert!(found.len() <= text.len());
    assert_eq!(challenges(text), found);
    for scheme in &found {
        let Scheme::Bearer { realm, service, scope } = scheme else { continue };
        let length = realm.len() + service.as_ref().map_or(0, String::len);
        assert!(length <= text.len());
        let scopes: Vec<String> = scope.parameters().collect();
        assert_eq!(&Scope::parse(&scopes.join(" ")), scope);
        let service_text = service.as_ref().map(|service| format!(",service={}", quoted(service)));
        let written = format!(
            "Bearer realm={}{},scope={}",
            quoted(realm),
            service_text.unwrap_or_default(),
            quoted(&scopes.join(" "))
        );
        assert_eq!(challenges(&written), std::slice::from_ref(scheme), "{written}");
        if let Ok(realm) = Url::parse(realm) {
            let url = token_url(realm.clone(), service.as_deref(), scope);
            assert_eq!((url.scheme(), url.host()), (realm.scheme(), realm.host()));
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What else a registry answers: tokens, errors, lists, and headers that lead on. Nothing leads into the clear or
/// elsewhere for a page, and no word of a stranger's moves a cursor.
pub fn answer(data: &[u8]) {
    parse_token(data);
    let said = reason(data);
    for words in said.code.iter().chain(&said.text) {
        is_readable(words);
    }
    assert!(tags_of(data).is_none_or(|tags| tags.iter().all(|tag| is_tag(tag))));
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_readable(&clean(text));
    leads_on(text);
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let (Ok(after), Ok(date)) = (HeaderValue::from_str(first), HeaderValue::from_str(second)) {
        retry_after(&HeaderMap::from_iter([(RETRY_AFTER, after), (DATE, date)]));
    }
    held_bytes(text);
    if let Some(range) = ContentRange::parse(text) {
        let ContentRange { bytes, total } = &range;
        assert!(bytes.start < bytes.end);
        let total = total.map_or("*".to_owned(), |total| total.to_string());
        let written = format!("bytes {}-{}/{total}", bytes.start, bytes.end - 1);
        assert_eq!(ContentRange::parse(&written).as_ref(), Some(&range));
    }
}

fn is_readable(words: &str) {
    assert!(words.chars().count() <= MAX_REASON_CHARS + 1, "{words:?}");
    assert!(!words.contains(|c: char| c.is_control() || turns_letters(c)), "{words:?}");
}

fn leads_on(text: &str) {
    for from in ["https://registry.example/v2/a/tags/list", "http://registry.example:5000/v2/a"] {
        let from = Url::parse(from).expect("an address");
        for target in next_link(text).into_iter().chain([text]) {
            if let Some(next) = page_after(&from, target) {
                assert_eq!(next.origin(), from.origin());
                assert_ne!(next, from);
            }
        }
        if let Some(to) = sent_on(&from, text)
            && check_descent("registry.example", &from, &to).is_ok()
        {
            let host = to.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let stays_as_safe = to.scheme() == "https" || from.scheme() == "http";
            assert!(stays_as_safe || is_loopback(host), "{from} leads to {to}");
        }
    }
}

/// An answer as it comes from the line: its body is the one that hyper would read, and the connection that is kept after
/// it has lost nothing.
pub fn body(data: &[u8]) {
    wire::fuzzing::body(data);
}

/// docker's `config.json`, containers' `auth.json`, and what credential helpers print.
pub fn credentials(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let once = canonical(text);
    assert_eq!(canonical(&once), once, "{text:?}");
    if let Ok(Some(credential)) = helper_answer(data) {
        credential.basic_header();
    }
    match File::parse(text, "auth.json") {
        Ok(file) => {
            for (host, path) in [("quay.io", "org/app"), ("docker.io", "library/a")] {
                file.helper(host);
                if let Some(credential) = file.auth(host, path) {
                    credential.basic_header();
                }
            }
        }
        Err(err) => assert!(!err.to_string().contains(char::is_control), "{err:?}"),
    }
}

/// containers' `registries.conf`: whoever is asked instead is a host, and only the registry itself is written to.
pub fn registries_conf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(table) = Substitutions::parse(&BTreeMap::new(), &[text.to_owned()]) else { return };
    for (host, path) in [("quay.io", "org/app"), ("a.b.example.com", "x")] {
        for purpose in [Purpose::ReadByTag, Purpose::ReadByDigest, Purpose::Write] {
            let Ok(places) = table.places(host, path, purpose) else { continue };
            assert!(places.iter().all(|place| is_host(&place.host)), "{places:?}");
            assert!(!places.is_empty());
            assert!(purpose != Purpose::Write || places.len() == 1, "{places:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_text_is_a_challenge_that_reads_back_or_is_left_out() {
        check("challenge", super::challenge);
    }

    #[test]
    fn no_answer_of_a_registry_leads_into_the_clear_or_reaches_the_terminal_raw() {
        check("answer", super::answer);
    }

    #[test]
    fn a_body_is_what_hyper_would_read() {
        check("body", super::body);
    }

    #[test]
    fn any_text_is_a_file_of_credentials_or_is_refused() {
        check("credentials", super::credentials);
    }

    #[test]
    fn any_text_is_a_table_of_mirrors_that_are_hosts_or_is_refused() {
        check("registries_conf", super::registries_conf);
    }
}
