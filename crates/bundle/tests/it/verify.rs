//! Volumes that were flipped, cut short, renamed, swapped, lost, or are somebody else's.

use std::num::NonZeroUsize;
use std::path::Path;

use airlift_bundle::{
    BundleError, Depth, TrustedBundle, Verified, VerifyOptions, cut_again, verify,
};
use airlift_spec::Ctx;
use airlift_testkit::samples;

use crate::world::{World, files, flip, open, options, place_of, trust};

fn check(folder: &Path) -> Verified {
    verify(&open(folder), &VerifyOptions::default(), &Ctx::default()).unwrap()
}

fn check_deep(folder: &Path) -> Verified {
    let options = VerifyOptions { depth: Depth::Digests, ..VerifyOptions::default() };
    verify(&open(folder), &options, &Ctx::default()).unwrap()
}

fn codes(verified: &Verified) -> Vec<(&str, &str)> {
    verified.findings.iter().map(|found| (found.code.as_str(), found.object.as_str())).collect()
}

/// Three images, of which two share a layer; volumes of 128 KiB.
fn world() -> World {
    let samples = samples::sharing_layers(7, 2, 90_000, 60_000);
    let mut world = World::new();
    for (at, sample) in samples.iter().enumerate() {
        world.add(&format!("quay.io/shared/image:{at}"), sample);
    }
    world.with("quay.io/alone/large:1", &samples::image(9, &[300_000]))
}

#[test]
fn a_bundle_as_it_was_made_has_no_findings() {
    let world = world();
    let folder = world.create("out");
    for verified in [check(&folder), check_deep(&folder)] {
        assert_eq!(verified.findings, []);
        assert_eq!(verified.cut_again, None);
        assert_eq!(verified.bytes, open(&folder).root().volumes.iter().sum::<u64>());
    }
}

#[test]
fn a_flipped_bit_is_found_with_volume_chunk_artifact_and_the_line_to_carry_back() {
    let world = world();
    let folder = world.create("out");
    let bundle = open(&folder);
    let large = bundle.table().members().iter().find(|member| member.pieces.len() > 1).unwrap();
    let volume = large.pieces[1].volume;
    let file = folder.join(bundle.root().volume_file(volume));
    flip(&file, usize::try_from(large.pieces[1].offset).unwrap() + 5);
    for verified in [check(&folder), check_deep(&folder)] {
        let name = format!("demo.{volume:05}.tar");
        let found = codes(&verified);
        assert_eq!(found[0], ("chunk-damaged", name.as_str()));
        assert!(found.contains(&("artifact-incomplete", "quay.io/alone/large:1")));
        assert!(!found.iter().any(|(_, object)| object.starts_with("quay.io/shared")));
        assert!(verified.findings[0].message.contains("chunk 0"));
        assert!(verified.findings[0].message.contains("it hurts quay.io/alone/large:1"));
        let line = format!("airlift bundle create --volumes {volume} --root {}", bundle.digest());
        assert_eq!(verified.cut_again, Some(line));
    }
}

#[test]
fn a_damaged_copy_of_a_volume_is_mended_by_another_whatever_their_order() {
    let world = world();
    let folders = [world.create("one"), world.create("two")];
    let bundle = open(&folders[0]);
    // Volume 00000 is on every medium for this very reason; each medium has lost something else.
    for (folder, ordinal, offset) in
        [(&folders[0], 0, 700), (&folders[0], 1, 2_000), (&folders[1], 2, 2_000)]
    {
        flip(&folder.join(bundle.root().volume_file(ordinal)), offset);
    }
    let both = |order: [usize; 2]| {
        let order = order.map(|at| folders[at].clone());
        TrustedBundle::open(&order, &trust()).unwrap().remove(0)
    };
    for (order, names) in
        [([0, 1], vec!["demo.00000.tar", "demo.00001.tar"]), ([1, 0], vec!["demo.00002.tar"])]
    {
        // With a thread for each job, a blob over several volumes is followed while their chunks are still checked.
        let threads = NonZeroUsize::new(32).unwrap();
        for depth in [Depth::Sums].into_iter().chain([Depth::Digests; 16]) {
            let options = VerifyOptions { depth, threads };
            let verified = verify(&both(order), &options, &Ctx::default()).unwrap();
            let expected: Vec<_> = names.iter().map(|name| ("copy-damaged", *name)).collect();
            assert_eq!(codes(&verified), expected);
            assert_eq!(verified.cut_again, None);
        }
        let bundle = both(order);
        for member in bundle.table().members() {
            let bytes = bundle.read_whole(member, 1 << 20).unwrap();
            assert!(member.digest.matches(&bytes), "{}", member.digest);
        }
        assert!(bundle.damage().is_empty());
    }
    // What is damaged everywhere is damaged.
    flip(&folders[1].join(bundle.root().volume_file(1)), 2_100);
    let verified = verify(&both([0, 1]), &VerifyOptions::default(), &Ctx::default()).unwrap();
    assert_eq!(verified.broken, [1]);
}

