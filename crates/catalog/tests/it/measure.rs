//! What reading costs. Prints, asserts nothing: run with
//! `cargo test --release -p airlift-catalog --test it measure -- --ignored --nocapture --test-threads 1`.

use std::path::Path;
use std::time::Instant;

use airlift_catalog::{Catalog, Wanted, read, write};
use fs_err as fs;

use crate::{data, read::files};

/// CPU seconds of this process, and the largest it was, in MiB.
fn used() -> (f64, u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let cpu = ticks[11].parse::<u32>().unwrap() + ticks[12].parse::<u32>().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (f64::from(cpu) / 100.0, peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024)
}

const ROUNDS: u32 = 10;

fn measure(what: &str, mut work: impl FnMut()) {
    // The largest size until now is forgotten.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, start) = (used().0, Instant::now());
    (0..ROUNDS).for_each(|_| work());
    let (after, peak) = used();
    println!(
        "{what}: {:.3} s CPU, {:.3} s, at most {peak} MiB (mean of {ROUNDS} rounds)",
        (after - before) / f64::from(ROUNDS),
        start.elapsed().as_secs_f64() / f64::from(ROUNDS),
    );
}

fn stream(root: &Path, wanted: &Wanted) {
    for file in files(root) {
        let mut each = |document| {
            std::hint::black_box(document);
            Ok(())
        };
        read::documents("f", fs::File::open(file).unwrap(), wanted, &mut each).unwrap();
    }
}

fn stream_bytes(files: &[(String, Vec<u8>)], wanted: &Wanted) {
    for (name, bytes) in files {
        let mut each = |document| {
            std::hint::black_box(document);
            Ok(())
        };
        read::documents(name, &**bytes, wanted, &mut each).unwrap();
    }
}

#[test]
#[ignore = "prints what reading costs"]
fn measure_reading() {
    for root in data::catalogs() {
        let name = root.display();
        let folder = fs::read_dir(&root).unwrap().next().unwrap().unwrap();
        let one = Wanted::packages([folder.file_name().to_string_lossy()]);
        measure(&format!("{name}, one package streamed"), || stream(&root, &one));
        measure(&format!("{name}, streamed whole"), || stream(&root, &Wanted::All));
        let json: Vec<_> = write(&Catalog::read_dir(&root, &Wanted::All).unwrap()).collect();
        measure(&format!("{name} as JSON, one package streamed"), || stream_bytes(&json, &one));
        measure(&format!("{name} as JSON, streamed whole"), || stream_bytes(&json, &Wanted::All));
        drop(json);
        measure(&format!("{name}, one package read"), || {
            drop(Catalog::read_dir(&root, &one).unwrap());
        });
        measure(&format!("{name}, read whole"), || {
            drop(Catalog::read_dir(&root, &Wanted::All).unwrap());
        });
    }
}
