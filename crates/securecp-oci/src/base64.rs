//! Base64 as signatures and policies carry it: the standard alphabet with padding; line breaks inside are ignored
//! (RFC 4648 section 4; the reference's decoder skips CR and LF, and files made with it contain them).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding is required; left-over bits are ignored, as in the reference.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("illegal base64 data at input byte {position}")]
pub struct Base64Error {
    /// The place of the first character that does not belong, line breaks not counted.
    pub position: usize,
}

/// Decodes `text`.
///
/// # Errors
/// A character outside the alphabet, missing or excess padding.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    ENGINE.decode(&plain).map_err(|error| Base64Error { position: position(&error, plain.len()) })
}

/// Encodes `bytes` with padding, without line breaks.
pub fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

fn position(error: &base64::DecodeError, length: usize) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_line_breaks_only() {
        assert_eq!(decode("aGVs\r\nbG8=\n").unwrap(), b"hello");
        assert_eq!(decode("").unwrap(), b"");
        assert_eq!(decode("aGVsbG9=").unwrap(), b"hello");
        for bad in
            ["aGVsbG8", "aGVs bG8=", "aGVsbG8= ", "aGVsbG8==", "a-_=", "=", "aGVsbG8=aGVsbG8="]
        {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
        assert_eq!(decode("%").unwrap_err().to_string(), "illegal base64 data at input byte 0");
    }

    #[test]
    fn decodes_what_it_encoded() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
    }
}
