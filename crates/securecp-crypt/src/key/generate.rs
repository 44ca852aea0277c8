use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;

use crate::{CryptError, Secret};

/// A new key pair for layer encryption.
#[derive(Debug)]
pub struct FreshKeyPair {
    /// The private key, PKCS#8 in PEM.
    pub private: Secret,
    /// The public key, SubjectPublicKeyInfo in PEM.
    pub public: Vec<u8>,
}

impl FreshKeyPair {
    /// Makes a key on the curve P-256 (FIPS 186-4, D.1.2.3).
    ///
    /// # Errors
    /// The library has no randomness.
    pub fn generate() -> Result<Self, CryptError> {
        let make = || {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
            Ok((key.private_key_to_pem_pkcs8()?, key.public_key_to_pem()?))
        };
        let made: Result<_, openssl::error::ErrorStack> = make();
        let (private, public) = made.map_err(|_| CryptError::Library("key generation"))?;
        Ok(Self { private: Secret::new(private), public })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KeyMaterial, Passphrase, read_key_file};

    #[test]
    fn makes_keys_that_are_read_back_and_differ() {
        let (one, other) = (FreshKeyPair::generate().unwrap(), FreshKeyPair::generate().unwrap());
        assert_ne!(one.public, other.public);
        let read = |bytes: &[u8]| read_key_file("k", bytes, &Passphrase::none()).unwrap();
        assert!(matches!(read(&one.private)[..], [KeyMaterial::Private(_)]));
        assert!(matches!(read(&one.public)[..], [KeyMaterial::Public(_)]));
        assert!(!format!("{one:?}").contains("PRIVATE"));
    }
}