#[test]
fn damage_in_a_shared_layer_hurts_everyone_who_has_it() {
    let world = world();
    let folder = world.create("out");
    let bundle = open(&folder);
    let shared = bundle.table().members().iter().find(|member| member.size == 90_000);
    let (file, offset) = place_of(&bundle, &shared.expect("the shared layer").digest);
    flip(&file, offset);
    let verified = check(&folder);
    for at in 0..2 {
        let artifact = format!("quay.io/shared/image:{at}");
        assert!(codes(&verified).contains(&("artifact-incomplete", artifact.as_str())));
    }
}

#[test]
fn missing_truncated_and_swapped_volumes_are_told_by_name() {
    let world = world();
    let folder = world.create("out");
    let volume = |ordinal: u32| folder.join(format!("demo.{ordinal:05}.tar"));
    fs_err::remove_file(volume(1)).unwrap();
    let short = fs_err::read(volume(2)).unwrap();
    fs_err::write(volume(2), &short[..short.len() - 512]).unwrap();
    fs_err::rename(volume(3), volume(9)).unwrap();
    fs_err::rename(volume(4), volume(3)).unwrap();
    fs_err::rename(volume(9), volume(4)).unwrap();
    let verified = check(&folder);
    let found = codes(&verified);
    assert_eq!(
        found[..4],
        [
            ("volume-missing", "demo.00001.tar"),
            ("volume-truncated", "demo.00002.tar"),
            ("volume-renamed", "demo.00003.tar"),
            ("volume-renamed", "demo.00004.tar"),
        ]
    );
    // What is whole under another name needs a new name, and nothing else.
    assert_eq!(verified.broken, [1, 2]);
    assert!(verified.cut_again.unwrap().contains("--volumes 1,2 --root sha256:"));
}

#[test]
fn renamed_and_swapped_volumes_that_are_whole_need_names_and_no_cutting() {
    let world = world();
    let folder = world.create("out");
    let volume = |name: &str| folder.join(name);
    let renames = [
        ("demo.00001.tar", "first.tar"),
        ("demo.00002.tar", "x"),
        ("demo.00003.tar", "demo.00002.tar"),
        ("demo.00004.tar", "DEMO.00004.TAR"),
    ];
    for (from, to) in renames.into_iter().chain([("x", "demo.00003.tar")]) {
        fs_err::rename(volume(from), volume(to)).unwrap();
    }
    for verified in [check(&folder), check_deep(&folder)] {
        let objects = ["demo.00002.tar", "demo.00003.tar", "DEMO.00004.TAR", "first.tar"];
        assert_eq!(codes(&verified), objects.map(|object| ("volume-renamed", object)));
        assert!(verified.findings.iter().all(|one| one.severity == airlift_spec::Severity::Error));
        let remedy = |object: &str| {
            let finding = verified.findings.iter().find(|it| it.object == object);
            finding.unwrap().message.clone()
        };
        assert!(remedy("first.tar").contains("rename it to demo.00001.tar"));
        assert!(remedy("DEMO.00004.TAR").contains("rename it to demo.00004.tar"));
        assert_eq!((verified.broken.len(), verified.cut_again), (0, None));
        let all: u64 = open(&folder).root().volumes.iter().sum();
        assert_eq!(verified.bytes, all, "not every byte was checked");
    }
    // Damage is found under whatever name.
    flip(&volume("first.tar"), 3_000);
    let verified = check(&folder);
    assert!(codes(&verified).contains(&("chunk-damaged", "demo.00001.tar")), "{verified:#?}");
    assert_eq!(verified.broken, [1]);
}

#[test]
fn a_name_that_another_volume_has_taken_says_that_its_own_is_not_here() {
    let world = world();
    let folder = world.create("out");
    let [one, two] = [1, 2].map(|ordinal| folder.join(format!("demo.{ordinal:05}.tar")));
    fs_err::copy(&two, &one).unwrap();
    fs_err::copy(&two, folder.join("copy.tar")).unwrap();
    let verified = check(&folder);
    let found = codes(&verified);
    assert_eq!(found[..2], [("volume-renamed", "demo.00001.tar"), ("volume-renamed", "copy.tar")]);
    assert!(verified.findings[0].message.contains("is not here"), "{verified:#?}");
    assert!(
        verified.findings[1].message.contains("it is a copy of demo.00002.tar"),
        "{verified:#?}"
    );
    assert_eq!(verified.broken, [1]);
}

#[test]
fn a_volume_of_an_older_bundle_is_not_mistaken_for_ours() {
    let mut world = world();
    let old = world.create("old");
    world.add("quay.io/new/one:1", &samples::image(20, &[1000]));
    let new = world.create("new");
    let file = "demo.00001.tar";
    assert_eq!(
        fs_err::metadata(old.join(file)).unwrap().len(),
        fs_err::metadata(new.join(file)).unwrap().len()
    );
    fs_err::copy(old.join(file), new.join(file)).unwrap();
    fs_err::copy(old.join("demo.00002.tar"), new.join("copy of 2.tar")).unwrap();
    let verified = check(&new);
    let found = codes(&verified);
    assert_eq!(found[..2], [("volume-foreign", file), ("volume-foreign", "copy of 2.tar")]);
    let root = open(&old).digest().to_string();
    assert!(verified.findings[0].message.contains(&root), "{}", verified.findings[0].message);
    assert_eq!(verified.broken, [1]);
}

