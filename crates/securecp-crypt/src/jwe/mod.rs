//! Key wrapping with JSON Web Encryption (RFC 7516, RFC 7518), as far as the reference uses it: RSA-OAEP,
//! RSA-OAEP-256 and ECDH-ES with AES key wrap; every content encryption of RFC 7518.
//!
//! Written on OpenSSL rather than with a JOSE library: those at hand stop at the first recipient whose algorithm
//! matches, accept compressed content, or panic on short wrapped keys.

mod content;
mod management;
mod message;

use securecp_oci::Escaped;
use serde_json::Value;

use self::content::Content;
use self::management::Management;
use self::message::{Message, Part};
use crate::key::{PrivateKey, PublicKey};
use crate::{Budget, CryptError, KeyUnwrapper, KeyWrapper, Recipient, Scheme, Secret, Unwrapped};

/// Wraps layer keys for RSA and EC public keys, all in one JWE.
#[derive(Debug)]
pub struct JweRecipients(Vec<(PublicKey, Management)>);

impl JweRecipients {
    /// Takes the public keys.
    ///
    /// # Errors
    /// A JWK names an algorithm that does not exist here or does not fit it, or an RSA key has less than 2048 bits.
    pub fn new(keys: Vec<PublicKey>) -> Result<Self, CryptError> {
        let choose = |key: PublicKey| {
            let management = Management::for_key(&key)
                .map_err(|problem| CryptError::Wrap { scheme: Scheme::Jwe, problem })?;
            Ok((key, management))
        };
        keys.into_iter().map(choose).collect::<Result<_, _>>().map(Self)
    }
}

impl KeyWrapper for JweRecipients {
    fn scheme(&self) -> Scheme {
        Scheme::Jwe
    }

    fn recipients(&self) -> Vec<Recipient> {
        let id = |key: &PublicKey| match &key.id {
            Some(id) => format!("{} (kid {})", key.thumbprint(), Escaped::new(id).limit(80)),
            None => key.thumbprint(),
        };
        self.0.iter().map(|(key, _)| Recipient { scheme: Scheme::Jwe, id: id(key) }).collect()
    }

    fn wrap(&self, options: &Secret) -> Result<Vec<u8>, CryptError> {
        let content = Content::A256Gcm;
        let key = content.draw_key()?;
        crate::wrapper::check_count(Scheme::Jwe, self.0.len(), message::RECIPIENT_LIMIT)?;
        let parts = self.0.iter().map(|(public, management)| management.wrap(public, &key));
        let item = Message::seal(parts.collect::<Result<_, _>>()?, content, &key, options)?;
        let read = Message::parse(&item).map(|message| message.parts.len());
        crate::wrapper::check_readable(Scheme::Jwe, read, self.0.len())?;
        Ok(item)
    }
}

/// Unwraps layer keys with RSA and EC private keys.
#[derive(Debug)]
pub struct JweKeys(Vec<PrivateKey>);

impl JweKeys {
    /// Takes the private keys.
    pub fn new(keys: Vec<PrivateKey>) -> Self {
        Self(keys)
    }
}

impl KeyUnwrapper for JweKeys {
    fn scheme(&self) -> Scheme {
        Scheme::Jwe
    }

    /// Every recipient is tried with every key that fits its algorithm and size.
    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        let Some(message) = Message::parse(item) else { return Ok(Unwrapped::NotMine) };
        let mut outcome = Unwrapped::NotMine;
        for part in &message.parts {
            let Some(management) = Management::of_part(part) else { continue };
            for key in self.0.iter().filter(|key| management.fits(key, part)) {
                budget.spend()?;
                match open(&message, part, management, key) {
                    Unwrapped::NotMine => {}
                    mine @ Unwrapped::Mine(_) => return Ok(mine),
                    broken @ (Unwrapped::Broken(_) | Unwrapped::Failed(_)) => outcome = broken,
                }
            }
        }
        Ok(outcome)
    }
}

fn open(message: &Message, part: &Part, management: Management, key: &PrivateKey) -> Unwrapped {
    let Some(content) = Content::of_part(part) else { return Unwrapped::NotMine };
    let Some(cek) = management.unwrap(key, part) else { return Unwrapped::NotMine };
    if cek.len() != content.key_length() {
        return Unwrapped::Broken("the JWE's content key has the wrong length");
    }
    match content.open(&cek, message) {
        Some(options) => Unwrapped::Mine(options),
        None => Unwrapped::Broken("the JWE's content does not match its tag"),
    }
}

/// For whom an item was wrapped, as far as it says so; `None` if it is not a JWE.
pub(crate) fn describe(item: &[u8]) -> Option<Vec<String>> {
    let message = Message::parse(item)?;
    let text = |part: &Part, name: &str| {
        let value = part.get(name).and_then(Value::as_str);
        value.map(|text| Escaped::new(text).limit(80).to_string())
    };
    let describe = |part: &Part| {
        let algorithm = text(part, "alg").unwrap_or_else(|| "no algorithm".to_owned());
        let sort = match Management::of_part(part) {
            Some(Management::Rsa(_)) => format!(" ({}-bit key)", part.encrypted_key.len() * 8),
            Some(Management::Ecdh(_)) => part
                .get("epk")
                .and_then(|epk| epk.get("crv"))
                .and_then(Value::as_str)
                .map(|curve| format!(" ({})", Escaped::new(curve).limit(20)))
                .unwrap_or_default(),
            None => String::new(),
        };
        let id = text(part, "kid").map(|id| format!(" kid {id}")).unwrap_or_default();
        format!("{algorithm}{sort}{id}")
    };
    Some(message.parts.iter().map(describe).collect())
}
