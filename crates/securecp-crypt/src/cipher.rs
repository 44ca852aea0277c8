//! AES-256-CTR and HMAC-SHA-256 (NIST SP 800-38A, RFC 2104) in OpenSSL, which wipes its contexts when they are freed.

use bytes::Bytes;
use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::md_ctx::MdCtx;
use openssl::pkey::PKey;
use securecp_layer::{Aside, Fold, LayerError};
use zeroize::Zeroizing;

use crate::{CryptError, Secret};

/// Bytes given to the cipher at once: it counts in `int`.
const PIECE: usize = 1 << 20;

/// The key stream of one layer; encrypting and decrypting are the same.
pub(crate) struct Ctr(CipherCtx);

impl Ctr {
    pub(crate) fn new(key: &[u8; 32], nonce: &[u8; 16]) -> Result<Self, CryptError> {
        let start = || {
            let mut context = CipherCtx::new()?;
            context.encrypt_init(Some(Cipher::aes_256_ctr()), Some(key), Some(nonce))?;
            Ok(Self(context))
        };
        start().map_err(|_: openssl::error::ErrorStack| CryptError::Library("AES-256-CTR"))
    }

    pub(crate) fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptError> {
        for piece in data.chunks_mut(PIECE) {
            let length = piece.len();
            let done = self.0.cipher_update_inplace(piece, length);
            done.ok().filter(|n| *n == length).ok_or(CryptError::Library("AES-256-CTR"))?;
        }
        Ok(())
    }
}

/// The MAC of one layer's ciphertext.
pub(crate) struct Mac(MdCtx);

impl Mac {
    /// Computed beside the layer's way.
    pub(crate) fn new(key: &[u8; 32]) -> Result<Aside<Self>, CryptError> {
        let start = || {
            let key = PKey::hmac(key)?;
            let mut context = MdCtx::new()?;
            context.digest_sign_init(Some(Md::sha256()), &key)?;
            Ok(context)
        };
        Ok(Aside::new(Self(start().map_err(failed)?)))
    }
}

impl Fold for Mac {
    type Output = [u8; 32];

    fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
        Ok(self.0.digest_sign_update(chunk).map_err(failed)?)
    }

    fn end(mut self) -> Result<[u8; 32], LayerError> {
        let mut tag = [0; 32];
        self.0.digest_sign_final(Some(&mut tag)).map_err(failed)?;
        Ok(tag)
    }
}

/// HMAC over the concatenation of `parts`.
pub(crate) fn hmac(md: &MdRef, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, CryptError> {
    let run = || {
        let mut context = MdCtx::new()?;
        context.digest_sign_init(Some(md), &*PKey::hmac(key)?)?;
        parts.iter().try_for_each(|part| context.digest_sign_update(part))?;
        let mut tag = Vec::new();
        context.digest_sign_final_to_vec(&mut tag)?;
        Ok(tag)
    };
    run().map_err(failed)
}

/// AES-GCM (NIST SP 800-38D) with a nonce of 12 and a tag of 16 bytes.
pub(crate) fn gcm_seal(
    cipher: &CipherRef,
    key: &[u8],
    nonce: &[u8; 12],
    aad: &[u8],
    plain: &[u8],
) -> Result<(Vec<u8>, [u8; 16]), CryptError> {
    let run = || -> Result<_, ErrorStack> {
        let mut context = CipherCtx::new()?;
        context.encrypt_init(Some(cipher), Some(key), Some(nonce))?;
        context.cipher_update(aad, None)?;
        let mut data = plain.to_vec();
        let length = data.len();
        context.cipher_update_inplace(&mut data, length)?;
        context.cipher_final(&mut [])?;
        let mut tag = [0; 16];
        context.tag(&mut tag)?;
        Ok((data, tag))
    };
    run().map_err(|_| CryptError::Library("AES-GCM"))
}

/// Opens what [`gcm_seal`] made; `None` if a length is wrong or the tag does not match.
pub(crate) fn gcm_open(cipher: &CipherRef, key: &[u8], sealed: &Gcm<'_>) -> Option<Secret> {
    if key.len() != cipher.key_length() || sealed.nonce.len() != 12 || sealed.tag.len() != 16 {
        return None;
    }
    let run = || -> Result<_, ErrorStack> {
        let mut context = CipherCtx::new()?;
        context.decrypt_init(Some(cipher), Some(key), Some(sealed.nonce))?;
        context.cipher_update(sealed.aad, None)?;
        let mut data = Zeroizing::new(sealed.ciphertext.to_vec());
        let length = data.len();
        context.cipher_update_inplace(&mut data, length)?;
        context.set_tag(sealed.tag)?;
        context.cipher_final(&mut [])?;
        Ok(Secret::new(std::mem::take(&mut *data)))
    };
    run().ok()
}

/// What [`gcm_open`] needs beside the key.
pub(crate) struct Gcm<'a> {
    pub(crate) nonce: &'a [u8],
    pub(crate) aad: &'a [u8],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8],
}

fn failed(_: ErrorStack) -> CryptError {
    CryptError::Library("HMAC-SHA-256")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt.
    #[test]
    fn encrypts_the_published_vector_in_pieces_of_any_size() {
        let key = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let nonce = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let expected = hex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
        for piece in [1, 7, 16, 32] {
            let mut ctr = Ctr::new(&key[..].try_into().unwrap(), &nonce[..].try_into().unwrap());
            let mut data = plain.clone();
            for part in data.chunks_mut(piece) {
                ctr.as_mut().unwrap().apply(part).unwrap();
            }
            assert_eq!(data, expected);
        }
    }

    #[test]
    fn macs_as_another_implementation_does() {
        let key = [3; 32];
        let ring_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let expected = ring::hmac::sign(&ring_key, &b"some data".repeat(50));
        let mut mac = Mac::new(&key).unwrap();
        for _ in 0..50 {
            mac.take(&Bytes::from_static(b"some ")).unwrap();
            mac.take(&Bytes::from_static(b"data")).unwrap();
        }
        assert_eq!(mac.end().unwrap(), expected.as_ref());
        assert_ne!(Mac::new(&key).unwrap().end().unwrap(), expected.as_ref());
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect()
    }
}
