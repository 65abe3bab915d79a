//! In which of its ways a host is to be spoken to.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A way of speaking to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tls,
    /// TLS without looking at the certificate: only where `registries.conf`, or the user for the whole run, says so.
    Unverified,
    Plain,
}

impl Transport {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Tls | Self::Unverified => "https",
            Self::Plain => "http",
        }
    }
}

/// The ways in which a host may be spoken to, and which of them turned out right.
#[derive(Debug)]
pub(crate) struct Transports {
    allowed: &'static [Transport],
    chosen: AtomicUsize,
}

impl Transports {
    pub(crate) fn of(authority: &str, insecure: bool, plain_http: &BTreeSet<String>) -> Self {
        use Transport::{Plain, Tls, Unverified};
        let name = host_name(authority);
        let allowed: &[Transport] = if plain_http.contains(authority) || plain_http.contains(name) {
            &[Plain]
        } else {
            match (is_loopback(name), insecure) {
                // Nobody listens in on loopback, and most registries there have no TLS.
                (true, false) => &[Plain, Tls],
                (true, true) => &[Plain, Unverified],
                (false, true) => &[Unverified, Plain],
                (false, false) => &[Tls],
            }
        };
        Self { allowed, chosen: AtomicUsize::new(0) }
    }

    pub(crate) fn current(&self) -> Transport {
        self.allowed[self.chosen.load(Ordering::Relaxed)]
    }

    /// `tried` was answered in another protocol; true if there is another way to try.
    pub(crate) fn try_other(&self, tried: Transport) -> bool {
        let Some(next) = self.allowed.iter().position(|t| *t == tried).map(|at| at + 1) else {
            return false;
        };
        if next >= self.allowed.len() {
            return false;
        }
        // Another task may have found out before us.
        self.chosen.fetch_max(next, Ordering::Relaxed);
        true
    }
}

/// `host` of `host:port`, `[::1]:5000` and the like, without brackets.
pub(crate) fn host_name(authority: &str) -> &str {
    let name = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => &authority[..colon],
        _ => authority,
    };
    name.trim_matches(['[', ']'])
}

pub(crate) fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ways(authority: &str, insecure: bool, expected: &[Transport]) {
        let plain = BTreeSet::from(["plain.test".to_owned(), "other.test:5000".to_owned()]);
        assert_eq!(Transports::of(authority, insecure, &plain).allowed, expected, "{authority}");
    }

    #[test]
    fn plain_http_is_for_loopback_and_where_it_was_asked_for() {
        use Transport::{Plain, Tls, Unverified};
        ways("quay.io", false, &[Tls]);
        ways("quay.io", true, &[Unverified, Plain]);
        ways("127.0.0.1:5000", false, &[Plain, Tls]);
        ways("[::1]:5000", false, &[Plain, Tls]);
        ways("localhost.example.com", false, &[Tls]);
        ways("plain.test:5000", false, &[Plain]);
        ways("other.test:5000", false, &[Plain]);
        ways("other.test", false, &[Tls]);
    }

    #[test]
    fn a_secure_host_is_never_tried_in_the_clear() {
        let ways = Transports::of("quay.io", false, &BTreeSet::new());
        assert!(!ways.try_other(Transport::Tls));
        let ways = Transports::of("localhost:1", false, &BTreeSet::new());
        assert!(ways.try_other(Transport::Plain));
        assert_eq!(ways.current(), Transport::Tls);
        assert!(!ways.try_other(Transport::Tls));
    }
}
