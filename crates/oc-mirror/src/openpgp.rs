//! `OpenPGP` (RFC 4880), as far as releases are signed with it: what a message says, and whose key has signed it.
//!
//! Messages come from anywhere, keys from whoever trusts them, so a key is taken as it is: what others certify about it
//! is not looked at, its own revocation is. Signatures of version 3 are read as well, since all releases before August
//! 2023 have them.
//!
//! | attack | answer |
//! |---|---|
//! | a length that leads past the end, or past memory | every read is of a slice and checked; what a whole message unpacks to has a bound |
//! | packets within packets within packets | nothing nests deeper than a compressed message does |
//! | two texts, one of them signed | a message has one text, and signatures are checked over that one |
//! | a signature of another type, such as a key's own, used on a text | only signatures of binary documents count |
//! | a hash that can be forged | only SHA-2 counts |
//! | a subkey that somebody added | only primary keys are taken |

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use ring::{digest, signature};

/// Most bytes that a message unpacks to.
const MAX_UNPACKED_BYTES: u64 = 1 << 20;

/// A compressed message holds a signed one, and that holds a text.
const MAX_DEPTH: usize = 2;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The kinds of packets that matter here.
mod tag {
    pub(super) const SIGNATURE: u8 = 2;
    pub(super) const ONE_PASS: u8 = 4;
    pub(super) const KEY: u8 = 6;
    pub(super) const COMPRESSED: u8 = 8;
    pub(super) const MARKER: u8 = 10;
    pub(super) const LITERAL: u8 = 11;
    pub(super) const SUBKEY: u8 = 14;
}

const OF_A_BINARY_DOCUMENT: u8 = 0x00;
const REVOCATION_OF_A_KEY: u8 = 0x20;

/// The curve of Ed25519, by its object identifier.
const ED25519: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// Why bytes are not what they should be, in words that follow the name of the file.
pub(crate) type Malformed = String;

/// A primary key that signatures are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) fingerprint: String,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ed25519([u8; 32]),
}

/// A text, and the signatures that stand beside it, checked or not.
#[derive(Debug)]
pub(crate) struct Message {
    text: Vec<u8>,
    signatures: Vec<Signature>,
}

/// A signature, as far as it decides whether a key has made it.
#[derive(Debug)]
struct Signature {
    kind: u8,
    algorithm: u8,
    hash: u8,
    /// What is hashed after the text.
    trailer: Vec<u8>,
    /// The key that says it has made it, as 16 hex digits.
    issuer: Option<String>,
    numbers: Vec<Vec<u8>>,
}

/// Reads the keys of an armored file that may be used. Those revoked, and of kinds that are not known, are left out.
pub(crate) fn keys(armored: &str) -> Result<Vec<Key>, Malformed> {
    let mut keys: Vec<Key> = Vec::new();
    for block in blocks(armored)? {
        let mut last = None;
        for (tag, body) in packets(&block)? {
            match tag {
                tag::KEY => keys.extend(std::mem::replace(&mut last, Key::parse(&body)?)),
                // What follows a subkey is about that.
                tag::SUBKEY => keys.extend(last.take()),
                tag::SIGNATURE if kind_of_signature(&body) == Some(REVOCATION_OF_A_KEY) => {
                    last = None;
                }
                _ => {}
            }
        }
        keys.extend(last);
    }
    if keys.is_empty() {
        return Err("has no primary key of RSA or Ed25519 that is not revoked".to_owned());
    }
    Ok(keys)
}

/// The bytes of each armored block.
fn blocks(armored: &str) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut blocks = Vec::new();
    for block in armored.split(BEGIN).skip(1) {
        let (block, _) = block.split_once(END).ok_or("has a key block without an end")?;
        // Headers end with an empty line; a line that begins with `=` is a checksum that proves nothing.
        let lines = block.lines().map(str::trim).skip(1).skip_while(|line| !line.is_empty());
        let text: String = lines.filter(|line| !line.starts_with('=')).collect();
        blocks.push(STANDARD.decode(text).map_err(|err| format!("has a broken key block: {err}"))?);
    }
    if blocks.is_empty() {
        return Err("has no armored public key".to_owned());
    }
    Ok(blocks)
}

