//! The tag that a filtered catalog has in the cache of oc-mirror.

use md5::{Digest as _, Md5};
use serde::Serialize;

use airlift_spec::Digest;

use crate::config::{Channel, Operator, Package};

/// The tag in the cache of what is kept of a catalog: the MD5 of the peer's own JSON of the wish.
///
/// `catalog` is the digest of the whole catalog. Up to version 4.19 the peer took the catalog as it is written, so
/// that an old cache is found without it.
pub fn filter_tag(operator: &Operator, catalog: Option<Digest>) -> String {
    let json = serde_json::to_string(&wire(operator, catalog)).expect("a wish has only texts");
    hex(&Md5::digest(as_go_writes(&json)))
}

fn wire(operator: &Operator, catalog: Option<Digest>) -> OperatorWire<'_> {
    let pinned = |digest| format!("{}@{digest}", operator.catalog.repository());
    OperatorWire {
        packages: (!operator.packages.is_empty())
            .then(|| operator.packages.iter().map(package).collect()),
        catalog: catalog.map_or_else(|| operator.written.clone(), pinned),
        full: operator.full,
        skip_dependencies: operator.skip_dependencies,
        platforms: operator.platforms.iter().map(platform).collect(),
    }
}

fn package(package: &Package) -> PackageWire<'_> {
    PackageWire {
        name: &package.name,
        channels: package.channels.iter().map(channel).collect(),
        default_channel: package.default_channel.as_deref(),
        min_version: package.min.as_deref(),
        max_version: package.max.as_deref(),
    }
}

fn channel(channel: &Channel) -> ChannelWire<'_> {
    ChannelWire {
        name: &channel.name,
        min_version: channel.min.as_deref(),
        max_version: channel.max.as_deref(),
    }
}

fn platform(platform: &airlift_spec::Platform) -> PlatformWire<'_> {
    PlatformWire { os: &platform.os, architecture: &platform.architecture }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Go's JSON has no `<`, `>` and `&`.
fn as_go_writes(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The peer's fields in the peer's order, without those it leaves out of the sum.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperatorWire<'a> {
    /// `null` where there are none.
    packages: Option<Vec<PackageWire<'a>>>,
    catalog: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    full: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skip_dependencies: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<PlatformWire<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PackageWire<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<ChannelWire<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_version: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChannelWire<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_version: Option<&'a str>,
}

#[derive(Serialize)]
struct PlatformWire<'a> {
    os: &'a str,
    architecture: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageSet;

    fn operator(rest: &str) -> Operator {
        let text = format!(
            "kind: ImageSetConfiguration\nmirror: {{operators: [{{catalog: 'a.io/i:v1'{rest}}}]}}"
        );
        ImageSet::parse(&text).unwrap().operators.remove(0)
    }

    fn json(rest: &str) -> String {
        serde_json::to_string(&wire(&operator(rest), None)).unwrap()
    }

    #[test]
    fn what_renames_a_catalog_does_not_change_what_is_kept_of_it() {
        let renamed = ", targetCatalog: x/y, targetTag: v2, targetCatalogSourceTemplate: /t";
        assert_eq!(filter_tag(&operator(renamed), None), filter_tag(&operator(""), None));
        let full = filter_tag(&operator(", full: true"), None);
        assert_ne!(full, filter_tag(&operator(""), None));
    }

    #[test]
    fn the_wish_is_written_as_the_peer_writes_it() {
        assert_eq!(json(""), r#"{"packages":null,"catalog":"a.io/i:v1"}"#);
        assert_eq!(
            json(", full: true, platforms: [{os: linux, architecture: arm64}]"),
            r#"{"packages":null,"catalog":"a.io/i:v1","full":true,"platforms":[{"os":"linux","architecture":"arm64"}]}"#
        );
        assert_eq!(as_go_writes("a<b>&"), r"a\u003cb\u003e\u0026");
    }

    #[test]
    fn a_catalog_is_the_same_by_its_tag_and_by_its_digest() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let mut pinned = operator("");
        pinned.written = format!("a.io/i@{digest}");
        pinned.catalog = crate::ImageName::parse(&pinned.written).unwrap();
        assert_eq!(filter_tag(&pinned, Some(digest)), filter_tag(&operator(""), Some(digest)));
        assert_ne!(filter_tag(&pinned, None), filter_tag(&operator(""), None));
    }
}
