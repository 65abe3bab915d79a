//! Signatures that a real `gpg` makes, under keys of its own.

use airlift_oc_mirror::{Keyring, SignatureError};
use airlift_spec::Digest;
use airlift_testkit::openshift::Signer;

fn keyring(signer: &Signer) -> Result<Keyring, SignatureError> {
    Keyring::parse(&fs_err::read_to_string(signer.key()).unwrap())
}

#[test]
fn what_gpg_signs_is_good_whatever_the_key_and_bad_for_all_else() {
    let gpg = airlift_testkit::need!("gpg");
    let (release, other) = (Digest::of(b"release"), Digest::of(b"other"));
    for algorithm in ["rsa2048", "rsa4096", "ed25519"] {
        let signer = Signer::new(&gpg, algorithm);
        let keys = keyring(&signer).unwrap();
        let message = signer.sign(&release, "quay.io/o/release:4.20.1-x86_64");
        let good = keys.check(&message, release).unwrap();
        assert_eq!(good.name.unwrap().tag.as_deref(), Some("4.20.1-x86_64"), "{algorithm}");
        assert!(matches!(keys.check(&message, other), Err(SignatureError::Other { .. })));
        let err = Keyring::red_hat().check(&message, release).unwrap_err();
        assert!(matches!(err, SignatureError::Untrusted { .. }), "{err}");
    }
}

#[test]
fn a_text_that_is_signed_and_no_signature_of_a_container_is_refused() {
    let gpg = airlift_testkit::need!("gpg");
    let signer = Signer::new(&gpg, "ed25519");
    let keys = keyring(&signer).unwrap();
    let release = Digest::of(b"release");
    for text in ["", "hello", "{\"critical\": {}}"] {
        let err = keys.check(&signer.sign_text(text), release).unwrap_err();
        assert!(matches!(err, SignatureError::Text(_)), "{text}: {err}");
    }
    let other = serde_json::json!({"critical": {
        "type": "something else", "image": {"docker-manifest-digest": release},
        "identity": {"docker-reference": "a.io/b:1"},
    }});
    let err = keys.check(&signer.sign_text(&other.to_string()), release).unwrap_err();
    assert!(err.to_string().contains("of type \"something else\""), "{err}");
}

#[test]
fn a_key_that_is_revoked_does_not_count() {
    let gpg = airlift_testkit::need!("gpg");
    let signer = Signer::new(&gpg, "rsa2048");
    assert!(keyring(&signer).is_ok());
    signer.revoke();
    let err = keyring(&signer).unwrap_err().to_string();
    assert!(err.contains("that is not revoked"), "{err}");
}
