use std::fmt;
use std::ops::Deref;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use crate::CryptError;

/// Bytes that are overwritten when dropped and never printed: layer keys, unwrapped options, passphrases.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret of fixed length.
pub(crate) type Key<const N: usize> = Zeroizing<[u8; N]>;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<Key<N>, CryptError> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new()
        .fill(bytes.as_mut())
        .map_err(|_| CryptError::Library("drawing random bytes"))?;
    Ok(bytes)
}

/// Standard base64 of exactly `N` secret bytes; no copy is left behind.
pub(crate) fn decode_key<const N: usize>(text: &str) -> Option<Key<N>> {
    let bytes = Zeroizing::new(securecp_oci::base64::decode(text).ok()?);
    let mut key = Zeroizing::new([0; N]);
    (bytes.len() == N).then(|| key.copy_from_slice(&bytes))?;
    Some(key)
}

/// Text read from a document that is itself secret.
pub(crate) struct SecretText(pub(crate) String);

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<'de> serde::Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(…)");
    }

    #[test]
    fn takes_keys_of_the_exact_length_only() {
        assert_eq!(*decode_key::<3>("YWJj").unwrap(), *b"abc");
        assert!(decode_key::<2>("YWJj").is_none() && decode_key::<4>("YWJj").is_none());
        assert!(decode_key::<3>("YWJ").is_none());
    }

    #[test]
    fn draws_something_else_each_time() {
        assert_ne!(*random::<16>().unwrap(), *random::<16>().unwrap());
    }
}
