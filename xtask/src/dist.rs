//! `cargo xtask dist`: the one static binary.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::{built, cargo, find, output, root, run as execute, target_folder};

mod elf;

/// A bundle carries the binary on every medium, and people fetch it over poor lines.
const LARGEST_BYTES: usize = 33_000_000;

/// Builds the binary, checks it and puts it into `dist/` of the target folder.
pub(crate) fn run() -> Result {
    let target = target()?;
    eprintln!("building for {target}");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--package", "airlift-cli", "--bin", "airlift"]);
    // Without a target the flag would reach proc macros, which must stay dynamic.
    build.args(["--target", &target]);
    build.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", "-C target-feature=+crt-static");
    let binary = built(&mut build, "airlift")?;
    let file = fs_err::read(&binary)?;
    check(&file)?;
    let place = target_folder()?.join("dist/airlift");
    install(&binary, &place)?;
    execute(Command::new(&place).arg("--version"))?;
    println!("{}: {:.1} MB, {target}, static", place.display(), megabytes(file.len()));
    Ok(())
}

/// musl where its standard library and a C compiler for it are here, else the host's own triple.
fn target() -> Result<String> {
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]).current_dir(root()))?;
    let host = host.trim();
    let musl = host.replace("-gnu", "-musl");
    let mut query = Command::new("rustc");
    query.args(["--print", "target-libdir", "--target", &musl]).current_dir(root());
    let library = String::from_utf8(query.output()?.stdout)?;
    let is_here = Path::new(library.trim()).is_dir() && find("musl-gcc").is_some();
    Ok(if is_here { musl } else { host.to_owned() })
}

fn check(file: &[u8]) -> Result {
    match elf::has_interpreter(file) {
        Some(false) => {}
        Some(true) => return Err("the binary asks for an interpreter: it is not static".into()),
        None => return Err("the binary is no 64-bit little-endian ELF file".into()),
    }
    if file.len() >= LARGEST_BYTES {
        let (size, limit) = (megabytes(file.len()), megabytes(LARGEST_BYTES));
        return Err(format!("the binary has {size:.1} MB and may not reach {limit:.0} MB").into());
    }
    Ok(())
}

/// Copies under another name first: a half-written binary must not look like the whole.
fn install(binary: &Path, place: &Path) -> Result {
    let folder = place.parent().expect("the place is a file in a folder");
    fs_err::create_dir_all(folder)?;
    let partial = place.with_extension("partial");
    fs_err::copy(binary, &partial)?;
    fs_err::rename(partial, place)?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people, to one digit")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
