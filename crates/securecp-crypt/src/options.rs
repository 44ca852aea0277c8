use securecp_oci::json::{self, Limits};
use securecp_oci::{Digest, base64};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::secret::{Key, SecretText, decode_key, random};
use crate::{CryptError, Secret};

/// The only cipher of the format: AES-256 in counter mode, HMAC-SHA-256 over the ciphertext, one key for both.
pub(crate) const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";
/// Largest options document that is read, in bytes; a real one has about 200.
const LIMIT: usize = 4096;

/// What decrypts one layer; travels only wrapped.
#[derive(Clone)]
pub(crate) struct PrivateOptions {
    pub(crate) key: Key<32>,
    pub(crate) nonce: Key<16>,
    /// Digest of the plaintext, as far as the writer knew it: a hint, since the reference names the source blob even
    /// if it was recompressed before encryption.
    pub(crate) digest: Option<Digest>,
}

#[derive(Deserialize)]
struct Wire {
    symkey: SecretText,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    cipheroptions: Option<CipherOptions>,
}

#[derive(Deserialize)]
struct CipherOptions {
    #[serde(default)]
    nonce: Option<SecretText>,
}

impl PrivateOptions {
    /// Draws a fresh key and nonce.
    pub(crate) fn draw() -> Result<Self, CryptError> {
        Ok(Self { key: random()?, nonce: random()?, digest: None })
    }

    /// The document that is wrapped, byte for byte as the reference writes it.
    pub(crate) fn to_json(&self) -> Secret {
        let key = Zeroizing::new(base64::encode(self.key.as_ref()));
        let nonce = Zeroizing::new(base64::encode(self.nonce.as_ref()));
        let digest = self.digest.as_ref().map(Digest::to_string).unwrap_or_default();
        let parts = [
            r#"{"symkey":""#,
            &key,
            r#"","digest":""#,
            &digest,
            r#"","cipheroptions":{"nonce":""#,
            &nonce,
            r#""}}"#,
        ];
        let mut text = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            text.extend_from_slice(part.as_bytes());
        }
        Secret::new(text)
    }

    /// Reads an unwrapped document: any member order, unknown members ignored. The error quotes nothing of it.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > LIMIT {
            return Err("options are too large");
        }
        let wire: Wire =
            serde_json::from_slice(bytes).map_err(|_| "options are not the JSON expected")?;
        let key = decode_key(&wire.symkey.0).ok_or("symkey is not 32 bytes in base64")?;
        let nonce = wire.cipheroptions.and_then(|o| o.nonce).ok_or("there is no private nonce")?;
        Ok(Self {
            key,
            nonce: decode_key(&nonce.0).ok_or("nonce is not 16 bytes in base64")?,
            digest: wire.digest.and_then(|text| text.parse().ok()),
        })
    }
}

/// What stands readable beside the wrapped keys: cipher and MAC of the ciphertext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicOptions {
    pub(crate) hmac: [u8; 32],
}

