//! Identity tokens (RFC 7519), as their holder reads them: their signature is for Fulcio to verify.

use std::fmt;
use std::time::{Duration, SystemTime};

use securecp_oci::json::{self, Limits};
use securecp_oci::{Escaped, base64};
use serde_json::Value;
use zeroize::Zeroizing;

use super::KeylessError;

/// Largest token that is taken, in bytes.
const TOKEN_LIMIT: usize = 64 << 10;

/// Ways of signing tokens that Fulcio knows (RFC 7518, RFC 8037).
const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// A text that is never shown and is wiped when it goes.
#[derive(Clone, Default)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A token whose claims have been read.
#[derive(Debug, Clone)]
pub(super) struct IdentityToken {
    text: SecretText,
    /// Whom it is about: the verified e-mail address, or else the subject.
    pub(super) subject: String,
    pub(super) nonce: Option<String>,
    expires: Option<SystemTime>,
}

impl IdentityToken {
    /// Reads the claims of a token.
    pub(super) fn parse(text: SecretText) -> Result<Self, KeylessError> {
        let (header, claims) = parts(text.expose()).ok_or_else(|| {
            problem("expected three parts of base64 with points between them, JSON inside")
        })?;
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        if !ALGORITHMS.contains(&algorithm) {
            return Err(problem("it is not signed in a way that Fulcio knows"));
        }
        let claim = |key| claims.get(key).and_then(Value::as_str).map(str::to_owned);
        let subject = match claim("email").filter(|email| !email.is_empty()) {
            Some(email) if is_true(claims.get("email_verified")) => email,
            Some(email) => {
                let shown = Escaped::new(&email).limit(200).to_string();
                let text = format!("email address {shown} not verified by identity provider");
                return Err(KeylessError::Token(text));
            }
            None => claim("sub")
                .filter(|subject| !subject.is_empty())
                .ok_or_else(|| problem("it names neither an e-mail address nor a subject"))?,
        };
        let seconds = claims.get("exp").and_then(Value::as_f64).filter(|at| *at >= 0.0);
        let expires = seconds
            .and_then(|at| Duration::try_from_secs_f64(at).ok())
            .and_then(|at| SystemTime::UNIX_EPOCH.checked_add(at));
        Ok(Self { text, subject, nonce: claim("nonce"), expires })
    }

    /// The token, unless it has expired: an authority would only say no.
    pub(super) fn fresh(&self, now: SystemTime) -> Result<&SecretText, KeylessError> {
        match self.expires {
            Some(end) if end <= now => Err(problem("it has expired")),
            _ => Ok(&self.text),
        }
    }
}

fn problem(text: &str) -> KeylessError {
    KeylessError::Token(text.to_owned())
}

/// Some providers write the truth as a text.
fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.as_bool() == Some(true) || value.as_str() == Some("true"))
}

/// Header and claims.
fn parts(token: &str) -> Option<(Value, Value)> {
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    let parts: Vec<&str> = token.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else { return None };
    let read = |part| json::parse(&decode(part)?, Limits::bytes(TOKEN_LIMIT)).ok();
    let (header, claims) = (read(header)?, read(claims)?);
    let whole = header.is_object() && claims.is_object() && !signature.is_empty();
    whole.then_some((header, claims))
}

/// The alphabet for addresses, without padding (RFC 4648 section 5).
fn decode(part: &str) -> Option<Zeroizing<Vec<u8>>> {
    if part.contains(['+', '/', '=']) {
        return None;
    }
    let mut text = Zeroizing::new(part.replace('-', "+").replace('_', "/"));
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    base64::decode(&text).ok().map(Zeroizing::new)
}

/// The same alphabet, to be written.
pub(super) fn encode(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> Result<IdentityToken, KeylessError> {
        let text = format!("{}.{}.sig", encode(header.as_bytes()), encode(claims.as_bytes()));
        IdentityToken::parse(SecretText::new(text))
    }

    const ES256: &str = r#"{"alg":"ES256"}"#;

    #[test]
    fn knows_whom_it_is_about() {
        for (claims, subject) in [
            (r#"{"email":"a@x.test","email_verified":true,"sub":"1"}"#, "a@x.test"),
            (r#"{"email":"a@x.test","email_verified":"true"}"#, "a@x.test"),
            (r#"{"sub":"repo:a/b:ref:x"}"#, "repo:a/b:ref:x"),
            (r#"{"email":"","sub":"s"}"#, "s"),
        ] {
            assert_eq!(token(ES256, claims).unwrap().subject, subject);
        }
    }

    #[test]
    fn refuses_what_no_authority_would_take() {
        for (header, claims, says) in [
            (ES256, r#"{"email":"a@x.test","sub":"1"}"#, "not verified by identity provider"),
            (ES256, r#"{"email":"a@x.test","email_verified":false}"#, "not verified"),
            (ES256, "{}", "neither an e-mail address nor a subject"),
            (r#"{"alg":"none"}"#, r#"{"sub":"1"}"#, "not signed in a way"),
            (r#"{"alg":"HS256"}"#, r#"{"sub":"1"}"#, "not signed in a way"),
            (ES256, r#"{"sub":"1","sub":"2"}"#, "three parts"),
            (ES256, "[]", "three parts"),
        ] {
            let error = token(header, claims).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for text in ["", "a", "a.b", "a.b.c.d", "e30.e30.", "e3+.e30.x"] {
            assert!(IdentityToken::parse(SecretText::new(text.to_owned())).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expired_one_is_not_sent() {
        let found = token(ES256, r#"{"sub":"1","exp":1000}"#).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(found.fresh(at(999)).is_ok());
        assert!(found.fresh(at(1000)).unwrap_err().to_string().contains("expired"));
        assert!(token(ES256, r#"{"sub":"1","exp":1e300}"#).unwrap().fresh(at(1)).is_ok());
    }

    #[test]
    fn is_never_shown() {
        let found = token(ES256, r#"{"sub":"1"}"#).unwrap();
        assert!(!format!("{found:?}").contains("sig"), "{found:?}");
    }
}
