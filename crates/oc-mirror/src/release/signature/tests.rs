use super::*;

/// The messages that fuzzing begins with, by the two kinds of keys and the two versions of signatures.
const RSA: &[u8] = include_bytes!("../../../../../fuzz/seeds/release_signature/rsa");
const RSA_VERSION_3: &[u8] =
    include_bytes!("../../../../../fuzz/seeds/release_signature/rsa-version-3");
const ED25519: &[u8] =
    include_bytes!("../../../../../fuzz/seeds/release_signature/ed25519-uncompressed");
const KEYS: &str = include_str!("../../../../../fuzz/seeds/release_signature/keys");

fn release() -> Digest {
    format!("sha256:{}", "0".repeat(64)).parse().unwrap()
}

fn said(signature: &[u8]) -> String {
    Keyring::parse(KEYS).unwrap().check(signature, release()).unwrap_err().to_string()
}

#[test]
fn the_key_that_red_hat_signs_with_is_the_one_they_publish() {
    let keys = Keyring::red_hat();
    let fingerprints: Vec<&str> = keys.fingerprints().collect();
    assert_eq!(fingerprints, ["567E347AD0044ADE55BA8A5F199E2F91FD431D51"]);
}

#[test]
fn a_signature_of_a_trusted_key_is_good_in_any_version() {
    let keys = Keyring::parse(KEYS).unwrap();
    for signature in [RSA, RSA_VERSION_3, ED25519] {
        let signed = keys.check(signature, release()).unwrap();
        assert_eq!(signed.name.unwrap().reference(), "quay.io/o/r:1");
    }
}

#[test]
fn a_signature_for_another_release_or_by_another_key_is_none() {
    let keys = Keyring::parse(KEYS).unwrap();
    let other = Digest::of(b"other");
    let err = keys.check(RSA, other).unwrap_err();
    assert!(matches!(&err, SignatureError::Other { release, .. } if *release == other), "{err}");
    let err = Keyring::red_hat().check(RSA, release()).unwrap_err();
    let issuers = "8F98829A386994E4".to_owned();
    assert!(matches!(&err, SignatureError::Untrusted { issuers: it } if *it == issuers), "{err}");
}

/// Whichever byte is another one, nothing else is taken for signed.
#[test]
fn a_byte_that_was_changed_makes_no_other_text_good() {
    let keys = Keyring::parse(KEYS).unwrap();
    for signature in [RSA, RSA_VERSION_3, ED25519] {
        for at in 0..signature.len() {
            let mut changed = signature.to_vec();
            changed[at] ^= 0x10;
            if let Ok(signed) = keys.check(&changed, release()) {
                assert_eq!(signed.name.unwrap().reference(), "quay.io/o/r:1", "byte {at}");
            }
        }
        for length in 0..signature.len() {
            assert!(keys.check(&signature[..length], release()).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn what_is_not_signed_is_told_from_what_is_not_openpgp() {
    assert!(said(b"").contains("has no text"));
    assert!(said(b"<html>").contains("is no OpenPGP in binary form"));
    // A literal text, and nothing that signs it.
    assert!(said(&[0xcb, 0x08, b'b', 0, 0, 0, 0, 0, b'{', b'}']).contains("it names nobody"));
    let bomb = [0xa3, 0x02].into_iter().chain(zlib(&vec![0; 4 << 20])).collect::<Vec<_>>();
    assert!(said(&bomb).contains("unpacks to more than"), "{}", said(&bomb));
    // Each of them is within the bound, and all together are not; the same on the second level.
    let marker = [vec![0xca, 0xff, 0, 0x08, 0, 0], vec![0; 0x8_0000]].concat();
    let packed = [vec![0xa3, 0x02], zlib(&marker)].concat();
    let old = |packed: &[u8]| {
        let length = u32::try_from(packed.len() - 1).unwrap().to_be_bytes();
        [&[0xa2], &length[..], &packed[1..]].concat()
    };
    let many = old(&packed).repeat(3);
    assert!(said(&many).contains("unpacks to more than"), "{}", said(&many));
    let within = [vec![0xa3, 0x02], zlib(&many)].concat();
    assert!(said(&within).contains("unpacks to more than"), "{}", said(&within));
    assert!(said(&[0xa3, 0x00, 0xa3, 0x00, 0xa3, 0x00, 0xa3, 0x00]).contains("more than once"));
    assert!(said(&[0xa3, 0x03, 0x00]).contains("algorithm 3"));
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_without_keys_is_refused_with_the_reason() {
    let said = |text: &str| Keyring::parse(text).unwrap_err().to_string();
    assert!(said("no key").contains("has no armored public key"));
    let begun = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n";
    assert!(said(begun).contains("without an end"));
    let broken = format!("{begun}!\n-----END PGP PUBLIC KEY BLOCK-----");
    assert!(said(&broken).contains("broken key block"));
}