impl Key {
    /// None where keys of its kind sign no releases.
    fn parse(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader(body);
        if reader.byte()? != 4 {
            return Ok(None);
        }
        reader.take(4)?;
        let material = match reader.byte()? {
            1 | 3 => Material::Rsa { modulus: reader.number()?, exponent: reader.number()? },
            22 => {
                let length = usize::from(reader.byte()?);
                let is_known = reader.take(length)? == ED25519;
                let point = reader.number()?;
                match point.strip_prefix(&[0x40]).map(<[u8; 32]>::try_from) {
                    Some(Ok(point)) if is_known => Material::Ed25519(point),
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let length = u16::try_from(body.len()).map_err(|_| "has a key that is too long")?;
        let mut hashed = vec![0x99];
        hashed.extend(length.to_be_bytes());
        hashed.extend(body);
        // The standard's name of a key; nothing is trusted for it.
        let fingerprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &hashed);
        Ok(Some(Self { fingerprint: hex(fingerprint.as_ref()), material }))
    }

    fn has_made(&self, signature: &Signature, text: &[u8]) -> bool {
        let signed = [text, signature.trailer.as_slice()].concat();
        let numbers = &signature.numbers;
        match (&self.material, signature.algorithm) {
            (Material::Rsa { modulus, exponent }, 1 | 3) => {
                let parameters = match signature.hash {
                    8 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    9 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    10 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    _ => return false,
                };
                let key = signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                let number = numbers.first().and_then(|it| padded(it, modulus.len()));
                number.is_some_and(|it| key.verify(parameters, &signed, &it).is_ok())
            }
            (Material::Ed25519(point), 22) => {
                let hash = match signature.hash {
                    8 => &digest::SHA256,
                    9 => &digest::SHA384,
                    10 => &digest::SHA512,
                    _ => return false,
                };
                let parts: Option<Vec<_>> = numbers.iter().map(|it| padded(it, 32)).collect();
                let hashed = digest::digest(hash, &signed);
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, point);
                parts.is_some_and(|it| key.verify(hashed.as_ref(), &it.concat()).is_ok())
            }
            _ => false,
        }
    }
}

impl Message {
    /// Reads a message, without believing any of it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut text, mut signatures) = (None, Vec::new());
        for (tag, body) in unpacked(bytes, MAX_DEPTH, &mut { MAX_UNPACKED_BYTES })? {
            match tag {
                tag::LITERAL if text.is_none() => text = Some(literal(&body)?),
                tag::LITERAL => return Err("has more than one text".to_owned()),
                tag::SIGNATURE => signatures.extend(Signature::parse(&body)?),
                tag::ONE_PASS | tag::MARKER => {}
                other => return Err(format!("has a packet of kind {other}, which signs nothing")),
            }
        }
        let text = text.ok_or("has no text")?;
        Ok(Self { text, signatures })
    }

    /// The text, if one of `keys` has signed it.
    pub(crate) fn signed_by(&self, keys: &[Key]) -> Option<&[u8]> {
        let binary = self.signatures.iter().filter(|it| it.kind == OF_A_BINARY_DOCUMENT);
        let mut pairs = binary.flat_map(|it| keys.iter().map(move |key| (key, it)));
        pairs.any(|(key, signature)| key.has_made(signature, &self.text)).then_some(&self.text)
    }

    /// The keys that are said to have signed it.
    pub(crate) fn issuers(&self) -> Vec<&str> {
        self.signatures.iter().filter_map(|signature| signature.issuer.as_deref()).collect()
    }
}

impl Signature {
    /// None where its version is none that is known.
    fn parse(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader(body);
        match reader.byte()? {
            3 => Self::version_3(reader).map(Some),
            4 => Self::version_4(body, reader).map(Some),
            _ => Ok(None),
        }
    }

    fn version_3(mut reader: Reader) -> Result<Self, Malformed> {
        if reader.byte()? != 5 {
            return Err("has a signature of version 3 with a wrong length".to_owned());
        }
        let trailer = reader.take(5)?.to_vec();
        let issuer = Some(hex(reader.take(8)?));
        let (algorithm, hash) = (reader.byte()?, reader.byte()?);
        reader.take(2)?;
        let (kind, numbers) = (trailer[0], reader.numbers()?);
        Ok(Self { kind, algorithm, hash, trailer, issuer, numbers })
    }

    fn version_4(body: &[u8], mut reader: Reader) -> Result<Self, Malformed> {
        let (kind, algorithm, hash) = (reader.byte()?, reader.byte()?, reader.byte()?);
        let hashed = reader.counted()?;
        let unhashed = reader.counted()?;
        reader.take(2)?;
        let numbers = reader.numbers()?;
        let head = 6 + hashed.len();
        let length = u32::try_from(head).map_err(|_| "has a signature that is too long")?;
        let trailer = [&body[..head], &[4, 0xff], &length.to_be_bytes()].concat();
        let issuer = issuer(hashed)?.or(issuer(unhashed)?);
        Ok(Self { kind, algorithm, hash, trailer, issuer, numbers })
    }
}

fn kind_of_signature(body: &[u8]) -> Option<u8> {
    match body {
        [3, _, kind, ..] | [4, kind, ..] => Some(*kind),
        _ => None,
    }
}

