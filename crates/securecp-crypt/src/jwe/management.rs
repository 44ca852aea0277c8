use std::sync::Arc;

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::pkey::{HasPrivate, PKey, PKeyRef, Public};
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::Padding;
use ring::digest;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::message::{Part, decode, encode};
use crate::key::asymmetric::{Curve, Kind, coordinates};
use crate::key::{PrivateKey, PublicKey};
use crate::{CryptError, Secret};

/// How content keys are managed (RFC 7518, sections 4.3 and 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Management {
    Rsa(Oaep),
    Ecdh(Wrap),
}

/// The hash of OAEP and its mask generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oaep {
    Sha1,
    Sha256,
}

/// The AES key wrap behind ECDH-ES, by key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrap {
    A128,
    A192,
    A256,
}

/// Lengths of RSA keys that are encrypted for, in bits.
const RSA_MINIMUM: u32 = 2048;

impl Management {
    const ALL: [Self; 5] = [
        Self::Rsa(Oaep::Sha1),
        Self::Rsa(Oaep::Sha256),
        Self::Ecdh(Wrap::A128),
        Self::Ecdh(Wrap::A192),
        Self::Ecdh(Wrap::A256),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rsa(Oaep::Sha1) => "RSA-OAEP",
            Self::Rsa(Oaep::Sha256) => "RSA-OAEP-256",
            Self::Ecdh(Wrap::A128) => "ECDH-ES+A128KW",
            Self::Ecdh(Wrap::A192) => "ECDH-ES+A192KW",
            Self::Ecdh(Wrap::A256) => "ECDH-ES+A256KW",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|management| management.name() == name)
    }

    pub(crate) fn of_part(part: &Part) -> Option<Self> {
        part.get("alg").and_then(Value::as_str).and_then(Self::named)
    }

    /// The algorithm for a recipient: what its JWK names, else RSA-OAEP or ECDH-ES+A256KW as the reference chooses.
    pub(crate) fn for_key(key: &PublicKey) -> Result<Self, String> {
        if let Kind::Rsa(bits) = key.kind
            && bits < RSA_MINIMUM
        {
            return Err(format!(
                "the RSA key has {bits} bits, expected at least {RSA_MINIMUM}: make a longer key for this recipient"
            ));
        }
        let named = match &key.algorithm {
            Some(name) => Some(Self::named(name).ok_or_else(|| {
                let shown = securecp_oci::Escaped::new(name).limit(80);
                format!("{shown} is an unsupported JWE key algorithm")
            })?),
            None => None,
        };
        match (key.kind, named) {
            (Kind::Rsa(_), None) => Ok(Self::Rsa(Oaep::Sha1)),
            (Kind::Ec(_), None) => Ok(Self::Ecdh(Wrap::A256)),
            (Kind::Rsa(_), Some(rsa @ Self::Rsa(_))) => Ok(rsa),
            (Kind::Ec(_), Some(ecdh @ Self::Ecdh(_))) => Ok(ecdh),
            (_, Some(other)) => Err(format!("{} does not fit the type of the key", other.name())),
        }
    }

    /// Whether it is worth a private-key operation: right type, right length, right curve.
    pub(crate) fn fits(self, key: &PrivateKey, part: &Part) -> bool {
        match (self, key.kind) {
            (Self::Rsa(_), Kind::Rsa(_)) => part.encrypted_key.len() == key.key.size(),
            (Self::Ecdh(_), Kind::Ec(curve)) => {
                ephemeral_curve(part) == Some(curve) && wrapped_length(&part.encrypted_key)
            }
            _ => false,
        }
    }

    /// The content key, or `None` if it is not for this key.
    pub(crate) fn unwrap(self, key: &PrivateKey, part: &Part) -> Option<Secret> {
        match self {
            Self::Rsa(oaep) => oaep.decrypt(&key.key, &part.encrypted_key),
            Self::Ecdh(wrap) => {
                let peer = ephemeral(part)?;
                let parties = [party(part, "apu")?, party(part, "apv")?];
                let kek = wrap.agree(&key.key, &peer, &parties).ok()?;
                wrap.unwrap(&kek, &part.encrypted_key).ok()
            }
        }
    }

    /// Wraps a content key; the part's own header has everything but `enc`.
    pub(crate) fn wrap(self, key: &PublicKey, cek: &Secret) -> Result<Part, CryptError> {
        let mut own = Map::new();
        own.insert("alg".to_owned(), self.name().into());
        if let Some(id) = &key.id {
            own.insert("kid".to_owned(), id.as_str().into());
        }
        let encrypted_key = match (self, key.kind) {
            (Self::Rsa(oaep), Kind::Rsa(_)) => oaep.encrypt(&key.key, cek),
            (Self::Ecdh(wrap), Kind::Ec(curve)) => wrap.seal(&key.key, curve, cek, &mut own),
            _ => return Err(CryptError::Library("choosing a JWE algorithm")),
        };
        let encrypted_key = encrypted_key.map_err(|_| CryptError::Library("wrapping a JWE key"))?;
        Ok(Part { own, shared: Arc::default(), encrypted_key })
    }
}

