//! What kustomizations name elsewhere, by kustomize's own rules for addresses.

use airlift_spec::password::has_password;

/// Where something lies that a kustomization names on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file of a web server.
    File(String),
    Repository(Repository),
}

/// A folder in a Git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As Git is told it.
    pub url: String,
    /// Relative to the top of the repository; empty for that itself.
    pub folder: String,
    /// A branch, a tag or a commit; where none is named, what the repository's `HEAD` leads to.
    pub revision: Option<String>,
}

/// Schemes that Git is asked by.
const SCHEMES: [&str; 4] = ["https://", "http://", "ssh://", "file://"];

/// Whether a name that is no file here is one on the network: an address, or a repository by its host.
pub(super) fn is_remote(name: &str) -> bool {
    let host = name.split(['/', ':']).next().unwrap_or_default();
    let has_scheme = name.contains("://") || name.starts_with("git@") || name.starts_with("git::");
    let is_host = host.contains('.') && !host.starts_with('.') && name.contains('/');
    has_scheme || is_host || name.contains("?ref=") || name.contains(".git//")
}

/// Whether kustomize takes a name for the address of a file, which it asks for before it looks for a file here.
pub(super) fn is_file_address(name: &str) -> bool {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    // Go reads no address in what has a line's end.
    scheme.is_some_and(|scheme| matches!(&*scheme, "http" | "https")) && !name.contains('\n')
}

impl Address {
    /// What an address leads to.
    ///
    /// kustomize asks the server whether it is a file. Nobody is asked here, so that an address always means the same: it is
    /// a file unless something marks it as a repository.
    pub fn parse(address: &str) -> Result<Self, &'static str> {
        let bare = address.strip_prefix("git::").unwrap_or(address);
        let is_web = bare.starts_with("https://") || bare.starts_with("http://");
        if has_password(bare) {
            return Err("has a name or a password in it, which a lock must not hold");
        }
        // What follows would move up into its place, a password with it.
        let is_hostless = |(scheme, rest): (&str, &str)| {
            scheme != "file" && (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        };
        if bare.split_once("://").is_some_and(is_hostless) {
            return Err("does not name a host");
        }
        if is_web && bare == address && !marks_a_repository(address) {
            return Ok(Address::File(address.to_owned()));
        }
        repository(bare).map(Address::Repository)
    }

    /// Whether it is a repository on this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Repository(repository) if repository.url.starts_with("file://"))
    }
}

/// The name, with the password, that stands before an address's host.
fn user(address: &str) -> Option<&str> {
    let path = address.split_once("://").map_or(address, |(_, path)| path);
    let authority = path.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user)
}

/// An address as it may be said: nobody's password stands in it.
pub(super) fn without_user(address: &str) -> String {
    match user(address) {
        Some(user) => address.replacen(&format!("{user}@"), "", 1),
        None => address.to_owned(),
    }
}

fn marks_a_repository(address: &str) -> bool {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let path = path.split_once("://").map_or(path, |(_, path)| path);
    let is_named = query.split('&').any(|it| it.starts_with("ref=") || it.starts_with("version="));
    let is_file = [".yaml", ".yml", ".json"].iter().any(|end| path.ends_with(end));
    let folders = format!("{path}/");
    let is_marked =
        path.contains("//") || [".git/", "/_git/"].iter().any(|it| folders.contains(it));
    let is_on_github = path.starts_with("github.com/") || path.starts_with("www.github.com/");
    is_named || is_marked || (is_on_github && !is_file)
}

