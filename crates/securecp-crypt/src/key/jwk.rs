//! JSON Web Keys (RFC 7517, RFC 7518 section 6): RSA and EC.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::asymmetric::{Curve, Kind};
use super::{PrivateKey, PublicKey};
use crate::secret::SecretText;

/// The members used; others are ignored.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
    #[serde(default)]
    d: Option<SecretText>,
    #[serde(default)]
    p: Option<SecretText>,
    #[serde(default)]
    q: Option<SecretText>,
    #[serde(default)]
    dp: Option<SecretText>,
    #[serde(default)]
    dq: Option<SecretText>,
    #[serde(default)]
    qi: Option<SecretText>,
}

/// A key read, or why it cannot be used.
pub(crate) type Outcome<T> = Result<T, &'static str>;

impl Jwk {
    /// Reads one key; `None` if `text` is not a JWK at all.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Whether `text` is a JWK set (RFC 7517 section 5), several keys in one document.
    pub(crate) fn is_set(text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Set {
            #[serde(rename = "keys")]
            _keys: Vec<serde::de::IgnoredAny>,
        }
        serde_json::from_slice::<Set>(text).is_ok()
    }

    pub(crate) fn is_private(&self) -> bool {
        self.d.is_some()
    }

    pub(crate) fn private(&self) -> Outcome<PrivateKey> {
        let key = match self.kty.as_str() {
            "RSA" => self.private_rsa()?,
            "EC" => self.private_ec()?,
            _ => return Err("a JWK of another type than RSA or EC"),
        };
        Ok(PrivateKey { kind: Kind::of(&key)?, key })
    }

    pub(crate) fn public(&self) -> Outcome<PublicKey> {
        let key = match self.kty.as_str() {
            "RSA" => self.public_rsa()?,
            "EC" => PKey::from_ec_key(self.public_ec()?).map_err(broken)?,
            _ => return Err("a JWK of another type than RSA or EC"),
        };
        let key = PublicKey::new(key)?;
        Ok(PublicKey { id: self.kid.clone(), algorithm: self.alg.clone(), ..key })
    }

    fn public_rsa(&self) -> Outcome<PKey<Public>> {
        let (n, e) = (public_number(&self.n)?, public_number(&self.e)?);
        let make = || PKey::from_rsa(Rsa::from_public_components(n, e)?);
        make().map_err(broken)
    }

    fn private_rsa(&self) -> Outcome<PKey<Private>> {
        let (n, e) = (public_number(&self.n)?, public_number(&self.e)?);
        let builder = RsaPrivateKeyBuilder::new(n, e, secret_number(&self.d)?).map_err(broken)?;
        let whole = [&self.p, &self.q, &self.dp, &self.dq, &self.qi].iter().all(|m| m.is_some());
        let rsa = if whole { self.add_factors(builder)?.build() } else { builder.build() };
        PKey::from_rsa(rsa).map_err(broken)
    }

    fn add_factors(&self, builder: RsaPrivateKeyBuilder) -> Outcome<RsaPrivateKeyBuilder> {
        let (p, q) = (secret_number(&self.p)?, secret_number(&self.q)?);
        let (dp, dq, qi) =
            (secret_number(&self.dp)?, secret_number(&self.dq)?, secret_number(&self.qi)?);
        let add = || builder.set_factors(p, q)?.set_crt_params(dp, dq, qi);
        add().map_err(broken)
    }

    fn curve(&self) -> Outcome<(Curve, EcGroup)> {
        let curve = self.crv.as_deref().and_then(Curve::named);
        let curve = curve.ok_or("an EC key on another curve than P-256, P-384 or P-521")?;
        Ok((curve, EcGroup::from_curve_name(curve.nid()).map_err(broken)?))
    }

    fn public_ec(&self) -> Outcome<EcKey<Public>> {
        let (_, group) = self.curve()?;
        let (x, y) = (public_number(&self.x)?, public_number(&self.y)?);
        let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).map_err(broken)?;
        key.check_key().map_err(broken)?;
        Ok(key)
    }

    fn private_ec(&self) -> Outcome<PKey<Private>> {
        let public = self.public_ec()?;
        let mut d = secret_number(&self.d)?;
        let make = || {
            let key = EcKey::from_private_components(public.group(), &d, public.public_key())?;
            key.check_key()?;
            PKey::from_ec_key(key)
        };
        let key = make().map_err(broken);
        d.clear();
        key
    }
}

fn broken(_: ErrorStack) -> &'static str {
    "a JWK whose numbers do not make a key"
}

fn public_number(text: &Option<String>) -> Outcome<BigNum> {
    number(text.as_deref())
}

fn secret_number(text: &Option<SecretText>) -> Outcome<BigNum> {
    number(text.as_ref().map(|text| text.0.as_str()))
}

fn number(text: Option<&str>) -> Outcome<BigNum> {
    let text = text.ok_or("a JWK that lacks a number")?;
    let decoded = URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
    let bytes = decoded.map_err(|_| "a JWK with a number that is not base64url")?;
    if bytes.len() > 4096 {
        return Err("a JWK with a number that is too large");
    }
    BigNum::from_slice(&bytes).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638, section 3.1.
    #[test]
    fn computes_the_published_thumbprint() {
        let text = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let key = Jwk::parse(text.as_bytes()).unwrap().public().unwrap();
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.id.as_deref(), Some("2011-04-29"));
    }

    #[test]
    fn refuses_points_off_the_curve_and_other_types() {
        for bad in [
            r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}"#,
            r#"{"kty":"EC","crv":"secp256k1","x":"AQ","y":"AQ"}"#,
            r#"{"kty":"RSA","n":"AQAB"}"#,
            r#"{"kty":"RSA","n":"A+==","e":"AQAB"}"#,
            r#"{"kty":"oct","k":"AQ"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"AQ"}"#,
        ] {
            assert!(Jwk::parse(bad.as_bytes()).unwrap().public().is_err(), "{bad}");
        }
        assert!(Jwk::parse(b"{}").is_none());
    }
}
