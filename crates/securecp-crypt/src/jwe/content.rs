use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::message::{Message, Part};
use crate::cipher::{Gcm, gcm_open, gcm_seal, hmac};
use crate::secret::random;
use crate::{CryptError, Secret};

/// The content encryptions of RFC 7518, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128CbcHs256,
    A192CbcHs384,
    A256CbcHs512,
}

/// Content that was encrypted.
pub(crate) struct Sealed {
    pub(crate) iv: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: Vec<u8>,
}

impl Content {
    const ALL: [Self; 6] = [
        Self::A128Gcm,
        Self::A192Gcm,
        Self::A256Gcm,
        Self::A128CbcHs256,
        Self::A192CbcHs384,
        Self::A256CbcHs512,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A128Gcm => "A128GCM",
            Self::A192Gcm => "A192GCM",
            Self::A256Gcm => "A256GCM",
            Self::A128CbcHs256 => "A128CBC-HS256",
            Self::A192CbcHs384 => "A192CBC-HS384",
            Self::A256CbcHs512 => "A256CBC-HS512",
        }
    }

    pub(crate) fn of_part(part: &Part) -> Option<Self> {
        let name = part.get("enc").and_then(Value::as_str)?;
        Self::ALL.into_iter().find(|content| content.name() == name)
    }

    pub(crate) fn key_length(self) -> usize {
        match self {
            Self::A128Gcm => 16,
            Self::A192Gcm => 24,
            Self::A256Gcm | Self::A128CbcHs256 => 32,
            Self::A192CbcHs384 => 48,
            Self::A256CbcHs512 => 64,
        }
    }

    /// A fresh content key.
    pub(crate) fn draw_key(self) -> Result<Secret, CryptError> {
        let bytes = random::<64>()?;
        Ok(Secret::new(bytes[..self.key_length()].to_vec()))
    }

    /// Encrypts; only GCM is written.
    pub(crate) fn seal(self, key: &[u8], aad: &[u8], plain: &[u8]) -> Result<Sealed, CryptError> {
        let cipher = self.gcm().ok_or(CryptError::Library("choosing a content encryption"))?;
        let iv = random::<12>()?;
        let (ciphertext, tag) = gcm_seal(cipher, key, &iv, aad, plain)?;
        Ok(Sealed { iv: iv.to_vec(), ciphertext, tag: tag.to_vec() })
    }

    /// Decrypts; `None` if anything does not match. `key` has [`Content::key_length`] bytes.
    pub(crate) fn open(self, key: &[u8], message: &Message) -> Option<Secret> {
        match self.gcm() {
            Some(cipher) => {
                let sealed = Gcm {
                    nonce: &message.iv,
                    aad: message.authenticated.as_bytes(),
                    ciphertext: &message.ciphertext,
                    tag: &message.tag,
                };
                gcm_open(cipher, key, &sealed)
            }
            None => self.open_cbc(key, message),
        }
    }

    fn gcm(self) -> Option<&'static CipherRef> {
        match self {
            Self::A128Gcm => Some(Cipher::aes_128_gcm()),
            Self::A192Gcm => Some(Cipher::aes_192_gcm()),
            Self::A256Gcm => Some(Cipher::aes_256_gcm()),
            _ => None,
        }
    }

    fn cbc(self) -> Option<(&'static CipherRef, &'static MdRef)> {
        match self {
            Self::A128CbcHs256 => Some((Cipher::aes_128_cbc(), Md::sha256())),
            Self::A192CbcHs384 => Some((Cipher::aes_192_cbc(), Md::sha384())),
            Self::A256CbcHs512 => Some((Cipher::aes_256_cbc(), Md::sha512())),
            _ => None,
        }
    }

    /// RFC 7518, section 5.2.2.2: the MAC is checked before anything is decrypted.
    fn open_cbc(self, key: &[u8], message: &Message) -> Option<Secret> {
        let (cipher, md) = self.cbc()?;
        let (mac_key, key) = key.split_at_checked(self.key_length() / 2)?;
        let aad = message.authenticated.as_bytes();
        let bits = (aad.len() as u64 * 8).to_be_bytes();
        let mac = hmac(md, mac_key, &[aad, &message.iv, &message.ciphertext, &bits]).ok()?;
        let expected = mac.get(..mac.len() / 2)?;
        let matches: bool = expected.ct_eq(&message.tag).into();
        let whole = message.iv.len() == 16 && !message.ciphertext.is_empty();
        (matches && whole).then(|| decrypt_cbc(cipher, key, message).ok()).flatten()
    }
}

fn decrypt_cbc(cipher: &CipherRef, key: &[u8], message: &Message) -> Result<Secret, ErrorStack> {
    let mut context = CipherCtx::new()?;
    context.decrypt_init(Some(cipher), Some(key), Some(&message.iv))?;
    let mut plain = Zeroizing::new(vec![0; message.ciphertext.len() + 32]);
    let count = context.cipher_update(&message.ciphertext, Some(&mut plain))?;
    let rest = context.cipher_final(&mut plain[count..])?;
    Ok(Secret::new(plain[..count + rest].to_vec()))
}
