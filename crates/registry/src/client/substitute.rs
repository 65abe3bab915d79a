//! Where the bytes of a repository really come from: the user's own table and containers' `registries.conf`.
//!
//! Names stay canonical everywhere else; this is looked up at connect time.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::ClientError;

/// What is to be read, since some mirrors are for digests (or tags) only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    ReadByDigest,
    ReadByTag,
    Write,
}

/// A place to ask: `host/path`, both as the registry there knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) path: String,
    /// TLS need not be valid there, nor be there at all.
    pub(crate) insecure: bool,
}

/// The whole table, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Substitutions {
    upstreams: BTreeMap<String, String>,
    /// By prefix; a later file's entry replaces an earlier one's.
    registries: BTreeMap<String, Registry>,
}

#[derive(Debug)]
struct Registry {
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    digest_only: bool,
    mirrors: Vec<MirrorWire>,
}

/// `registries.conf`, version 2. Other tools read it too, so fields that mean nothing to us are ignored.
#[derive(Deserialize)]
struct FileWire {
    #[serde(default)]
    registry: Vec<RegistryWire>,
    /// The table that only version 1 has.
    registries: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryWire {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorWire>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorWire {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFromMirror,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    #[default]
    #[serde(alias = "")]
    All,
    DigestOnly,
    TagOnly,
}

impl Substitutions {
    /// Reads the user's table and the texts of `registries.conf` files, later ones overriding.
    pub(crate) fn parse(
        upstreams: &BTreeMap<String, String>,
        files: &[String],
    ) -> Result<Self, ClientError> {
        for (prefix, location) in upstreams {
            check_location(prefix, "the table of upstreams")?;
            check_location(location, "the table of upstreams")?;
        }
        let mut registries = BTreeMap::new();
        for text in files {
            let file: FileWire = toml::from_str(text).map_err(|err| wrong(err.message()))?;
            if file.registries.is_some() {
                return Err(wrong("it is of version 1; write `[[registry]]` tables"));
            }
            for wire in file.registry {
                let (prefix, registry) = wire.understand()?;
                registries.insert(prefix, registry);
            }
        }
        Ok(Self { upstreams: upstreams.clone(), registries })
    }

    /// The places to ask for `host/path`, best first. The last one is the registry itself.
    pub(crate) fn places(
        &self,
        host: &str,
        path: &str,
        purpose: Purpose,
    ) -> Result<Vec<Place>, ClientError> {
        let name = format!("{host}/{path}");
        let own = self.upstreams.iter().filter_map(|(p, to)| Some((p, to, matched(p, &name)?)));
        if let Some((_, location, rest)) = own.max_by_key(|(prefix, ..)| prefix.len()) {
            return Ok(vec![Place::at(location, rest, false)]);
        }
        let known = self.registries.iter().filter_map(|(p, r)| Some((p, r, matched(p, &name)?)));
        let Some((prefix, registry, rest)) = known.max_by_key(|(prefix, ..)| prefix.len()) else {
            return Ok(vec![Place {
                host: host.to_owned(),
                path: path.to_owned(),
                insecure: false,
            }]);
        };
        if registry.blocked {
            return Err(ClientError::Blocked { registry: host.to_owned(), prefix: prefix.clone() });
        }
        let mut places: Vec<Place> = registry
            .mirrors
            .iter()
            .filter(|mirror| registry.allows(mirror, purpose))
            .map(|mirror| Place::at(&mirror.location, rest, mirror.insecure))
            .collect();
        places.push(match &registry.location {
            Some(location) => Place::at(location, rest, registry.insecure),
            None => {
                Place { host: host.to_owned(), path: path.to_owned(), insecure: registry.insecure }
            }
        });
        Ok(places)
    }
}

impl Registry {
    fn allows(&self, mirror: &MirrorWire, purpose: Purpose) -> bool {
        let only_digest = self.digest_only || mirror.pull_from_mirror == PullFromMirror::DigestOnly;
        match purpose {
            Purpose::Write => false,
            Purpose::ReadByDigest => mirror.pull_from_mirror != PullFromMirror::TagOnly,
            Purpose::ReadByTag => !only_digest,
        }
    }
}

impl RegistryWire {
    fn understand(self) -> Result<(String, Registry), ClientError> {
        let prefix = if self.prefix.is_empty() { self.location.clone() } else { self.prefix };
        let prefix = prefix.trim_end_matches('/').to_owned();
        if prefix.is_empty() {
            return Err(wrong("a `[[registry]]` has neither prefix nor location"));
        }
        if let Some(domain) = prefix.strip_prefix('*')
            && (!domain.starts_with('.') || domain.contains(['/', '*']))
        {
            return Err(wrong(&format!("`{prefix}`: a wildcard stands for subdomains only")));
        }
        for mirror in &self.mirror {
            check_location(&mirror.location, "registries.conf")?;
        }
        let location = Some(self.location).filter(|location| !location.is_empty());
        if let Some(location) = &location {
            check_location(location, "registries.conf")?;
        }
        let registry = Registry {
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            digest_only: self.mirror_by_digest_only,
            mirrors: self.mirror,
        };
        Ok((prefix, registry))
    }
}

impl Place {
    /// `location` and what stood behind the prefix.
    fn at(location: &str, rest: &str, insecure: bool) -> Self {
        let name = format!("{}{rest}", location.trim_end_matches('/'));
        let (host, path) = name.split_once('/').unwrap_or((&name, ""));
        Self { host: host.to_ascii_lowercase(), path: path.to_owned(), insecure }
    }
}

/// What of `name` lies behind `prefix` (`/rest` or nothing), if that is a prefix by whole components.
fn matched<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host_end = name.find('/').unwrap_or(name.len());
        let host = &name[..host_end];
        let matches = host.len() > domain.len() && host.ends_with(domain);
        return matches.then(|| &name[host_end..]);
    }
    let rest = name.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn check_location(text: &str, what: &'static str) -> Result<(), ClientError> {
    let host = text.split('/').next().unwrap_or_default();
    if airlift_spec::reference::is_host(host) {
        return Ok(());
    }
    let reason = format!("`{text}` is not a host with an optional path");
    Err(ClientError::Config { what, reason })
}

fn wrong(reason: &str) -> ClientError {
    ClientError::Config { what: "registries.conf", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Substitutions {
        Substitutions::parse(&BTreeMap::new(), &[text.to_owned()]).unwrap()
    }

    #[track_caller]
    fn check(table: &Substitutions, name: &str, purpose: Purpose, expected: &[&str]) {
        let (host, path) = name.split_once('/').unwrap();
        let places = table.places(host, path, purpose).unwrap();
        let found: Vec<_> = places
            .iter()
            .map(|p| format!("{}/{}{}", p.host, p.path, if p.insecure { " insecure" } else { "" }))
            .collect();
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn without_an_entry_a_name_is_where_it_says() {
        check(&table(""), "quay.io/a/b", Purpose::ReadByTag, &["quay.io/a/b"]);
    }

    #[test]
    fn the_longest_prefix_wins_by_whole_components() {
        let table = table(
            r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "quay.io"
            [[registry]]
            prefix = "quay.io/org"
            location = "nexus.example:8443/quay/org"
            "#,
        );
        check(&table, "quay.io/org/x", Purpose::ReadByTag, &["nexus.example:8443/quay/org/x"]);
        check(&table, "quay.io/organic/x", Purpose::ReadByTag, &["quay.io/organic/x"]);
    }

    #[test]
    fn mirrors_come_first_in_order_and_are_never_written_to() {
        let table = table(
            r#"
            [[registry]]
            prefix = "quay.io"
            location = "quay.io"
            [[registry.mirror]]
            location = "one.example/q"
            insecure = true
            [[registry.mirror]]
            location = "two.example"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "three.example"
            pull-from-mirror = "tag-only"
            "#,
        );
        let one = "one.example/q/a insecure";
        check(&table, "quay.io/a", Purpose::ReadByDigest, &[one, "two.example/a", "quay.io/a"]);
        check(&table, "quay.io/a", Purpose::ReadByTag, &[one, "three.example/a", "quay.io/a"]);
        check(&table, "quay.io/a", Purpose::Write, &["quay.io/a"]);
    }

    #[test]
    fn a_wildcard_matches_subdomains_only() {
        let table = table(
            r#"
            [[registry]]
            prefix = "*.example.com"
            location = "inner.test"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "m.test"
            "#,
        );
        check(&table, "a.b.example.com/x/y", Purpose::ReadByTag, &["inner.test/x/y"]);
        check(&table, "b.example.com/x", Purpose::ReadByDigest, &["m.test/x", "inner.test/x"]);
        check(&table, "example.com/x", Purpose::ReadByTag, &["example.com/x"]);
        check(&table, "badexample.com/x", Purpose::ReadByTag, &["badexample.com/x"]);
    }

    #[test]
    fn a_blocked_registry_is_named() {
        let table = table("[[registry]]\nprefix = \"docker.io\"\nblocked = true");
        let err = table.places("docker.io", "library/a", Purpose::ReadByTag).unwrap_err();
        assert_eq!(err.to_string(), "docker.io is blocked by registries.conf (prefix `docker.io`)");
    }

    #[test]
    fn the_users_own_table_goes_before_the_file_and_later_files_before_earlier_ones() {
        let file = |to: &str| format!("[[registry]]\nprefix = \"quay.io\"\nlocation = \"{to}\"");
        let files = [file("one.test"), file("two.test")];
        let none = Substitutions::parse(&BTreeMap::new(), &files).unwrap();
        check(&none, "quay.io/a", Purpose::ReadByTag, &["two.test/a"]);
        let own = BTreeMap::from([("quay.io".to_owned(), "own.test/quay/".to_owned())]);
        let own = Substitutions::parse(&own, &files).unwrap();
        check(&own, "quay.io/a", Purpose::Write, &["own.test/quay/a"]);
    }

    #[test]
    fn files_that_mean_something_else_are_refused() {
        for text in [
            "[registries.search]\nregistries = ['a']",
            "[[registry]]\ninsecure = true",
            "[[registry]]\nprefix = \"*.a/b\"",
            "[[registry]]\nprefix = \"a.b\"\nlocation = \"https://c.d\"",
            "[[registry",
        ] {
            let parsed = Substitutions::parse(&BTreeMap::new(), &[text.to_owned()]);
            assert!(matches!(parsed, Err(ClientError::Config { .. })), "{text}");
        }
    }
}
