use securecp_crypt::{
    Budget, CryptError, KeyUnwrapper, PgpCertificates, PgpRecipient, Scheme, Secret, Unwrapped,
    pgp_recipients,
};
use securecp_oci::WithCauses;

use crate::{GpgHome, LayerKeyError};

/// The recipient that `name` stands for in the user's keyring. gpg looks for parts of names; which of what it finds is
/// meant is decided here, exactly.
pub(crate) fn recipient(gpg: &GpgHome, name: &str) -> Result<PgpRecipient, LayerKeyError> {
    let found = gpg.public_keys(&[&without_spaces(name)])?;
    let found = PgpCertificates::read(&found).ok_or(LayerKeyError::UnreadableKey)?;
    Ok(found.select(name)?)
}

/// gpg does not take a fingerprint in groups.
fn without_spaces(name: &str) -> String {
    let digits: String = name.split(' ').collect();
    let is_fingerprint = digits.len() >= 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if is_fingerprint { digits } else { name.to_owned() }
}

/// The secret keys that the user's GnuPG can reach. Only used when the user says so, since it may ask for passphrases.
#[derive(Debug, Clone)]
pub struct GpgKeys(GpgHome);

impl GpgKeys {
    /// Decrypts through `gpg`.
    pub fn new(gpg: GpgHome) -> Self {
        Self(gpg)
    }
}

impl KeyUnwrapper for GpgKeys {
    fn scheme(&self) -> Scheme {
        Scheme::Pgp
    }

    /// Only messages for holders of secret keys are handed over: gpg would ask people for the password of others.
    fn unwrap(&self, item: &[u8], budget: &Budget) -> Result<Unwrapped, CryptError> {
        if pgp_recipients(item).is_none_or(|recipients| recipients.is_empty()) {
            return Ok(Unwrapped::NotMine);
        }
        budget.spend()?;
        match self.0.decrypt(item) {
            Ok(mut options) => Ok(Unwrapped::Mine(Secret::new(std::mem::take(&mut options)))),
            Err(error) => {
                tracing::warn!(%error, "gpg did not open a layer key");
                Ok(Unwrapped::Failed(WithCauses(&error).to_string()))
            }
        }
    }
}
