//! The little of DER (X.690) that key files and PKCS#7 need: definite, minimal lengths and low tag numbers only.

/// One element: tag, contents, and both with the length between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    pub(crate) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside; `None` if the contents are not whole elements.
    pub(crate) fn children(&self) -> Option<Vec<Element<'a>>> {
        elements(self.body)
    }
}

/// Reads one element that fills `bytes`.
pub(crate) fn single(bytes: &[u8]) -> Option<Element<'_>> {
    let (element, rest) = first(bytes)?;
    rest.is_empty().then_some(element)
}

/// Reads elements up to the end of `bytes`.
pub(crate) fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = first(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => long_length(usize::from(short & 0x7f), rest)?,
        _ => return None,
    };
    let (body, rest) = rest.split_at_checked(length)?;
    let raw = &bytes[..bytes.len() - rest.len()];
    Some((Element { tag, body, raw }, rest))
}

fn long_length(count: usize, bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(count)?;
    let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
    let minimal = digits[0] != 0 && length > 0x7f;
    minimal.then_some((length, rest))
}

/// Writes one element around `parts`.
pub(crate) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let digits = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_wrote() {
        for length in [0, 1, 127, 128, 255, 256, 65535, 65536, 70000] {
            let body = vec![7; length];
            let written = write(0x30, &[&body]);
            let read = single(&written).unwrap();
            assert_eq!((read.tag, read.body, read.raw), (0x30, &body[..], &written[..]));
        }
        assert_eq!(write(4, &[&[0; 200]])[..3], [4, 0x81, 200]);
    }

    #[test]
    fn refuses_other_encodings() {
        for bad in [
            &[0x30][..],
            &[0x30, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x1f, 1, 0],
            &[0x30, 0x85, 1, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0, 0],
        ] {
            assert!(single(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            if let Some(found) = elements(&bytes) {
                let total: usize = found.iter().map(|element| element.raw.len()).sum();
                prop_assert_eq!(total, bytes.len());
            }
        }
    }
}
