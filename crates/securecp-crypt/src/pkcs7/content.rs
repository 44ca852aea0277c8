use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use zeroize::Zeroizing;

use super::message::{Envelope, INTEGER, OCTET_STRING, OID, PRIMITIVE_SEQUENCE, SEQUENCE, inside};
use crate::cipher::{Gcm, gcm_open, gcm_seal};
use crate::der::{self, write};
use crate::secret::random;
use crate::{CryptError, Secret};

/// 2.16.840.1.101.3.4.1.6, .26, .46: AES-GCM with keys of 128, 192, 256 bits.
const AES_128_GCM: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x06];
const AES_192_GCM: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x1a];
const AES_256_GCM: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e];
/// 2.16.840.1.101.3.4.1.2, .22, .42: AES-CBC.
const AES_128_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02];
const AES_192_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x16];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
/// 1.2.840.113549.3.7
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
/// Length of GCM's tag, in bytes.
const TAG: usize = 16;
/// Context-specific 4: how the reference's libraries tag the nonce.
const CONTEXT_4: u8 = 0x84;

/// Content that was encrypted here.
pub(crate) struct Sealed {
    nonce: [u8; 12],
    /// Ciphertext and tag.
    pub(crate) ciphertext: Vec<u8>,
}

impl Sealed {
    pub(crate) fn new(key: &[u8; 16], plain: &[u8]) -> Result<Self, CryptError> {
        let nonce = *random::<12>()?;
        let (mut ciphertext, tag) = gcm_seal(Cipher::aes_128_gcm(), key, &nonce, &[], plain)?;
        ciphertext.extend_from_slice(&tag);
        Ok(Self { nonce, ciphertext })
    }

    /// The algorithm identifier, with the odd tags of the reference.
    pub(crate) fn algorithm(&self) -> Vec<u8> {
        let nonce = write(CONTEXT_4, &[&self.nonce]);
        let length = write(INTEGER, &[&[TAG as u8]]);
        let parameters = write(PRIMITIVE_SEQUENCE, &[&write(SEQUENCE, &[&nonce, &length])]);
        write(SEQUENCE, &[&write(OID, &[AES_128_GCM]), &parameters])
    }
}

/// Content to be opened.
pub(crate) struct Content<'a> {
    cipher: &'static CipherRef,
    nonce: &'a [u8],
    bytes: &'a [u8],
    authenticated: bool,
}

impl<'a> Content<'a> {
    /// Reads algorithm and parameters; modes without authentication only if `unauthenticated` ones are accepted.
    pub(crate) fn read(
        envelope: &'a Envelope<'a>,
        unauthenticated: bool,
    ) -> Result<Self, &'static str> {
        let (cipher, authenticated) = match envelope.algorithm {
            AES_128_GCM => (Cipher::aes_128_gcm(), true),
            AES_192_GCM => (Cipher::aes_192_gcm(), true),
            AES_256_GCM => (Cipher::aes_256_gcm(), true),
            AES_128_CBC => (Cipher::aes_128_cbc(), false),
            AES_192_CBC => (Cipher::aes_192_cbc(), false),
            AES_256_CBC => (Cipher::aes_256_cbc(), false),
            DES_EDE3_CBC => (Cipher::des_ede3_cbc(), false),
            _ => return Err("the PKCS#7 content encryption is not known"),
        };
        if !authenticated && !unauthenticated {
            return Err("the PKCS#7 content is encrypted in CBC mode, without authentication");
        }
        let nonce = match authenticated {
            true => gcm_nonce(envelope),
            false => Some(envelope.parameters)
                .filter(|p| p.tag == OCTET_STRING && p.body.len() == cipher.iv_length())
                .map(|p| p.body),
        };
        let nonce = nonce.ok_or("the PKCS#7 parameters are not those of the content encryption")?;
        Ok(Self { cipher, nonce, bytes: &envelope.content, authenticated })
    }

    /// Decrypts; `None` if anything does not match.
    pub(crate) fn open(&self, key: &[u8]) -> Option<Secret> {
        if key.len() != self.cipher.key_length() {
            return None;
        }
        if !self.authenticated {
            return self.open_cbc(key).ok();
        }
        let (ciphertext, tag) = self.bytes.split_at_checked(self.bytes.len().checked_sub(TAG)?)?;
        gcm_open(self.cipher, key, &Gcm { nonce: self.nonce, aad: &[], ciphertext, tag })
    }

    fn open_cbc(&self, key: &[u8]) -> Result<Secret, ErrorStack> {
        let mut context = CipherCtx::new()?;
        context.decrypt_init(Some(self.cipher), Some(key), Some(self.nonce))?;
        let mut plain = Zeroizing::new(vec![0; self.bytes.len() + 32]);
        let count = context.cipher_update(self.bytes, Some(&mut plain))?;
        let rest = context.cipher_final(&mut plain[count..])?;
        Ok(Secret::new(plain[..count + rest].to_vec()))
    }
}

/// The nonce, if the tag has its full length; the outer sequence may be marked as constructed or not.
fn gcm_nonce<'a>(envelope: &Envelope<'a>) -> Option<&'a [u8]> {
    let outer = envelope.parameters;
    let inner = matches!(outer.tag, PRIMITIVE_SEQUENCE | SEQUENCE).then(|| der::single(outer.body));
    let [nonce, length] = inside(inner??, SEQUENCE)?;
    let known =
        nonce.tag == CONTEXT_4 && nonce.body.len() == 12 && length.raw == [INTEGER, 1, TAG as u8];
    known.then_some(nonce.body)
}
