use std::fmt;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::anyhow;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::KeyFlags;
use zeroize::Zeroizing;

use super::SignError;

/// A new OpenPGP signing key, for demonstrations and tests: its secret part is not protected by any passphrase.
///
/// The primary key signs, so that versions of the reference up to 1.9.3 accept its signatures too.
pub struct FreshKey {
    /// The fingerprint, in upper-case hexadecimal digits.
    pub fingerprint: String,
    /// The secret key, armoured.
    pub secret: Zeroizing<Vec<u8>>,
    /// The certificate, armoured.
    pub public: Vec<u8>,
}

impl FreshKey {
    /// Makes an Ed25519 key for `user` that is valid from `now` for `lifetime`.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn generate(user: &str, now: SystemTime, lifetime: Duration) -> Result<Self, SignError> {
        generate(user, now, lifetime).map_err(|error| SignError::Failed(error.to_string()))
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

fn generate(user: &str, now: SystemTime, lifetime: Duration) -> anyhow::Result<FreshKey> {
    let (cert, _) = CertBuilder::new()
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .set_creation_time(now)
        .set_validity_period(lifetime)
        .add_userid(user)
        .generate()?;
    Ok(FreshKey {
        fingerprint: cert.fingerprint().to_hex(),
        secret: Zeroizing::new(cert.as_tsk().armored().to_vec()?),
        public: cert.armored().to_vec()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Payload, PayloadKind, SimpleSigner, verify_simple};
    use securecp_oci::{Algorithm, Digest, Signature};

    #[test]
    fn signs_and_ends_with_its_lifetime() {
        let now = SystemTime::now();
        let key = FreshKey::generate("A <a@x.example>", now, Duration::from_secs(3600)).unwrap();
        let signer = SimpleSigner::from_key(&key.secret, None, now).unwrap();
        assert_eq!(signer.fingerprint(), key.fingerprint);
        let name = "h.example/x:v1".parse().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"{}");
        let payload = Payload::new(PayloadKind::Simple, &digest, &name, now).unwrap();
        let Signature::Simple(message) = signer.sign(&payload, now).unwrap() else {
            unreachable!("made by a simple signer")
        };
        assert_eq!(verify_simple(&message, &key.public, now).unwrap().payload, payload);
        assert!(verify_simple(&message, &key.public, now + Duration::from_secs(3601)).is_err());
        assert!(!String::from_utf8_lossy(&key.public).contains("PRIVATE"));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
}
