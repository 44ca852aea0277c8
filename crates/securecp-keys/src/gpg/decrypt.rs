use zeroize::Zeroizing;

use super::{GpgError, GpgHome, succeeded};

impl GpgHome {
    /// Decrypts a message with whatever secret keys GnuPG can reach; it may ask for a passphrase or a smartcard.
    ///
    /// # Errors
    /// It has no key for the message, or the message is damaged.
    pub(crate) fn decrypt(&self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, GpgError> {
        let answer = self.run(&["--quiet", "--decrypt"], Zeroizing::new(message.to_vec()))?;
        succeeded(answer, "decrypt a layer key").map(|answer| answer.out)
    }
}
