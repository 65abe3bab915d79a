//! What may go: pure rules, so that every case is a unit test.

use std::collections::{BTreeMap, BTreeSet};

use airlift_spec::Digest;
use airlift_spec::oci::{cosign_subject, referrers_tag};
use airlift_spec::placement::keep_alive_tag;

use super::Wish;
use crate::receipt::Receipt;

/// What a repository holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) tags: BTreeMap<String, Digest>,
    /// Manifests that are known to be there; not all of them have tags.
    pub(super) present: BTreeSet<Digest>,
    /// The indexes among them, and what they hold.
    pub(super) indexes: BTreeMap<Digest, BTreeSet<Digest>>,
}

/// What other stacks have brought into a repository, each with one of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    manifests: BTreeMap<Digest, String>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Gone,
    Delete(Digest),
    Keep {
        digest: Option<Digest>,
        why: String,
        /// Whether the tag may go: something else holds the manifest.
        untag: bool,
    },
}

/// What a wish leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    Nothing,
    Image(Digest),
    /// The tag is there, and leads to another image than the one that is meant.
    Another(Digest),
}

impl Claims {
    pub(super) fn of(others: &[Receipt], repository: &str) -> Self {
        let mut claims = Self::default();
        for receipt in others {
            let stack = || receipt.stack.clone();
            let names = |digest: Digest| (digest, stack());
            claims.manifests.extend(receipt.manifests_at(repository).map(names));
            let tags = receipt.tags_at(repository);
            claims.tags.extend(tags.map(|tag| (tag.to_owned(), stack())));
        }
        claims
    }
}

/// Says for each wish what becomes of it.
pub(super) fn decide(wishes: &[&Wish], seen: &Seen, claims: &Claims) -> Vec<Decision> {
    let meant: Vec<Meant> = wishes.iter().map(|wish| meant(wish, seen)).collect();
    let kept = kept(wishes, &meant, seen, claims);
    wishes.iter().zip(meant).map(|(wish, meant)| one(wish, meant, &kept, claims)).collect()
}

fn one(wish: &Wish, meant: Meant, kept: &Kept, claims: &Claims) -> Decision {
    let digest = match meant {
        Meant::Nothing => return Decision::Gone,
        Meant::Another(digest) => {
            let why = "the tag leads to another image by now".to_owned();
            return Decision::Keep { digest: Some(digest), why, untag: false };
        }
        Meant::Image(digest) => digest,
    };
    let tag_of_other = wish.tag.as_ref().and_then(|tag| claims.tags.get(tag));
    if let Some(stack) = tag_of_other {
        let why = format!("stack `{stack}` has the tag, too");
        return Decision::Keep { digest: Some(digest), why, untag: false };
    }
    if let Some(holder) = kept.get(&digest) {
        let untag = !matches!(holder, Holder::Stack(_));
        return Decision::Keep { digest: Some(digest), why: holder.to_string(), untag };
    }
    // What signs an image goes with it, or stays with it.
    let subject = wish.tag.as_deref().and_then(cosign_subject);
    if subject.is_some_and(|subject| kept.contains_key(&subject)) {
        let why = "the image that it is about stays".to_owned();
        return Decision::Keep { digest: Some(digest), why, untag: false };
    }
    Decision::Delete(digest)
}

fn meant(wish: &Wish, seen: &Seen) -> Meant {
    let if_there =
        |digest| if seen.present.contains(&digest) { Meant::Image(digest) } else { Meant::Nothing };
    let found = wish.tag.as_ref().and_then(|tag| seen.tags.get(tag)).copied();
    match (found, wish.digest) {
        // Other tools tag an image by its digest; airlift keeps it by a tag of its own.
        (None, Some(digest)) if is_by_digest(wish, digest) => if_there(digest),
        (None, _) => Meant::Nothing,
        (Some(found), None) => Meant::Image(found),
        (Some(found), Some(digest)) if found == digest => Meant::Image(digest),
        // The tag of that form is where referrers of the image are listed.
        (Some(_), Some(digest)) if is_by_digest(wish, digest) => if_there(digest),
        (Some(found), Some(_)) => Meant::Another(found),
    }
}

/// Whether the name says no more than the digest does.
fn is_by_digest(wish: &Wish, digest: Digest) -> bool {
    wish.tag.as_ref().is_none_or(|tag| *tag == referrers_tag(&digest))
}

/// Who else holds a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Tag(String),
    Index(Digest),
    Stack(String),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "the tag `{tag}` leads to it, too"),
            Self::Index(index) => write!(f, "it is part of the index {index}, which stays"),
            Self::Stack(stack) => write!(f, "stack `{stack}` has it, too"),
        }
    }
}

type Kept = BTreeMap<Digest, Holder>;

/// The manifests that somebody else holds.
fn kept(wishes: &[&Wish], meant: &[Meant], seen: &Seen, claims: &Claims) -> Kept {
    let mut going: BTreeSet<String> = BTreeSet::new();
    for (wish, meant) in wishes.iter().zip(meant) {
        let Meant::Image(digest) = meant else { continue };
        let is_free = |tag: &String| !claims.tags.contains_key(tag);
        going.extend(wish.tag.iter().filter(|tag| is_free(tag)).cloned());
        if wish.digest.is_some_and(|digest| is_by_digest(wish, digest)) {
            // Whoever asks by digest has the image by one of these.
            going.extend([keep_alive_tag(digest), referrers_tag(digest)]);
        }
    }
    let mut kept = Kept::new();
    for (digest, stack) in &claims.manifests {
        kept.insert(*digest, Holder::Stack(stack.clone()));
    }
    for (tag, digest) in seen.tags.iter().filter(|(tag, _)| !going.contains(*tag)) {
        kept.insert(*digest, Holder::Tag(tag.clone()));
    }
    hold_children(&mut kept, seen);
    kept
}

