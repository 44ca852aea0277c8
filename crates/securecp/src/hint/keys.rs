use std::error::Error;

use securecp_crypt::KeyFileError;
use securecp_keys::{GpgError, LayerKeyError};
use securecp_trust::SigstoreKeyError;

/// What to do about a key that cannot be used.
pub(super) fn of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<LayerKeyError>() {
        return match error {
            LayerKeyError::KeyFile(error) => of_file(error),
            LayerKeyError::Gpg(error) => of_gpg(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<KeyFileError>() {
        return of_file(error);
    }
    if let Some(error) = error.downcast_ref::<GpgError>() {
        return of_gpg(error);
    }
    match error.downcast_ref::<SigstoreKeyError>()? {
        SigstoreKeyError::WrongPassphrase => Some(
            "the first line of the file that --sign-passphrase-file (for new keys --passphrase-file) names is taken",
        ),
        SigstoreKeyError::Label(_) => Some(
            "generate-sigstore-key makes a key; cosign import-key-pair makes one of a key of OpenSSL",
        ),
        _ => None,
    }
}

fn of_file(error: &KeyFileError) -> Option<&'static str> {
    match error {
        KeyFileError::PassphraseMissing { .. } => Some("add :prompt or :file=FILE behind the path"),
        KeyFileError::PassphraseWrong { .. } => Some(
            "what stands behind the path is the passphrase; :prompt asks for it, :file=FILE reads it",
        ),
        _ => None,
    }
}

fn of_gpg(error: &GpgError) -> Option<&'static str> {
    match error {
        GpgError::NotInstalled => {
            Some("install GnuPG, or sign with an exported key: --sign-by-key-file FILE")
        }
        GpgError::NoSecretKey { .. } => Some("gpg --list-secret-keys shows the keys that you have"),
        GpgError::Ambiguous { .. } => Some("give the fingerprint of one of them"),
        GpgError::NoPublicKey { .. } => {
            Some("gpg --list-keys shows the keys that you have; pgp:FILE takes an exported one")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_and_missing_passphrases_have_a_next_step() {
        let name = || "key.pem".to_owned();
        let wrong = LayerKeyError::from(KeyFileError::PassphraseWrong { name: name() });
        assert!(of(&wrong).unwrap().contains(":prompt asks"));
        let missing = KeyFileError::PassphraseMissing { name: name() };
        assert!(of(&missing).unwrap().contains(":prompt"));
        let wrong = SigstoreKeyError::WrongPassphrase;
        assert!(of(&wrong).unwrap().contains("--sign-passphrase-file"));
        let none = GpgError::NoSecretKey { id: "alice".to_owned() };
        assert!(of(&none).unwrap().contains("--list-secret-keys"));
    }
}
