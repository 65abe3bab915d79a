use std::collections::BTreeMap;

use serde_json::json;

use airlift_spec::Finding;
use airlift_spec::stack::ReleaseChannel;

use super::*;
use crate::config::{self, ImageSet};
use crate::mapping::{Item, Mode, Routes, mapping};

fn digest(version: &str) -> String {
    let digits = version.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("sha256:{digits:0<64}")
}

/// A graph of these versions, with edges from each to those named.
fn graph(versions: &[&str], edges: &[(&str, &str)]) -> Graph {
    let at = |version: &str| versions.iter().position(|it| *it == version).unwrap();
    let node = |version: &&str| json!({"version": version, "payload": format!("quay.io/o/release@{}", digest(version)), "metadata": {}});
    let nodes: Vec<_> = versions.iter().map(node).collect();
    let edges: Vec<_> = edges.iter().map(|(from, to)| json!([at(from), at(to)])).collect();
    Graph::parse(json!({"version": 1, "nodes": nodes, "edges": edges}).to_string().as_bytes())
        .unwrap()
}

fn wish(channels: &str) -> Vec<ReleaseChannel> {
    let text =
        format!("kind: ImageSetConfiguration\nmirror: {{platform: {{channels: [{channels}]}}}}");
    let channels = ImageSet::parse(&text).unwrap().platform.channels;
    channels.iter().map(config::ReleaseChannel::wanted).collect()
}

fn chosen(channels: &str, graphs: &Graphs) -> Result<(Vec<String>, Vec<Finding>), ReleaseError> {
    let (releases, findings) = choose(&wish(channels), "amd64", graphs)?;
    Ok((releases.iter().map(|it| it.version.to_string()).collect(), findings))
}

fn one_channel() -> Graphs {
    let versions = ["4.18.3", "4.18.1", "4.18.10", "4.18.2", "4.18.0-rc.1"];
    let edges =
        [("4.18.1", "4.18.2"), ("4.18.1", "4.18.3"), ("4.18.2", "4.18.10"), ("4.18.3", "4.18.10")];
    BTreeMap::from([("stable-4.18".to_owned(), graph(&versions, &edges))])
}

#[test]
fn a_channel_means_its_newest_release_or_a_range_or_all() {
    let graphs = one_channel();
    let versions = |rest: &str| chosen(&format!("{{name: stable-4.18{rest}}}"), &graphs).unwrap().0;
    assert_eq!(versions(""), ["4.18.10"]);
    assert_eq!(versions(", minVersion: 4.18.2"), ["4.18.2", "4.18.3", "4.18.10"]);
    assert_eq!(versions(", maxVersion: 4.18.2"), ["4.18.0-rc.1", "4.18.1", "4.18.2"]);
    assert_eq!(versions(", minVersion: 4.18.2, maxVersion: 4.18.3"), ["4.18.2", "4.18.3"]);
    assert_eq!(versions(", full: true").len(), 5);
}

#[test]
fn the_shortest_path_goes_by_the_newest() {
    let graphs = one_channel();
    let rest = ", minVersion: 4.18.1, maxVersion: 4.18.10, shortestPath: true";
    let (versions, findings) = chosen(&format!("{{name: stable-4.18{rest}}}"), &graphs).unwrap();
    assert_eq!(versions, ["4.18.1", "4.18.3", "4.18.10"]);
    assert!(findings.is_empty());
}

#[test]
fn where_no_path_leads_both_ends_are_taken_and_that_is_said() {
    let graphs = one_channel();
    let rest = ", minVersion: 4.18.0-rc.1, maxVersion: 4.18.2, shortestPath: true";
    let (versions, findings) = chosen(&format!("{{name: stable-4.18{rest}}}"), &graphs).unwrap();
    assert_eq!(versions, ["4.18.0-rc.1", "4.18.2"]);
    assert_eq!(findings[0].code, "no-upgrade-path");
}

#[test]
fn what_a_channel_has_not_is_said() {
    let graphs = one_channel();
    let said = |channel: &str| chosen(channel, &graphs).unwrap_err().to_string();
    assert!(said("{name: stable-4.19}").contains("\"stable-4.19\" is not at hand"));
    assert!(
        said("{name: stable-4.18, minVersion: 4.18.5, maxVersion: 4.18.6}")
            .contains("no release images found")
    );
    let missing =
        said("{name: stable-4.18, minVersion: 4.18.5, maxVersion: 4.18.10, shortestPath: true}");
    let near = chosen("{name: stable-4.18, minVersion: 4.18.5, maxVersion: 4.18.6}", &graphs);
    let near = near.unwrap_err().help().unwrap();
    assert!(near.ends_with("such as 4.18.1, 4.18.2, 4.18.3, 4.18.10"), "{near}");
    assert_eq!(missing, "version 4.18.5 not found in the \"stable-4.18\" channel");
    let empty = BTreeMap::from([("c".to_owned(), graph(&[], &[]))]);
    assert!(chosen("{name: c}", &empty).unwrap_err().to_string().contains("no cluster versions"));
}

