//! Two networks with no way between them, and a folder of volumes that is carried from one to the other.

use std::collections::BTreeSet;

use airlift_spec::Digest;
use serde_json::Value;

use crate::clients::Clients;
use crate::runtimes::{containerd_runs_it, podman_runs_it};
use crate::sides::{
    Far, Image, Near, VOLUME_SIZE, blobs_in, both_sides, digests, found, next_month, platform,
};

/// Packs what is published into `folder`; returns the document of the bundle.
fn pack(near: &Near, folder: &str, more: &[&str]) -> Value {
    let args = ["pack", "--to", folder, "--volume-size", VOLUME_SIZE, "--no-binary"];
    let packed = near.side.airlift(0, &[&args, more].concat());
    packed["bundle"].clone()
}

fn all_of(images: &[Image]) -> BTreeSet<Digest> {
    images.iter().flat_map(|image| digests(&image.whole)).collect()
}

#[test]
fn a_platform_crosses_the_gap_month_after_month_and_runs_there() {
    let (Some(clients), Some(inside)) = (Clients::new(), found("docker-registry")) else { return };
    let Some((near, far)) = both_sides() else { return };
    let far = Far::trusting(far, &near.public_key());
    let registry = far.side.registry(&inside);
    let host = registry.host();
    let land = |folder: &str| {
        far.receive(&near, folder);
        far.side.airlift(0, &["land", folder, "--to", &host, "--receipts", "receipts"])
    };

    let images = platform();
    near.publish(&images);
    let bundle = pack(&near, "january", &[]);
    assert!(bundle["volumes"].as_array().unwrap().len() >= 4, "{bundle:#}");
    let folder = near.side.world.path().join("january");
    assert_eq!(blobs_in(&folder, "platform"), all_of(&images), "exactly the closure is carried");
    land("january");
    clients.pull_everything(&far.side, &host, &images);
    podman_runs_it(&far.side, &host);

    let before = writes(&registry.log());
    assert!(before > 0, "{}", registry.log());
    let again = land("january");
    assert_eq!(again["totals"]["bytesSent"], 0, "{again:#}");
    assert_eq!(writes(&registry.log()), before, "the second run wrote something");

    a_month_later(&near, &far, &images, &clients, &host);
    a_volume_is_damaged_on_the_way(&near, &far, &bundle);
    near.side.assert_sealed();
    far.side.assert_sealed();
}

/// What comes back is the receipt, and what crosses is the difference.
fn a_month_later(near: &Near, far: &Far, before: &[Image], clients: &Clients, host: &str) {
    let images = next_month();
    near.publish(&images);
    let receipt = "receipts/platform.receipt.json";
    near.side.world.write(receipt, far.side.world.read(receipt).unwrap()).unwrap();
    let new = &all_of(&images) - &all_of(before);
    assert_eq!(new.len(), 3, "a layer, a config and a manifest");
    // Manifests always travel: they say what belongs together.
    let manifests = images.iter().flat_map(|image| &image.whole.manifests);
    let expected = &new | &manifests.map(|manifest| manifest.digest).collect();

    let by_receipt = pack(near, "february", &["--since", receipt]);
    let name = by_receipt["name"].as_str().unwrap();
    assert_eq!(blobs_in(&near.side.world.path().join("february"), name), expected);
    let root = "january/platform.bundle.json";
    let create = ["bundle", "create", "--to", "diode", "--no-binary", "--since", root];
    let by_root = near.side.airlift(0, &create);
    let name = by_root["name"].as_str().unwrap();
    assert_eq!(blobs_in(&near.side.world.path().join("diode"), name), expected);

    for (folder, sent) in [("february", 2), ("diode", 0)] {
        far.receive(near, folder);
        let landed = far.side.airlift(0, &["land", folder, "--to", host]);
        assert_eq!(landed["totals"]["blobsSent"], sent, "{folder}: {landed:#}");
        clients.pull_everything(&far.side, host, &images);
    }
}

/// `verify` says which volume, and the line that it prints mends it.
fn a_volume_is_damaged_on_the_way(near: &Near, far: &Far, bundle: &Value) {
    let volume = "january/platform.00002.tar";
    let mut bytes = far.side.world.read(volume).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    far.side.world.write(volume, bytes).unwrap();

    let found = far.side.airlift(8, &["verify", "january"]);
    let found = &found["bundles"][0];
    assert_eq!(found["broken"], serde_json::json!([2]), "{found:#}");
    let damage = &found["findings"][0];
    assert_eq!(
        (&damage["code"], &damage["object"]),
        (&"chunk-damaged".into(), &"platform.00002.tar".into())
    );
    let line = found["cutAgain"].as_str().unwrap();
    let root = bundle["root"].as_str().unwrap();
    assert_eq!(line, format!("airlift bundle create --volumes 2 --root {root}"));

    let words = line.split(' ').skip(1).chain(["--to", "again"]);
    near.side.airlift(0, &words.collect::<Vec<_>>());
    far.receive(near, "again");
    let mended = far.side.world.read("again/platform.00002.tar").unwrap();
    far.side.world.write(volume, mended).unwrap();
    far.side.airlift(0, &["verify", "--deep", "january"]);
}

/// How often somebody wrote, by the registry's own log.
fn writes(log: &str) -> usize {
    let methods = ["PUT", "POST", "PATCH", "DELETE"].map(|it| format!("http.request.method={it}"));
    log.lines().filter(|line| methods.iter().any(|method| line.contains(method))).count()
}

#[test]
fn clients_inside_are_served_straight_from_the_volumes() {
    let Some(clients) = Clients::new() else { return };
    let Some((near, far)) = both_sides() else { return };
    let far = Far::trusting(far, &near.public_key());
    let images = platform();
    near.publish(&images);
    pack(&near, "volumes", &[]);
    far.receive(&near, "volumes");

    let world = &far.side.world;
    let serve = ["serve", "volumes", "--listen", "127.0.0.1:0"];
    let mut server = far.side.namespace.enter(|| world.spawn(serve)).unwrap().unwrap();
    assert!(server.wait_until(|it| it.stdout().ends_with('\n')).unwrap(), "{}", server.stderr());
    let host = server.stdout().trim().strip_prefix("http://").unwrap().to_owned();
    clients.pull_everything(&far.side, &host, &images);
    podman_runs_it(&far.side, &host);
    containerd_runs_it(&far.side, &host);

    let ended = server.terminate().unwrap();
    assert_eq!(ended.code, Some(0), "{ended}");
    near.side.assert_sealed();
    far.side.assert_sealed();
}