fn repository(address: &str) -> Result<Repository, &'static str> {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let (host, path) = host(path).ok_or("is no address of a repository that kustomize knows")?;
    let depth = if host == "file://" { usize::MAX } else { 2 };
    let (repository, folder) = split(path, depth).ok_or("does not name a repository")?;
    let folder = folder.trim_matches('/');
    if repository.trim_matches('/').is_empty() {
        return Err("does not name a repository");
    }
    if folder.split('/').any(|part| part == "..") {
        return Err("leads out of its repository");
    }
    let value = |name: &str| {
        let mut values = query.split('&').filter_map(|part| part.split_once('='));
        values.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
    };
    let revision = value("ref").or_else(|| value("version")).map(str::to_owned);
    let is_odd =
        |text: &String| text.starts_with(['-', '+', '^']) || text.contains([':', '*', ' ']);
    if revision.as_ref().is_some_and(is_odd) {
        return Err("names no branch, tag or commit");
    }
    Ok(Repository { url: format!("{host}{repository}"), folder: folder.to_owned(), revision })
}

/// The host as Git is told it, and what stands behind it.
fn host(text: &str) -> Option<(String, &str)> {
    // What people write for GitHub, with a scheme or without.
    let bare = text.strip_prefix("https://").unwrap_or(text);
    let bare = bare.strip_prefix("www.").unwrap_or(bare);
    for short in ["github.com/", "gh:"] {
        if let Some(path) = bare.strip_prefix(short) {
            return Some(("https://github.com/".to_owned(), path));
        }
    }
    if let Some(path) = text.strip_prefix("file://") {
        return Some(("file://".to_owned(), path));
    }
    if let Some(scheme) = SCHEMES.into_iter().find(|scheme| text.starts_with(scheme)) {
        let end = scheme.len() + text[scheme.len()..].find('/')? + 1;
        return Some((text[..end].to_owned(), &text[end..]));
    }
    // `git@host:path`, as SSH has it. With a slash, Git would take it for a path.
    let user = text.find('@')?;
    let end = user + text[user..].find([':', '/'])?;
    let is_user = text[..user].chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let is_name = is_user && !text.starts_with('-') && user > 0;
    is_name.then(|| (format!("{}:", &text[..end]), &text[end + 1..]))
}

