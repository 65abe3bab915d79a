//! Clients of the served store: they pull whole images, compare every digest, and sometimes hang up.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use airlift_spec::{Algorithm, Digest, Hasher, Manifest};

use super::dice::Dice;
use crate::Result;

/// The server is on this machine: whoever is silent for so long has hung.
const PATIENCE: Duration = Duration::from_mins(1);
/// Manifests of samples are a few KiB.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// An image as it is served.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: Digest,
}

/// Pulls the image and returns how many bytes came.
///
/// # Errors
///
/// Whatever is not an answer of 200 with the bytes that its digest promises.
pub(crate) fn pull(host: &str, image: &Wanted, dice: &mut Dice) -> Result<u64> {
    let top = read(host, image, "manifests", &image.tag, Some(image.digest))?;
    let mut bytes = top.len() as u64;
    let mut ahead = vec![top];
    while let Some(text) = ahead.pop() {
        let manifest = Manifest::parse(&text, None)?;
        for child in &manifest.manifests {
            let name = child.digest.to_string();
            ahead.push(read(host, image, "manifests", &name, Some(child.digest))?);
        }
        for blob in &manifest.blobs {
            if dice.once_in(8) {
                hang_up(host, image, &blob.digest, dice.below(blob.size.max(1)))?;
            }
            bytes += check(host, image, &blob.digest)?;
        }
    }
    Ok(bytes)
}

fn read(
    host: &str,
    image: &Wanted,
    kind: &str,
    name: &str,
    expected: Option<Digest>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ask(host, image, kind, name)?.take(MAX_MANIFEST_BYTES).read_to_end(&mut bytes)?;
    match expected.filter(|digest| !digest.matches(&bytes)) {
        None => Ok(bytes),
        Some(digest) => Err(format!("{host} served other bytes than {digest} as {name}").into()),
    }
}

fn check(host: &str, image: &Wanted, blob: &Digest) -> Result<u64> {
    let mut body = ask(host, image, "blobs", &blob.to_string())?;
    let (mut hasher, mut buffer, mut total) =
        (Hasher::new(Algorithm::Sha256), vec![0; 64 << 10], 0);
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        total += count as u64;
    }
    if hasher.finish() == *blob {
        return Ok(total);
    }
    Err(format!("{host} served other bytes than {blob}, {total} of them").into())
}

/// Takes some of a blob and goes away, as clients do.
fn hang_up(host: &str, image: &Wanted, blob: &Digest, bytes: u64) -> Result {
    let body = ask(host, image, "blobs", &blob.to_string())?;
    std::io::copy(&mut body.take(bytes), &mut std::io::sink())?;
    Ok(())
}

/// The body of an answer, which has to be 200, on a connection of its own.
fn ask(host: &str, image: &Wanted, kind: &str, name: &str) -> Result<impl Read + use<>> {
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let path = format!("/v2/{}/{kind}/{name}", image.repository);
    write!(&stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{host} answered {} to GET {path}", status.trim()).into());
    }
    let mut header = String::from("-");
    let mut length = None;
    while !header.trim().is_empty() {
        header.clear();
        answer.read_line(&mut header)?;
        let lower = header.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").map(|it| it.trim().parse()).or(length);
    }
    Ok(answer.take(length.ok_or("no Content-Length")??))
}

#[cfg(test)]
mod tests {
    use airlift_testkit::{FakeRegistry, Fault, On, samples};

    use super::*;

    fn pulled(fault: Option<Fault>) -> Result<u64> {
        let (registry, sample) = (FakeRegistry::start(), samples::image(1, &[5000]));
        registry.put("team/app", "1", &sample);
        if let Some(fault) = fault {
            registry.fail_always(On::blobs(), fault);
        }
        let image = Wanted {
            repository: "team/app".to_owned(),
            tag: "1".to_owned(),
            digest: sample.root.digest,
        };
        pull(&registry.host(), &image, &mut Dice::new(1, 1))
    }

    #[test]
    fn a_flipped_byte_a_cut_and_a_refusal_are_noticed() {
        assert!(pulled(None).unwrap() > 5000);
        for (fault, words) in [
            (Fault::FlipByte(3), "served other bytes than sha256:"),
            (Fault::CutAfter(100), "served other bytes than sha256:"),
            (Fault::Status(500, Vec::new()), "answered HTTP/1.1 500"),
        ] {
            let said = pulled(Some(fault.clone())).unwrap_err().to_string();
            assert!(said.contains(words), "{fault:?}: {said}");
        }
    }
}
