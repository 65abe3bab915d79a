//! Where a thing lives on the far side: the one function that `load`, `serve`, `redirect`, `check` and
//! `install` all call.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reference::{Reference, is_repository};

/// How names on the near side become repositories on the far side.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub enum Layout {
    /// `PREFIX/<host>/<path>`; two hosts never collide.
    #[default]
    Host,
    /// `PREFIX/<path>`, as oc-mirror does.
    OcMirror,
    /// The same, in at most this many path components, as oc-mirror does with `--max-nested-paths`. Names that would
    /// become one are refused, as nothing tells them apart.
    OcMirrorNested(u8),
    /// At most this many path components, prefix included, for registries without nested paths.
    Flat(u8),
}

/// Why things cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    #[error(
        "`{0}` is not a layout (expected `host`, `oc-mirror`, `oc-mirror:N` or `flat:N` with N from 1 to 9)"
    )]
    Layout(String),
    #[error("`{first}` and `{second}` would both become `{repository}` under layout `{layout}`")]
    Collision { first: String, second: String, repository: String, layout: Layout },
    #[error(
        "`{name}` would become `{repository}`, which is not a repository name registries accept"
    )]
    Name { name: String, repository: String },
}

impl crate::Explain for PlacementError {
    fn class(&self) -> crate::Class {
        crate::Class::Input
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Collision { .. } => {
                Some("use `--layout host`, which keeps hosts apart".to_owned())
            }
            Self::Name { .. } => {
                Some("choose a shorter prefix, lowercase letters and digits".to_owned())
            }
            Self::Layout(_) => None,
        }
    }
}

impl Layout {
    /// The repository of `reference` under `prefix` (which may be empty) on the far side.
    pub fn place(self, prefix: &str, reference: &Reference) -> Result<String, PlacementError> {
        let parts: Vec<String> = match self {
            Self::OcMirror | Self::OcMirrorNested(_) => {
                words(prefix).chain(words(reference.path())).collect()
            }
            Self::Host | Self::Flat(_) => words(prefix)
                .chain([host_component(reference.host())])
                .chain(words(reference.path()))
                .collect(),
        };
        let repository = match self {
            Self::Flat(most) => {
                flatten(&parts, words(prefix).count(), usize::from(most), reference)
            }
            Self::OcMirrorNested(most) => nested(&parts.join("/"), usize::from(most)),
            Self::Host | Self::OcMirror => parts.join("/"),
        };
        if is_repository(&repository) {
            Ok(repository)
        } else {
            Err(PlacementError::Name { name: reference.repository(), repository })
        }
    }

    /// Whether names are those that oc-mirror gives.
    pub fn is_of_oc_mirror(self) -> bool {
        matches!(self, Self::OcMirror | Self::OcMirrorNested(_))
    }

    /// Refuses references whose repositories differ here but would be one there.
    pub fn check<'a>(
        self,
        prefix: &str,
        references: impl IntoIterator<Item = &'a Reference>,
    ) -> Result<(), PlacementError> {
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for reference in references {
            let repository = self.place(prefix, reference)?;
            let name = reference.repository();
            if let Some(first) = owners.get(&repository).filter(|first| **first != name) {
                let (first, second) = (first.clone(), name);
                return Err(PlacementError::Collision { first, second, repository, layout: self });
            }
            owners.insert(repository, name);
        }
        Ok(())
    }
}

fn words(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned)
}

/// A host as one component of a repository name. Hosts hold no `_`, so nothing collides.
fn host_component(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let Some(rest) = host.strip_prefix('[') else {
        return host.replace(':', "_");
    };
    let (address, port) = rest.split_once(']').unwrap_or((rest, ""));
    let bits = address.parse::<std::net::Ipv6Addr>().map_or(0, u128::from);
    format!("ipv6_{bits:032x}{}", port.replace(':', "_"))
}

/// A path of at most `most` components: those too many are joined to the last one.
pub fn nested(path: &str, most: usize) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    if most == 0 || parts.len() <= most {
        return path.to_owned();
    }
    let (kept, rest) = parts.split_at(most - 1);
    let last = rest.join("-");
    kept.iter().copied().chain([last.as_str()]).collect::<Vec<_>>().join("/")
}

/// Joins what exceeds `most` components into the last one, told apart by a hash of the full name.
fn flatten(parts: &[String], prefix_parts: usize, most: usize, reference: &Reference) -> String {
    let kept = most.saturating_sub(1).max(prefix_parts);
    if parts.len() <= kept + 1 {
        return parts.join("/");
    }
    let hash = &Digest::of(reference.repository().as_bytes()).hex()[..8];
    let last = format!("{}-{hash}", parts[kept..].join("-"));
    parts[..kept].iter().cloned().chain([last]).collect::<Vec<_>>().join("/")
}

/// The tag that keeps an image alive which nothing else names. `sha256-<hex>` would be the referrers'
/// fallback tag of that very image, so the name is our own.
pub fn keep_alive_tag(digest: &Digest) -> String {
    format!("airlift-{}", &digest.hex()[..32])
}

