//! What the exit code says: a bit for each kind of content that failed.

use airlift_spec::{Lock, lock};

use crate::mapping::Kind;

/// Everything but content: arguments, configuration, `delete`.
pub const GENERIC: u8 = 1;

/// The code for a run in which images of these kinds failed; zero where there are none.
pub fn exit_code(failed: impl IntoIterator<Item = Kind>) -> u8 {
    failed.into_iter().map(bit).fold(0, |code, bit| code | bit)
}

/// What kind of content failed, by the name of what did: a source of the stack, or an artifact of its lock.
pub fn failed_kind(failed: &str, lock: &Lock) -> Kind {
    match failed.split_once(": ") {
        Some(("catalog", _)) => return Kind::Catalog,
        Some(("chart", _)) => return Kind::Helm,
        Some(("openshift", _)) => return Kind::Release,
        _ => {}
    }
    let find = |name: &str| lock.artifacts.iter().find(|it| it.reference.to_string() == name);
    let Some(artifact) = find(failed) else { return Kind::Additional };
    let parents = artifact.because.iter().filter_map(|because| find(&because.from));
    let kinds = [artifact].into_iter().chain(parents).map(|it| match it.kind {
        lock::Kind::Release => Some(Kind::Release),
        lock::Kind::Graph => Some(Kind::Graph),
        lock::Kind::Bundle | lock::Kind::Catalog => Some(Kind::Bundle),
        lock::Kind::Chart => Some(Kind::Helm),
        _ => None,
    });
    // An image may be of several parts; releases come first, as they do for the peer.
    kinds.flatten().min().unwrap_or(Kind::Additional)
}

fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Release | Kind::ReleaseContent | Kind::Graph => 2,
        Kind::Related | Kind::Bundle | Kind::Catalog => 4,
        Kind::Additional => 8,
        Kind::Helm => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_of_the_part_that_brought_it() {
        let artifact = |kind, name: &str, from: &str| {
            let because = lock::Because {
                from: from.to_owned(),
                path: String::new(),
                evidence: lock::Evidence::Declared,
            };
            let plain = lock::Artifact::new(kind, name.parse().unwrap());
            lock::Artifact { because: vec![because], ..plain }
        };
        let artifacts = vec![
            artifact(lock::Kind::Release, "a.io/release:1", "openshift: stable-4.20"),
            artifact(lock::Kind::Image, "a.io/cli:1", "a.io/release:1"),
            artifact(lock::Kind::Bundle, "a.io/bundle:1", "catalog: x"),
            artifact(lock::Kind::Image, "a.io/op:1", "a.io/bundle:1"),
            artifact(lock::Kind::Image, "a.io/own:1", "image: a.io/own:1"),
        ];
        let lock = Lock { artifacts, ..Lock::new("set") };
        let code = |failed: &str| exit_code([failed_kind(failed, &lock)]);
        let failed =
            ["openshift: stable-4.20", "a.io/cli:1", "a.io/op:1", "a.io/own:1", "chart: c"];
        assert_eq!(failed.map(code), [2, 2, 4, 8, 16]);
    }

    #[test]
    fn each_kind_of_content_has_a_bit() {
        assert_eq!(exit_code([]), 0);
        assert_eq!(exit_code([Kind::Helm, Kind::Bundle, Kind::Catalog]), 20);
        assert_eq!(exit_code([Kind::Graph, Kind::Additional]), 10);
    }
}
