//! Public keys as policies, certificates and logs give them, and what they verify.

use std::fmt;

use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use securecp_oci::{Algorithm, Digest, Escaped};
use serde::Serialize;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::pem::{self, Blocks};

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Bounds of an RSA modulus, in bits: shorter ones are not safe, longer ones only cost time.
const RSA_BITS: std::ops::RangeInclusive<i32> = 2048..=8192;

/// The label of a key in SubjectPublicKeyInfo form.
const SPKI_LABEL: &str = "PUBLIC KEY";
const PKCS1_LABEL: &str = "RSA PUBLIC KEY";

/// A public key of one of the kinds that sigstore signatures are made with; the hash is SHA-256 for all of them but
/// Ed25519, which has its own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    kind: Kind,
    /// DER of the SubjectPublicKeyInfo (RFC 5280 section 4.1).
    spki: Vec<u8>,
    /// What the signature libraries want: a point, an RSAPublicKey, or 32 bytes.
    raw: Vec<u8>,
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// Why bytes are not a public key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PublicKeyFault {
    /// There is no PEM block.
    #[error("PEM decoding failed")]
    NotPem,
    /// The PEM block is something else.
    #[error("unknown Public key PEM file type: {found}. Are you passing the correct public key?")]
    Label {
        /// The label found.
        found: String,
    },
    /// The block does not hold a key.
    #[error("public key is malformed")]
    Malformed,
    /// The algorithm is none of ECDSA, RSA and Ed25519.
    #[error("unknown public key algorithm {found}")]
    Algorithm {
        /// Its object identifier.
        found: String,
    },
    /// The curve is none of P-256, P-384 and P-521.
    #[error("unsupported elliptic curve")]
    Curve,
    /// The RSA modulus is too short or too long.
    #[error("RSA key has {found} bits, expected 2048 to 8192")]
    RsaSize {
        /// Bits found.
        found: i32,
    },
}

impl PublicKey {
    /// The first PEM block of `bytes`; what stands around it does not matter, as in the reference.
    pub(crate) fn from_pem(bytes: &[u8]) -> Result<Self, PublicKeyFault> {
        let block = Blocks::of(bytes).next().ok_or(PublicKeyFault::NotPem)?;
        match block.label.as_str() {
            SPKI_LABEL => Self::from_spki(&block.contents),
            PKCS1_LABEL => Self::from_pkcs1(&block.contents),
            other => {
                let found = Escaped::new(other).limit(80).to_string();
                Err(PublicKeyFault::Label { found })
            }
        }
    }

    /// A key in SubjectPublicKeyInfo form, DER.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, PublicKeyFault> {
        let malformed = |_| PublicKeyFault::Malformed;
        let found = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
        let raw = found.subject_public_key.as_bytes().ok_or(PublicKeyFault::Malformed)?;
        let kind = kind_of(&found)?;
        check(kind, raw, der)?;
        Ok(Self { kind, spki: der.to_vec(), raw: raw.to_vec() })
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, PublicKeyFault> {
        let key = Rsa::public_key_from_der_pkcs1(der).map_err(|_| PublicKeyFault::Malformed)?;
        // OpenSSL reads over what follows the key.
        if key.public_key_to_der_pkcs1().ok().is_none_or(|again| again != der) {
            return Err(PublicKeyFault::Malformed);
        }
        let key = PKey::from_rsa(key).and_then(|key| key.public_key_to_der());
        Self::from_spki(&key.map_err(|_| PublicKeyFault::Malformed)?)
    }

