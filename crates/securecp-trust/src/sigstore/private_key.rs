//! Private keys in cosign's file format: PEM around JSON around a NaCl secretbox, its key derived by scrypt (RFC 7914).

use std::fmt;

use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use securecp_oci::json::{self, JsonError, Limits};
use securecp_oci::{Escaped, base64};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::pem::{self, Blocks};
use super::public_key::{Kind, PublicKey, PublicKeyFault};

/// The label that is written; the reference and cosign 1 write it too.
const COSIGN_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";
/// The label that cosign 2 and later write.
const SIGSTORE_LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";

const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;
/// Largest decoded key file, in bytes; an RSA key with 8192 bits has fewer than 10 KiB.
const FILE_LIMIT: usize = 64 << 10;

/// What scrypt costs. Files choose among three costs and cannot ask for more memory than 128 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    n: u64,
    r: u64,
    p: u64,
}

const LEGACY: Cost = Cost { n: 32768, r: 8, p: 1 };
const STANDARD: Cost = Cost { n: 65536, r: 8, p: 1 };
const OWASP: Cost = Cost { n: 131_072, r: 8, p: 1 };
/// What OpenSSL may allocate for the largest of them.
const SCRYPT_MEMORY_BYTES: u64 = 160 << 20;

/// An unlocked private key for sigstore signatures.
///
/// It lives in OpenSSL, which wipes private keys when it frees them; ring does not.
pub struct SigstoreKey {
    key: PKey<Private>,
    public: PublicKey,
}

/// Why a private key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigstoreKeyError {
    /// There is no PEM block.
    #[error("private key is not PEM")]
    NotPem,
    /// The PEM block is something else, perhaps a key that is not encrypted.
    #[error(
        "unsupported pem type: {0}; expected ENCRYPTED SIGSTORE PRIVATE KEY, as generate-sigstore-key and cosign write it"
    )]
    Label(String),
    /// The block does not hold a strict JSON document.
    #[error("private key file cannot be read")]
    Json(#[source] JsonError),
    /// A member of the document is missing or not what it should be.
    #[error("private key file: {member} is not {expected}")]
    Member {
        /// The path of the member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The document asks for another derivation.
    #[error("unsupported scrypt parameters")]
    ScryptParameters,
    /// No passphrase was given; an empty one is a passphrase.
    #[error("private key passphrase not provided")]
    PassphraseNotProvided,
    /// The passphrase is wrong, or the file is damaged.
    #[error("decrypt: encrypted: decryption failed")]
    WrongPassphrase,
    /// What was decrypted is not a PKCS#8 private key (RFC 5958).
    #[error("decrypted private key is not PKCS#8")]
    NotPkcs8,
    /// The key is of a kind that sigstore signatures are not made with.
    #[error("private key cannot be used")]
    Unusable(#[source] PublicKeyFault),
    /// A cryptographic operation failed.
    #[error("{operation} failed")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: ErrorStack,
    },
}

impl SigstoreKey {
    /// A new key on the curve P-256, which every verifier knows.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, SigstoreKeyError> {
        let key = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)
            .and_then(|group| EcKey::generate(&group))
            .and_then(PKey::from_ec_key)
            .map_err(failed("key generation"))?;
        Self::of(key)
    }

    /// Unlocks the first PEM block of a file. An empty passphrase is one; `None` is not.
    ///
    /// # Errors
    /// See [`SigstoreKeyError`].
    pub fn from_encrypted_pem(
        file: &[u8],
        passphrase: Option<&[u8]>,
    ) -> Result<Self, SigstoreKeyError> {
        let block = Blocks::of(file).next().ok_or(SigstoreKeyError::NotPem)?;
        if ![COSIGN_LABEL, SIGSTORE_LABEL].contains(&block.label.as_str()) {
            return Err(SigstoreKeyError::Label(Escaped::new(&block.label).limit(80).to_string()));
        }
        let locked = Locked::parse(&block.contents)?;
        let passphrase = passphrase.ok_or(SigstoreKeyError::PassphraseNotProvided)?;
        let der = locked.open(passphrase)?;
        let key = PKey::private_key_from_pkcs8(&der).map_err(|_| SigstoreKeyError::NotPkcs8)?;
        Self::of(key)
    }

    /// The file for this key: PEM, to be readable by its owner only.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> Result<String, SigstoreKeyError> {
        let der = self.key.private_key_to_pkcs8().map(Zeroizing::new);
        let locked = Locked::seal(&der.map_err(failed("key export"))?, passphrase)?;
        Ok(pem::encode(COSIGN_LABEL, locked.to_json().as_bytes()))
    }

    /// The file for its public key: PEM, to be given to everybody who verifies.
    pub fn public_pem(&self) -> String {
        self.public.to_pem()
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A raw signature: SHA-256 under every key but Ed25519's, PKCS#1 v1.5 under RSA's, DER under ECDSA's.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigstoreKeyError> {
        self.sign_hashed(message, MessageDigest::sha256())
    }

    /// A raw signature as bundles have it: the same, but with SHA-384 under keys on P-384 and SHA-512 under those on P-521.
    pub(super) fn sign_for_bundle(&self, message: &[u8]) -> Result<Vec<u8>, SigstoreKeyError> {
        self.sign_hashed(message, self.public.kind().hash_in_bundles())
    }

    fn sign_hashed(
        &self,
        message: &[u8],
        hash: MessageDigest,
    ) -> Result<Vec<u8>, SigstoreKeyError> {
        let signer = match self.public.kind() {
            Kind::Ed25519 => Signer::new_without_digest(&self.key),
            _ => Signer::new(hash, &self.key),
        };
        signer.and_then(|mut signer| signer.sign_oneshot_to_vec(message)).map_err(failed("signing"))
    }

    fn of(key: PKey<Private>) -> Result<Self, SigstoreKeyError> {
        let spki = key.public_key_to_der().map_err(failed("key export"))?;
        let public = PublicKey::from_spki(&spki).map_err(SigstoreKeyError::Unusable)?;
        Ok(Self { key, public })
    }
}

