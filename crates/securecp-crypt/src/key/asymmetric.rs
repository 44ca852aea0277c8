use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcKeyRef;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::x509::X509;
use securecp_oci::{Algorithm, Digest};

use crate::der;

/// Largest RSA key that is taken, in bits; a larger one only costs time.
const RSA_LIMIT: u32 = 16384;

/// A private RSA or EC key (P-256, P-384, P-521), held in OpenSSL, which wipes it when it is dropped.
#[derive(Clone)]
pub struct PrivateKey {
    pub(crate) key: PKey<Private>,
    pub(crate) kind: Kind,
}

/// A public RSA or EC key (P-256, P-384, P-521).
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) key: PKey<Public>,
    pub(crate) kind: Kind,
    /// Key id, if the key came as JWK.
    pub(crate) id: Option<String>,
    /// Key management algorithm, if the key came as JWK that names one.
    pub(crate) algorithm: Option<String>,
}

/// What sort of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// A curve of FIPS 186-4, by OpenSSL's number.
    Ec(Curve),
}

/// The curves that JWE knows and the reference uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        }
    }

    /// Length of a coordinate, in bytes.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }
}

impl Kind {
    /// The kind of `key`, or what it is instead.
    pub(crate) fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, &'static str> {
        match key.id() {
            Id::RSA if key.bits() > RSA_LIMIT => Err("an RSA key of more than 16384 bits"),
            Id::RSA => Ok(Self::Rsa(key.bits())),
            Id::EC => {
                let nid = key.ec_key().ok().and_then(|key| key.group().curve_name());
                let known = Curve::ALL.into_iter().find(|curve| Some(curve.nid()) == nid);
                known.map(Self::Ec).ok_or("an EC key on another curve than P-256, P-384 or P-521")
            }
            Id::X25519 | Id::X448 => Err("an X25519 or X448 key"),
            Id::ED25519 | Id::ED448 => Err("a signing key (Ed25519 or Ed448)"),
            _ => Err("a key of another algorithm than RSA or EC"),
        }
    }
}

impl PrivateKey {
    /// Whether the key is weaker than what is taken for encryption today: an RSA key of less than 2048 bits.
    pub fn is_weak(&self) -> bool {
        matches!(self.kind, Kind::Rsa(bits) if bits < 2048)
    }

    /// The JWK thumbprint (RFC 7638) of the public half.
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.key, self.kind)
    }
}

impl PublicKey {
    pub(crate) fn new(key: PKey<Public>) -> Result<Self, &'static str> {
        let kind = Kind::of(&key)?;
        Ok(Self { key, kind, id: None, algorithm: None })
    }

    /// The JWK thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.key, self.kind)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

/// An X.509 certificate. Its validity is not judged: it only says who owns which key.
#[derive(Clone)]
pub struct Certificate {
    pub(crate) x509: X509,
    /// The issuer's name, as it stands in the certificate.
    pub(crate) issuer: Vec<u8>,
    /// The serial number, as it stands in the certificate.
    pub(crate) serial: Vec<u8>,
}

impl Certificate {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let x509 = X509::from_der(bytes).ok()?;
        let body = *der::single(bytes)?.children()?.first()?;
        let mut fields = body.children()?.into_iter();
        let mut field = fields.next()?;
        if field.tag == 0xa0 {
            field = fields.next()?;
        }
        let issuer = fields.nth(1)?;
        let known = field.tag == 0x02 && issuer.tag == 0x30;
        let (issuer, serial) = (issuer.raw.to_vec(), field.raw.to_vec());
        known.then_some(Self { x509, issuer, serial })
    }

    /// Issuer and serial number, for people.
    pub fn id(&self) -> String {
        issuer_and_serial(&self.issuer, &self.serial)
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> String {
        let der = self.x509.to_der().unwrap_or_default();
        Digest::of(Algorithm::Sha256, &der).to_string()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.id()).finish()
    }
}

/// Issuer and serial number in DER, for people: attribute values joined by commas, the number in hexadecimal digits.
pub(crate) fn issuer_and_serial(issuer: &[u8], serial: &[u8]) -> String {
    let number: String = der::single(serial)
        .map(|number| number.body.iter().map(|b| format!("{b:02x}")).collect())
        .unwrap_or_default();
    let name = names(issuer).unwrap_or_default().join(", ");
    format!("{}, serial {number}", securecp_oci::Escaped::new(&name).limit(200))
}

fn names(issuer: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for set in der::single(issuer)?.children()? {
        for attribute in set.children()? {
            let value = *attribute.children()?.get(1)?;
            found.push(String::from_utf8_lossy(value.body).into_owned());
        }
    }
    Some(found)
}

/// The coordinates of an EC public key, padded to the curve's width.
pub(crate) fn coordinates<T: HasPublic>(
    key: &EcKeyRef<T>,
    curve: Curve,
) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
    let mut context = BigNumContext::new()?;
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
    let width = i32::try_from(curve.width()).unwrap_or(i32::MAX);
    Ok((x.to_vec_padded(width)?, y.to_vec_padded(width)?))
}

/// RFC 7638: the required members in lexicographic order, hashed.
fn thumbprint<T: HasPublic>(key: &PKeyRef<T>, kind: Kind) -> String {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let members = || -> Result<String, ErrorStack> {
        Ok(match kind {
            Kind::Rsa(_) => {
                let rsa = key.rsa()?;
                let (e, n) = (text(&rsa.e().to_vec()), text(&rsa.n().to_vec()));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
            Kind::Ec(curve) => {
                let (x, y) = coordinates(&*key.ec_key()?, curve)?;
                let (name, x, y) = (curve.name(), text(&x), text(&y));
                format!(r#"{{"crv":"{name}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        })
    };
    let hash = |json: String| ring::digest::digest(&ring::digest::SHA256, json.as_bytes());
    members().map(|json| text(hash(json).as_ref())).unwrap_or_default()
}
