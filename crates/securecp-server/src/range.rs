use std::ops::Range;

/// What a `Range` header asks of a blob (RFC 9110, 14.2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Whole,
    Part(Range<u64>),
    Outside,
}

impl Wanted {
    /// Reads a header; several ranges or another unit mean the whole blob.
    pub(crate) fn parse(header: &str, size: u64) -> Self {
        let Some((first, last)) =
            header.trim().strip_prefix("bytes=").and_then(|text| text.split_once('-'))
        else {
            return Self::Whole;
        };
        match (first.trim(), last.trim()) {
            ("", count) => number(count).map_or(Self::Whole, |count| suffix(count, size)),
            (first, "") => number(first).map_or(Self::Whole, |first| span(first, None, size)),
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => span(first, Some(last), size),
                _ => Self::Whole,
            },
        }
    }
}

/// Reads `FIRST-LAST` of an upload chunk as half-open range; a `bytes ` in front is accepted, as clients send it.
pub(crate) fn chunk(header: &str) -> Option<Range<u64>> {
    let text = header.trim();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split('/').next()?;
    let (first, last) = text.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(())?;
    Some(first..last.checked_add(1)?)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn suffix(count: u64, size: u64) -> Wanted {
    if count == 0 || size == 0 {
        return Wanted::Outside;
    }
    Wanted::Part(size.saturating_sub(count)..size)
}

fn span(first: u64, last: Option<u64>, size: u64) -> Wanted {
    if first >= size {
        return Wanted::Outside;
    }
    let end = last.map_or(size, |last| last.saturating_add(1).min(size));
    Wanted::Part(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=2-99", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-99", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Outside),
            ("bytes=-0", Wanted::Outside),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("bytes=0-18446744073709551615", Wanted::Part(0..10)),
        ] {
            assert_eq!(Wanted::parse(header, 10), expected, "{header}");
        }
    }

    #[test]
    fn reads_chunks() {
        assert_eq!(chunk("0-9"), Some(0..10));
        assert_eq!(chunk("bytes 5-5/*"), Some(5..6));
        for bad in ["", "-", "1", "9-0", "a-b", "0-18446744073709551615", "-1-2"] {
            assert_eq!(chunk(bad), None, "{bad}");
        }
    }
}
