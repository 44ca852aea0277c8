//! Integrity protected data of version 1 (RFC 9580, section 5.13.1): AES in CFB mode over a random prefix, the data and
//! their SHA-1.

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::types::SymmetricAlgorithm;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::packet::write_literal;
use crate::secret::random;
use crate::{CryptError, Secret};

/// Random bytes in front, of which the last two are repeated.
const PREFIX: usize = 16;
/// Tag and length of the packet that holds the hash.
const MDC: [u8; 2] = [0xd3, 20];

/// Encrypts `data` as one literal packet with AES-256.
pub(crate) fn seal(key: &SessionKey, data: &[u8]) -> Result<Vec<u8>, CryptError> {
    let prefix = random::<PREFIX>()?;
    let literal = write_literal(data);
    let parts = [prefix.as_ref(), &prefix[PREFIX - 2..], &literal, &MDC];
    let mut plain = Zeroizing::new(parts.concat());
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &plain);
    let whole = Zeroizing::new([plain.as_slice(), hash.as_ref()].concat());
    plain.clear();
    cfb(Cipher::aes_256_cfb128(), key, &whole, true)
        .map(|bytes| bytes.to_vec())
        .map_err(|_| CryptError::Library("AES-CFB"))
}

/// Decrypts and checks the hash; `None` if anything does not match.
pub(crate) fn open(algorithm: SymmetricAlgorithm, key: &SessionKey, data: &[u8]) -> Option<Secret> {
    let cipher = match algorithm {
        SymmetricAlgorithm::AES128 => Cipher::aes_128_cfb128(),
        SymmetricAlgorithm::AES192 => Cipher::aes_192_cfb128(),
        SymmetricAlgorithm::AES256 => Cipher::aes_256_cfb128(),
        _ => return None,
    };
    if key.len() != cipher.key_length() {
        return None;
    }
    let plain = cfb(cipher, key, data, false).ok()?;
    let (hashed, hash) = plain.split_at_checked(plain.len().checked_sub(20)?)?;
    let found = digest(&SHA1_FOR_LEGACY_USE_ONLY, hashed);
    let matches: bool = found.as_ref().ct_eq(hash).into();
    let body = hashed.get(PREFIX + 2..)?.strip_suffix(&MDC)?;
    let repeated = hashed[PREFIX - 2..PREFIX] == hashed[PREFIX..PREFIX + 2];
    (matches && repeated).then(|| Secret::new(body.to_vec()))
}

fn cfb(
    cipher: &CipherRef,
    key: &[u8],
    data: &[u8],
    encrypt: bool,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let mut context = CipherCtx::new()?;
    let iv = Some([0; 16]);
    match encrypt {
        true => {
            context.encrypt_init(Some(cipher), Some(key), iv.as_ref().map(|iv| iv.as_slice()))?
        }
        false => {
            context.decrypt_init(Some(cipher), Some(key), iv.as_ref().map(|iv| iv.as_slice()))?
        }
    }
    let mut out = Zeroizing::new(data.to_vec());
    let length = out.len();
    context.cipher_update_inplace(&mut out, length)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_altered() {
        let key = SessionKey::new(32).unwrap();
        let sealed = seal(&key, b"options").unwrap();
        let open = |data: &[u8]| open(SymmetricAlgorithm::AES256, &key, data);
        assert_eq!(&*super::super::packet::literal(&open(&sealed).unwrap()).unwrap(), b"options");
        for place in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[place] ^= 1;
            assert!(open(&bad).is_none(), "byte {place}");
        }
        for length in 0..sealed.len() {
            assert!(open(&sealed[..length]).is_none(), "{length} bytes");
        }
        let other = SessionKey::new(16).unwrap();
        assert!(super::open(SymmetricAlgorithm::AES256, &other, &sealed).is_none());
        assert!(super::open(SymmetricAlgorithm::Camellia128, &other, &sealed).is_none());
    }
}
