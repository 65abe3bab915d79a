//! The list of what to delete: written by the first phase of `delete`, believed by the second.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use airlift_spec::{Class, Explain};

use crate::config::{API_VERSION, Mistake};
use crate::mapping::{Copy, Kind, RELEASE_CONTENT, RELEASE_IMAGES};
use crate::name::{ImageName, digest_tag};
use crate::yaml;

const KIND: &str = "DeleteImageList";

/// What becomes of signatures that lie beside an image, as `sha256-….sig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    Keep,
    /// Those of images that are asked for by digest: only there the name follows from the image's.
    Delete,
}

/// One image to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteItem {
    /// The name it was mirrored from.
    pub name: String,
    /// The name it has in the far registry.
    pub reference: ImageName,
    pub kind: Kind,
}

/// Why a text is no list to delete by: all its mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{}", crate::config::text(mistakes))]
pub struct DeleteError {
    pub mistakes: Vec<Mistake>,
}

impl Explain for DeleteError {
    fn class(&self) -> Class {
        Class::Input
    }

    fn help(&self) -> Option<String> {
        self.mistakes.iter().find_map(|mistake| mistake.help.clone())
    }
}

/// The list for these copies of [`Mode::Delete`](crate::Mode::Delete), each name in the far registry once.
pub fn delete_list(copies: &[Copy], signatures: Signatures) -> String {
    let mut items = BTreeMap::new();
    for copy in copies {
        let signature = match signatures {
            Signatures::Keep => None,
            Signatures::Delete => signature(copy),
        };
        let image = (copy.origin.clone(), copy.destination.clone());
        for (name, reference) in std::iter::once(image).chain(signature) {
            items.entry(reference).or_insert((name, copy.kind));
        }
    }
    let item = |(reference, (name, kind)): (&String, &(String, Kind))| json!({ "imageName": name, "imageReference": reference, "type": kind });
    let items: Vec<Value> = items.iter().map(item).collect();
    let list = json!({ "apiVersion": API_VERSION, "items": items, "kind": KIND });
    yaml::write(&list)
}

