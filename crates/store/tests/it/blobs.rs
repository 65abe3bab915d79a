//! Ways in and out of the store.

use std::os::unix::fs::PermissionsExt as _;

use airlift_spec::{Algorithm, Digest};
use airlift_store::{BlobWriter, Staging, Store, StoreError, Tuning};
use fs_err as fs;

use crate::sample::staged;
use crate::temp_store;

fn writer(store: &Store, digest: Digest, size: usize) -> BlobWriter {
    match store.stage(digest, size as u64).unwrap() {
        Staging::Writer(writer) => writer,
        other => panic!("expected a writer, got {other:?}"),
    }
}

/// Bytes that are nowhere alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn a_blob_shows_only_after_its_commit() {
    for algorithm in Algorithm::ALL {
        let (_dir, store) = temp_store();
        let bytes = bytes(100_000);
        let digest = Digest::with(algorithm, &bytes);
        let mut writer = writer(&store, digest, bytes.len());
        for (at, part) in bytes.chunks(7_000).enumerate() {
            writer.write_at(at as u64 * 7_000, part).unwrap();
        }
        assert!(!store.contains(&digest));
        writer.commit().unwrap();
        assert_eq!(store.size(&digest), Some(100_000));
        assert_eq!(store.read(&digest, 100_000).unwrap(), Some(bytes));
        assert_eq!(staged(&store), [""; 0]);
        assert!(matches!(store.stage(digest, 100_000).unwrap(), Staging::Present));
    }
}

#[test]
fn an_empty_blob_can_be_committed_at_once() {
    let (_dir, store) = temp_store();
    let writer = writer(&store, Digest::of(b""), 0);
    assert_eq!(writer.gaps(), []);
    writer.commit().unwrap();
    assert_eq!(store.read(&Digest::of(b""), 0).unwrap(), Some(Vec::new()));
}

#[test]
fn wrong_bytes_publish_nothing_and_leave_nothing() {
    let (_dir, store) = temp_store();
    let digest = Digest::of(b"right");
    let mut wrong = writer(&store, digest, 5);
    wrong.write_at(0, b"wrong").unwrap();
    let refused = wrong.commit();
    assert!(matches!(refused, Err(StoreError::Mismatch { .. })), "{refused:?}");
    assert!(!store.contains(&digest));
    assert_eq!(staged(&store), [""; 0]);
    assert!(matches!(store.put(digest, b"wrong"), Err(StoreError::Mismatch { .. })));
    store.put(digest, b"right").unwrap();
    assert!(store.contains(&digest));
}

#[test]
fn pieces_come_in_any_order_over_any_number_of_runs() {
    let bytes = bytes(10_000);
    let digest = Digest::of(&bytes);
    let (_dir, store) = temp_store();
    for (start, end) in [(6_000, 8_000), (0, 1_000), (9_000, 10_000), (500, 6_500), (8_000, 9_000)]
    {
        let mut writer = writer(&store, digest, bytes.len());
        writer.write_at(start as u64, &bytes[start..end]).unwrap();
        writer.checkpoint().unwrap();
    }
    let writer = writer(&store, digest, bytes.len());
    assert_eq!(writer.gaps(), []);
    writer.commit().unwrap();
    assert_eq!(store.read(&digest, 10_000).unwrap(), Some(bytes));
    assert_eq!(staged(&store), [""; 0]);
}

#[test]
fn a_resumed_run_fills_only_the_gaps() {
    let bytes = bytes(3_000);
    let digest = Digest::of(&bytes);
    let (_dir, store) = temp_store();
    let mut first = writer(&store, digest, bytes.len());
    first.write_at(1_000, &bytes[1_000..2_000]).unwrap();
    first.checkpoint().unwrap();
    first.write_at(2_500, &bytes[2_500..]).unwrap();
    drop(first);
    let mut second = writer(&store, digest, bytes.len());
    // What came after the checkpoint was too little to be worth a sync.
    assert_eq!(second.gaps(), [0..1_000, 2_000..3_000]);
    for gap in second.gaps() {
        second.write_at(gap.start, &bytes[gap.start as usize..gap.end as usize]).unwrap();
    }
    second.commit().unwrap();
}

#[test]
fn writing_over_what_was_hashed_is_hashed_as_it_stands() {
    let bytes = bytes(3_000);
    let (_dir, store) = temp_store();
    let mut writer = writer(&store, Digest::of(&bytes), bytes.len());
    writer.write_at(0, &[0; 2_000]).unwrap();
    writer.write_at(0, &bytes[..1_500]).unwrap();
    writer.write_at(1_500, &bytes[1_500..]).unwrap();
    writer.commit().unwrap();
}

#[test]
fn the_declared_size_is_a_limit_and_a_promise() {
    let (_dir, store) = temp_store();
    let digest = Digest::of(b"12345");
    let mut writer = writer(&store, digest, 4);
    for (offset, bytes) in [(0, b"12345".as_slice()), (4, b"5"), (u64::MAX, b"5")] {
        let refused = writer.write_at(offset, bytes);
        assert!(matches!(refused, Err(StoreError::TooLong { .. })), "at {offset}: {refused:?}");
    }
    writer.write_at(1, b"2").unwrap();
    let refused = writer.commit();
    assert!(matches!(refused, Err(StoreError::Incomplete { missing_bytes: 3, .. })), "{refused:?}");
}