/// The key ID that an area of subpackets names.
fn issuer(area: &[u8]) -> Result<Option<String>, Malformed> {
    const ISSUER: u8 = 16;
    let mut reader = Reader(area);
    while !reader.0.is_empty() {
        let length = match reader.byte()? {
            255 => reader.size(4)?,
            first @ 192.. => two_byte_length(first, reader.byte()?),
            first => usize::from(first),
        };
        match reader.take(length)? {
            [kind, id @ ..] if kind & 0x7f == ISSUER => return Ok(Some(hex(id))),
            _ => {}
        }
    }
    Ok(None)
}

/// The text of a literal packet, behind its format, its name, and its date.
fn literal(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader(body);
    reader.byte()?;
    let name = usize::from(reader.byte()?);
    reader.take(name + 4)?;
    Ok(reader.0.to_vec())
}

/// The packets of a message, with what is compressed in place of its packet. `left` is what all of them together may
/// still unpack to: a message may have many, each of them small.
fn unpacked(bytes: &[u8], depth: usize, left: &mut u64) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
    let mut all = Vec::new();
    for (tag, body) in packets(bytes)? {
        if tag != tag::COMPRESSED {
            all.push((tag, body));
        } else if depth == 0 {
            return Err("is compressed more than once".to_owned());
        } else {
            all.extend(unpacked(&decompressed(&body, left)?, depth - 1, left)?);
        }
    }
    Ok(all)
}

fn decompressed(body: &[u8], left: &mut u64) -> Result<Vec<u8>, Malformed> {
    let (algorithm, packed) = body.split_first().ok_or("ends too early")?;
    let reader: Box<dyn std::io::Read> = match algorithm {
        0 => Box::new(packed),
        1 => Box::new(DeflateDecoder::new(packed)),
        2 => Box::new(ZlibDecoder::new(packed)),
        other => return Err(format!("is compressed by algorithm {other}, which is not read")),
    };
    let mut unpacked = Vec::new();
    let read = reader.take(*left + 1).read_to_end(&mut unpacked);
    read.map_err(|err| format!("cannot be unpacked: {err}"))?;
    let too_much = || format!("unpacks to more than {MAX_UNPACKED_BYTES} bytes");
    *left = left.checked_sub(unpacked.len() as u64).ok_or_else(too_much)?;
    Ok(unpacked)
}

/// Splits bytes into packets: kind and body of each.
fn packets(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
    let mut reader = Reader(bytes);
    let mut packets = Vec::new();
    while !reader.0.is_empty() {
        let head = reader.byte()?;
        packets.push(match head {
            0xc0.. => (head & 0x3f, reader.new_body()?),
            0x80.. => ((head >> 2) & 0x0f, reader.old_body(head & 0x03)?),
            _ => return Err("is no OpenPGP in binary form".to_owned()),
        });
    }
    Ok(packets)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    /// A number of `bytes` bytes.
    fn size(&mut self, bytes: usize) -> Result<usize, Malformed> {
        Ok(self.take(bytes)?.iter().fold(0, |size, byte| (size << 8) | usize::from(*byte)))
    }

    /// As many bytes as the two before them say.
    fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.size(2)?;
        self.take(length)
    }

    /// A large number, without zeros in front.
    fn number(&mut self) -> Result<Vec<u8>, Malformed> {
        let bits = self.size(2)?;
        let digits = self.take(bits.div_ceil(8))?;
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        Ok(digits[zeros..].to_vec())
    }

    fn numbers(&mut self) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut numbers = Vec::new();
        while !self.0.is_empty() {
            numbers.push(self.number()?);
        }
        Ok(numbers)
    }

    /// The body of a packet whose length is written in the old way.
    fn old_body(&mut self, kind: u8) -> Result<Vec<u8>, Malformed> {
        let length = match kind {
            3 => self.0.len(),
            kind => self.size(1 << kind)?,
        };
        self.take(length).map(<[u8]>::to_vec)
    }

    /// The body of a packet whose length is written in the new way, which may be in pieces.
    fn new_body(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut body = Vec::new();
        loop {
            let first = self.byte()?;
            let (length, is_last) = match first {
                255 => (self.size(4)?, true),
                224.. => (1 << (first & 0x1f), false),
                192.. => (two_byte_length(first, self.byte()?), true),
                first => (usize::from(first), true),
            };
            body.extend(self.take(length)?);
            if is_last {
                return Ok(body);
            }
        }
    }
}

fn two_byte_length(first: u8, second: u8) -> usize {
    ((usize::from(first) - 192) << 8) + usize::from(second) + 192
}

/// A number with zeros in front; none where it is longer.
fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    Some([vec![0; zeros], number.to_vec()].concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}