/// From 4.16 by 4.17 to 4.18.
fn three_channels() -> Graphs {
    let first = graph(&["4.16.1", "4.16.9"], &[("4.16.1", "4.16.9")]);
    let second =
        graph(&["4.16.9", "4.17.2", "4.17.5"], &[("4.16.9", "4.17.2"), ("4.17.2", "4.17.5")]);
    let third =
        graph(&["4.17.5", "4.18.1", "4.18.3"], &[("4.17.5", "4.18.1"), ("4.18.1", "4.18.3")]);
    let named = |minor: u8| format!("stable-4.{minor}");
    BTreeMap::from([(named(16), first), (named(17), second), (named(18), third)])
}

const TWO: &str = "{name: stable-4.16, minVersion: 4.16.1, maxVersion: 4.16.1}, {name: stable-4.18, minVersion: 4.18.1, maxVersion: 4.18.1}";

#[test]
fn several_channels_need_the_releases_between_them() {
    let needed: Vec<String> = channels(&wish(TWO)).into_iter().map(|(_, name)| name).collect();
    assert_eq!(needed, ["stable-4.16", "stable-4.18", "stable-4.17"]);
    let (versions, findings) = chosen(TWO, &three_channels()).unwrap();
    assert_eq!(versions, ["4.16.1", "4.16.9", "4.17.2", "4.17.5", "4.18.1"]);
    assert!(findings.is_empty());
}

#[test]
fn a_blocked_way_between_channels_is_said() {
    let mut graphs = three_channels();
    graphs.insert("stable-4.17".to_owned(), graph(&["4.17.5"], &[]));
    let (versions, findings) = chosen(TWO, &graphs).unwrap();
    assert_eq!(versions, ["4.16.1", "4.16.9", "4.18.1"]);
    assert!(findings[0].message.contains("from 4.16.9 to 4.17.5"), "{findings:?}");
}

#[test]
fn channels_of_one_minor_version_are_passed_in_the_last_one() {
    let versions = ["4.18.1", "4.18.2"];
    let graphs = BTreeMap::from([
        ("stable-4.18".to_owned(), graph(&versions[..1], &[])),
        ("fast-4.18".to_owned(), graph(&versions, &[("4.18.1", "4.18.2")])),
    ]);
    let (found, findings) = chosen("{name: stable-4.18}, {name: fast-4.18}", &graphs).unwrap();
    assert_eq!(found, versions);
    assert!(findings.is_empty());
}

#[test]
fn channels_that_nothing_connects_are_refused() {
    let graphs = BTreeMap::from([
        ("stable-4.20".to_owned(), graph(&["4.20.1"], &[])),
        ("stable-5.1".to_owned(), graph(&["5.1.0"], &[])),
        ("odd".to_owned(), graph(&["4.1.0"], &[])),
    ]);
    for two in ["{name: stable-4.20}, {name: stable-5.1}", "{name: odd}, {name: stable-4.20}"] {
        let err = chosen(two, &graphs).unwrap_err();
        assert!(err.to_string().starts_with("no channels lead from"), "{err}");
    }
    let okd = "{name: odd, type: okd}, {name: stable-4.20}";
    assert_eq!(chosen(okd, &graphs).unwrap().0, ["4.1.0", "4.20.1"]);
}

#[test]
fn a_broken_graph_is_told_from_a_good_one() {
    let said = |json: serde_json::Value| {
        Graph::parse(json.to_string().as_bytes()).unwrap_err().to_string()
    };
    assert!(said(json!({"nodes": []})).contains("not JSON as it should be"));
    assert!(said(json!({"nodes": [], "edges": [[0, 1]]})).contains("from 0 to 1"));
    let nameless = json!({"nodes": [{"version": "1.0.0", "payload": "x"}], "edges": []});
    assert!(said(nameless).contains("release 1.0.0"));
}

