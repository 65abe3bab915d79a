//! Kills, full disks, read-only disks, and folders that are no stores.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use airlift_spec::{Class, Digest, Explain as _};
use airlift_store::{Staging, Store, StoreError, Tuning};
use fs_err as fs;

use crate::sample::staged;
use crate::temp_store;

const BLOB_BYTES: usize = 3 << 20;

fn blob() -> Vec<u8> {
    (0..BLOB_BYTES).map(|at| (at / 1000) as u8).collect()
}

/// Runs one of the `child_…` tests of this binary in a process of its own.
fn child(name: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("faults::{name}"), "--ignored", "--nocapture"])
        .env("AIRLIFT_TEST_STORE", store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(child: &mut Child, line: &str) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines.map(Result::unwrap).any(|said| said.ends_with(line)),
        "the child never said `{line}`"
    );
}

/// Says `line` to the parent and waits until the parent has done with us.
fn say_and_wait(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{line}").unwrap();
    out.flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

fn given_store() -> Option<Store> {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells a child where to work")]
    let path = std::env::var_os("AIRLIFT_TEST_STORE")?;
    Some(Store::open(&PathBuf::from(path)).unwrap())
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_writes_and_waits() {
    let Some(store) = given_store() else { return };
    let store = store.tuned(Tuning { checkpoint_bytes: 1 << 20, ..Tuning::default() });
    let bytes = blob();
    let Staging::Writer(mut writer) = store.stage(Digest::of(&bytes), BLOB_BYTES as u64).unwrap()
    else {
        panic!("nobody else writes it")
    };
    for (at, part) in bytes[..(5 << 19)].chunks(1 << 18).enumerate() {
        writer.write_at((at << 18) as u64, part).unwrap();
    }
    say_and_wait("written");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_uploads_and_waits() {
    let Some(store) = given_store() else { return };
    let mut upload = store.start_upload(airlift_spec::Algorithm::Sha512).unwrap();
    upload.append(b"received ").unwrap();
    say_and_wait("written");
}

#[test]
fn a_kill_in_the_middle_of_a_blob_costs_only_what_came_after_the_last_checkpoint() {
    let (_dir, store) = temp_store();
    let bytes = blob();
    let digest = Digest::of(&bytes);
    let mut child = child("child_writes_and_waits", store.root());
    wait_for(&mut child, "written");
    assert!(matches!(store.stage(digest, BLOB_BYTES as u64).unwrap(), Staging::Busy));
    child.kill().unwrap();
    child.wait().unwrap();

    assert!(!store.contains(&digest));
    let Staging::Writer(mut writer) = store.stage(digest, BLOB_BYTES as u64).unwrap() else {
        panic!("the lock died with its holder")
    };
    assert_eq!(writer.gaps(), [(2 << 20)..(3 << 20)]);
    writer.write_at(2 << 20, &bytes[2 << 20..]).unwrap();
    writer.commit().unwrap();
    assert_eq!(store.read(&digest, 4 << 20).unwrap(), Some(bytes));
    assert_eq!(staged(&store), [""; 0]);
}

#[test]
fn a_kill_in_the_middle_of_an_upload_loses_neither_bytes_nor_algorithm() {
    let (_dir, store) = temp_store();
    let mut child = child("child_uploads_and_waits", store.root());
    wait_for(&mut child, "written");
    child.kill().unwrap();
    child.wait().unwrap();
    let staged = staged(&store);
    let mut upload =
        store.resume_upload(staged[0].strip_prefix("upload-").unwrap()).unwrap().unwrap();
    assert!(upload.id().starts_with("sha512-"));
    upload.append(b"later").unwrap();
    let digest = Digest::with(airlift_spec::Algorithm::Sha512, b"received later");
    upload.commit(digest).unwrap();
    assert!(store.contains(&digest));
}

#[test]
fn gc_is_refused_while_another_process_uses_the_store() {
    let (_dir, store) = temp_store();
    let mut child = child("child_writes_and_waits", store.root());
    wait_for(&mut child, "written");
    let refused = store.gc(false, &airlift_spec::Ctx::default());
    assert!(
        matches!(&refused, Err(err @ StoreError::InUse { .. }) if err.help().is_some()),
        "{refused:?}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.gc(false, &airlift_spec::Ctx::default()).unwrap().removed_staged, 2);
}

/// A file system of its own for a test; none where we may not mount, which the test must say.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        crate::say_skipped("mounting a tmpfs is not permitted here");
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.0.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_named_before_the_transfer_and_what_was_there_stays() {
    let Some(disk) = Mounted::tmpfs("size=2m") else { return };
    let store = Store::create(&disk.0.path().join("store")).unwrap();
    store.put(Digest::of(b"small"), b"small").unwrap();
    let bytes = blob();
    let refused = store.stage(Digest::of(&bytes), BLOB_BYTES as u64);
    let Err(err) = refused else { panic!("3 MiB do not fit: {refused:?}") };
    let StoreError::Full { needed_bytes, free_bytes, .. } = &err else { panic!("{err:?}") };
    assert_eq!(*needed_bytes, BLOB_BYTES as u64);
    assert!(*free_bytes < 2 << 20);
    assert_eq!(err.class(), Class::Storage);
    assert!(err.help().unwrap().contains("3145728 bytes"));

    disk.remount("size=16m");
    let Staging::Writer(mut writer) = store.stage(Digest::of(&bytes), BLOB_BYTES as u64).unwrap()
    else {
        panic!("it is not there yet")
    };
    writer.write_at(0, &bytes).unwrap();
    writer.commit().unwrap();
    assert!(store.contains(&Digest::of(b"small")));
}

#[test]
fn a_disk_that_fills_up_under_an_upload_keeps_what_it_took() {
    let Some(disk) = Mounted::tmpfs("size=2m") else { return };
    let store = Store::create(&disk.0.path().join("store")).unwrap();
    let bytes = blob();
    let mut upload = store.start_upload(airlift_spec::Algorithm::Sha256).unwrap();
    let refused = upload.append(&bytes);
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    let taken = upload.len() as usize;
    assert!(taken < bytes.len());
    disk.remount("size=16m");
    upload.append(&bytes[taken..]).unwrap();
    upload.commit(Digest::of(&bytes)).unwrap();
    assert_eq!(store.read(&Digest::of(&bytes), 4 << 20).unwrap(), Some(bytes));
}

#[test]
fn a_store_on_a_read_only_file_system_can_be_read() {
    let Some(disk) = Mounted::tmpfs("size=4m") else { return };
    let path = disk.0.path().join("store");
    let store = Store::create(&path).unwrap();
    store.put(Digest::of(b"bytes"), b"bytes").unwrap();
    drop(store);
    // As from a medium that was written without one.
    fs::remove_file(path.join("lock")).unwrap();
    disk.remount("ro");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.read(&Digest::of(b"bytes"), 5).unwrap().as_deref(), Some(b"bytes".as_slice()));
    let refused = store.put(Digest::of(b"other"), b"other");
    assert!(
        matches!(&refused, Err(err @ StoreError::Write { .. }) if err.help().is_some()),
        "{refused:?}"
    );
}

#[test]
fn only_a_store_or_an_empty_folder_becomes_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/store");
    assert!(matches!(Store::open(&path), Err(StoreError::Absent { .. })));
    Store::create(&path).unwrap();
    Store::create(&path).unwrap();

    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    assert!(matches!(Store::open(&foreign), Err(StoreError::NotAStore { .. })));
    fs::write(foreign.join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(Store::create(&foreign), Err(StoreError::NotAStore { .. })));

    // `gc` would empty a layout of another tool's, since it has no roots.
    let layout = dir.path().join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    assert!(matches!(Store::create(&layout), Err(StoreError::NotAStore { .. })));
}

#[test]
fn making_a_store_that_was_cut_short_goes_on() {
    let (_dir, store) = temp_store();
    let path = store.root().to_owned();
    drop(store);
    for missing in ["index.json", "roots/pushed", "roots", "blobs/sha512", "lock"] {
        fs::remove_file(path.join("oci-layout")).unwrap();
        let missing = path.join(missing);
        if missing.is_dir() {
            fs::remove_dir_all(&missing).unwrap();
        } else {
            fs::remove_file(&missing).unwrap();
        }
        assert!(Store::open(&path).is_err());
        Store::create(&path).unwrap();
        assert!(missing.exists(), "{}", missing.display());
    }
}

#[test]
fn many_may_make_one_store_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::thread::scope(|scope| {
        for at in 0..8_u8 {
            let path = &path;
            scope
                .spawn(move || Store::create(path).unwrap().put(Digest::of(&[at]), &[at]).unwrap());
        }
    });
    let store = Store::open(&path).unwrap();
    assert!((0..8_u8).all(|at| store.contains(&Digest::of(&[at]))));
}