/// The repository in which the state of all stacks under `prefix` lies, one tag a stack.
pub fn state_repository(prefix: &str) -> String {
    words(prefix).chain(["airlift-state".to_owned()]).collect::<Vec<_>>().join("/")
}

impl FromStr for Layout {
    type Err = PlacementError;
    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let unknown = || PlacementError::Layout(text.to_owned());
        let most = |digits: &str, highest: u8| match digits.parse::<u8>() {
            Ok(most) if !digits.starts_with(['0', '+']) && most <= highest => Ok(most),
            _ => Err(unknown()),
        };
        match text.split_once(':') {
            None if text == "host" => Ok(Self::Host),
            None if text == "oc-mirror" => Ok(Self::OcMirror),
            Some(("oc-mirror", digits)) => most(digits, u8::MAX).map(Self::OcMirrorNested),
            Some(("flat", digits)) => most(digits, 9).map(Self::Flat),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::OcMirror => f.write_str("oc-mirror"),
            Self::OcMirrorNested(most) => write!(f, "oc-mirror:{most}"),
            Self::Flat(most) => write!(f, "flat:{most}"),
        }
    }
}

impl TryFrom<String> for Layout {
    type Error = PlacementError;
    fn try_from(text: String) -> Result<Self, PlacementError> {
        text.parse()
    }
}

impl From<Layout> for String {
    fn from(layout: Layout) -> Self {
        layout.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(layout: &str, prefix: &str, from: &str, to: &str) {
        let layout: Layout = layout.parse().unwrap();
        assert_eq!(layout.place(prefix, &reference(from)).unwrap(), to);
    }

    #[test]
    fn the_host_layout_spells_everything_out() {
        check("host", "", "nginx:1", "docker.io/library/nginx");
        check("host", "mirror/ai", "quay.io/org/app:1", "mirror/ai/quay.io/org/app");
        check("host", "", "localhost:5000/a:1", "localhost_5000/a");
        check("host", "", "[::1]:5000/a:1", "ipv6_00000000000000000000000000000001_5000/a");
    }

    #[test]
    fn the_oc_mirror_layout_drops_the_host() {
        check("oc-mirror", "m", "quay.io/org/app:1", "m/org/app");
        let both = [reference("quay.io/org/app:1"), reference("ghcr.io/org/app:2")];
        let err = Layout::OcMirror.check("", &both).unwrap_err();
        assert!(matches!(err, PlacementError::Collision { .. }), "{err}");
        assert_eq!(Layout::Host.check("", &both), Ok(()));
    }

    #[test]
    fn the_nested_layout_joins_what_is_too_deep_as_oc_mirror_does() {
        check("oc-mirror:2", "", "quay.io/org/app:1", "org/app");
        check("oc-mirror:2", "", "quay.io/a/b/c:1", "a/b-c");
        check("oc-mirror:2", "team", "quay.io/a/b:1", "team/a-b");
        check("oc-mirror:1", "", "quay.io/a/b:1", "a-b");
        let both = [reference("quay.io/a/b/c:1"), reference("quay.io/a/b-c:1")];
        assert!(Layout::OcMirrorNested(2).check("", &both).is_err());
        for text in [
            "oc-mirror:0",
            "oc-mirror:256",
            "oc-mirror:+1",
            "flat:10",
            "oc-mirror:",
            "host:1",
            "flat",
        ] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
        assert_eq!(Layout::OcMirrorNested(3).to_string(), "oc-mirror:3");
    }

    #[test]
    fn the_flat_layout_joins_what_is_too_deep() {
        check("flat:2", "", "quay.io/app:1", "quay.io/app");
        check("flat:2", "", "quay.io/org/app:1", "quay.io/org-app-b0f03bf2");
        check("flat:1", "", "quay.io/org/app:1", "quay.io-org-app-b0f03bf2");
        check("flat:2", "team", "quay.io/org/app:1", "team/quay.io-org-app-b0f03bf2");
    }

    #[test]
    fn a_prefix_that_no_registry_takes_is_refused() {
        assert!(Layout::Host.place("Team A", &reference("nginx")).is_err());
        assert!(Layout::Host.place("../x", &reference("nginx")).is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_layout_different_names_stay_apart(
            a in "[a-c]{1,2}\\.io(:[1-9])?(/[ab]{1,2}(-[ab])?){1,4}",
            b in "[a-c]{1,2}\\.io(:[1-9])?(/[ab]{1,2}(-[ab])?){1,4}",
        ) {
            let (a, b) = (reference(&a), reference(&b));
            for layout in [Layout::Host, Layout::Flat(1), Layout::Flat(2), Layout::Flat(3)] {
                let same = layout.place("", &a).unwrap() == layout.place("", &b).unwrap();
                prop_assert_eq!(same, a.repository() == b.repository());
            }
        }
    }
}