impl fmt::Debug for SigstoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigstoreKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The content of a key file.
struct Locked {
    cost: Cost,
    salt: Vec<u8>,
    nonce: [u8; NONCE_LENGTH],
    ciphertext: Vec<u8>,
}

impl Locked {
    fn parse(document: &[u8]) -> Result<Self, SigstoreKeyError> {
        let value =
            json::parse(document, Limits::bytes(FILE_LIMIT)).map_err(SigstoreKeyError::Json)?;
        named(&value, "/kdf/name", "kdf.name", "scrypt")?;
        named(&value, "/cipher/name", "cipher.name", "nacl/secretbox")?;
        let number = |pointer| value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let cost = Cost {
            n: number("/kdf/params/N"),
            r: number("/kdf/params/r"),
            p: number("/kdf/params/p"),
        };
        if ![LEGACY, STANDARD, OWASP].contains(&cost) {
            return Err(SigstoreKeyError::ScryptParameters);
        }
        let nonce = bytes(&value, "/cipher/nonce", "cipher.nonce")?;
        let wrong = |_| SigstoreKeyError::Member { member: "cipher.nonce", expected: "24 bytes" };
        Ok(Self {
            cost,
            salt: bytes(&value, "/kdf/salt", "kdf.salt")?,
            nonce: nonce.try_into().map_err(wrong)?,
            ciphertext: bytes(&value, "/ciphertext", "ciphertext")?,
        })
    }

    fn seal(secret: &[u8], passphrase: &[u8]) -> Result<Self, SigstoreKeyError> {
        let (mut salt, mut nonce) = (vec![0; SALT_LENGTH], [0; NONCE_LENGTH]);
        for random in [salt.as_mut_slice(), nonce.as_mut_slice()] {
            openssl::rand::rand_bytes(random).map_err(failed("random number generation"))?;
        }
        let mut locked = Self { cost: STANDARD, salt, nonce, ciphertext: Vec::new() };
        let sealed = locked.cipher(passphrase)?.encrypt(&Nonce::from(nonce), secret);
        // Only a message larger than the address space is refused.
        locked.ciphertext = sealed.map_err(|_| SigstoreKeyError::NotPkcs8)?;
        Ok(locked)
    }

    fn open(&self, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, SigstoreKeyError> {
        self.cipher(passphrase)?
            .decrypt(&Nonce::from(self.nonce), self.ciphertext.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| SigstoreKeyError::WrongPassphrase)
    }

    fn cipher(&self, passphrase: &[u8]) -> Result<XSalsa20Poly1305, SigstoreKeyError> {
        let Cost { n, r, p } = self.cost;
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        let memory = SCRYPT_MEMORY_BYTES;
        openssl::pkcs5::scrypt(passphrase, &self.salt, n, r, p, memory, key.as_mut_slice())
            .map_err(failed("key derivation"))?;
        Ok(XSalsa20Poly1305::new(key.as_slice().into()))
    }

    fn to_json(&self) -> String {
        json!({
            "kdf": {
                "name": "scrypt",
                "params": {"N": self.cost.n, "r": self.cost.r, "p": self.cost.p},
                "salt": base64::encode(&self.salt),
            },
            "cipher": {"name": "nacl/secretbox", "nonce": base64::encode(&self.nonce)},
            "ciphertext": base64::encode(&self.ciphertext),
        })
        .to_string()
    }
}

fn named(
    value: &Value,
    pointer: &str,
    member: &'static str,
    expected: &'static str,
) -> Result<(), SigstoreKeyError> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    (found == Some(expected)).then_some(()).ok_or(SigstoreKeyError::Member { member, expected })
}

fn bytes(value: &Value, pointer: &str, member: &'static str) -> Result<Vec<u8>, SigstoreKeyError> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.and_then(|text| base64::decode(text).ok())
        .ok_or(SigstoreKeyError::Member { member, expected: "base64" })
}

fn failed(operation: &'static str) -> impl Fn(ErrorStack) -> SigstoreKeyError {
    move |source| SigstoreKeyError::Failed { operation, source }
}