/// An index that stays keeps what it holds, down to the last.
fn hold_children(kept: &mut Kept, seen: &Seen) {
    let mut open: Vec<Digest> = kept.keys().copied().collect();
    while let Some(holder) = open.pop() {
        for child in seen.indexes.get(&holder).into_iter().flatten() {
            if !kept.contains_key(child) {
                kept.insert(*child, Holder::Index(holder));
                open.push(*child);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    fn wish(tag: &str, of: Option<&str>) -> Wish {
        Wish { repository: "app".into(), tag: Some(tag.into()), digest: of.map(digest) }
    }

    fn by_digest(of: &str) -> Wish {
        wish(&referrers_tag(&digest(of)), Some(of))
    }

    /// A repository with these tags.
    fn seen(tags: &[(&str, &str)]) -> Seen {
        let tags: BTreeMap<String, Digest> =
            tags.iter().map(|(tag, of)| ((*tag).to_owned(), digest(of))).collect();
        Seen { present: tags.values().copied().collect(), tags, ..Seen::default() }
    }

    #[track_caller]
    fn check(wishes: &[Wish], seen: &Seen, claims: &Claims, expected: &[&str]) {
        let wishes: Vec<&Wish> = wishes.iter().collect();
        let said: Vec<String> = decide(&wishes, seen, claims)
            .into_iter()
            .map(|decision| match decision {
                Decision::Gone => "gone".to_owned(),
                Decision::Delete(found) => {
                    let names = ["a", "b", "sig", "index"];
                    let name = names.into_iter().find(|name| digest(name) == found);
                    format!("delete {}", name.unwrap_or("?"))
                }
                Decision::Keep { why, untag, .. } => {
                    format!("keep{}: {why}", if untag { " untag" } else { "" })
                }
            })
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn a_manifest_goes_with_all_of_its_tags_or_not_at_all() {
        let none = Claims::default();
        let here = seen(&[("v1", "a"), ("v2", "a"), ("v3", "b")]);
        let (one, two) = (wish("v1", None), wish("v2", None));
        check(
            std::slice::from_ref(&one),
            &here,
            &none,
            &["keep untag: the tag `v2` leads to it, too"],
        );
        check(&[one, two], &here, &none, &["delete a", "delete a"]);
        check(&[wish("v9", None)], &here, &none, &["gone"]);
        check(&[wish("v9", None)], &Seen::default(), &none, &["gone"]);
    }

    #[test]
    fn a_tag_that_was_moved_meanwhile_stays() {
        let none = Claims::default();
        let here = seen(&[("v1", "b")]);
        let moved = "keep: the tag leads to another image by now";
        check(&[wish("v1", Some("a"))], &here, &none, &[moved]);
        check(&[wish("v1", Some("b"))], &here, &none, &["delete b"]);
    }

    #[test]
    fn what_is_known_by_digest_has_one_of_two_tags() {
        let none = Claims::default();
        let (ours, peers) = (keep_alive_tag(&digest("a")), referrers_tag(&digest("a")));
        check(&[by_digest("a")], &seen(&[(&ours, "a")]), &none, &["delete a"]);
        check(&[by_digest("a")], &seen(&[(&peers, "a")]), &none, &["delete a"]);
        check(&[by_digest("a")], &seen(&[]), &none, &["gone"]);
        // Beside our tag, the other may list what signs the image.
        check(&[by_digest("a")], &seen(&[(&ours, "a"), (&peers, "sig")]), &none, &["delete a"]);
        // Whoever has it by its digest did not ask for `v1`.
        let both = seen(&[(&ours, "a"), ("v1", "a")]);
        let why = format!("keep untag: the tag `{ours}` leads to it, too");
        check(&[wish("v1", None)], &both, &none, &[&why]);
        let untagged = Wish { tag: None, ..by_digest("a") };
        check(&[untagged], &seen(&[(&ours, "a")]), &none, &["delete a"]);
    }

    #[test]
    fn an_index_that_stays_keeps_what_it_holds() {
        let none = Claims::default();
        let mut here = seen(&[("multi", "outer"), (&keep_alive_tag(&digest("a")), "a")]);
        here.indexes.insert(digest("outer"), [digest("index")].into());
        here.indexes.insert(digest("index"), [digest("a")].into());
        let why = format!("keep untag: it is part of the index {}, which stays", digest("index"));
        check(&[by_digest("a")], &here, &none, &[&why]);
        check(&[by_digest("a"), wish("multi", None)], &here, &none, &["delete a", "delete ?"]);
    }

    #[test]
    fn what_signs_an_image_stays_with_it() {
        let none = Claims::default();
        let sig = format!("{}.sig", referrers_tag(&digest("a")));
        let both = [by_digest("a"), wish(&sig, None)];
        let alone = seen(&[(&keep_alive_tag(&digest("a")), "a"), (&sig, "sig")]);
        check(&both, &alone, &none, &["delete a", "delete sig"]);
        let shared = seen(&[("v1", "a"), (&sig, "sig")]);
        let why =
            ["keep untag: the tag `v1` leads to it, too", "keep: the image that it is about stays"];
        check(&both, &shared, &none, &why);
    }

    #[test]
    fn what_another_stack_brought_stays() {
        let here = seen(&[("v1", "a"), ("v2", "b")]);
        let claims = Claims {
            manifests: [(digest("a"), "other".to_owned())].into(),
            tags: [("v2".to_owned(), "other".to_owned())].into(),
        };
        check(&[wish("v1", None)], &here, &claims, &["keep: stack `other` has it, too"]);
        check(&[wish("v2", None)], &here, &claims, &["keep: stack `other` has the tag, too"]);
    }
}
