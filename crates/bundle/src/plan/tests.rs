use std::time::{Duration, Instant};

use airlift_spec::Algorithm;

use super::*;

fn blob(seed: u64) -> Digest {
    Digest::of(&seed.to_le_bytes())
}

fn wanted(volume_bytes: u64, artifacts: &[&[(u64, u64)]]) -> Wanted {
    let artifacts = artifacts.iter().enumerate().map(|(at, blobs)| WantedArtifact {
        reference: format!("quay.io/a/b:{at}").parse().unwrap(),
        digest: blob(blobs[0].0),
        blobs: blobs.iter().map(|(seed, size)| (blob(*seed), *size)).collect(),
    });
    Wanted {
        name: "demo".to_owned(),
        stacks: Vec::new(),
        since: None,
        named: vec![Named { name: "oci-layout".to_owned(), digest: blob(0), size: 30 }],
        artifacts: artifacts.collect(),
        missing: Vec::new(),
        left_out: Vec::new(),
        volume_bytes,
    }
}

fn volumes_of(plan: &Plan, seed: u64) -> Vec<u32> {
    let member = plan.table.find(&blob(seed)).unwrap();
    member.pieces.iter().map(|piece| piece.volume).collect()
}

/// A small plan for tests of what it is written as.
pub(crate) fn sample() -> Plan {
    plan(wanted(100 * KIB, &[&[(1, 10), (2, 60 * KIB)], &[(3, 60 * KIB), (4, 200 * KIB)]])).unwrap()
}

const KIB: u64 = 1024;

#[test]
fn a_volume_is_closed_early_rather_than_a_blob_split() {
    let plan = plan(wanted(100 * KIB, &[&[(1, 60 * KIB), (2, 60 * KIB), (3, 30 * KIB)]])).unwrap();
    assert_eq!(volumes_of(&plan, 1), [1]);
    assert_eq!(volumes_of(&plan, 2), [2]);
    assert_eq!(volumes_of(&plan, 3), [2]);
    assert!(plan.root.volumes.iter().all(|size| *size <= 100 * KIB));
    assert_eq!(plan.root.artifacts[0].volumes, [1, 2]);
}

#[test]
fn only_what_is_larger_than_a_volume_is_split_and_its_first_part_opens_one() {
    let first = tar::marker_len("demo");
    let most = 100 * KIB - first - 512 - tar::END_BYTES;
    let plan = plan(wanted(100 * KIB, &[&[(1, 10), (2, most), (3, most + 1), (4, 10)]])).unwrap();
    assert_eq!(volumes_of(&plan, 2), [2], "what just fits is whole");
    assert_eq!(plan.root.volumes[2], 100 * KIB);
    assert_eq!(volumes_of(&plan, 3), [3, 4]);
    assert_eq!(volumes_of(&plan, 4), [4], "the rest of the last part's volume is used");
}

#[test]
fn a_shared_blob_is_packed_once_and_named_by_everyone_who_needs_it() {
    let shared: &[&[(u64, u64)]] =
        &[&[(1, 60 * KIB), (9, 10)], &[(2, 60 * KIB), (9, 10)], &[(9, 10)]];
    let plan = plan(wanted(100 * KIB, shared)).unwrap();
    assert_eq!(plan.table.members().len(), 4 + 1 - 1);
    let needs: Vec<_> = plan.root.artifacts.iter().map(|one| one.volumes.clone()).collect();
    assert_eq!(needs, [vec![1], vec![1, 2], vec![1]]);
    assert_eq!(plan.table.find(&blob(9)).unwrap().artifact, Some(0));
}

#[test]
fn empty_blobs_and_sha512_have_their_place() {
    let mut wanted = wanted(100 * KIB, &[&[(1, 0), (2, 512)]]);
    let long = Digest::with(Algorithm::Sha512, b"x");
    wanted.artifacts[0].blobs.push((long, 5));
    let plan = plan(wanted).unwrap();
    let read = Table::parse(&plan.table_bytes, &plan.root).unwrap();
    assert_eq!(read, plan.table);
    assert_eq!(read.find(&long).unwrap().pieces[0].length, 5);
}

#[test]
fn a_hundred_thousand_blobs_and_ten_terabytes_are_planned_at_once() {
    let blobs: Vec<(u64, u64)> = (1..=100_000).map(|seed| (seed, 100_000_000)).collect();
    let artifacts: Vec<&[(u64, u64)]> = blobs.chunks(100).collect();
    let wanted = wanted(DEFAULT_VOLUME_BYTES, &artifacts);
    let start = Instant::now();
    let planned = plan(wanted.clone()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(planned.root.volumes.iter().sum::<u64>() / 1_000_000_000_000, 10);
    assert_eq!(planned, plan(wanted).unwrap(), "the same input gives the same bytes");

    // Opening it reads root and table, and no volume: none is there.
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("demo.bundle.json"), &planned.root_bytes).unwrap();
    fs_err::write(dir.path().join("demo.blobs"), &planned.table_bytes).unwrap();
    let start = Instant::now();
    let roots = crate::TrustRoots::trust_without_signature();
    let opened = crate::TrustedBundle::open_all(dir.path(), &roots).unwrap();
    // A second in a release build, on a machine that does nothing else.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(opened[0].table(), &planned.table);
}

#[test]
fn what_cannot_be_cut_into_volumes_is_refused() {
    let small = plan(wanted(1000, &[&[(1, 1)]]));
    assert!(matches!(small, Err(BundleError::VolumeSize { size: 1000, .. })));
    let many = plan(wanted(MIN_VOLUME_BYTES, &[&[(1, 7_000_000_000)]]));
    assert!(matches!(many, Err(BundleError::TooManyVolumes { .. })));
}

#[test]
fn a_name_is_the_stacks_or_the_one_asked_for_and_a_deltas_tells_its_lock() {
    let stacks = [StackLock { name: "llm".to_owned(), lock: blob(1) }];
    assert_eq!(bundle_name(None, &stacks, false).unwrap(), "llm");
    assert_eq!(bundle_name(Some("other"), &stacks, false).unwrap(), "other");
    let delta = bundle_name(None, &stacks, true).unwrap();
    assert_eq!(delta, format!("llm-{}", &blob(1).hex()[..8]));
    assert!(root::is_bundle_name(&delta));
    for bad in ["", "-a", "A", "a/b", "..", "nul", "com1", &"x".repeat(41)] {
        assert!(
            matches!(bundle_name(Some(bad), &stacks, false), Err(BundleError::Name(_))),
            "{bad}"
        );
    }
}