#[test]
fn a_flipped_byte_in_staging_is_found_at_commit() {
    let bytes = bytes(5_000);
    let digest = Digest::of(&bytes);
    let (_dir, store) = temp_store();
    let mut first = writer(&store, digest, bytes.len());
    first.write_at(0, &bytes).unwrap();
    first.checkpoint().unwrap();
    drop(first);
    let path = store.root().join(format!("staging/sha256-{}", digest.hex()));
    let mut damaged = fs::read(&path).unwrap();
    damaged[2_345] ^= 1;
    fs::write(&path, damaged).unwrap();
    let second = writer(&store, digest, bytes.len());
    assert_eq!(second.gaps(), []);
    assert!(matches!(second.commit(), Err(StoreError::Mismatch { .. })));
    assert!(!store.contains(&digest));
    assert_eq!(writer(&store, digest, bytes.len()).gaps(), [0..5_000]);
}

#[test]
fn a_second_handle_is_told_to_do_other_work() {
    let (_dir, store) = temp_store();
    let other = Store::open(store.root()).unwrap();
    let digest = Digest::of(b"one");
    let mut first = writer(&store, digest, 3);
    for store in [&store, &other] {
        assert!(matches!(store.stage(digest, 3).unwrap(), Staging::Busy));
    }
    first.write_at(0, b"one").unwrap();
    first.commit().unwrap();
    assert!(matches!(other.stage(digest, 3).unwrap(), Staging::Present));
}

#[test]
fn many_threads_on_the_same_blobs_publish_each_of_them_whole() {
    let (_dir, store) = temp_store();
    let blobs: Vec<Vec<u8>> = (0..40).map(|fill| vec![fill; 3_000]).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for blob in &blobs {
                    let digest = Digest::of(blob);
                    if let Staging::Writer(mut writer) = store.stage(digest, 3_000).unwrap() {
                        writer.write_at(0, blob).unwrap();
                        writer.commit().unwrap();
                    }
                    store.put(digest, blob).unwrap();
                }
            });
        }
    });
    for blob in &blobs {
        assert_eq!(store.read(&Digest::of(blob), 3_000).unwrap().as_ref(), Some(blob));
    }
    assert_eq!(staged(&store), [""; 0]);
}

#[test]
fn states_that_a_power_cut_may_leave_cost_at_most_the_bytes() {
    let bytes = bytes(4_000);
    let digest = Digest::of(&bytes);
    let notes = |pieces: &str| format!(r#"{{"format":1,"size":4000,"pieces":[{pieces}]}}"#);
    for (what, staged, noted, gaps) in [
        ("no notes", Some(bytes.clone()), None, vec![0..4_000]),
        ("empty notes", Some(bytes.clone()), Some(String::new()), vec![0..4_000]),
        (
            "notes cut short",
            Some(bytes.clone()),
            Some(notes("[0,4000]")[..20].to_owned()),
            vec![0..4_000],
        ),
        ("notes without a file", None, Some(notes("[0,4000]")), vec![0..4_000]),
        ("notes of an empty file", Some(Vec::new()), Some(notes("[0,4000]")), vec![0..4_000]),
        (
            "notes beyond the file",
            Some(bytes[..500].to_vec()),
            Some(notes("[0,600]")),
            vec![0..4_000],
        ),
        ("more than was noted", Some(bytes.clone()), Some(notes("[0,600]")), vec![600..4_000]),
        (
            "more than there should be",
            Some([&bytes[..], b"x"].concat()),
            Some(notes("[0,4000]")),
            vec![0..4_000],
        ),
    ] {
        let (_dir, store) = temp_store();
        let path = store.root().join(format!("staging/sha256-{}", digest.hex()));
        if let Some(staged) = staged {
            fs::write(&path, staged).unwrap();
        }
        if let Some(noted) = noted {
            fs::write(path.with_added_extension("pieces"), noted).unwrap();
        }
        let mut writer = writer(&store, digest, bytes.len());
        assert_eq!(writer.gaps(), gaps, "{what}");
        for gap in gaps {
            writer.write_at(gap.start, &bytes[gap.start as usize..gap.end as usize]).unwrap();
        }
        writer.commit().unwrap_or_else(|err| panic!("{what}: {err}"));
        assert_eq!(store.read(&digest, 4_000).unwrap().as_ref(), Some(&bytes), "{what}");
    }
}

#[test]
fn restart_forgets_every_byte() {
    let (_dir, store) = temp_store();
    let mut writer = writer(&store, Digest::of(b"right"), 5);
    writer.write_at(0, b"wrong").unwrap();
    writer.checkpoint().unwrap();
    writer.restart().unwrap();
    assert_eq!(writer.gaps(), [0..5]);
    writer.write_at(0, b"right").unwrap();
    writer.commit().unwrap();
}

#[test]
fn a_writer_makes_its_own_checkpoints() {
    let (_dir, store) = temp_store();
    let store = store.tuned(Tuning { checkpoint_bytes: 1_000, ..Tuning::default() });
    let bytes = bytes(2_500);
    let mut first = writer(&store, Digest::of(&bytes), bytes.len());
    for (at, part) in bytes[..2_400].chunks(300).enumerate() {
        first.write_at(at as u64 * 300, part).unwrap();
    }
    drop(first);
    assert_eq!(writer(&store, Digest::of(&bytes), bytes.len()).gaps(), [2_400..2_500]);
}

#[test]
fn a_listing_knows_every_blob_of_either_algorithm_and_nothing_else() {
    let (_dir, store) = temp_store();
    let digest = |at: u32| Digest::with(Algorithm::ALL[at as usize % 2], &at.to_le_bytes());
    for at in 0..100 {
        store.put(digest(at), &at.to_le_bytes()).unwrap();
    }
    fs::create_dir(store.root().join("blobs").join(digest(100).path())).unwrap();
    let listing = store.list().unwrap();
    assert_eq!(listing.len(), 100);
    let positions = (0..100).map(|at| listing.position(&digest(at)).unwrap());
    assert_eq!(positions.collect::<std::collections::BTreeSet<_>>(), (0..100).collect());
    assert!((100..200).all(|at| !listing.contains(&digest(at))));
}

#[test]
fn everybody_may_read_a_store_whatever_the_umask() {
    let (_dir, store) = temp_store();
    store.put(Digest::of(b"x"), b"x").unwrap();
    let mode =
        |path: &str| fs::metadata(store.root().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&format!("blobs/{}", Digest::of(b"x").path())), 0o644);
    assert_eq!(mode("blobs/sha256"), 0o755);
    assert_eq!(mode("index.json"), 0o644);
}