impl PublicOptions {
    /// The document as the reference writes it.
    pub(crate) fn to_json(&self) -> String {
        let hmac = base64::encode(&self.hmac);
        format!(r#"{{"cipher":"{CIPHER}","hmac":"{hmac}","cipheroptions":{{}}}}"#)
    }

    /// Reads the document strictly. A nonce here would override the wrapped one in the reference, without being
    /// covered by the MAC: garbage would pass as plaintext. So nothing but cipher and MAC is taken.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let value = json::parse(bytes, Limits { depth: 4, ..Limits::bytes(LIMIT) })
            .map_err(|_| "not one strict JSON document".to_owned())?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("cipher") {
            CIPHER => {}
            "" => return Err("no cipher type provided".to_owned()),
            other => {
                let shown = securecp_oci::Escaped::new(other).limit(80);
                return Err(format!("unsupported cipher type: {shown}"));
            }
        }
        match value.get("cipheroptions") {
            None | Some(Value::Null) => {}
            Some(Value::Object(options)) if options.is_empty() => {}
            Some(_) => return Err("cipher options are public, expected none".to_owned()),
        }
        let hmac = text("hmac");
        if hmac.is_empty() {
            return Err("HMAC is not provided for decryption process".to_owned());
        }
        let hmac = decode_key(hmac).ok_or("HMAC is not 32 bytes in base64")?;
        Ok(Self { hmac: *hmac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::Algorithm;

    fn options() -> PrivateOptions {
        let digest = Some(Digest::of(Algorithm::Sha256, b"x"));
        PrivateOptions { digest, ..PrivateOptions::draw().unwrap() }
    }

    #[test]
    fn writes_private_options_as_the_reference_does() {
        let key = Zeroizing::new([0xff; 32]);
        let text = PrivateOptions { key, nonce: Zeroizing::new([0; 16]), ..options() }.to_json();
        let expected = concat!(
            r#"{"symkey":"//////////////////////////////////////////8=","digest":"sha256:"#,
            "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
            r#"","cipheroptions":{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#
        );
        assert_eq!(std::str::from_utf8(&text).unwrap(), expected);
        assert_eq!(text.len(), 193);
    }

    #[test]
    fn reads_private_options_in_any_order() {
        let made = options();
        let read = PrivateOptions::from_json(&made.to_json()).unwrap();
        assert_eq!((*read.key, *read.nonce, read.digest), (*made.key, *made.nonce, made.digest));
        let other = r#"{"x":[1],"cipheroptions":{"y":"","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="},"symkey":"//////////////////////////////////////////8="}"#;
        assert!(PrivateOptions::from_json(other.as_bytes()).unwrap().digest.is_none());
    }

    #[test]
    fn refuses_wrong_lengths_and_missing_parts_without_quoting_them() {
        let good = String::from_utf8(options().to_json().to_vec()).unwrap();
        for (from, to) in [
            (r#"{"symkey":""#, r#"{"symkey":"AAAA"#),
            ("symkey", "s"),
            ("nonce\":\"", "nonce\":\"AAAA"),
            (r#""nonce""#, r#""n""#),
            ("}}", "}"),
            ("{\"symkey", "{\"symkey\":\"\",\"symkey"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(PrivateOptions::from_json(bad.as_bytes()).is_err(), "{from} -> {to}");
        }
        let null =
            r#"{"symkey":"//////////////////////////////////////////8=","cipheroptions":null}"#;
        assert!(PrivateOptions::from_json(null.as_bytes()).is_err());
        let padded = |count| format!("{good}{}", " ".repeat(count - good.len()));
        assert!(PrivateOptions::from_json(padded(LIMIT).as_bytes()).is_ok());
        assert!(PrivateOptions::from_json(padded(LIMIT + 1).as_bytes()).is_err());
    }

    #[test]
    fn reads_public_options_strictly() {
        let made = PublicOptions { hmac: [7; 32] };
        let text = made.to_json();
        assert_eq!(PublicOptions::from_json(text.as_bytes()).unwrap(), made);
        let null = text.replace("{}", "null");
        assert_eq!(PublicOptions::from_json(null.as_bytes()).unwrap(), made);
        for (from, to) in [
            ("{}", r#"{"nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}"#),
            ("{}", r#"{"nonce":"AAAAAAAAAAA="}"#),
            ("{}", r#"{"other":""}"#),
            ("{}", "7"),
            (CIPHER, ""),
            (CIPHER, "AES_256_GCM"),
            ("\"hmac\":\"", "\"hmac\":\"AAAA"),
            ("hmac", "mac"),
            ("{\"cipher", "{\"cipher\":\"\",\"cipher"),
            ("}}", "}} "),
        ] {
            let bad = text.replacen(from, to, 1);
            let outcome = PublicOptions::from_json(bad.as_bytes());
            assert_eq!(outcome.is_err(), to != "}} ", "{from} -> {to}");
        }
        assert!(PublicOptions::from_json(b"{}").unwrap_err().contains("no cipher type"));
    }
}
