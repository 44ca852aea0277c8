//! Keys for sigstore signatures.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use securecp_copy::ImageSigner;
use securecp_oci::{RawManifest, Reference};
use securecp_trust::{KEY_LIMIT, PayloadKind, SigstoreKey, SigstoreSigner};
use zeroize::Zeroizing;

use super::{Passphrase, Signed, payload};
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::prompt;

/// Unlocks the key in a file, with a passphrase from the terminal if none was given.
pub(super) fn key_in_file(path: &Path, passphrase: Option<Passphrase>) -> Result<ByKey, Failure> {
    let option = || format!("--sign-by-sigstore-private-key {}", path.display());
    let file = read(path).with_context(option)?;
    let passphrase = passphrase.map_or_else(|| ask(path), Ok)?;
    let key = SigstoreKey::from_encrypted_pem(&file, Some(&passphrase)).with_context(option)?;
    Ok(ByKey(SigstoreSigner::new(key)))
}

/// Asks for the passphrase of the key in a file.
pub(super) fn ask(path: &Path) -> Result<Passphrase, Failure> {
    prompt::passphrase(&format!("Passphrase for key {}: ", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(read_bounded(path, KEY_LIMIT)?);
    anyhow::ensure!(bytes.len() <= KEY_LIMIT, "key has more than {KEY_LIMIT} bytes");
    Ok(bytes)
}

/// A key whose public half everybody who verifies knows.
#[derive(Debug)]
pub(super) struct ByKey(pub(super) SigstoreSigner);

impl ImageSigner for ByKey {
    fn name(&self) -> String {
        self.0.key_name()
    }

    fn is_simple(&self) -> bool {
        false
    }

    fn sign(&self, manifest: &RawManifest, identity: &Reference) -> Signed {
        let now = SystemTime::now();
        Ok(self.0.sign(&payload(PayloadKind::Sigstore, manifest.bytes(), identity, now)?)?)
    }
}
