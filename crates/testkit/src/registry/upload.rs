//! Blobs on their way in.

use airlift_spec::Digest;
use http::{Method, StatusCode};

use super::answer::{Answer, Call};
use super::{Fault, Shared, State};

#[derive(Debug)]
pub(super) struct Upload {
    repository: String,
    bytes: Vec<u8>,
    /// A chunk came that only the last one may be.
    had_short_chunk: bool,
}

impl Upload {
    fn last_byte(&self) -> usize {
        self.bytes.len().saturating_sub(1)
    }
}

/// POST: a mount, a blob in one piece, or a new upload.
pub(super) fn begin(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    body: &[u8],
    fault: Option<&Fault>,
) -> Answer {
    let repository = call.target.repository().unwrap_or_default().to_owned();
    if let Some(mount) = call.query("mount") {
        let mounted = match fault {
            Some(Fault::RefuseMount) => None,
            _ => mount_blob(state, &repository, mount, call.query("from")),
        };
        return mounted.unwrap_or_else(|| new_upload(shared, state, repository));
    }
    match call.query("digest") {
        Some(_) if fault == Some(&Fault::RefuseMonolithic) => too_large(),
        Some(digest) if fault != Some(&Fault::RefuseSinglePost) => {
            finish(state, &repository, digest, body.to_vec())
        }
        _ => new_upload(shared, state, repository),
    }
}

fn too_large() -> Answer {
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID")
}

fn mount_blob(state: &mut State, to: &str, digest: &str, from: Option<&str>) -> Option<Answer> {
    let digest: Digest = digest.parse().ok()?;
    let bytes = match from {
        Some(from) => state.repositories.get(from)?.blobs.get(&digest)?.clone(),
        None => state.repositories.values().find_map(|it| it.blobs.get(&digest))?.clone(),
    };
    state.repositories.entry(to.to_owned()).or_default().blobs.insert(digest, bytes);
    Some(created(to, &digest))
}

fn new_upload(shared: &Shared, state: &mut State, repository: String) -> Answer {
    let id = state.uploads_begun;
    state.uploads_begun += 1;
    let upload = Upload { repository, bytes: Vec::new(), had_short_chunk: false };
    let answer = progress(StatusCode::ACCEPTED, id, &upload);
    state.uploads.insert(id, upload);
    match shared.options.chunk_min_bytes {
        Some(bytes) => answer.with("oci-chunk-min-length", bytes),
        None => answer,
    }
}

/// Where the upload goes on. The query is part of it: clients have to add to it, not replace it.
fn progress(status: StatusCode, id: u64, upload: &Upload) -> Answer {
    let location = format!("/v2/{}/blobs/uploads/{id}?_state=s{id}", upload.repository);
    Answer::new(status)
        .with("location", location)
        .with("docker-upload-uuid", id)
        .with("range", format!("0-{}", upload.last_byte()))
}

/// PATCH, PUT, GET and DELETE on an upload.
pub(super) fn proceed(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    body: &[u8],
    fault: Option<&Fault>,
) -> Answer {
    let unknown = || Answer::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
    let Some(id) = call.target.upload().and_then(|id| id.parse::<u64>().ok()) else {
        return unknown();
    };
    if fault == Some(&Fault::ForgetUpload) {
        state.uploads.remove(&id);
    }
    let Some(upload) = state.uploads.get_mut(&id) else { return unknown() };
    if call.query("_state") != Some(format!("s{id}").as_str()) {
        return Answer::error(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID");
    }
    let out_of_order = call.header("content-range").is_some_and(|range| {
        range.split_once('-').and_then(|(first, _)| first.parse().ok()) != Some(upload.bytes.len())
    });
    let too_short = shared.options.chunk_min_bytes.is_some_and(|min| (body.len() as u64) < min);
    match call.method {
        Method::GET => progress(StatusCode::NO_CONTENT, id, upload),
        Method::DELETE => {
            state.uploads.remove(&id);
            Answer::new(StatusCode::NO_CONTENT)
        }
        Method::PATCH | Method::PUT if out_of_order => {
            progress(StatusCode::RANGE_NOT_SATISFIABLE, id, upload)
        }
        Method::PATCH if fault == Some(&Fault::RefuseChunked) => {
            Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")
        }
        Method::PATCH if upload.had_short_chunk => {
            Answer::error(StatusCode::BAD_REQUEST, "SIZE_INVALID")
        }
        Method::PATCH => {
            upload.bytes.extend_from_slice(body);
            upload.had_short_chunk = too_short;
            progress(StatusCode::ACCEPTED, id, upload)
        }
        Method::PUT if fault == Some(&Fault::RefuseMonolithic) && upload.bytes.is_empty() => {
            too_large()
        }
        Method::PUT => close(state, id, call.query("digest"), body),
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
    }
}

fn close(state: &mut State, id: u64, digest: Option<&str>, body: &[u8]) -> Answer {
    let upload = state.uploads.remove(&id).expect("the caller found it");
    let mut bytes = upload.bytes;
    bytes.extend_from_slice(body);
    finish(state, &upload.repository, digest.unwrap_or_default(), bytes)
}

fn finish(state: &mut State, repository: &str, digest: &str, bytes: Vec<u8>) -> Answer {
    let digest = match digest.parse::<Digest>() {
        Ok(digest) if digest.matches(&bytes) => digest,
        _ => return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
    };
    let repository_blobs = &mut state.repositories.entry(repository.to_owned()).or_default().blobs;
    repository_blobs.insert(digest, bytes.into());
    created(repository, &digest)
}

fn created(repository: &str, digest: &Digest) -> Answer {
    Answer::new(StatusCode::CREATED)
        .with("location", format!("/v2/{repository}/blobs/{digest}"))
        .with("docker-content-digest", digest)
}
