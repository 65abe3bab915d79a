//! Which tags may move: pure rules, so that every case is a unit test.

use std::collections::BTreeSet;

use airlift_spec::Digest;

use super::TagPolicy;
use super::plan::TagAction;
use crate::receipt::Receipt;

/// What the registry's states say about one tag.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// The digests that this stack set, or was about to.
    pub(super) ours: BTreeSet<Digest>,
    /// Another stack that names the tag too.
    pub(super) other: Option<String>,
}

impl Claims {
    pub(super) fn of(
        own: Option<&Receipt>,
        others: &[Receipt],
        repository: &str,
        tag: &str,
    ) -> Self {
        let ours = own.map(|receipt| receipt.claims(repository, tag)).unwrap_or_default();
        let names = |receipt: &&Receipt| !receipt.claims(repository, tag).is_empty();
        let other = others.iter().find(names).map(|receipt| receipt.stack.clone());
        Self { ours, other }
    }
}

/// A tag is moved only if it points to what this stack set and no other stack names it.
pub(super) fn decide(
    found: Option<Digest>,
    wanted: Digest,
    claims: &Claims,
    policy: TagPolicy,
) -> TagAction {
    let Some(found) = found else { return TagAction::Set };
    if found == wanted {
        return TagAction::Keep;
    }
    if policy == TagPolicy::MoveAny {
        return TagAction::Move;
    }
    if !claims.ours.contains(&found) {
        return TagAction::Leave {
            why: format!("it points to {found}, which this stack did not set"),
        };
    }
    match &claims.other {
        Some(stack) => TagAction::Leave { why: format!("stack `{stack}` names it too") },
        None => TagAction::Move,
    }
}

/// Decides again, just before a tag is written, since a large load takes hours.
pub(super) fn decide_again(
    now: Option<Digest>,
    planned: Option<Digest>,
    wanted: Digest,
    action: &TagAction,
    policy: TagPolicy,
) -> TagAction {
    match now {
        None => TagAction::Set,
        Some(now) if now == wanted => TagAction::Keep,
        Some(_) if now == planned || policy == TagPolicy::MoveAny => match action {
            TagAction::Set | TagAction::Keep => TagAction::Move,
            action => action.clone(),
        },
        Some(now) => {
            TagAction::Leave { why: format!("it was set to {now} while this load was going on") }
        }
    }
}

/// A cosign tag is moved where nothing is lost by it: the new manifest has all layers of the old one.
pub(super) fn decide_cosign(old: &[Digest], new: &[Digest]) -> TagAction {
    match old.iter().find(|layer| !new.contains(layer)) {
        None => TagAction::Move,
        Some(layer) => {
            TagAction::Leave { why: format!("the one there has {layer}, ours does not") }
        }
    }
}

/// The layers of an image manifest, without its config; none where the bytes are no such manifest.
pub(super) fn layers(manifest: &[u8]) -> Vec<Digest> {
    #[derive(serde::Deserialize)]
    struct Wire {
        #[serde(default)]
        layers: Vec<Layer>,
    }
    #[derive(serde::Deserialize)]
    struct Layer {
        digest: Digest,
    }
    let wire: Option<Wire> = serde_json::from_slice(manifest).ok();
    wire.map(|wire| wire.layers.into_iter().map(|layer| layer.digest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn ours(names: &[&str], other: Option<&str>) -> Claims {
        let ours = names.iter().map(|name| digest(name)).collect();
        Claims { ours, other: other.map(str::to_owned) }
    }

    #[track_caller]
    fn check(found: Option<&str>, claims: &Claims, expected: &str) {
        let action = decide(found.map(digest), digest("new"), claims, TagPolicy::OursOnly);
        assert!(format!("{action:?}").starts_with(expected), "{action:?}");
    }

    #[test]
    fn a_tag_moves_only_from_what_this_stack_set() {
        check(None, &ours(&[], Some("b")), "Set");
        check(Some("new"), &ours(&[], Some("b")), "Keep");
        check(Some("old"), &ours(&["older", "old"], None), "Move");
        check(Some("old"), &ours(&["older"], None), "Leave");
        check(Some("old"), &ours(&[], None), "Leave");
        check(Some("old"), &ours(&["old"], Some("b")), "Leave { why: \"stack `b`");
    }

    #[test]
    fn whoever_says_so_moves_every_tag() {
        let action =
            decide(Some(digest("old")), digest("new"), &ours(&[], None), TagPolicy::MoveAny);
        assert_eq!(action, TagAction::Move);
    }

    #[test]
    fn a_tag_that_somebody_set_meanwhile_stays() {
        let again = |now: Option<&str>, planned: Option<&str>, action: &TagAction| {
            let (now, planned) = (now.map(digest), planned.map(digest));
            decide_again(now, planned, digest("new"), action, TagPolicy::OursOnly)
        };
        let (set, moved) = (TagAction::Set, TagAction::Move);
        assert_eq!(again(None, None, &set), TagAction::Set);
        assert_eq!(again(None, Some("old"), &moved), TagAction::Set);
        assert_eq!(again(Some("old"), Some("old"), &moved), TagAction::Move);
        assert_eq!(again(Some("new"), None, &set), TagAction::Keep);
        assert!(matches!(again(Some("theirs"), None, &set), TagAction::Leave { .. }));
        assert!(matches!(again(Some("theirs"), Some("old"), &moved), TagAction::Leave { .. }));
    }

    #[test]
    fn a_cosign_tag_moves_where_no_signature_is_lost() {
        let [a, b] = [digest("a"), digest("b")];
        assert_eq!(decide_cosign(&[a], &[b, a]), TagAction::Move);
        assert_eq!(decide_cosign(&[], &[b]), TagAction::Move);
        assert!(matches!(decide_cosign(&[a, b], &[a]), TagAction::Leave { .. }));
    }

    #[test]
    fn the_config_of_a_signature_is_no_layer_of_it() {
        let text = format!(
            r#"{{"config":{{"digest":"{}"}},"layers":[{{"digest":"{}"}}]}}"#,
            digest("config"),
            digest("layer")
        );
        assert_eq!(layers(text.as_bytes()), [digest("layer")]);
        assert_eq!(layers(b"[]"), []);
    }
}
