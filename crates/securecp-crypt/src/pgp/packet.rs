use sequoia_openpgp::crypto::mpi::{Ciphertext, MPI};
use sequoia_openpgp::types::PublicKeyAlgorithm;
use zeroize::Zeroizing;

use crate::Secret;

/// Largest message that is read, in bytes; a real one has some hundred for each recipient.
const LIMIT: usize = 512 << 10;
/// Most recipients of one message.
pub(crate) const SESSION_LIMIT: usize = 256;

const SESSION: u8 = 1;
const MARKER: u8 = 10;
const LITERAL: u8 = 11;
const PROTECTED: u8 = 18;
/// What gpg 2.3 and later make for its own kind.
const AUTHENTICATED: u8 = 20;
const PADDING: u8 = 21;

/// An encrypted message.
pub(crate) struct Message {
    pub(crate) sessions: Vec<Session>,
    /// The integrity protected data, or why it cannot be read here.
    pub(crate) protected: Result<Vec<u8>, &'static str>,
}

/// A session key encrypted for one key.
pub(crate) struct Session {
    pub(crate) key_id: [u8; 8],
    pub(crate) algorithm: PublicKeyAlgorithm,
    pub(crate) ciphertext: Ciphertext,
}

impl Session {
    /// Whether the recipient's key id was left out (all zero).
    pub(crate) fn is_anonymous(&self) -> bool {
        self.key_id == [0; 8]
    }

    /// A version 3 packet; `None` for other versions and algorithms.
    fn read(body: &[u8]) -> Option<Self> {
        let (head, numbers) = body.split_at_checked(10)?;
        let algorithm = PublicKeyAlgorithm::from(head[9]);
        let ciphertext = match algorithm {
            #[expect(deprecated, reason = "old keys name the algorithm so")]
            PublicKeyAlgorithm::RSAEncryptSign | PublicKeyAlgorithm::RSAEncrypt => rsa(numbers)?,
            _ => Ciphertext::parse(algorithm, numbers).ok()?,
        };
        let key_id = head[1..9].try_into().ok()?;
        (head[0] == 3).then_some(Self { key_id, algorithm, ciphertext })
    }
}

/// One number that fills the packet. x/crypto/openpgp counts leading zero bits, which strict readers refuse.
fn rsa(numbers: &[u8]) -> Option<Ciphertext> {
    let (bits, number) = numbers.split_at_checked(2)?;
    let bits = usize::from(u16::from_be_bytes(bits.try_into().ok()?));
    (number.len() == bits.div_ceil(8)).then(|| Ciphertext::RSA { c: MPI::new(number) })
}

impl Message {
    /// Reads session keys and the protected data behind them; `None` if it is nothing of the kind, or something follows:
    /// another reader could take that for a second message.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LIMIT {
            return None;
        }
        let mut sessions = Vec::new();
        let mut rest = bytes;
        loop {
            let (packet, behind) = Packet::read(rest)?;
            rest = behind;
            match packet.tag {
                PROTECTED | AUTHENTICATED if !behind.is_empty() => return None,
                SESSION if sessions.len() == SESSION_LIMIT => return None,
                SESSION => sessions.extend(Session::read(&packet.body)),
                MARKER | PADDING => {}
                PROTECTED => return Some(Self { sessions, protected: version_1(&packet.body) }),
                AUTHENTICATED => return Some(Self { sessions, protected: Err(NEWER) }),
                _ => return None,
            }
        }
    }
}

fn version_1(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    match body.split_first() {
        Some((1, data)) => Ok(data.to_vec()),
        _ => Err(NEWER),
    }
}

const NEWER: &str = "the OpenPGP message is protected in a newer way; open it through gpg (pgp:)";

/// One packet; contents that came in chunks are joined.
struct Packet {
    tag: u8,
    body: Zeroizing<Vec<u8>>,
}

impl Packet {
    /// Reads the first packet (RFC 9580, section 4.2); partial chunks may have any length.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&head, rest) = bytes.split_first()?;
        match head {
            0xc0..=0xff => {
                let mut body = Zeroizing::new(Vec::new());
                let rest = new_body(rest, &mut body)?;
                Some((Self { tag: head & 0x3f, body }, rest))
            }
            0x80..=0xbf => {
                let (length, rest) = old_length(head & 3, rest)?;
                let (body, rest) = rest.split_at_checked(length)?;
                Some((Self { tag: (head >> 2) & 0x0f, body: Zeroizing::new(body.to_vec()) }, rest))
            }
            _ => None,
        }
    }
}