#[test]
fn without_signed_sums_the_digests_are_checked_and_a_warning_says_so() {
    let world = world();
    let folder = world.create("out");
    for (name, bytes) in files(&folder) {
        if name.contains(".sums") && name.ends_with(".minisig") {
            // Signed by nobody, and signed by a stranger, come to the same.
            fs_err::write(folder.join(name), &bytes[..10]).unwrap();
        }
    }
    let verified = check(&folder);
    assert!(codes(&verified).iter().all(|(code, _)| *code == "sums-untrusted"));
    assert_eq!(verified.cut_again, None);
    let bundle = open(&folder);
    let layer = bundle.table().members().iter().find(|member| member.size == 90_000).unwrap();
    let (file, offset) = place_of(&bundle, &layer.digest);
    flip(&file, offset + 1);
    let split = bundle.table().members().iter().find(|member| member.pieces.len() > 1).unwrap();
    let (part, offset) = place_of(&bundle, &split.digest);
    flip(&part, offset);
    let verified = check(&folder);
    let damaged = codes(&verified).iter().filter(|(code, _)| *code == "blob-damaged").count();
    assert_eq!(damaged, 1 + split.pieces.len(), "{:?}", codes(&verified));
}

/// The lock is read by whoever wants to say which images are hurt, when it is known to be damaged already.
#[test]
fn a_damaged_lock_on_a_volume_without_signed_sums_is_named_as_often_as_it_is_read() {
    let world = world();
    let folder = world.create("out");
    let bundle = open(&folder);
    let (_, lock) = bundle.named_members().find(|(name, _)| name.contains("locks/")).unwrap();
    let lock = lock.clone();
    let (file, offset) = place_of(&bundle, &lock.digest);
    flip(&file, offset + 1);
    fs_err::remove_file(file.with_extension("sums.minisig")).unwrap();

    let bundle = open(&folder);
    for _ in 0..2 {
        let err = bundle.read_whole(&lock, lock.size).unwrap_err();
        assert!(matches!(err, BundleError::MemberDamaged { .. }), "{err:?}");
    }
    let verified = check(&folder);
    assert_eq!(verified.broken, [0]);
    assert!(codes(&verified).iter().any(|(code, _)| *code == "blob-damaged"));
}

#[test]
fn what_verify_says_to_cut_again_makes_the_bundle_whole_without_lock_or_key() {
    let world = world();
    let folder = world.create("out");
    let before = files(&folder);
    flip(&folder.join("demo.00002.tar"), 3000);
    fs_err::remove_file(folder.join("demo.00000.tar")).unwrap();
    let verified = check(&folder);
    assert_eq!(verified.broken, [0, 2]);
    let again = world.path("again");
    let cut = cut_again(&world.store, &verified.root, &verified.broken, &again, &Ctx::default());
    assert_eq!(cut.unwrap().volumes.len(), 2);
    let bundles =
        TrustedBundle::open(&[again.clone(), folder.clone()], &crate::world::trust()).unwrap();
    assert_eq!(bundles.len(), 1, "two folders, one bundle");
    for (name, bytes) in files(&again) {
        assert_eq!(before.get(&name), Some(&bytes), "{name}");
        fs_err::copy(again.join(&name), folder.join(&name)).unwrap();
    }
    assert_eq!(files(&folder), before);
    assert_eq!(check(&folder).findings, []);
}

#[test]
fn cutting_again_in_place_mends_what_is_damaged_and_leaves_the_rest_alone() {
    let world = world();
    let folder = world.create("out");
    let before = files(&folder);
    flip(&folder.join("demo.00002.tar"), 3000);
    let root = open(&folder).digest();
    let cut = cut_again(&world.store, &root, &[1, 2, 3], &folder, &Ctx::default()).unwrap();
    let kept: Vec<bool> = cut.volumes.iter().map(|volume| volume.is_kept).collect();
    assert_eq!(kept, [true, false, true]);
    assert_eq!(cut.bytes_written, cut.volumes[1].size);
    assert_eq!(files(&folder), before);
}

#[test]
fn cancelling_stops_it() {
    let world = world();
    let folder = world.create("out");
    let ctx = Ctx::default();
    ctx.cancel.cancel();
    let stopped = verify(&open(&folder), &VerifyOptions::default(), &ctx);
    assert!(matches!(stopped, Err(airlift_bundle::BundleError::Cancelled)));
    let stopped = world.prepare(&options()).unwrap();
    let stopped = stopped.write(&world.store, &[world.path("x")], &options(), &ctx);
    assert!(matches!(stopped, Err(airlift_bundle::BundleError::Cancelled)));
}