/// Names of the signature of what was asked for by digest.
fn signature(copy: &Copy) -> Option<(String, String)> {
    if matches!(copy.kind, Kind::Catalog | Kind::Graph) {
        return None;
    }
    let origin = ImageName::parse(&copy.origin).ok()?;
    let far = ImageName::parse(&copy.destination).ok()?;
    let tag = format!("{}.sig", digest_tag(origin.digest?));
    let named = |image: &ImageName| format!("{}:{tag}", image.repository());
    Some((named(&origin), format!("docker://{}", named(&far))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ListWire {
    kind: Option<Spanned<String>>,
    #[expect(dead_code, reason = "the peer takes every version; here it is only a known field")]
    api_version: Option<String>,
    items: Option<Vec<ItemWire>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ItemWire {
    image_name: Spanned<String>,
    image_reference: Spanned<String>,
    #[serde(rename = "type")]
    kind: Kind,
    #[expect(dead_code, reason = "older lists have it; blobs are the registry's to collect")]
    related_blobs: Option<Value>,
}

/// Reads a list back, and refuses it whole if anything in it is not in `registry`, where it is to be deleted.
pub fn read_delete_list(text: &str, registry: &str) -> Result<Vec<DeleteItem>, DeleteError> {
    let list: ListWire = yaml::read(text).map_err(|reason| only(mistake(0, reason, None)))?;
    match &list.kind {
        Some(kind) if kind.value == KIND => {}
        Some(kind) => {
            let message = format!("it is of kind `{}`, not `{KIND}`", kind.value);
            let help = "give the file that `delete --generate` wrote";
            return Err(only(mistake(kind.referenced.line(), message, Some(help))));
        }
        None => return Err(only(mistake(0, format!("it has no `kind: {KIND}`"), None))),
    }
    let (mut items, mut mistakes) = (Vec::new(), Vec::new());
    for wire in list.items.unwrap_or_default() {
        match item(wire, registry) {
            Ok(item) => items.push(item),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(items) } else { Err(DeleteError { mistakes }) }
}

fn item(wire: ItemWire, registry: &str) -> Result<DeleteItem, Mistake> {
    let parse = |text: &Spanned<String>| {
        ImageName::parse(&text.value)
            .map_err(|err| mistake(text.referenced.line(), err.to_string(), err.help().as_deref()))
    };
    parse(&wire.image_name)?;
    let reference = parse(&wire.image_reference)?;
    let place = match wire.kind {
        Kind::ReleaseContent => Some(format!("{registry}/{RELEASE_CONTENT}")),
        Kind::Release => Some(format!("{registry}/{RELEASE_IMAGES}")),
        _ => None,
    };
    let repository = reference.repository();
    let is_there = match &place {
        Some(place) => repository == *place,
        None => repository.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/')),
    };
    if is_there {
        return Ok(DeleteItem { name: wire.image_name.value, reference, kind: wire.kind });
    }
    let expected = place.unwrap_or_else(|| format!("{registry}/…"));
    let message = format!(
        "delete destination docker://{registry} does not match values found in the delete-images yaml file (expected {expected}, got {repository})"
    );
    let help = "give the destination that the list was made for";
    Err(mistake(wire.image_reference.referenced.line(), message, Some(help)))
}

fn mistake(line: u64, message: String, help: Option<&str>) -> Mistake {
    Mistake { line, message, help: help.map(str::to_owned) }
}

fn only(mistake: Mistake) -> DeleteError {
    DeleteError { mistakes: vec![mistake] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Item, Mode, Routes};

    const HEX: &str = "3a4f6de4ad8ca2232020e8475558d9e8327f415e121720ce03571d94f372a13f";

    fn copies() -> Vec<Copy> {
        let name = |text: &str| ImageName::parse(text).unwrap();
        let routes = Routes {
            mode: Mode::Delete,
            cache: "localhost:55000".to_owned(),
            registry: "reg:5000/ns".to_owned(),
            max_nested_paths: None,
        };
        routes.copies(&[
            Item::Related(name(&format!("a.io/z@sha256:{HEX}"))),
            Item::Helm(name("a.io/b:v1")),
            Item::Release(name("quay.io/o/r:4.18.1-x86_64")),
            Item::ReleaseContent {
                image: name(&format!("quay.io/o/c@sha256:{HEX}")),
                release: "4.18.1-x86_64".to_owned(),
                name: "cli".to_owned(),
            },
            Item::Graph,
        ])
    }

    #[test]
    fn a_list_is_sorted_by_the_name_in_the_registry() {
        let list = delete_list(&copies()[3..], Signatures::Delete);
        assert_eq!(
            list,
            format!(
                "apiVersion: mirror.openshift.io/v2alpha1
items:
- imageName: a.io/b:v1
  imageReference: docker://reg:5000/ns/b:v1
  type: helmImage
- imageName: docker://a.io/z@sha256:{HEX}
  imageReference: docker://reg:5000/ns/z:sha256-{HEX}
  type: operatorRelatedImage
- imageName: a.io/z:sha256-{HEX}.sig
  imageReference: docker://reg:5000/ns/z:sha256-{HEX}.sig
  type: operatorRelatedImage
kind: DeleteImageList
"
            )
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let list = delete_list(&copies(), Signatures::Keep);
        let items = read_delete_list(&list, "reg:5000/ns").unwrap();
        assert_eq!(items.len(), 5);
        let written: Vec<String> = items.iter().map(|it| it.reference.to_string()).collect();
        let mut expected: Vec<String> = copies().into_iter().map(|it| it.destination).collect();
        expected.sort();
        assert_eq!(written, expected);
    }

    #[test]
    fn a_list_for_another_registry_is_refused_with_every_line() {
        let list = delete_list(&copies(), Signatures::Keep);
        for other in ["reg:5000", "reg:5000/n", "reg:5000/other"] {
            let err = read_delete_list(&list, other).unwrap_err();
            assert!(err.to_string().contains("does not match values found"), "{other}: {err}");
        }
        let err = read_delete_list(&list, "reg:5000").unwrap_err();
        // What may lie anywhere in a registry does, but releases have a place of their own.
        assert_eq!(err.mistakes.len(), 2, "{err}");
        assert!(err.mistakes.iter().all(|mistake| mistake.line > 0 && mistake.help.is_some()));
    }

    #[test]
    fn a_registry_whose_name_is_longer_is_another_one() {
        let list = delete_list(&copies()[3..4], Signatures::Keep);
        assert!(read_delete_list(&list, "reg:5000/n").is_err(), "{list}");
        assert_eq!(read_delete_list(&list, "reg:5000").unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let said = |text: &str| read_delete_list(text, "r").unwrap_err().to_string();
        assert!(said("kind: Pod").contains("line 1: it is of kind `Pod`"));
        assert!(said("items: []").contains("no `kind: DeleteImageList`"));
        assert!(said("kind: DeleteImageList\nthings: []").contains("things"));
        let item = |rest: &str| format!("kind: DeleteImageList\nitems:\n- {{{rest}}}");
        assert!(
            said(&item("imageName: a, imageReference: 'r/a:1', type: generic")).contains("line 3")
        );
        assert!(
            said(&item("imageName: 'a:1', imageReference: 'r/a:1', type: odd")).contains("odd")
        );
        let old = item(
            "imageName: 'a:1', imageReference: 'docker://r/a:1', type: generic, relatedBlobs: []",
        );
        assert_eq!(read_delete_list(&old, "r").unwrap().len(), 1);
    }
}
