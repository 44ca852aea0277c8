//! `securecp manifest-digest`

use std::fs::File;
use std::io::Read;

use anyhow::Context;
use securecp_oci::base64;
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, Hasher, MANIFEST_LIMIT};
use serde_json::Value;

use crate::args::ManifestDigestArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Prints the digest of a manifest file. Any bytes have one; only a signed schema 1 manifest is hashed without its
/// signature.
pub(crate) fn run(args: &ManifestDigestArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let opened = File::open(&args.file);
    let name = || format!("reading {}", args.file.display());
    let digest = opened.and_then(digest_of).with_context(name)?;
    session.write(format!("{digest}\n").as_bytes())
}

/// The digest that signatures use for a manifest file.
pub(super) fn digest_of(mut file: impl Read) -> std::io::Result<Digest> {
    let mut bytes = Vec::new();
    file.by_ref().take(MANIFEST_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= MANIFEST_LIMIT {
        return Ok(Digest::of(Algorithm::Sha256, unsigned(&bytes).as_deref().unwrap_or(&bytes)));
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    while !bytes.is_empty() {
        hasher.update(&bytes);
        bytes.clear();
        file.by_ref().take(1 << 20).read_to_end(&mut bytes)?;
    }
    Ok(hasher.finish())
}

/// What a schema 1 manifest was before its JSON web signature was put in: the protected header of the signature says
/// how many bytes to keep and what to put behind them (libtrust's "pretty signature").
fn unsigned(bytes: &[u8]) -> Option<Vec<u8>> {
    let value = json::parse(bytes, Limits::bytes(MANIFEST_LIMIT)).ok()?;
    if value.get("schemaVersion")?.as_u64() != Some(1) {
        return None;
    }
    let header = value.get("signatures")?.get(0)?.get("protected")?.as_str()?;
    let header = json::parse(&decode_url(header)?, Limits::bytes(MANIFEST_LIMIT)).ok()?;
    let length = usize::try_from(header.get("formatLength").and_then(Value::as_u64)?).ok()?;
    let tail = decode_url(header.get("formatTail")?.as_str()?)?;
    Some([bytes.get(..length)?, &tail].concat())
}

/// Base64 with the URL alphabet and without padding (RFC 7515 section 2).
fn decode_url(text: &str) -> Option<Vec<u8>> {
    let mut standard = text.replace('-', "+").replace('_', "/");
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    base64::decode(&standard).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_have_a_digest() {
        let of = |bytes: &[u8]| digest_of(bytes).unwrap();
        assert_eq!(of(b""), Digest::of(Algorithm::Sha256, b""));
        assert_eq!(of(b"not JSON"), Digest::of(Algorithm::Sha256, b"not JSON"));
        assert_eq!(
            of(b"{\"schemaVersion\":1}"),
            Digest::of(Algorithm::Sha256, b"{\"schemaVersion\":1}")
        );
        let long = vec![b'x'; MANIFEST_LIMIT + 3_000_000];
        assert_eq!(of(&long), Digest::of(Algorithm::Sha256, &long));
    }

    #[test]
    fn a_schema_1_signature_is_left_out() {
        let plain = "{\n   \"schemaVersion\": 1,\n   \"name\": \"x\"\n}";
        let header = format!(
            r#"{{"formatLength":{},"formatTail":"{}"}}"#,
            plain.len() - 2,
            base64::encode(b"\n}").trim_end_matches('=')
        );
        let url = |text: &str| base64::encode(text.as_bytes()).replace('=', "").replace('+', "-");
        let signed = format!(
            "{},\n   \"signatures\": [{{\"protected\": \"{}\"}}]\n}}",
            &plain[..plain.len() - 2],
            url(&header)
        );
        let expected = Digest::of(Algorithm::Sha256, plain.as_bytes());
        assert_eq!(digest_of(signed.as_bytes()).unwrap(), expected);
    }
}
