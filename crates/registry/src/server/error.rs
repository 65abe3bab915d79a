//! The one place where errors become what OCI clients read.

use airlift_spec::error::chain;
use airlift_spec::oci::ManifestError;
use airlift_store::StoreError;
use axum::body::Body;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, header};
use serde_json::json;

use super::backend::BackendError;

/// The error codes of the distribution specification that this server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationNumberInvalid,
    RangeInvalid,
    SizeInvalid,
    Unauthorized,
    Unsupported,
    Unknown,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// An answer that is not what the client hoped for.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Code,
    message: String,
    headers: HeaderMap,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: HeaderMap::new() }
    }

    pub(super) fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::Unsupported,
            "this registry does not take that request",
        )
        .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// What went wrong inside. The log has the whole story, the client only that it is not its fault.
    pub(super) fn internal(err: &dyn std::error::Error) -> Self {
        tracing::error!("{}", chain(err));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "the registry failed to answer; its log says why",
        )
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A backend that cannot give what `code` says was asked for.
    pub(super) fn unanswered(code: Code, err: &BackendError) -> Self {
        match err {
            // The one thing that the operator can mend from where the client sits: name what is absent.
            BackendError::Absent { .. }
            | BackendError::LeftOut { .. }
            | BackendError::Unlisted { .. } => Self::not_found(code, err.to_string()),
            BackendError::Damaged { .. } => {
                tracing::error!("{err}");
                let message = "the bytes are damaged; the registry's log says where";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
            }
            BackendError::Read(_) => Self::internal(err),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let entry = json!({"code": self.code.name(), "message": self.message});
        let text = json!({"errors": [entry]}).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(err: StoreError) -> Self {
        if let StoreError::Mismatch { expected, actual } = &err {
            let message = format!("the bytes have the digest {actual}, not {expected}");
            return Self::bad_request(Code::DigestInvalid, message);
        }
        match &err {
            StoreError::RootName { .. } => {
                let message = "this name is too long for the registry's disk";
                return Self::bad_request(Code::NameInvalid, message);
            }
            StoreError::Busy { .. } => {
                let message = "another process goes on with this upload";
                return Self::new(StatusCode::CONFLICT, Code::BlobUploadInvalid, message);
            }
            _ => {}
        }
        if is_full(&err) {
            tracing::error!("{}", chain(&err));
            let message = "the registry's disk is full";
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unknown, message);
        }
        Self::internal(&err)
    }
}

impl From<ManifestError> for Refusal {
    fn from(err: ManifestError) -> Self {
        let status = match err {
            ManifestError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, Code::ManifestInvalid, chain(&err))
    }
}

/// Whether a full disk or quota is at the bottom of it.
fn is_full(err: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(err);
    while let Some(err) = source {
        if let Some(err) = err.downcast_ref::<std::io::Error>() {
            return matches!(
                err.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            );
        }
        source = err.source();
    }
    false
}
