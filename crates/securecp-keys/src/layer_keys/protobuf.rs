//! The two messages of a gRPC key provider, in protocol buffers: one field, number 1, of bytes.

use securecp_crypt::Secret;
use zeroize::Zeroizing;

/// Number 1, preceded by its length.
const FIELD: u64 = (1 << 3) | BYTES;
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message with `content` in its field.
pub(super) fn message(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(content.len() + 11));
    put_varint(&mut bytes, FIELD);
    put_varint(&mut bytes, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

/// The content of the field, the last one where it stands more than once, empty if it is left out; `None` if this is no
/// message. Fields of later versions are passed over.
pub(super) fn field(message: &[u8]) -> Option<Secret> {
    let (mut rest, mut found) = (message, &[][..]);
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            BYTES => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let content = take(&mut rest, length)?;
                if key == FIELD {
                    found = content;
                }
            }
            VARINT => drop(varint(&mut rest)?),
            FIXED64 => drop(take(&mut rest, 8)?),
            FIXED32 => drop(take(&mut rest, 4)?),
            _ => return None,
        }
    }
    Some(Secret::new(found.to_vec()))
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 20_000] {
            let content = vec![7; length];
            assert_eq!(&*field(&message(&content)).unwrap(), content);
        }
        assert_eq!(&**message(b"ab"), b"\x0a\x02ab");
        assert_eq!(message(&[0; 300])[..3], [0x0a, 0xac, 0x02]);
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        let known = message(b"ab");
        for other in [&b"\x10\xff\x01"[..], b"\x11\0\0\0\0\0\0\0\0", b"\x12\x01x", b"\x15\0\0\0\0"]
        {
            assert_eq!(&*field(&[other, &known].concat()).unwrap(), b"ab");
            assert_eq!(&*field(&[&known, other].concat()).unwrap(), b"ab");
            for cut in 1..other.len() {
                assert!(field(&other[..cut]).is_none(), "{other:?} {cut}");
            }
        }
        assert_eq!(&*field(&[&known[..], &message(b"cd")].concat()).unwrap(), b"cd");
        assert!(field(b"").unwrap().is_empty());
        for bad in [
            &b"\x0b"[..],
            b"\x0a\x05ab",
            b"\x0a",
            &[0xff; 11],
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(field(bad).is_none(), "{bad:?}");
        }
    }
}
