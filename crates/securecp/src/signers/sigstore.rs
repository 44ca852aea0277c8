//! Keys for sigstore signatures, and certificates that stand in for keys.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use securecp_copy::ImageSigner;
use securecp_keys::{
    Ambient, KeySource, Notary, PARAMETERS_LIMIT, Rekor, SecretText, SigningParameters,
};
use securecp_layer::Scope;
use securecp_net::{HttpClient, Net, TlsOptions};
use securecp_oci::{RawManifest, Reference};
use securecp_trust::{KEY_LIMIT, PayloadKind, SigstoreKey, SigstoreSigner};
use zeroize::Zeroizing;

use super::{Passphrase, Signed, payload, read_passphrase};
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::progress::say;
use crate::prompt;

/// Unlocks the key in a file, with a passphrase from the terminal if none was given.
pub(super) fn key_in_file(path: &Path, passphrase: Option<Passphrase>) -> Result<ByKey, Failure> {
    Ok(ByKey(unlock("--sign-by-sigstore-private-key", path, passphrase)?))
}

/// Does what a parameter file says. Services are asked when the first signature is made.
pub(super) fn by_parameters(path: &Path, scope: &Scope) -> Result<ByNotary, Failure> {
    let option = || format!("--sign-by-sigstore {}", path.display());
    let file = read_bounded(path, PARAMETERS_LIMIT).map(Zeroizing::new).with_context(option)?;
    let parameters = SigningParameters::parse(&file)
        .with_context(|| format!("--sign-by-sigstore: parsing {:?}", path.display().to_string()))?;
    let http = Net::default().client(&TlsOptions::default()).with_context(option)?;
    let rekor = parameters.rekor.as_deref().map(|address| Rekor::new(&http, address)).transpose();
    let rekor = rekor.with_context(option)?;
    let notary =
        notary(parameters.key, (&http, rekor)).map_err(|failure| failure.context(option()))?;
    Ok(ByNotary { notary, scope: scope.clone() })
}

fn notary(key: KeySource, (http, rekor): (&HttpClient, Option<Rekor>)) -> Result<Notary, Failure> {
    match (key, rekor) {
        (KeySource::File { path, passphrase_file }, rekor) => {
            let passphrase = passphrase_file.as_deref().map(read_passphrase).transpose()?;
            Ok(Notary::with_key(unlock("privateKeyFile", &path, passphrase)?, rekor))
        }
        (KeySource::Fulcio(fulcio), Some(rekor)) => {
            let asking = (ambient(), Arc::new(say) as securecp_keys::Tell);
            Ok(Notary::certified(http, &fulcio, rekor, asking)?)
        }
        // The parameters are refused without a log.
        (KeySource::Fulcio(_), None) => Err(Failure::new("missing rekorURL")),
    }
}

/// What the environment says about the identity of this build.
fn ambient() -> Ambient {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ambient {
        token: variable("SIGSTORE_ID_TOKEN").map(SecretText::new),
        request_url: variable("ACTIONS_ID_TOKEN_REQUEST_URL"),
        request_token: variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").map(SecretText::new),
    }
}

/// Asks for the passphrase of the key in a file.
pub(super) fn ask(path: &Path) -> Result<Passphrase, Failure> {
    prompt::passphrase(&format!("Passphrase for key {}: ", path.display()))
}

fn unlock(
    option: &str,
    path: &Path,
    passphrase: Option<Passphrase>,
) -> Result<SigstoreSigner, Failure> {
    let option = || format!("{option} {}", path.display());
    let file = read(path).with_context(option)?;
    let passphrase = passphrase.map_or_else(|| ask(path), Ok)?;
    let key = SigstoreKey::from_encrypted_pem(&file, Some(&passphrase)).with_context(option)?;
    Ok(SigstoreSigner::new(key))
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

/// A key or certificates, and a log that sees what is signed.
#[derive(Debug)]
pub(super) struct ByNotary {
    pub(super) notary: Notary,
    pub(super) scope: Scope,
}

impl ImageSigner for ByNotary {
    fn name(&self) -> String {
        self.notary.name()
    }

    fn is_simple(&self) -> bool {
        false
    }

    fn sign(&self, manifest: &RawManifest, identity: &Reference) -> Signed {
        let now = SystemTime::now();
        let payload = payload(PayloadKind::Sigstore, manifest.bytes(), identity, now)?;
        Ok(self.notary.sign(&payload, &self.scope)?)
    }
}
