//! Fuzz targets: what must hold for any bytes whatever. See `fuzz/` and `airlift-fuzzkit`.

use airlift_spec::reference::{is_host, is_repository, is_tag};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::auth::{Credentials, Htpasswd, credentials};
use super::range::{Slice, chunk, slice};
use super::route::{Query, Route, Wanted};

/// A request: its path, and behind a newline its query. What is routed holds nothing but names, and an htpasswd file
/// or `Authorization` of the same bytes is read or refused.
pub fn request(data: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(data)
        && let Credentials::Given { user, .. } =
            credentials(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
    {
        assert!(!user.contains(':'));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(Htpasswd::parse(text));
    let (path, query) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(asked) = Query::parse(Some(query)).asked("a".to_owned()) {
        assert!(asked.ns.as_deref().is_none_or(is_host), "{asked:?}");
    }
    if let Ok(route) = Route::parse(path) {
        holds_only_names(&route);
        assert_eq!(Route::parse(&written(&route)).ok(), Some(route));
    }
}

fn holds_only_names(route: &Route) {
    let repository = match route {
        Route::Ping | Route::Repositories => return,
        Route::Manifest { repository, wanted } => {
            assert!(!matches!(wanted, Wanted::Tag(tag) if !is_tag(tag)), "{route:?}");
            repository
        }
        Route::Upload { repository, id } => {
            assert!(!id.contains('/'), "{route:?}");
            repository
        }
        Route::Tags { repository }
        | Route::Referrers { repository, .. }
        | Route::Blob { repository, .. }
        | Route::Uploads { repository } => repository,
    };
    assert!(is_repository(repository), "{route:?}");
}

/// The path that a client would ask for it.
fn written(route: &Route) -> String {
    match route {
        Route::Ping => String::new(),
        Route::Repositories => "/_catalog".to_owned(),
        Route::Tags { repository } => format!("/{repository}/tags/list"),
        Route::Manifest { repository, wanted } => {
            format!("/{repository}/manifests/{}", wanted.text())
        }
        Route::Referrers { repository, subject } => format!("/{repository}/referrers/{subject}"),
        Route::Blob { repository, digest } => format!("/{repository}/blobs/{digest}"),
        Route::Uploads { repository } => format!("/{repository}/blobs/uploads/"),
        Route::Upload { repository, id } => {
            let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
            format!("/{repository}/blobs/uploads/{id}")
        }
    }
}

/// `Range` and `Content-Range`: what is sent lies within what is there.
pub fn range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for size in [0, 1, 2048, u64::MAX] {
        if let Slice::Part(range) = slice(Some(text), size) {
            assert!(range.start < range.end && range.end <= size, "{range:?} of {size}");
            let written = format!("bytes={}-{}", range.start, range.end - 1);
            assert_eq!(slice(Some(&written), size), Slice::Part(range));
        }
    }
    if let Some(range) = chunk(text) {
        assert!(range.start < range.end);
        let written = format!("{}-{}", range.start, range.end - 1);
        assert_eq!(chunk(&written), Some(range));
    }
}

#[cfg(test)]
mod tests {
    use airlift_fuzzkit::check;

    #[test]
    fn any_request_is_about_names_alone_or_is_refused() {
        check("request", super::request);
    }

    #[test]
    fn any_range_lies_within_what_is_there() {
        check("range", super::range);
    }
}
