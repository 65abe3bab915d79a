use std::io::ErrorKind;

use airlift_testkit::disk::{SmallDisk, with_file_limit};

#[test]
fn a_small_disk_gets_full_and_goes_away() {
    let Some(disk) = SmallDisk::mount(1 << 20).unwrap() else { return };
    let path = disk.path().to_owned();
    fs_err::write(path.join("fits"), vec![7; 500_000]).unwrap();
    let full = fs_err::write(path.join("does not"), vec![7; 2_000_000]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    drop(disk);
    assert!(!path.exists());
}

#[test]
fn a_file_does_not_grow_beyond_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let script = "head -c 200000 /dev/zero > long";
    let mut command = with_file_limit("sh", 100_000);
    let output = command.args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(fs_err::metadata(dir.path().join("long")).unwrap().len(), 100_000);
}
