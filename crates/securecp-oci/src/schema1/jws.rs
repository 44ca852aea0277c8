use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::Value;

use super::Schema1Error;
use crate::json::{self, Limits};

/// The payload that a JWS with detached formatting covers (docker/libtrust): the first `formatLength` bytes of the
/// document and then `formatTail`, as every signature's protected header says.
pub(super) fn payload(document: &Bytes, signatures: &Value) -> Result<Bytes, Schema1Error> {
    let list = signatures.as_array().ok_or(Schema1Error::Jws("signatures are not a list"))?;
    let mut formats = list.iter().map(Format::of);
    let first = formats.next().ok_or(Schema1Error::Jws("there is no signature"))??;
    for other in formats {
        if other? != first {
            return Err(Schema1Error::Jws("they differ"));
        }
    }
    let head =
        document.get(..first.length).ok_or(Schema1Error::Jws("it ends after the document"))?;
    Ok([head, &first.tail].concat().into())
}

#[derive(PartialEq, Eq)]
struct Format {
    length: usize,
    tail: Vec<u8>,
}

impl Format {
    fn of(signature: &Value) -> Result<Self, Schema1Error> {
        let protected = signature.get("protected").and_then(Value::as_str).and_then(decode);
        let protected = protected.ok_or(Schema1Error::Jws("a protected header is not base64"))?;
        let header = json::parse(&protected, Limits::bytes(HEADER_LIMIT))
            .map_err(|_| Schema1Error::Jws("a protected header is not JSON"))?;
        let length = header.get("formatLength").and_then(Value::as_u64);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let tail = header.get("formatTail").and_then(Value::as_str).and_then(decode);
        let (Some(length), Some(tail)) = (length, tail) else {
            return Err(Schema1Error::Jws("a protected header names no format"));
        };
        Ok(Self { length, tail })
    }
}

/// Base64 for URLs, with or without padding (RFC 7515 says without).
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Far more than a header of two numbers, a time and the end of a document needs.
const HEADER_LIMIT: usize = 64 << 10;
