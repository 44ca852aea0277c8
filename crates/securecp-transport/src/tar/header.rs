use super::BLOCK;

/// What a header block says, before long names and pax records are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: u64,
    pub(super) kind: u8,
}

impl Header {
    /// Reads a block that is not all zero.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        if number(&block[CHECKSUM]) != Some(checksum(block)) {
            return Err("the checksum of a header is wrong");
        }
        // GNU archives ("ustar  \0") have times where ustar has the first part of the name.
        let prefix = if &block[MAGIC] == b"ustar\0" { text(&block[PREFIX]) } else { &[] };
        let mut name = prefix.to_vec();
        if !prefix.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(text(&block[NAME]));
        Ok(Self {
            name,
            link: text(&block[LINK]).to_vec(),
            size: number(&block[SIZE]).ok_or("the size in a header is not a number")?,
            kind: block[KIND],
        })
    }
}

use std::ops::Range;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const KIND: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..263;
pub(super) const PREFIX: Range<usize> = 345..500;

/// The sum of all bytes, those of the checksum itself counted as spaces.
pub(super) fn checksum(block: &[u8; BLOCK]) -> u64 {
    let plain = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
    let own = u64::from(b' ') * CHECKSUM.len() as u64;
    plain(&block[..CHECKSUM.start]) + own + plain(&block[CHECKSUM.end..])
}

/// A text field up to its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// An octal number between spaces and zero bytes, or GNU's base 256; `None` for anything else and what is negative.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => rest
            .iter()
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte))),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(0);
    }
    // from_str_radix takes a sign, which no header has.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| u64::from_str_radix(text, 8).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_as_tar_writes_them() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    12 \0", Some(0o12)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\x01\0", Some(256)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xff\xff\xff\xff", None),
            (b"12x\0", None),
            (b"-12\0", None),
            (b"+12\0", None),
            (b"89\0", None),
            (b"1\x002\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
