//! Passwords in addresses: what is refused where people write them, and taken out of all that is said and kept.

/// Schemes whose addresses have names of users that are no secret, such as `git`.
const NAMED: [&str; 2] = ["ssh", "git+ssh"];

/// Whether an address that somebody wrote has a password in it, or a name of a user, which may be a token.
pub fn has_password(written: &str) -> bool {
    if let Some((before, rest)) = written.split_once("://") {
        return user_info(before, rest).is_some();
    }
    // `user:password@host/path` for an image; what stands behind the `@` of a digest has no slash.
    let is_local = written.starts_with("oci:") || written.starts_with("docker-archive:");
    let host = written.split_once('/').map_or("", |(host, _)| host);
    !is_local && host.rsplit_once('@').is_some_and(|(user, _)| holds_password(user))
}

/// Whether a name of a user, which by itself is no secret, has a password behind it. Git decodes what is written with `%`.
fn holds_password(user: &str) -> bool {
    user.contains([':', '%'])
}

/// `text` without the passwords of the addresses in it.
pub fn redacted(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, behind)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        rest = behind;
        let ends = |c: char| c.is_whitespace() || "`\"'<>".contains(c);
        let address = behind.split(ends).next().unwrap_or_default();
        if let Some(secret) = user_info(before, address) {
            clean.push('…');
            rest = &behind[secret.len()..];
        }
    }
    clean.push_str(rest);
    clean
}

/// What of an address stands between `://` and the `@` before its host; `before` ends in the scheme, `address` is what
/// stands behind that, whatever signs are in it.
fn user_info<'a>(before: &str, address: &'a str) -> Option<&'a str> {
    let host = address.split(['/', '?', '#']).next().unwrap_or_default();
    // A password with a slash in it looks like a port that is no number.
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    let is_port = host.contains('@') || port.bytes().all(|it| it.is_ascii_digit() || it == b']');
    let (user, _) = if is_port { host } else { address }.rsplit_once('@')?;
    let is_named = NAMED.iter().any(|scheme| before.ends_with(scheme)) && !holds_password(user);
    (!is_named).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_seen_wherever_an_address_has_it() {
        for written in [
            "http://u:secretpw@127.0.0.1:8099/crds.yaml",
            "oci://u:secretpw@h.test/charts/a",
            "git::https://u:secretpw@h.test/o/r?ref=v1",
            "ssh://u:secretpw@h.test/o/r",
            "ssh://u%3asecretpw@h.test/o/r",
            "u%3asecretpw@h.test/o/r",
            "https://secretpw@h.test/o/r",
            "http://u:secretpw/x@h.test/a",
            "http://u:p@secretpw@h.test/a",
            "u:secretpw@h.test/app:1",
        ] {
            assert!(has_password(written), "{written}");
            let said = redacted(&format!("failed to ask `{written}`: {written}"));
            assert!(!written.contains("://") || !said.contains("secretpw"), "{said}");
            assert!(said.contains("h.test/") || said.contains("@127.0.0.1:8099/"), "{said}");
        }
    }

    #[test]
    fn what_is_no_password_stays() {
        for written in [
            "quay.io/a/b:1@sha256:5b1d",
            "nginx:1@sha256:5b1d",
            "oci:./a@b/c:v1",
            "docker-archive:a:b@c/d",
            "oci://h.test:5000/a/b@sha256:5b1d",
            "https://h.test:8443/pkg@1.0/a.yaml",
            "http://[::1]:80/a@b",
            "http://[::1]/a@b",
            "ssh://git@h.test/o/r",
            "git@h.test:o/r.git//a",
            "./a:b@c/d",
        ] {
            assert!(!has_password(written), "{written}");
            assert_eq!(redacted(written), written);
        }
    }
}