/// The repository and the folder in it: at a mark, else behind so many parts of the path.
fn split(path: &str, depth: usize) -> Option<(&str, &str)> {
    if let Some(at) = path.find("_git/") {
        let end = at + "_git/".len();
        let end = path[end..].find('/').map_or(path.len(), |next| end + next);
        return Some(path.split_at(end));
    }
    if let Some((repository, folder)) = path.split_once("//") {
        return Some((repository, folder));
    }
    if let Some(at) = path.find(".git") {
        return Some(path.split_at(at + ".git".len()));
    }
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let end =
        if depth == usize::MAX { path.len() } else { slashes.nth(depth - 1).unwrap_or(path.len()) };
    let is_deep = depth == usize::MAX || path[..end].matches('/').count() + 1 == depth;
    is_deep.then(|| path.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files() {
        for name in [
            "https://h/x.yaml",
            "github.com/org/repo/path?ref=v1",
            "git@github.com:org/repo",
            "https://github.com/org/repo//config/default?ref=v0.7.0",
            "git::https://h/x",
            "org/repo?ref=main",
        ] {
            assert!(is_remote(name), "{name}");
        }
        for name in ["base", "../base", "./x.yaml", "patch.yaml", "crd/bases/a.b_c.yaml"] {
            assert!(!is_remote(name), "{name}");
        }
    }

    #[test]
    fn files_are_told_from_repositories() {
        for address in [
            "https://h/x.yaml",
            "https://h/install?k8s=1.31",
            "https://raw.githubusercontent.com/o/r/main/x.yaml",
            "https://github.com/o/r/releases/download/v1/x.yaml",
            "http://127.0.0.1:1/x",
        ] {
            assert_eq!(Address::parse(address), Ok(Address::File(address.to_owned())), "{address}");
        }
    }

    #[test]
    fn repositories_are_split_as_kustomize_splits_them() {
        for (address, url, folder, revision) in [
            ("github.com/o/r", "https://github.com/o/r", "", ""),
            ("github.com/o/r?ref=v1", "https://github.com/o/r", "", "v1"),
            ("github.com/o/r/a/b/?ref=v1", "https://github.com/o/r", "a/b", "v1"),
            (
                "https://github.com/o/r//a/b?timeout=9s&ref=v1",
                "https://github.com/o/r",
                "a/b",
                "v1",
            ),
            ("https://www.github.com/o/r/a", "https://github.com/o/r", "a", ""),
            ("https://github.com/o/r.git/a?version=v2", "https://github.com/o/r.git", "a", "v2"),
            ("https://github.com/o/r//x.yaml?ref=v1", "https://github.com/o/r", "x.yaml", "v1"),
            ("gh:o/r/a", "https://github.com/o/r", "a", ""),
            ("git@github.com:o/r.git//a?ref=b", "git@github.com:o/r.git", "a", "b"),
            ("git@h.test:o/r/a", "git@h.test:o/r", "a", ""),
            ("git::git@h.test:o/r?ref=v1", "git@h.test:o/r", "", "v1"),
            ("git@h.test/o/r/a", "git@h.test:o/r", "a", ""),
            ("ssh://git@h.test:22/o/r.git//a", "ssh://git@h.test:22/o/r.git", "a", ""),
            ("git::https://h.test/o/r/a", "https://h.test/o/r", "a", ""),
            ("https://h.test/g/s/r.git//a?ref=1&version=2", "https://h.test/g/s/r.git", "a", "1"),
            ("https://dev.azure.com/o/p/_git/r/a/b", "https://dev.azure.com/o/p/_git/r", "a/b", ""),
            ("file:///srv/r.git//a?ref=main", "file:///srv/r.git", "a", "main"),
            ("file:///srv/r?ref=main", "file:///srv/r", "", "main"),
        ] {
            let Ok(Address::Repository(found)) = Address::parse(address) else {
                panic!("{address}")
            };
            let (url, folder) = (url.to_owned(), folder.to_owned());
            let revision = Some(revision.to_owned()).filter(|it| !it.is_empty());
            assert_eq!(found, Repository { url, folder, revision }, "{address}");
        }
    }

    #[test]
    fn what_is_no_address_or_a_dangerous_one_is_refused() {
        for (address, why) in [
            ("https://user:secret@h.test/o/r.git", "password"),
            ("https://token@h.test/x.yaml", "password"),
            ("https://user:sec/ret@h.test/x.yaml", "password"),
            ("git::https://user:secret@h.test/o/r?ref=v1", "password"),
            ("git::git::https://user:secret@h.test/o/r?ref=v1", "password"),
            ("ssh://user:secret@h.test/o/r", "password"),
            ("ssh://user%3asecret@h.test/o/r", "password"),
            ("user:secret@h.test:o/r?ref=v1", "password"),
            ("http:////h.test/o/r?ref=v1", "does not name a host"),
            ("https://?h.test/o/r", "does not name a host"),
            ("o/r?ref=main", "no address"),
            ("https://h.test/o?ref=v1", "does not name"),
            ("https://h.test/o/r//a/../../..?ref=v1", "leads out"),
            ("https://h.test/o/r?ref=--upload-pack=x", "names no branch"),
            ("https://h.test/o/r?ref=a:refs/heads/b", "names no branch"),
            ("--upload-pack=x@y:z/a?ref=1", "no address"),
        ] {
            assert!(Address::parse(address).unwrap_err().contains(why), "{address}");
            assert!(!without_user(address).contains("secret"), "{address}");
        }
    }

    #[test]
    fn an_address_is_said_without_who_asks() {
        for (address, said) in [
            ("git::https://user:secret@h.test/o/r?ref=v1", "git::https://h.test/o/r?ref=v1"),
            ("HTTPS://user:se@cret@h.test/o/r", "HTTPS://h.test/o/r"),
            ("git::user:secret@h.test:o/r", "h.test:o/r"),
            ("https://h.test/o/r@v1", "https://h.test/o/r@v1"),
            ("h.test/o/r?ref=a@b", "h.test/o/r?ref=a@b"),
        ] {
            assert_eq!(without_user(address), said);
        }
    }
}