fn new_body<'a>(mut bytes: &'a [u8], body: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (&first, rest) = bytes.split_first()?;
        let (length, rest, last) = match first {
            0..=191 => (usize::from(first), rest, true),
            192..=223 => {
                let (&second, rest) = rest.split_first()?;
                (((usize::from(first) - 192) << 8) + usize::from(second) + 192, rest, true)
            }
            224..=254 => (1 << (first & 0x1f), rest, false),
            255 => {
                let (length, rest) = number(rest, 4)?;
                (length, rest, true)
            }
        };
        let (part, rest) = rest.split_at_checked(length)?;
        body.extend_from_slice(part);
        bytes = rest;
        if last {
            return Some(bytes);
        }
    }
}

fn old_length(kind: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    match kind {
        0 => number(rest, 1),
        1 => number(rest, 2),
        2 => number(rest, 4),
        _ => Some((rest.len(), rest)),
    }
}

fn number(bytes: &[u8], count: usize) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(count)?;
    Some((digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest))
}

/// The data of the one literal packet that `plain` consists of.
pub(crate) fn literal(plain: &[u8]) -> Option<Secret> {
    let (packet, rest) = Packet::read(plain)?;
    let whole = packet.tag == LITERAL && rest.is_empty();
    let (&name, _) = whole.then(|| packet.body.get(1..))??.split_first()?;
    let data = packet.body.get(2 + usize::from(name) + 4..)?;
    Some(Secret::new(data.to_vec()))
}

/// A literal packet as the reference writes it: text, no name, no date.
pub(crate) fn write_literal(data: &[u8]) -> Secret {
    let mut out = Vec::with_capacity(data.len() + 16);
    head(LITERAL, 6 + data.len(), &mut out);
    out.extend_from_slice(b"t\0\0\0\0\0");
    out.extend_from_slice(data);
    Secret::new(out)
}

/// A packet of integrity protected data, version 1.
pub(crate) fn write_protected(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 16);
    head(PROTECTED, 1 + data.len(), &mut out);
    out.push(1);
    out.extend_from_slice(data);
    out
}

fn head(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(0xc0 | tag);
    match length {
        0..=191 => out.push(length as u8),
        192..=8383 => {
            let above = length - 192;
            out.extend_from_slice(&[(above >> 8) as u8 + 192, above as u8]);
        }
        _ => {
            out.push(255);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// Whether `bytes` begin like binary OpenPGP keys: a secret or public key packet.
pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    let tag = match bytes.first() {
        Some(head @ 0xc0..=0xff) => head & 0x3f,
        Some(head @ 0x80..=0xbf) => (head >> 2) & 0x0f,
        _ => return false,
    };
    matches!(tag, 5 | 6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_literal_it_wrote_in_every_framing() {
        for length in [0, 100, 185, 186, 8377, 8378, 70_000] {
            let data = vec![7; length];
            let written = write_literal(&data);
            assert_eq!(&*literal(&written).unwrap(), data.as_slice(), "{length}");
        }
        let chunks = [&[0xc0 | LITERAL, 0xe3][..], b"t\0\0\0\0\0xy", &[3], b"abc"].concat();
        assert_eq!(&*literal(&chunks).unwrap(), b"xyabc");
        let old = [&[0x80 | LITERAL << 2, 8][..], b"b\x01n\0\0\0\0z"].concat();
        assert_eq!(&*literal(&old).unwrap(), b"z");
        let open_ended = [&[0x83 | LITERAL << 2][..], b"b\0\0\0\0\0z"].concat();
        assert_eq!(&*literal(&open_ended).unwrap(), b"z");
    }

    #[test]
    fn refuses_other_and_trailing_packets() {
        let good = write_literal(b"x");
        assert!(literal(&[&good, &[0xca, 0][..]].concat()).is_none());
        assert!(literal(&[0xc8, 1, 0]).is_none(), "compressed data");
        assert!(literal(&[0xcb, 3, b't', 9, 0]).is_none());
        assert!(literal(&[0xcb, 255, 255, 255, 255, 255]).is_none());
        assert!(literal(&[0xcb, 0xfe, 0]).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, tag in 0u8..64) {
            let _ = Message::read(&bytes);
            let _ = literal(&bytes);
            let _ = Message::read(&[&[0xc0 | tag], bytes.as_slice()].concat());
        }
    }
}
