use bytes::Bytes;
use serde_json::{Map, Value};

use crate::base64::{self, Base64Error};
use crate::go::write_string;
use crate::json::{self, JsonError, Limits};
use crate::{Annotations, Escaped};

/// Largest signature that is read, in bytes of its stored form: 4 MiB.
pub const SIGNATURE_LIMIT: usize = 4 << 20;
/// Most signatures that one manifest may carry: 128.
pub const SIGNATURE_COUNT_LIMIT: usize = 128;

const SIMPLE: &str = "simple-signing";
const SIGSTORE: &str = "sigstore-json";
const FORMAT_NAME_LIMIT: usize = 64;

/// A signature of a manifest, as yet unverified, in one of the two families that containers-policy.json(5) knows.
///
/// The stored form ("blob form") is what `dir:` directories and lookaside servers hold: raw OpenPGP bytes, or a zero
/// byte, the name of a format, a line feed and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// A signed OpenPGP message around a simple-signing payload.
    Simple(Bytes),
    /// One layer of a sigstore attachment: a signature, or another attachment that is only carried along.
    Sigstore {
        /// The layer's media type.
        media_type: String,
        /// The signed bytes.
        payload: Bytes,
        /// The layer's annotations; signature, certificates and log entry are among them.
        annotations: Annotations,
    },
}

/// Why stored bytes are not a signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There are no bytes.
    #[error("signature is empty")]
    Empty,
    /// More than [`SIGNATURE_LIMIT`] bytes.
    #[error("signature has {found} bytes, the limit is {SIGNATURE_LIMIT}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// The first byte starts neither an OpenPGP message nor a named format.
    #[error("unrecognized signature format, starting with binary {0:#04x}")]
    FirstByte(u8),
    /// No line feed ends the name of the format.
    #[error("unrecognized signature format, its name has no end")]
    NoFormatName,
    /// The name of the format is not known.
    #[error("unrecognized signature format {0:?}")]
    Format(String),
    /// The body is not one strict JSON document.
    #[error("sigstore signature cannot be read")]
    Json(#[source] JsonError),
    /// A member of the body is missing, foreign or of the wrong type.
    #[error("sigstore signature: member {member:?} is not {expected}")]
    Member {
        /// The member.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The payload is not base64.
    #[error("sigstore signature: payload is not base64")]
    Payload(#[source] Base64Error),
}

impl Signature {
    /// The media type of the one kind of sigstore attachment that is a signature.
    pub const SIGSTORE_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

    /// Reads the stored form.
    ///
    /// # Errors
    /// See [`SignatureError`]. Armoured and clear-signed OpenPGP text is refused by its first byte.
    pub fn parse(blob: Bytes) -> Result<Self, SignatureError> {
        if blob.len() > SIGNATURE_LIMIT {
            return Err(SignatureError::TooLarge { found: blob.len() });
        }
        match blob.first() {
            None => Err(SignatureError::Empty),
            Some(0) => parse_named(&blob),
            Some(&first) if starts_openpgp(first) => Ok(Self::Simple(blob)),
            Some(&first) => Err(SignatureError::FirstByte(first)),
        }
    }

    /// How many bytes of content it holds.
    pub fn bytes_kept(&self) -> usize {
        match self {
            Self::Simple(bytes) => bytes.len(),
            Self::Sigstore { media_type, payload, annotations } => {
                let annotations = annotations.iter().map(|(name, value)| name.len() + value.len());
                media_type.len() + payload.len() + annotations.sum::<usize>()
            }
        }
    }

    /// The stored form, the same bytes that the reference writes.
    pub fn to_blob(&self) -> Bytes {
        match self {
            Self::Simple(message) if message.first().copied().is_some_and(starts_openpgp) => {
                message.clone()
            }
            // Only a blob that named its format can hold such bytes; without the name it could not be read again.
            Self::Simple(message) => [b"\0", SIMPLE.as_bytes(), b"\n", message].concat().into(),
            Self::Sigstore { media_type, payload, annotations } => {
                let mut text = format!("\0{SIGSTORE}\n{{\"mimeType\":");
                write_string(&mut text, media_type);
                text.push_str(",\"payload\":");
                write_string(&mut text, &base64::encode(payload));
                text.push_str(",\"annotations\":");
                write_annotations(&mut text, annotations);
                text.push('}');
                Bytes::from(text)
            }
        }
    }
}

/// First bytes of compressed data, one-pass signature and signature packets in old and new framing (RFC 9580
/// section 4.2), and 0x3d, which the reference has in its list too.
fn starts_openpgp(first: u8) -> bool {
    matches!(first, 0xa0..=0xa3 | 0xc8 | 0x90..=0x92 | 0x3d | 0xc4 | 0x88..=0x8b | 0xc2)
}

fn parse_named(blob: &Bytes) -> Result<Signature, SignatureError> {
    let end = blob.iter().take(FORMAT_NAME_LIMIT).position(|byte| *byte == b'\n');
    let end = end.ok_or(SignatureError::NoFormatName)?;
    let body = blob.slice(end + 1..);
    match blob.get(1..end).unwrap_or_default() {
        name if name == SIMPLE.as_bytes() => Ok(Signature::Simple(body)),
        name if name == SIGSTORE.as_bytes() => parse_sigstore(&body),
        name => {
            let name = String::from_utf8_lossy(name);
            Err(SignatureError::Format(Escaped::new(&name).limit(80).to_string()))
        }
    }
}

fn parse_sigstore(body: &[u8]) -> Result<Signature, SignatureError> {
    let value = json::parse(body, Limits::bytes(SIGNATURE_LIMIT)).map_err(SignatureError::Json)?;
    let members = value.as_object().ok_or_else(|| wrong("", "an object"))?;
    if let Some(foreign) =
        members.keys().find(|key| !["mimeType", "payload", "annotations"].contains(&key.as_str()))
    {
        return Err(wrong(foreign, "known"));
    }
    let payload = string(members, "payload")?;
    Ok(Signature::Sigstore {
        media_type: string(members, "mimeType")?.to_owned(),
        payload: base64::decode(payload).map_err(SignatureError::Payload)?.into(),
        annotations: annotations(members.get("annotations"))?,
    })
}

fn string<'a>(members: &'a Map<String, Value>, member: &str) -> Result<&'a str, SignatureError> {
    members.get(member).and_then(Value::as_str).ok_or_else(|| wrong(member, "a string"))
}

