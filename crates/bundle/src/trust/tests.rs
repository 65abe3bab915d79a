use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::new([seed; 8], [seed; 32])
}

fn roots(keys: &[&SigningKey]) -> TrustRoots {
    let text = |key: &&SigningKey| (key.key_id(), key.public_text());
    TrustRoots::parse(&keys.iter().map(text).collect::<Vec<_>>()).unwrap()
}

/// A file with the given signatures beside it.
struct Signed {
    dir: tempfile::TempDir,
}

impl Signed {
    fn new(signatures: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in signatures {
            fs_err::write(dir.path().join(name), text).unwrap();
        }
        Self { dir }
    }

    fn check(&self, roots: &TrustRoots) -> Result<(), BundleError> {
        roots.check(&self.dir.path().join("file"), b"bytes")
    }
}

fn signature(key: &SigningKey, bytes: &[u8]) -> String {
    key.sign(bytes, &Digest::of(b"root"))
}

#[test]
fn one_good_signature_by_a_trusted_key_is_enough_whatever_its_file_is_called() {
    let (ours, stranger) = (key(1), key(2));
    for name in ["file.minisig", "file.0101010101010101.minisig", "file.copy.minisig"] {
        let signed = Signed::new(&[(name, signature(&ours, b"bytes"))]);
        signed.check(&roots(&[&ours])).unwrap();
        signed.check(&roots(&[&stranger, &ours])).unwrap();
        let untrusted = signed.check(&roots(&[&stranger]));
        assert!(matches!(untrusted, Err(BundleError::Untrusted { .. })), "a revoked key");
    }
}

#[test]
fn strangers_and_rubbish_are_ignored() {
    let (ours, stranger) = (key(1), key(2));
    let signed = Signed::new(&[
        ("file.a.minisig", "rubbish".to_owned()),
        ("file.b.minisig", signature(&stranger, b"other bytes")),
        ("file.minisig", signature(&ours, b"bytes")),
    ]);
    signed.check(&roots(&[&ours])).unwrap();
}

#[test]
fn a_bad_signature_by_a_trusted_key_refuses_the_file_whoever_else_vouches_for_it() {
    let (ours, other) = (key(1), key(2));
    let signed = Signed::new(&[
        ("file.minisig", signature(&ours, b"bytes")),
        ("file.b.minisig", signature(&other, b"other bytes")),
    ]);
    let refused = signed.check(&roots(&[&ours, &other]));
    assert!(matches!(refused, Err(BundleError::BadSignature { .. })), "{refused:?}");
    signed.check(&roots(&[&ours])).unwrap();
}

#[test]
fn no_signature_is_no_trust_unless_that_was_asked_for() {
    let signed = Signed::new(&[("file.pub", key(1).public_text())]);
    assert!(matches!(signed.check(&roots(&[&key(1)])), Err(BundleError::Untrusted { .. })));
    assert!(matches!(signed.check(&TrustRoots::default()), Err(BundleError::Untrusted { .. })));
    signed.check(&TrustRoots::trust_without_signature()).unwrap();
}

#[test]
fn signing_twice_gives_the_same_text_with_the_roots_digest_in_it() {
    let text = signature(&key(1), b"bytes");
    assert_eq!(text, signature(&key(1), b"bytes"));
    assert!(text.contains(&format!("trusted comment: {}\n", Digest::of(b"root"))));
    let forged = text.replace(&Digest::of(b"root").hex(), &Digest::of(b"else").hex());
    let signed = Signed::new(&[("file.minisig", forged)]);
    assert!(matches!(signed.check(&roots(&[&key(1)])), Err(BundleError::BadSignature { .. })));
}

#[test]
fn a_signature_too_long_is_refused_before_it_is_read() {
    let signed = Signed::new(&[("file.minisig", "x".repeat(5000))]);
    assert!(signed.check(&roots(&[&key(1)])).is_err());
}

#[test]
fn keys_read_back_and_damaged_ones_are_told() {
    let made = key(3);
    let read = SigningKey::parse("k", &made.secret_text()).unwrap();
    assert_eq!(read.public_text(), made.public_text());
    assert_eq!(made.key_id(), "0303030303030303");
    assert!(!format!("{made:?}").contains("3, 3, 3, 3, 3, 3, 3, 3, 3"), "{made:?}");
    let line = made.secret_text().lines().nth(1).unwrap().to_owned();
    let mut bytes = BASE64.decode(&line).unwrap();
    bytes[70] ^= 1;
    let damaged = BASE64.encode(&bytes);
    bytes[2..4].copy_from_slice(b"Sc");
    let locked = BASE64.encode(&bytes);
    for (text, reason) in [
        ("", "it is empty"),
        ("untrusted comment: x\n", "it is empty"),
        ("!!", "it is not base64"),
        (made.public_text().as_str(), "it is no secret key"),
        (damaged.as_str(), "it is damaged"),
        (locked.as_str(), "it has a password; make one without by `minisign -G -W`"),
    ] {
        match SigningKey::parse("k", text) {
            Err(BundleError::Key { reason: found, .. }) => assert_eq!(found, reason, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(TrustRoots::parse(&[("k".to_owned(), made.secret_text())]).is_err());
}