#[test]
fn a_release_and_its_components_have_the_names_of_the_peer() {
    let graphs = one_channel();
    let (releases, _) = choose(&wish("{name: stable-4.18}"), "arm64", &graphs).unwrap();
    let release = &releases[0];
    let references = json!({
        "kind": "ImageStream", "apiVersion": "image.openshift.io/v1",
        "metadata": {"name": "4.18.10"},
        "spec": {"tags": [
            {"name": "cli", "from": {"kind": "DockerImage", "name": format!("quay.io/o/art@{}", digest("a"))}},
            {"name": "etcd", "from": {"kind": "DockerImage", "name": format!("quay.io/o/art@{}", digest("a"))}},
        ]},
    });
    let payload = Payload::parse(references.to_string().as_bytes()).unwrap();
    assert_eq!(payload.version, "4.18.10");
    let mut items = payload.items(&release.image);
    items.push(Item::Release(release.image.clone()));
    let routes = Routes {
        mode: Mode::MirrorToMirror,
        cache: "localhost:55000".to_owned(),
        registry: "reg".to_owned(),
        max_nested_paths: None,
    };
    let art = digest("a");
    assert_eq!(
        mapping(&routes.copies(&items)),
        format!(
            "docker://quay.io/o/art@{art}=docker://reg/openshift/release:4.18.10-aarch64-cli\n\
             docker://quay.io/o/art@{art}=docker://reg/openshift/release:4.18.10-aarch64-etcd\n\
             docker://quay.io/o/release:4.18.10-aarch64=docker://reg/openshift/release-images:4.18.10-aarch64\n"
        )
    );
    assert!(matches!(&items[2], Item::Release(image) if image.digest.is_some()));
}

#[test]
fn a_component_is_known_by_where_a_release_names_it() {
    assert_eq!(component(&component_path("cli")), Some("cli"));
    assert_eq!(component("relatedImages[cli]"), None);
}

#[test]
fn a_payload_that_is_none_is_refused() {
    let said = |json: serde_json::Value| {
        Payload::parse(json.to_string().as_bytes()).unwrap_err().to_string()
    };
    assert!(
        said(json!({"kind": "Pod", "metadata": {"name": "x"}, "spec": {"tags": []}}))
            .contains("not an ImageStream")
    );
    let odd = json!({"name": "../x", "from": {"name": "a.io/b:1"}});
    let stream = |tag: &serde_json::Value| json!({"kind": "ImageStream", "metadata": {"name": "x"}, "spec": {"tags": [tag]}});
    assert!(said(stream(&odd)).contains("\"../x\" is no component"));
    let tag = json!({"name": "cli", "from": {"name": "x"}});
    assert!(said(stream(&tag)).contains("cli: x"));
}

#[test]
fn kubevirt_images_are_those_of_the_architecture() {
    let about = |name: &str| json!({"images": {"kubevirt": {"digest-ref": format!("quay.io/o/{name}@{}", digest("k"))}}});
    let stream = json!({"architectures": {"x86_64": about("x"), "aarch64": about("a"), "s390x": {"images": {}}}});
    let text = serde_json::json!({"kind": "ConfigMap", "data": {"stream": stream.to_string()}})
        .to_string();
    let names = |architecture: &str| {
        let images = kube_virt_images(&text, architecture).unwrap();
        images.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("amd64"), ["kube-virt-container"]);
    assert_eq!(names("multi"), ["kube-virt-container-aarch64", "kube-virt-container"]);
    let err = kube_virt_images(&text, "s390x").unwrap_err().to_string();
    assert!(err.contains("could not find kubevirt image for s390x"), "{err}");
}

#[test]
fn graphs_and_signatures_are_asked_for_where_they_are() {
    assert_eq!(
        graph_url(Product::Ocp, None, "amd64", "stable-4.18"),
        "https://api.openshift.com/api/upgrades_info/v1/graph?arch=amd64&channel=stable-4.18"
    );
    assert_eq!(
        graph_url(Product::Ocp, Some("https://own/graph?x=1"), "a&b", "c"),
        "https://own/graph?x=1&arch=a%26b&channel=c"
    );
    assert!(graph_url(Product::Okd, Some("https://own"), "amd64", "c").starts_with(OKD_GRAPH));
    let data = |place: Option<&str>| graph_data_url(place);
    assert_eq!(data(None), "https://api.openshift.com/api/upgrades_info/graph-data");
    assert_eq!(data(Some("https://own/api/v1/graph?x=1")), "https://own/api/graph-data");
    assert_eq!(data(Some("https://own/graph")), "https://own/graph-data");
    let release: Digest = digest("x").parse().unwrap();
    let url = signature_url(SIGNATURES, release);
    assert!(url.ends_with(&format!("/release/{}/signature-1", digest("x").replace(':', "="))));
}
