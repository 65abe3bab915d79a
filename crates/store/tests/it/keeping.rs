//! Roots, what they keep, and what checks say about it.

use std::process::Command;

use airlift_spec::oci::media_type::OCI_MANIFEST;
use airlift_spec::{Algorithm, Ctx, Descriptor, Digest, Finding};
use airlift_store::{Fsck, GcReport, PushedManifest, Root, Staging, Store, StoreError};
use fs_err as fs;

use crate::sample::{image, index, layer, root, staged};
use crate::temp_store;

fn gc(store: &Store) -> GcReport {
    store.gc(false, &Ctx::default()).unwrap()
}

fn fsck(store: &Store, depth: Fsck) -> Vec<(String, String)> {
    let tell = |finding: Finding| (finding.code, finding.object);
    store.fsck(depth, &Ctx::default()).unwrap().into_iter().map(tell).collect()
}

fn code(code: &str, object: impl std::fmt::Display) -> (String, String) {
    (code.to_owned(), object.to_string())
}

fn damage(store: &Store, digest: &Digest) {
    let path = store.root().join("blobs").join(digest.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn roots_come_back_as_they_were_written_and_replace_each_other() {
    let (_dir, store) = temp_store();
    let manifest = Descriptor::new(OCI_MANIFEST, Digest::of(b"m"), 1);
    let child = Descriptor::new(OCI_MANIFEST, Digest::of(b"c"), 1);
    let mut one = root("one", &[("quay.io/a/b:1", &manifest, &[&child]), ("", &child, &[])]);
    one.blobs.push(Digest::of(b"lock"));
    let two = root("a-two", &[]);
    store.write_root(&root("one", &[])).unwrap();
    store.write_root(&one).unwrap();
    store.write_root(&two).unwrap();
    assert_eq!(store.roots().unwrap(), [two, one.clone()]);
    assert_eq!(store.read_root("one").unwrap(), Some(one));
    assert!(store.remove_root("one").unwrap());
    assert!(!store.remove_root("one").unwrap());
    assert_eq!(staged(&store), [""; 0]);
}

#[test]
fn names_that_lead_elsewhere_name_no_root() {
    let (_dir, store) = temp_store();
    for name in ["", "../x", "a/b", "A", "pushed/x"] {
        let refused = store.write_root(&root(name, &[]));
        assert!(matches!(refused, Err(StoreError::RootName { .. })), "{name}: {refused:?}");
    }
    for name in ["", "../x", "a/../b", ".lock", "/etc/passwd"] {
        let refused = store.update_pushed(name, |_| ());
        assert!(matches!(refused, Err(StoreError::RootName { .. })), "{name}: {refused:?}");
    }
}

#[test]
fn a_root_of_a_newer_airlift_is_refused_by_what_it_needs() {
    let (_dir, store) = temp_store();
    let path = store.root().join("roots/new.json");
    for (text, wanted) in [
        (r#"{"format":1,"needs":["chunks"],"unknown":1}"#, "chunks"),
        (r#"{"format":9,"needs":[]}"#, "format 9"),
    ] {
        fs::write(&path, text).unwrap();
        let refused = store.roots();
        assert!(
            matches!(&refused, Err(StoreError::TooNew { needs, .. }) if needs == wanted),
            "{refused:?}"
        );
    }
    fs::write(
        &path,
        r#"{"format":1,"needs":[],"stack":"new","artifacts":[],"blobs":[],"later":{}}"#,
    )
    .unwrap();
    assert_eq!(store.roots().unwrap(), [root("new", &[])]);
}

#[test]
fn pushes_from_many_threads_all_count() {
    let (_dir, store) = temp_store();
    let other = Store::open(store.root()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = if thread % 2 == 0 { &store } else { &other };
            scope.spawn(move || {
                for at in 0..10_u8 {
                    store
                        .update_pushed("team/app", |pushed| {
                            pushed.blobs.insert(Digest::of(&[thread, at]))
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(store.pushed("team/app").unwrap().unwrap().blobs.len(), 40);
    assert!(store.root().join("roots/pushed/team/app.json").is_file());
}

#[test]
fn repositories_that_look_like_each_others_files_live_side_by_side() {
    let (_dir, store) = temp_store();
    let names = ["a", "a/b", "a/b.json/c", "a/b.json", "a.json/b"];
    for name in names {
        store
            .update_pushed(name, |pushed| pushed.tags.insert(name.to_owned(), Digest::of(b"m")))
            .unwrap();
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(store.pushed_repositories().unwrap(), sorted);
    for name in names {
        assert!(store.pushed(name).unwrap().unwrap().tags.contains_key(name));
        store.update_pushed(name, |pushed| pushed.tags.clear()).unwrap();
        assert_eq!(store.pushed(name).unwrap(), None);
    }
    assert_eq!(store.pushed_repositories().unwrap(), [""; 0]);
}

#[test]
fn gc_keeps_what_roots_reach_and_removes_the_rest() {
    let (_dir, store) = temp_store();
    let kept = image(&store, &[&layer(&store, "kept")]);
    let dropped_layer = layer(&store, "left out");
    let dropped = image(&store, &[&dropped_layer]);
    let both = index(&store, &[&kept, &dropped]);
    let stray = layer(&store, "stray");
    let lock = layer(&store, "a lock");
    let kept_root =
        Root { blobs: vec![lock.digest], ..root("s", &[("quay.io/a/b:1", &both, &[&dropped])]) };
    store.write_root(&kept_root).unwrap();

    let planned = store.gc(true, &Ctx::default()).unwrap();
    assert!(store.contains(&stray.digest));
    assert_eq!(gc(&store), planned);
    assert_eq!((planned.removed_blobs, planned.kept_blobs), (3, 5));
    assert_eq!(planned.removed_bytes, dropped.size + dropped_layer.size + stray.size);
    assert!(fsck(&store, Fsck::Deep).is_empty());
    assert!(!store.contains(&dropped.digest) && !store.contains(&stray.digest));
    assert_eq!(gc(&store).removed_blobs, 0);

    store.remove_root("s").unwrap();
    assert_eq!((gc(&store).kept_blobs, store.contains(&both.digest)), (0, false));
}

#[test]
fn gc_keeps_what_was_pushed_until_it_is_deleted() {
    let (_dir, store) = temp_store();
    let tagged = image(&store, &[&layer(&store, "one")]);
    let untagged = image(&store, &[&layer(&store, "two")]);
    let blob = layer(&store, "on its way to a manifest");
    store
        .update_pushed("team/app", |pushed| {
            for it in [&tagged, &untagged] {
                let manifest = PushedManifest {
                    media_type: it.media_type.clone(),
                    size: it.size,
                    subject: None,
                };
                pushed.manifests.insert(it.digest, manifest);
            }
            pushed.tags.insert("v1".to_owned(), tagged.digest);
            pushed.blobs.insert(blob.digest);
        })
        .unwrap();
    assert_eq!(gc(&store).removed_blobs, 0);
    store
        .update_pushed("team/app", |pushed| {
            pushed.manifests.remove(&untagged.digest);
            pushed.blobs.clear();
        })
        .unwrap();
    assert_eq!(gc(&store).removed_blobs, 3);
    assert!(store.contains(&tagged.digest) && !store.contains(&blob.digest));
}

#[test]
fn gc_keeps_staged_bytes_of_what_is_wanted_and_of_who_is_writing() {
    let (_dir, store) = temp_store();
    let stage = |digest: Digest| {
        let Staging::Writer(mut writer) = store.stage(digest, 10).unwrap() else {
            panic!("it is ours")
        };
        writer.write_at(0, b"x").unwrap();
        writer.checkpoint().unwrap();
        writer
    };
    let (wanted, unwanted, held) = (Digest::of(b"w"), Digest::of(b"u"), Digest::of(b"h"));
    store.write_root(&Root { blobs: vec![wanted], ..root("s", &[]) }).unwrap();
    drop(stage(wanted));
    drop(stage(unwanted));
    let writer = stage(held);
    let upload = store.start_upload(Algorithm::Sha256).unwrap();
    drop(store.start_upload(Algorithm::Sha256).unwrap());
    fs::write(store.root().join("staging/write-x"), "cut short").unwrap();

    let report = gc(&store);
    assert_eq!(report.removed_staged, 4, "two files of the unwanted blob, an upload, a cut write");
    let name = |digest: &Digest| format!("sha256-{}", digest.hex());
    let mut left = vec![format!("upload-{}", upload.id())];
    for digest in [&wanted, &held] {
        left.extend([name(digest), format!("{}.pieces", name(digest))]);
    }
    left.sort();
    assert_eq!(staged(&store), left);
    drop(writer);
}

#[test]
fn gc_keeps_what_a_bundle_names_until_it_is_forgotten() {
    let (_dir, store) = temp_store();
    let blob = layer(&store, "in a volume");
    let folder = store.bundles_dir().join("sha256-0123");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("llm.blobs"),
        format!("{{\"digest\":\"{}\",\"size\":11,\"pieces\":[]}}\n", blob.digest),
    )
    .unwrap();
    assert_eq!(gc(&store).removed_blobs, 0);
    assert!(!store.forget_bundle("other").unwrap());
    assert!(store.forget_bundle("llm").unwrap());
    assert_eq!(gc(&store).removed_blobs, 1);
}

#[test]
fn gc_goes_by_nothing_that_it_cannot_read() {
    let (_dir, store) = temp_store();
    let manifest = image(&store, &[&layer(&store, "one")]);
    let root_path = store.root().join("roots/s.json");
    let table = store.bundles_dir().join("x/b.blobs");
    fs::create_dir(table.parent().unwrap()).unwrap();

    fs::write(&root_path, "{").unwrap();
    assert!(matches!(store.gc(false, &Ctx::default()), Err(StoreError::Damaged { .. })));
    store.write_root(&root("s", &[("quay.io/a/b:1", &manifest, &[])])).unwrap();
    fs::write(&table, "{\"size\":1}\n").unwrap();
    assert!(matches!(store.gc(false, &Ctx::default()), Err(StoreError::Damaged { .. })));
    fs::write(&table, "x".repeat(2 << 20)).unwrap();
    assert!(matches!(store.gc(false, &Ctx::default()), Err(StoreError::Oversized { .. })));
    fs::remove_file(&table).unwrap();
    damage(&store, &manifest.digest);
    assert!(matches!(store.gc(false, &Ctx::default()), Err(StoreError::DamagedBlob { .. })));
    assert_eq!(fs::read_dir(store.root().join("blobs/sha256")).unwrap().count(), 3);
}

#[test]
fn gc_does_not_run_beside_another_user_of_the_store() {
    let (_dir, store) = temp_store();
    let other = Store::open(store.root()).unwrap();
    let stray = layer(&store, "stray");
    let refused = store.gc(false, &Ctx::default());
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    // Having been refused, this one still counts as a user itself.
    assert!(matches!(other.gc(false, &Ctx::default()), Err(StoreError::InUse { .. })));
    assert!(store.contains(&stray.digest));
    drop(other);
    assert_eq!(gc(&store).removed_blobs, 1);
}

#[test]
fn fsck_names_what_is_missing_damaged_and_out_of_place() {
    let (_dir, store) = temp_store();
    let (gone, short, flipped) =
        (layer(&store, "gone"), layer(&store, "short"), layer(&store, "flipped"));
    let sound = image(&store, &[&gone, &short]);
    let twin = image(&store, &[&gone, &flipped]);
    store
        .write_root(&root("s", &[("quay.io/a/b:1", &sound, &[]), ("quay.io/a/b:2", &twin, &[])]))
        .unwrap();
    assert!(fsck(&store, Fsck::Deep).is_empty());

    fs::remove_file(store.root().join("blobs").join(gone.digest.path())).unwrap();
    fs::write(store.root().join("blobs").join(short.digest.path()), "sh").unwrap();
    damage(&store, &flipped.digest);
    let stray = store.root().join("blobs/sha256/README");
    fs::write(&stray, "hello").unwrap();
    fs::write(store.root().join("roots/broken.json"), "[").unwrap();

    let quick = fsck(&store, Fsck::Quick);
    let mut wanted = vec![
        code("missing-blob", gone.digest),
        code("size-mismatch", short.digest),
        code("stray-file", stray.display()),
        code("bad-root", store.root().join("roots/broken.json").display()),
    ];
    wanted.sort();
    let mut sorted = quick.clone();
    sorted.sort();
    assert_eq!(sorted, wanted);
    let findings = store.fsck(Fsck::Quick, &Ctx::default()).unwrap();
    let missing = findings.iter().find(|finding| finding.code == "missing-blob").unwrap();
    assert!(missing.message.contains("2 artifacts"), "{}", missing.message);

    assert!(fsck(&store, Fsck::Deep).contains(&code("damaged-blob", flipped.digest)));
    assert!(store.contains(&flipped.digest));
    assert!(fsck(&store, Fsck::Repair).contains(&code("damaged-blob", flipped.digest)));
    assert!(!store.contains(&flipped.digest) && !store.contains(&short.digest));
}

/// A client's push names things before they come, and a kill in between leaves the names alone.
#[test]
fn what_a_push_named_and_never_brought_is_an_error_only_where_a_tag_leads_to_it() {
    let (_dir, store) = temp_store();
    let found = |is_tagged: bool| {
        let announced = Digest::of(b"never came");
        let update = store.update_pushed("team/app", |pushed| {
            let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
            let manifest = PushedManifest { media_type, size: 10, subject: None };
            pushed.manifests.insert(announced, manifest);
            pushed.blobs.insert(Digest::of(b"neither did this"));
            if is_tagged {
                pushed.tags.insert("v1".to_owned(), announced);
            }
        });
        update.unwrap();
        let findings = store.fsck(Fsck::Deep, &Ctx::default()).unwrap();
        findings.into_iter().map(|it| (it.code, it.severity)).collect::<Vec<_>>()
    };
    assert_eq!(found(false), [("missing-blob".into(), airlift_spec::Severity::Warning)]);
    assert_eq!(found(true), [("missing-blob".into(), airlift_spec::Severity::Error)]);
}

#[test]
fn fsck_and_gc_survive_a_hostile_folder() {
    let (dir, store) = temp_store();
    let outside = dir.path().join("outside");
    fs::write(&outside, "do not touch").unwrap();
    let blobs = store.root().join("blobs/sha256");
    let path = |fill: u8| blobs.join(Digest::of(&[fill]).hex());
    fs::create_dir(path(1)).unwrap();
    fs_err::os::unix::fs::symlink(&outside, path(2)).unwrap();
    fs_err::os::unix::fs::symlink(path(3), path(3)).unwrap();
    let fifo = Command::new("mkfifo").arg(path(4)).status().unwrap();
    assert!(fifo.success());
    fs::create_dir(store.root().join("roots/folder.json")).unwrap();
    fs::create_dir(store.root().join("staging/folder")).unwrap();
    fs_err::os::unix::fs::symlink("/", store.root().join("roots/pushed/loop")).unwrap();
    fs_err::os::unix::fs::symlink(dir.path(), store.bundles_dir().join("loop")).unwrap();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    fs::write(store.root().join("roots/deep.json"), deep).unwrap();

    for fill in 1..=4 {
        let digest = Digest::of(&[fill]);
        assert!(!store.contains(&digest), "{fill}");
        assert!(store.open_blob(&digest).unwrap().is_none(), "{fill}");
        assert_eq!(store.read(&digest, 10).unwrap(), None, "{fill}");
    }
    let findings = fsck(&store, Fsck::Repair);
    assert_eq!(findings.iter().filter(|(code, _)| code == "stray-file").count(), 4, "{findings:?}");
    assert!(
        findings.iter().any(|(code, object)| code == "bad-root" && object.ends_with("deep.json"))
    );
    assert!(store.gc(false, &Ctx::default()).is_err());
    fs::remove_file(store.root().join("roots/deep.json")).unwrap();
    store.gc(false, &Ctx::default()).unwrap();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "do not touch");
}

#[test]
fn the_index_lists_complete_artifacts_in_a_fixed_order() {
    let (_dir, store) = temp_store();
    let one = image(&store, &[&layer(&store, "one")]);
    let lost = Descriptor::new(OCI_MANIFEST, Digest::of(b"lost"), 4);
    let sparse = index(&store, &[&one, &lost]);
    let gap = layer(&store, "gap");
    let incomplete = image(&store, &[&gap]);
    store.discard(&gap.digest).unwrap();
    let artifacts: [(&str, &Descriptor, &[&Descriptor]); 5] = [
        ("quay.io/z/z:1", &one, &[]),
        ("", &one, &[]),
        ("quay.io/a/sparse:1", &sparse, &[&lost]),
        ("quay.io/a/whole:1", &sparse, &[]),
        ("quay.io/a/incomplete:1", &incomplete, &[]),
    ];
    store.write_root(&root("s", &artifacts)).unwrap();
    store
        .update_pushed("team/app", |pushed| {
            let manifest = PushedManifest {
                media_type: one.media_type.clone(),
                size: one.size,
                subject: None,
            };
            pushed.manifests.insert(one.digest, manifest);
            pushed.tags.insert("v1".to_owned(), one.digest);
        })
        .unwrap();
    store.write_index(&[]).unwrap();
    let first = fs::read(store.root().join("index.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&first).unwrap();
    let names: Vec<_> = parsed["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str())
        .collect();
    assert_eq!(
        names,
        [Some("quay.io/a/sparse:1"), Some("quay.io/z/z:1"), Some("team/app:v1"), None]
    );
    store.write_index(&[]).unwrap();
    assert_eq!(fs::read(store.root().join("index.json")).unwrap(), first);
}

#[test]
fn what_is_said_to_be_whole_is_listed_unread_and_nothing_else_is() {
    let (_dir, store) = temp_store();
    let (one, gap) = (image(&store, &[&layer(&store, "one")]), image(&store, &[]));
    let both = index(&store, &[&one, &gap]);
    store.discard(&gap.digest).unwrap();
    let sparse = root("s", &[("quay.io/a/sparse:1", &both, &[&gap])]);
    store.write_root(&sparse).unwrap();
    store.write_root(&root("t", &[("quay.io/a/whole:1", &both, &[])])).unwrap();
    let listed = || {
        let index = fs::read_to_string(store.root().join("index.json")).unwrap();
        ["sparse", "whole"].map(|name| index.contains(name))
    };
    store.write_index(&sparse.artifacts).unwrap();
    assert_eq!(listed(), [true, false]);
    damage(&store, &both.digest);
    store.write_index(&sparse.artifacts).unwrap();
    assert_eq!(listed(), [true, false]);
    store.write_index(&[]).unwrap();
    assert_eq!(listed(), [false, false]);
}

#[test]
fn skopeo_reads_the_store_as_an_oci_layout() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        crate::say_skipped("skopeo is not installed");
        return;
    }
    let (_dir, store) = temp_store();
    let one = image(&store, &[&layer(&store, "one")]);
    store.write_root(&root("s", &[("quay.io/team/app:v1", &one, &[])])).unwrap();
    store.write_index(&[]).unwrap();
    let source = format!("oci:{}:quay.io/team/app:v1", store.root().display());
    let said = Command::new("skopeo").args(["inspect", "--raw", &source]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(Digest::of(&said.stdout), one.digest);
}