impl Oaep {
    fn md(self) -> &'static MdRef {
        match self {
            Self::Sha1 => Md::sha1(),
            Self::Sha256 => Md::sha256(),
        }
    }

    fn configure<T>(self, context: &mut PkeyCtxRef<T>) -> Result<(), ErrorStack> {
        context.set_rsa_padding(Padding::PKCS1_OAEP)?;
        context.set_rsa_oaep_md(self.md())?;
        context.set_rsa_mgf1_md(self.md())
    }

    fn encrypt(self, key: &PKeyRef<Public>, plain: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut context = PkeyCtx::new(key)?;
        context.encrypt_init()?;
        self.configure(&mut context)?;
        let mut out = Vec::new();
        context.encrypt_to_vec(plain, &mut out)?;
        Ok(out)
    }

    fn decrypt<T: HasPrivate>(self, key: &PKeyRef<T>, wrapped: &[u8]) -> Option<Secret> {
        let attempt = || -> Result<Secret, ErrorStack> {
            let mut context = PkeyCtx::new(key)?;
            context.decrypt_init()?;
            self.configure(&mut context)?;
            let mut out = Zeroizing::new(vec![0; key.size()]);
            let length = context.decrypt(wrapped, Some(&mut out))?;
            Ok(Secret::new(out[..length.min(out.len())].to_vec()))
        };
        attempt().ok()
    }
}

impl Wrap {
    fn key_length(self) -> usize {
        match self {
            Self::A128 => 16,
            Self::A192 => 24,
            Self::A256 => 32,
        }
    }

    fn cipher(self) -> &'static CipherRef {
        match self {
            Self::A128 => Cipher::aes_128_wrap(),
            Self::A192 => Cipher::aes_192_wrap(),
            Self::A256 => Cipher::aes_256_wrap(),
        }
    }

    /// The key that wraps: ECDH (SP 800-56A) and the concatenation KDF with SHA-256, of which one round is enough.
    fn agree<T: HasPrivate>(
        self,
        own: &PKeyRef<T>,
        peer: &PKeyRef<Public>,
        parties: &[Vec<u8>; 2],
    ) -> Result<Secret, ErrorStack> {
        let mut context = PkeyCtx::new(own)?;
        context.derive_init()?;
        context.derive_set_peer(peer)?;
        let mut shared = Zeroizing::new(vec![0; context.derive(None)?]);
        let length = context.derive(Some(&mut shared))?;
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&1u32.to_be_bytes());
        hash.update(&shared[..length.min(shared.len())]);
        let [apu, apv] = parties;
        for field in [Management::Ecdh(self).name().as_bytes(), apu, apv] {
            hash.update(&(field.len() as u32).to_be_bytes());
            hash.update(field);
        }
        hash.update(&(self.key_length() as u32 * 8).to_be_bytes());
        Ok(Secret::new(hash.finish().as_ref()[..self.key_length()].to_vec()))
    }

    fn seal(
        self,
        key: &PKeyRef<Public>,
        curve: Curve,
        cek: &[u8],
        header: &mut Map<String, Value>,
    ) -> Result<Vec<u8>, ErrorStack> {
        let group = EcGroup::from_curve_name(curve.nid())?;
        let ephemeral = EcKey::generate(&group)?;
        let (x, y) = coordinates(&ephemeral, curve)?;
        let point = json!({"kty": "EC", "crv": curve.name(), "x": encode(&x), "y": encode(&y)});
        header.insert("epk".to_owned(), point);
        let kek = self.agree(&*PKey::from_ec_key(ephemeral)?, key, &Default::default())?;
        let mut context = CipherCtx::new()?;
        context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
        context.encrypt_init(Some(self.cipher()), Some(&kek), None)?;
        let mut out = Vec::new();
        context.cipher_update_vec(cek, &mut out)?;
        Ok(out)
    }

    /// RFC 3394; fails if the key is another one. The length was checked by [`Management::fits`].
    fn unwrap(self, kek: &[u8], wrapped: &[u8]) -> Result<Secret, ErrorStack> {
        let mut context = CipherCtx::new()?;
        context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
        context.decrypt_init(Some(self.cipher()), Some(kek), None)?;
        let mut out = Vec::with_capacity(wrapped.len());
        context.cipher_update_vec(wrapped, &mut out)?;
        Ok(Secret::new(out))
    }
}

/// A wrapped key of the shortest to the longest content encryption.
fn wrapped_length(bytes: &[u8]) -> bool {
    bytes.len().is_multiple_of(8) && (16 + 8..=64 + 8).contains(&bytes.len())
}

fn ephemeral_curve(part: &Part) -> Option<Curve> {
    let epk = part.get("epk")?;
    let text = |name: &str| epk.get(name).and_then(Value::as_str);
    text("kty").filter(|kty| *kty == "EC")?;
    Curve::named(text("crv")?)
}

/// The sender's ephemeral key, checked to be on its curve.
fn ephemeral(part: &Part) -> Option<PKey<Public>> {
    let curve = ephemeral_curve(part)?;
    let epk = part.get("epk")?;
    let number = |name: &str| {
        let bytes = decode(epk.get(name)?.as_str()?)?;
        (bytes.len() <= curve.width()).then(|| openssl::bn::BigNum::from_slice(&bytes).ok())?
    };
    let (x, y) = (number("x")?, number("y")?);
    let group = EcGroup::from_curve_name(curve.nid()).ok()?;
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).ok()?;
    key.check_key().ok()?;
    PKey::from_ec_key(key).ok()
}

/// A party's name for the key derivation; absent is empty.
fn party(part: &Part, name: &str) -> Option<Vec<u8>> {
    match part.get(name) {
        None => Some(Vec::new()),
        Some(value) => decode(value.as_str()?),
    }
}