    /// The length of the modulus, for RSA.
    pub(crate) fn rsa_bits(&self) -> Option<i32> {
        let key = Rsa::public_key_from_der(&self.spki).ok().filter(|_| self.kind == Kind::Rsa)?;
        Some(key.n().num_bits())
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// DER of the SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key as cosign and the reference write it.
    pub(crate) fn to_pem(&self) -> String {
        pem::encode(SPKI_LABEL, &self.spki)
    }

    /// The name of the key in verdicts: its kind and the digest of its SubjectPublicKeyInfo.
    pub(crate) fn name(&self) -> String {
        format!("{} key {}", self.kind.name(), Digest::of(Algorithm::Sha256, &self.spki))
    }

    /// Whether `signature` is one over `message` by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Kind::P384 => &signature::ECDSA_P384_SHA256_ASN1,
            Kind::Rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
            Kind::Ed25519 => &signature::ED25519,
            Kind::P521 => {
                return verifies_p521(&self.spki, [message, signature], MessageDigest::sha256());
            }
        };
        UnparsedPublicKey::new(algorithm, &self.raw).verify(message, signature).is_ok()
    }

    /// Whether `signature` is one over what a bundle signs: keys on P-384 and P-521 use the hash of their size there, as
    /// cosign 3 and sigstore's registry of algorithms have it.
    pub(crate) fn verifies_bundled(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.kind {
            Kind::P384 => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_ASN1, &self.raw)
                .verify(message, signature)
                .is_ok(),
            Kind::P521 => {
                let hash = self.kind.hash_in_bundles();
                verifies_p521(&self.spki, [message, signature], hash)
            }
            _ => self.verifies(message, signature),
        }
    }

    /// What the reference says of a signature that this key does not verify.
    pub(crate) fn refusal(&self) -> &'static str {
        match self.kind {
            Kind::Rsa => "crypto/rsa: verification error",
            Kind::Ed25519 => "failed to verify signature",
            _ => "invalid signature when validating ASN.1 encoded signature",
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "ECDSA P-256",
            Self::P384 => "ECDSA P-384",
            Self::P521 => "ECDSA P-521",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// What bundles hash with; Ed25519 has its own.
    pub(crate) fn hash_in_bundles(self) -> MessageDigest {
        match self {
            Self::P384 => MessageDigest::sha384(),
            Self::P521 => MessageDigest::sha512(),
            Self::P256 | Self::Rsa | Self::Ed25519 => MessageDigest::sha256(),
        }
    }

    pub(crate) fn is_ecdsa(self) -> bool {
        matches!(self, Self::P256 | Self::P384 | Self::P521)
    }

    /// The length of an uncompressed point of the curve.
    fn point_length(self) -> Option<usize> {
        match self {
            Self::P256 => Some(1 + 2 * 32),
            Self::P384 => Some(1 + 2 * 48),
            Self::P521 => Some(1 + 2 * 66),
            Self::Rsa | Self::Ed25519 => None,
        }
    }
}

fn kind_of(info: &SubjectPublicKeyInfoRef<'_>) -> Result<Kind, PublicKeyFault> {
    let parameters = info.algorithm.parameters;
    match info.algorithm.oid {
        // As Go has it: NULL for RSA (RFC 3279, section 2.3.1), nothing for Ed25519 (RFC 8410, section 3).
        RSA if parameters.is_none_or(|found| !found.is_null()) => Err(PublicKeyFault::Malformed),
        ED25519 if parameters.is_some() => Err(PublicKeyFault::Malformed),
        RSA => Ok(Kind::Rsa),
        ED25519 => Ok(Kind::Ed25519),
        EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
            Ok(P256) => Ok(Kind::P256),
            Ok(P384) => Ok(Kind::P384),
            Ok(P521) => Ok(Kind::P521),
            _ => Err(PublicKeyFault::Curve),
        },
        other => Err(PublicKeyFault::Algorithm { found: other.to_string() }),
    }
}

/// Refuses what would otherwise show only as signatures that do not verify.
fn check(kind: Kind, raw: &[u8], spki: &[u8]) -> Result<(), PublicKeyFault> {
    let malformed = |_| PublicKeyFault::Malformed;
    match kind {
        Kind::Ed25519 if raw.len() == 32 => Ok(()),
        Kind::Ed25519 => Err(PublicKeyFault::Malformed),
        Kind::Rsa => {
            let key = Rsa::public_key_from_der_pkcs1(raw).map_err(malformed)?;
            let found = key.n().num_bits();
            RSA_BITS.contains(&found).then_some(()).ok_or(PublicKeyFault::RsaSize { found })
        }
        // Compressed points are refused, as in the reference: the bytes are compared with those in log entries.
        _ if raw.first() == Some(&4) && Some(raw.len()) == kind.point_length() => {
            EcKey::public_key_from_der(spki).and_then(|key| key.check_key()).map_err(malformed)
        }
        _ => Err(PublicKeyFault::Malformed),
    }
}

/// ring has no P-521.
fn verifies_p521(spki: &[u8], [message, signature]: [&[u8]; 2], hash: MessageDigest) -> bool {
    let verify = || -> Result<bool, ErrorStack> {
        let key: PKey<Public> = PKey::public_key_from_der(spki)?;
        Verifier::new(hash, &key)?.verify_oneshot(signature, message)
    };
    verify().unwrap_or(false)
}