fn annotations(value: Option<&Value>) -> Result<Annotations, SignatureError> {
    let members = match value {
        None | Some(Value::Null) => return Ok(Annotations::new()),
        Some(value) => value.as_object().ok_or_else(|| wrong("annotations", "an object"))?,
    };
    let one = |(key, value): (&String, &Value)| {
        let text = value.as_str().ok_or_else(|| wrong(key, "a string"))?;
        Ok((key.clone(), text.to_owned()))
    };
    members.iter().map(one).collect()
}

fn wrong(member: &str, expected: &'static str) -> SignatureError {
    SignatureError::Member { member: Escaped::new(member).limit(80).to_string(), expected }
}

fn write_annotations(text: &mut String, annotations: &Annotations) {
    text.push('{');
    for (position, (key, value)) in annotations.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        write_string(text, key);
        text.push(':');
        write_string(text, value);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(blob: &[u8]) -> Result<Signature, SignatureError> {
        Signature::parse(Bytes::copy_from_slice(blob))
    }

    #[test]
    fn writes_the_bytes_that_the_reference_wrote() {
        for blob in [
            &include_bytes!("../../../testdata/trust/signed-both/signature-1")[..],
            include_bytes!("../../../testdata/trust/signed-both/signature-2"),
            include_bytes!("../../../testdata/trust/signed-keyless/signature-1"),
            include_bytes!("../../../testdata/trust/signed-sigstore/signature-1"),
            include_bytes!("../../../testdata/trust/signed-sigstore-rekor/signature-1"),
        ] {
            assert_eq!(parse(blob).unwrap().to_blob(), blob);
        }
    }

    #[test]
    fn escapes_as_go_does() {
        let mut text = String::new();
        write_string(&mut text, "<>&\u{2028}\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é");
        let expected = r#""\u003c\u003e\u0026\u2028\"\\\n\r\t\b\f\u0001"#.to_owned() + "\u{7f}é\"";
        assert_eq!(text, expected);
        let back: String = serde_json::from_str(&text).unwrap();
        assert_eq!(back, "<>&\u{2028}\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é");
    }

    #[test]
    fn reads_the_named_simple_form_that_nobody_writes() {
        let found = parse(b"\0simple-signing\n\xa3x").unwrap();
        assert_eq!(found, Signature::Simple(Bytes::from_static(b"\xa3x")));
        assert_eq!(&found.to_blob()[..], b"\xa3x");
        let text = b"\0simple-signing\n-----BEGIN";
        assert_eq!(&parse(text).unwrap().to_blob()[..], text);
    }

    #[test]
    fn refuses_what_is_not_a_signature_with_the_reference_s_words() {
        for (blob, text) in [
            (&b""[..], "signature is empty"),
            (
                b"-----BEGIN PGP MESSAGE-----",
                "unrecognized signature format, starting with binary 0x2d",
            ),
            (b"\x07x", "unrecognized signature format, starting with binary 0x07"),
            (b"junk", "unrecognized signature format, starting with binary 0x6a"),
            (b"\0other\n{}", "unrecognized signature format \"other\""),
            (b"\0\n", "unrecognized signature format \"\""),
            (b"\0sigstore-json", "its name has no end"),
        ] {
            let error = parse(blob).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn refuses_loose_sigstore_bodies() {
        for body in [
            r#"[]"#,
            r#"{}"#,
            r#"{"mimeType":"m"}"#,
            r#"{"mimeType":"m","payload":1}"#,
            r#"{"mimeType":"m","payload":"?"}"#,
            r#"{"mimeType":"m","payload":"","payload":""}"#,
            r#"{"mimeType":"m","payload":"","annotations":{"a":1}}"#,
            r#"{"mimeType":"m","payload":"","annotations":[]}"#,
            r#"{"mimeType":"m","payload":"","more":1}"#,
            r#"{"MimeType":"m","payload":""}"#,
            r#"{"mimeType":"m","payload":""}{}"#,
        ] {
            assert!(parse(format!("\0sigstore-json\n{body}").as_bytes()).is_err(), "{body}");
        }
        let found =
            parse(b"\0sigstore-json\n{\"mimeType\":\"m\",\"payload\":\"\",\"annotations\":null}");
        assert!(found.is_ok());
    }

    #[test]
    fn refuses_more_than_the_limit() {
        let error = Signature::parse(Bytes::from(vec![0xa3; SIGNATURE_LIMIT + 1])).unwrap_err();
        assert!(matches!(error, SignatureError::TooLarge { .. }));
    }
}
