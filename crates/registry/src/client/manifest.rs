//! Manifests: small, whole in memory, and never believed.

use std::sync::Arc;

use airlift_spec::oci::{MAX_MANIFEST_BYTES, ManifestError, media_type};
use airlift_spec::{Ctx, Descriptor, Digest};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::auth::Scope;
use super::counters::Kind;
use super::error::ClientError;
use super::exchange::{Answer, Ask, Body, To};
use super::{Endpoint, FetchedManifest, Shared};

impl Shared {
    pub(crate) async fn manifest_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<FetchedManifest>, ClientError> {
        let ask = ask(&endpoint, Method::GET, wanted);
        let mut tries = self.tries(&endpoint, &ask.what, ctx);
        let mut came_wrong = false;
        loop {
            match self.try_manifest(&endpoint, &ask, wanted).await {
                Ok(found) => return Ok(found),
                // As with blobs: the line may have done it, cut what has no length or turned a bit.
                Err(err @ (ClientError::WrongDigest { .. } | ClientError::LyingDigest { .. }))
                    if !came_wrong =>
                {
                    came_wrong = true;
                    ctx.events.note(format!("{err}: asking for it again"));
                }
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    async fn try_manifest(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        wanted: &str,
    ) -> Result<Option<FetchedManifest>, ClientError> {
        let answer = self.send(endpoint, ask).await?;
        let Some(answer) = found(answer, endpoint).await? else { return Ok(None) };
        let registry = answer.host.name.clone();
        let too_large = |bytes| ClientError::Manifest {
            registry: registry.clone(),
            wanted: wanted.to_owned(),
            source: ManifestError::TooLarge(bytes),
        };
        let promised = answer.content_length();
        if let Some(bytes) = promised.filter(|bytes| *bytes > MAX_MANIFEST_BYTES) {
            return Err(too_large(bytes));
        }
        let claimed = answer.digest();
        let declared = content_type(&answer);
        let limit = usize::try_from(MAX_MANIFEST_BYTES).expect("a few MiB");
        let bytes = answer.small_body(limit).await?;
        if bytes.len() > limit {
            return Err(too_large(bytes.len() as u64));
        }
        let digest = match wanted.parse::<Digest>() {
            Ok(expected) if expected.matches(&bytes) => expected,
            Ok(expected) => {
                let actual = Digest::with(expected.algorithm(), &bytes);
                return Err(ClientError::WrongDigest { registry, expected, actual });
            }
            Err(_) => by_tag(&registry, wanted, claimed, &bytes)?,
        };
        let media_type = match declared {
            Some(declared) => declared,
            None => type_inside(&registry, wanted, &bytes)?,
        };
        Ok(Some(FetchedManifest { bytes: bytes.into(), media_type, digest }))
    }

    pub(crate) async fn describe_at(
        self: &Arc<Self>,
        endpoint: Endpoint,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<Option<Descriptor>, ClientError> {
        let ask = ask(&endpoint, Method::HEAD, wanted);
        let mut tries = self.tries(&endpoint, &ask.what, ctx);
        loop {
            match self.try_describe(&endpoint, &ask, wanted).await {
                Ok(Described::Is(descriptor)) => return Ok(Some(*descriptor)),
                Ok(Described::Absent) => return Ok(None),
                // Some registries say too little in a HEAD: the bytes themselves tell.
                Ok(Described::Unclear) => {
                    let manifest = self.manifest_at(endpoint, wanted, ctx).await?;
                    return Ok(manifest.map(|manifest| {
                        let size = manifest.bytes.len() as u64;
                        Descriptor::new(&manifest.media_type, manifest.digest, size)
                    }));
                }
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    async fn try_describe(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        wanted: &str,
    ) -> Result<Described, ClientError> {
        let answer = self.send(endpoint, ask).await?;
        let Some(answer) = found(answer, endpoint).await? else { return Ok(Described::Absent) };
        let digest = wanted.parse().ok().or_else(|| answer.digest());
        let (Some(digest), Some(size), Some(media_type)) =
            (digest, answer.content_length(), content_type(&answer))
        else {
            return Ok(Described::Unclear);
        };
        Ok(Described::Is(Box::new(Descriptor::new(&media_type, digest, size))))
    }

    pub(crate) async fn push_manifest(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        wanted: &str,
        media_type: &str,
        bytes: &[u8],
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let mut ask = ask(endpoint, Method::PUT, wanted);
        let media_type = HeaderValue::from_str(media_type).map_err(|_| ClientError::Config {
            what: "the manifest's media type",
            reason: format!("`{}` is none", super::error::clean(media_type)),
        })?;
        ask.headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
        ask.body = Body::Bytes(Bytes::copy_from_slice(bytes));
        ask.scope = Scope::push(&endpoint.repository);
        let mut tries = self.tries(endpoint, &ask.what, ctx);
        loop {
            match self.try_push_manifest(endpoint, &ask, wanted, bytes).await {
                Ok(knows_subject) => return Ok(knows_subject),
                Err(err) => tries.pause(err).await?,
            }
        }
    }

    async fn try_push_manifest(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        wanted: &str,
        bytes: &[u8],
    ) -> Result<bool, ClientError> {
        let answer = self.send(endpoint, ask).await?;
        if answer.status().is_success() {
            return Ok(answer.header("oci-subject").is_some());
        }
        let err = answer.refusal(&endpoint.repository).await;
        if err.code() == Some("DIGEST_INVALID") {
            let blob = wanted.parse().unwrap_or_else(|_| Digest::of(bytes));
            return Err(ClientError::SentWrong { registry: endpoint.host.name.clone(), blob });
        }
        Err(err)
    }

    pub(crate) async fn delete_manifest(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        wanted: &str,
        ctx: &Ctx,
    ) -> Result<bool, ClientError> {
        let mut ask = ask(endpoint, Method::DELETE, wanted);
        ask.scope = Scope::delete(&endpoint.repository);
        let mut tries = self.tries(endpoint, &ask.what, ctx);
        loop {
            let deleted = async {
                let answer = self.send(endpoint, &ask).await?;
                match answer.status() {
                    StatusCode::NOT_FOUND => Ok(false),
                    status if status.is_success() => Ok(true),
                    _ => Err(answer.refusal(&endpoint.repository).await),
                }
            };
            match deleted.await {
                Ok(deleted) => return Ok(deleted),
                Err(err) => tries.pause(err).await?,
            }
        }
    }
}

enum Described {
    Is(Box<Descriptor>),
    Absent,
    Unclear,
}

fn ask(endpoint: &Endpoint, method: Method, wanted: &str) -> Ask<'static> {
    let accept = HeaderValue::from_str(&media_type::ACCEPTED.join(", "));
    let accept = accept.expect("media types are header values");
    Ask {
        kind: Kind::Manifest,
        method,
        to: To::Api(format!("{}/manifests/{wanted}", endpoint.repository)),
        headers: HeaderMap::from_iter([(ACCEPT, accept)]),
        body: Body::Empty,
        scope: Scope::pull(&endpoint.repository),
        what: format!("the manifest `{wanted}`"),
    }
}

/// None where the registry has no such thing; whatever else is not what was asked for is an error.
pub(crate) async fn found(
    answer: Answer,
    endpoint: &Endpoint,
) -> Result<Option<Answer>, ClientError> {
    match answer.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Some(answer)),
        _ => Err(answer.refusal(&endpoint.repository).await),
    }
}

/// What a tag leads to: hashed by us, and compared with what the registry says.
fn by_tag(
    registry: &str,
    wanted: &str,
    claimed: Option<Digest>,
    bytes: &[u8],
) -> Result<Digest, ClientError> {
    match claimed {
        Some(claimed) if !claimed.matches(bytes) => Err(ClientError::LyingDigest {
            registry: registry.to_owned(),
            wanted: wanted.to_owned(),
            claimed,
            actual: Digest::with(claimed.algorithm(), bytes),
        }),
        _ => Ok(Digest::of(bytes)),
    }
}

/// The answer's manifest type; none where it names none, or one that any file could have.
fn content_type(answer: &Answer) -> Option<String> {
    let text = answer.header("content-type")?;
    let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let says_nothing = matches!(
        bare.as_str(),
        "" | "application/json" | "application/octet-stream" | "text/plain" | "text/html"
    );
    (!says_nothing).then_some(bare)
}

fn type_inside(registry: &str, wanted: &str, bytes: &[u8]) -> Result<String, ClientError> {
    match airlift_spec::Manifest::parse(bytes, None) {
        Ok(manifest) => Ok(manifest.media_type),
        Err(source) => Err(ClientError::Manifest {
            registry: registry.to_owned(),
            wanted: wanted.to_owned(),
            source,
        }),
    }
}