#[test]
fn an_upload_survives_its_handle_and_keeps_its_algorithm() {
    for algorithm in Algorithm::ALL {
        let (_dir, store) = temp_store();
        let mut first = store.start_upload(algorithm).unwrap();
        first.append(b"one ").unwrap();
        let id = first.id().to_owned();
        assert!(matches!(store.resume_upload(&id), Err(StoreError::Busy { .. })));
        drop(first);
        let mut second = store.resume_upload(&id).unwrap().unwrap();
        assert_eq!(second.len(), 4);
        second.append(b"two").unwrap();
        let digest = Digest::with(algorithm, b"one two");
        second.commit(digest).unwrap();
        assert_eq!(store.read(&digest, 7).unwrap().as_deref(), Some(b"one two".as_slice()));
        assert!(store.resume_upload(&id).unwrap().is_none());
    }
}

#[test]
fn an_upload_may_end_with_another_algorithm_than_it_began() {
    let (_dir, store) = temp_store();
    let mut upload = store.start_upload(Algorithm::Sha256).unwrap();
    upload.append(b"bytes").unwrap();
    let digest = Digest::with(Algorithm::Sha512, b"bytes");
    upload.commit(digest).unwrap();
    assert!(store.contains(&digest));
}

#[test]
fn a_mismatched_or_cancelled_upload_is_gone() {
    let (_dir, store) = temp_store();
    let mut upload = store.start_upload(Algorithm::Sha256).unwrap();
    upload.append(b"bytes").unwrap();
    let refused = upload.commit(Digest::of(b"other"));
    assert!(matches!(refused, Err(StoreError::Mismatch { .. })));
    assert_eq!(staged(&store), [""; 0]);
    let upload = store.start_upload(Algorithm::Sha256).unwrap();
    upload.cancel().unwrap();
    assert_eq!(staged(&store), [""; 0]);
    assert!(!store.contains(&Digest::of(b"other")));
}

#[test]
fn ids_that_lead_elsewhere_are_no_uploads() {
    let (_dir, store) = temp_store();
    let hex = "0123456789abcdef0123456789abcdef";
    for id in [
        "",
        "x",
        "../lock",
        &format!("sha256-{hex}"),
        &format!("sha256-../{hex}"),
        &format!("md5-{hex}"),
        hex,
    ] {
        assert!(store.resume_upload(id).unwrap().is_none(), "{id}");
    }
}

#[test]
fn reading_checks_the_bytes_and_keeps_to_the_limit() {
    let (_dir, store) = temp_store();
    let digest = Digest::of(b"bytes");
    assert_eq!(store.read(&digest, 5).unwrap(), None);
    store.put(digest, b"bytes").unwrap();
    assert!(matches!(store.read(&digest, 4), Err(StoreError::TooLarge { size_bytes: 5, .. })));
    fs::write(store.root().join("blobs").join(digest.path()), b"bytez").unwrap();
    assert!(matches!(store.read(&digest, 5), Err(StoreError::DamagedBlob { .. })));
    store.discard(&digest).unwrap();
    store.discard(&digest).unwrap();
    assert!(!store.contains(&digest));
}
