//! The document inside a signature: which digest is vouched for, and under which name.
//!
//! Simple signing (atomic container signature) and sigstore's simple-signing payload have the same shape and differ in
//! `critical.type` only.

use std::time::SystemTime;

use securecp_oci::json::{self, JsonError, Limits};
use securecp_oci::{Digest, DigestError, Escaped, Reference, ReferenceError};
use serde_json::{Map, Value};

/// Largest payload that is read, in bytes: 1 MiB.
pub(crate) const PAYLOAD_LIMIT: usize = 1 << 20;

/// What a signature says. Nothing of it is true until the signature has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload {
    /// The digest of the signed manifest.
    pub digest: Digest,
    /// The name under which it was signed; any text.
    pub identity: String,
    /// Who claims to have made it.
    pub creator: Option<String>,
    /// When it claims to have been made, in seconds since 1970.
    pub timestamp: Option<i64>,
}

/// The two families of signatures, by `critical.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadKind {
    /// `atomic container signature`
    Simple,
    /// `cosign container image signature`
    Sigstore,
}

/// Why signed bytes are not a payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Not one strict JSON document, or more than 1 MiB.
    #[error("payload cannot be read")]
    Json(#[source] JsonError),
    /// An object is missing a member.
    #[error("Key \"{0}\" missing in a JSON object")]
    Missing(&'static str),
    /// An object has a member that does not belong.
    #[error("Unknown key \"{0}\"")]
    Unknown(String),
    /// Something else stands where an object must be.
    #[error("JSON object expected, got {0}")]
    ObjectExpected(&'static str),
    /// A member has the wrong type.
    #[error("Field {0} is not a string")]
    NotText(&'static str),
    /// The timestamp is not a whole number.
    #[error("Field optional.timestamp is not an integer")]
    Timestamp,
    /// The type is another one.
    #[error("Unrecognized signature type \"{0}\"")]
    Kind(String),
    /// The digest is malformed.
    #[error("payload digest is malformed")]
    Digest(#[source] DigestError),
}

impl PayloadKind {
    /// The text of `critical.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "atomic container signature",
            Self::Sigstore => "cosign container image signature",
        }
    }

    /// What `optional.creator` says in signatures made here.
    fn creator(self) -> &'static str {
        match self {
            Self::Simple => concat!("atomic securecp/", env!("CARGO_PKG_VERSION")),
            Self::Sigstore => concat!("securecp/", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl Payload {
    /// What a signature made `now` shall say: `digest` is vouched for under the name `identity`.
    ///
    /// `None` if `identity` names only a repository: such a signature would cover every tag.
    pub fn new(
        kind: PayloadKind,
        digest: &Digest,
        identity: &Reference,
        now: SystemTime,
    ) -> Option<Self> {
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (!identity.is_name_only()).then(|| Self {
            digest: digest.clone(),
            identity: identity.to_string(),
            creator: Some(kind.creator().to_owned()),
            timestamp: i64::try_from(since_1970.as_secs()).ok(),
        })
    }

    /// The bytes to be signed: compact, members in alphabetical order.
    pub fn to_bytes(&self, kind: PayloadKind) -> Vec<u8> {
        let mut optional = Map::new();
        if let Some(creator) = &self.creator {
            optional.insert("creator".to_owned(), creator.as_str().into());
        }
        if let Some(timestamp) = self.timestamp {
            optional.insert("timestamp".to_owned(), timestamp.into());
        }
        serde_json::json!({
            "critical": {
                "identity": {"docker-reference": self.identity},
                "image": {"docker-manifest-digest": self.digest.to_string()},
                "type": kind.name(),
            },
            "optional": optional,
        })
        .to_string()
        .into_bytes()
    }

    /// Reads signed bytes: no foreign and no double member in `critical`, no double one in `optional`.
    ///
    /// # Errors
    /// See [`PayloadError`].
    pub fn parse(bytes: &[u8], kind: PayloadKind) -> Result<Self, PayloadError> {
        let value = json::parse(bytes, Limits::bytes(PAYLOAD_LIMIT)).map_err(PayloadError::Json)?;
        let [critical, optional] = exactly(&value, ["critical", "optional"])?;
        let [kind_found, image, identity] = exactly(critical, ["type", "image", "identity"])?;
        let [digest] = exactly(image, ["docker-manifest-digest"])?;
        let [identity] = exactly(identity, ["docker-reference"])?;
        let found = text(kind_found, "critical.type")?;
        if found != kind.name() {
            return Err(PayloadError::Kind(Escaped::new(found).limit(80).to_string()));
        }
        let digest = text(digest, "critical.image.docker-manifest-digest")?;
        let (creator, timestamp) = read_optional(optional, kind)?;
        Ok(Self {
            digest: digest.parse().map_err(PayloadError::Digest)?,
            identity: text(identity, "critical.identity.docker-reference")?.to_owned(),
            creator,
            timestamp,
        })
    }
}

/// Why `--sign-identity` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignIdentityError {
    /// Not a reference.
    #[error("Could not parse --sign-identity")]
    Malformed(#[from] ReferenceError),
    /// Host or path are not written out.
    #[error("Could not parse --sign-identity: repository name must be canonical, expected {0}")]
    NotCanonical(String),
    /// Neither tag nor digest.
    #[error("Sign identity must be a fully specified reference {0}")]
    NameOnly(String),
}

/// Reads the name for which new signatures are made: written out in full, with tag or digest.
///
/// # Errors
/// See [`SignIdentityError`].
pub fn sign_identity(text: &str) -> Result<Reference, SignIdentityError> {
    let found = Reference::parse_any(text)?;
    if found.to_string() != text {
        return Err(SignIdentityError::NotCanonical(found.to_string()));
    }
    if found.is_name_only() {
        return Err(SignIdentityError::NameOnly(found.to_string()));
    }
    Ok(found)
}

/// The members of an object that has these and no others.
fn exactly<'a, const N: usize>(
    value: &'a Value,
    keys: [&'static str; N],
) -> Result<[&'a Value; N], PayloadError> {
    let members = object(value)?;
    if let Some(foreign) = members.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(PayloadError::Unknown(Escaped::new(foreign).limit(80).to_string()));
    }
    if let Some(missing) = keys.iter().find(|key| !members.contains_key(**key)) {
        return Err(PayloadError::Missing(missing));
    }
    Ok(keys.map(|key| members.get(key).unwrap_or(&Value::Null)))
}

fn object(value: &Value) -> Result<&Map<String, Value>, PayloadError> {
    let found = if value.is_null() { "<nil>" } else { "something else" };
    value.as_object().ok_or(PayloadError::ObjectExpected(found))
}

/// A text; `null` is the empty text, as in the reference, and fails where a value is needed.
fn text<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, PayloadError> {
    match value {
        Value::Null => Ok(""),
        value => value.as_str().ok_or(PayloadError::NotText(field)),
    }
}

/// Creator and timestamp. cosign writes `"optional": null`, which simple signing does not allow.
fn read_optional(
    value: &Value,
    kind: PayloadKind,
) -> Result<(Option<String>, Option<i64>), PayloadError> {
    if value.is_null() && kind == PayloadKind::Sigstore {
        return Ok((None, None));
    }
    let members = object(value)?;
    let creator = members.get("creator").map(|v| text(v, "optional.creator")).transpose()?;
    let timestamp = members.get("timestamp").map(whole_number).transpose()?;
    Ok((creator.map(str::to_owned), timestamp))
}

/// The reference reads a double and wants it to be whole.
fn whole_number(value: &Value) -> Result<i64, PayloadError> {
    if value.is_null() {
        return Ok(0);
    }
    if let Some(number) = value.as_i64() {
        return Ok(number);
    }
    let number = value.as_f64().ok_or(PayloadError::Timestamp)?;
    // 2^63 and more do not fit; below it the conversion of a whole double is exact.
    if number.fract() != 0.0 || number.abs() >= 9_223_372_036_854_775_808.0 {
        return Err(PayloadError::Timestamp);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    Ok(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn document(optional: &str) -> String {
        format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.test/a:1"}},"image":{{"docker-manifest-digest":"sha256:{HEX}"}},"type":"atomic container signature"}},"optional":{optional}}}"#
        )
    }

    fn parse(text: &str) -> Result<Payload, PayloadError> {
        Payload::parse(text.as_bytes(), PayloadKind::Simple)
    }

    #[test]
    fn writes_sorted_compact_documents_that_it_reads() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let identity: Reference = "r.test/a:1".parse().unwrap();
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_230_716);
        let payload = Payload::new(PayloadKind::Simple, &digest, &identity, now).unwrap();
        let bytes = payload.to_bytes(PayloadKind::Simple);
        let creator = PayloadKind::Simple.creator();
        let optional = format!(r#"{{"creator":"{creator}","timestamp":1795230716}}"#);
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), document(&optional));
        assert_eq!(Payload::parse(&bytes, PayloadKind::Simple).unwrap(), payload);
        let name = Reference::parse_any("r.test/a").unwrap();
        assert!(Payload::new(PayloadKind::Simple, &digest, &name, now).is_none());
    }

    #[test]
    fn sign_identities_are_written_out() {
        assert!(sign_identity("docker.io/library/busybox:1").is_ok());
        assert!(sign_identity(&format!("r.test:5000/a@sha256:{HEX}")).is_ok());
        let text = |bad: &str| sign_identity(bad).unwrap_err().to_string();
        assert!(text("busybox:1").contains("repository name must be canonical"));
        assert!(text("UPPER").starts_with("Could not parse --sign-identity"));
        assert_eq!(text("r.test/a"), "Sign identity must be a fully specified reference r.test/a");
    }

    #[test]
    fn optional_may_have_more_and_less() {
        for good in [
            "{}",
            r#"{"creator":null}"#,
            r#"{"timestamp":1e9}"#,
            r#"{"timestamp":-5}"#,
            r#"{"timestamp":1.0}"#,
            r#"{"more":{"x":[1]},"creator":"c"}"#,
        ] {
            assert!(parse(&document(good)).is_ok(), "{good}");
        }
        for (bad, phrase) in [
            ("null", "JSON object expected, got <nil>"),
            ("[]", "JSON object expected"),
            (r#"{"creator":1}"#, "Field optional.creator is not a string"),
            (r#"{"timestamp":1.5}"#, "Field optional.timestamp is not an integer"),
            (r#"{"timestamp":"1"}"#, "Field optional.timestamp is not an integer"),
            (r#"{"timestamp":1e300}"#, "Field optional.timestamp is not an integer"),
            (r#"{"timestamp":9223372036854775808}"#, "Field optional.timestamp is not an integer"),
            (r#"{"x":1,"x":2}"#, "payload cannot be read"),
        ] {
            let error = parse(&document(bad)).unwrap_err().to_string();
            assert!(error.contains(phrase), "{bad}: {error}");
        }
        let missing = document("{}").replace(r#","optional":{}"#, "");
        let error = parse(&missing).unwrap_err().to_string();
        assert_eq!(error, "Key \"optional\" missing in a JSON object");
    }

    #[test]
    fn sigstore_payloads_may_have_optional_null() {
        let text =
            document("null").replace("atomic container signature", PayloadKind::Sigstore.name());
        assert!(Payload::parse(text.as_bytes(), PayloadKind::Sigstore).is_ok());
        let error = Payload::parse(document("{}").as_bytes(), PayloadKind::Sigstore).unwrap_err();
        assert!(error.to_string().starts_with("Unrecognized signature type"));
    }

    #[test]
    fn critical_is_exact() {
        let good = document("{}");
        assert!(parse(&format!("{good} \n")).is_ok());
        let upper = HEX.to_uppercase();
        for (from, to) in [
            ("atomic", "Atomic"),
            (r#""type":"#, r#""Type":"#),
            (r#""type":"#, r#""x":1,"type":"#),
            (r#""type":"#, r#""type":"x","type":"#),
            (r#""docker-reference":"#, r#""x":1,"docker-reference":"#),
            (r#""docker-manifest-digest":"#, r#""x":1,"docker-manifest-digest":"#),
            (r#"{"critical":"#, r#"{"x":1,"critical":"#),
            (r#""docker-reference":"r.test/a:1""#, r#""docker-reference":1"#),
            (r#""docker-reference":"r.test/a:1""#, ""),
            ("sha256:", "sha257:"),
            ("sha256:", ""),
            (HEX, &upper),
            (HEX, "00"),
            (r#"{"docker-reference":"r.test/a:1"}"#, "null"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(parse(&bad).is_err(), "{bad}");
        }
        for bad in [
            format!("{good}x"),
            format!("{good}{good}"),
            String::new(),
            "This is not JSON\n".to_owned(),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        let large = format!("{good}{}", " ".repeat(PAYLOAD_LIMIT));
        assert!(parse(&large).is_err());
    }
}
