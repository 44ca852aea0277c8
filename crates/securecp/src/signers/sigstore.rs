//! Keys for sigstore signatures, and certificates that stand in for keys.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use securecp_copy::ImageSigner;
use securecp_keys::{
    Ambient, KeySource, Notary, Offer, PARAMETERS_LIMIT, ParameterFile, SIGNING_CONFIG_LIMIT,
    SecretText, SigningConfig, SigningParameters, Witnesses,
};
use securecp_layer::Scope;
use securecp_net::HttpClient;
use securecp_oci::{RawManifest, Reference};
use securecp_trust::{AttachmentCheck, KEY_LIMIT, PayloadKind, SigstoreKey, SigstoreSigner};
use zeroize::Zeroizing;

use super::bundles::{self, trusted_root};
use super::{Passphrase, Signed, payload, read_passphrase};
use crate::connect::Doors;
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::progress::say;
use crate::prompt;
use crate::request::SignRequest;

/// Unlocks the key in a file, with a passphrase from the terminal if none was given.
pub(super) fn key_in_file(path: &Path, passphrase: Option<Passphrase>) -> Result<ByKey, Failure> {
    Ok(ByKey(unlock("--sign-by-sigstore-private-key", path, passphrase)?))
}

/// Does what a parameter file says. Services are asked when the first signature is made.
pub(super) fn by_parameters(
    path: &Path,
    request: &SignRequest,
    (doors, scope): (&Doors<'_>, &Scope),
) -> Result<ByNotary, Failure> {
    let option = || format!("--sign-by-sigstore {}", path.display());
    let file = read_bounded(path, PARAMETERS_LIMIT).map(Zeroizing::new).with_context(option)?;
    let parsing = || format!("--sign-by-sigstore: parsing {:?}", path.display().to_string());
    let file = ParameterFile::read(&file).with_context(parsing)?;
    let parameters = completed(&file, request).map_err(|failure| failure.context(parsing()))?;
    check_forms(&parameters, request).map_err(|failure| failure.context(option()))?;
    let check = attachment_check(&parameters, request)?;
    let http = doors.http().with_context(option)?;
    let witnesses = Witnesses::at(&http, &parameters.witnesses).with_context(option)?;
    let notary = notary(parameters.key, (&http, witnesses));
    let notary = notary.map_err(|failure| failure.context(option()))?;
    Ok(ByNotary { notary, check, scope: scope.clone() })
}

/// What the file says, and the signing configuration that it may name.
fn completed(file: &ParameterFile, request: &SignRequest) -> Result<SigningParameters, Failure> {
    let Some(path) = file.signing_config()? else { return Ok(file.parameters(None)?) };
    if request.format.bundles().is_none() {
        return Err(Failure::usage(
            "signingConfigFile has no effect without --sign-format bundle or both",
        ));
    }
    let name = || format!("signingConfigFile {}", path.display());
    let bytes = read_bounded(&path, SIGNING_CONFIG_LIMIT).with_context(name)?;
    let config = SigningConfig::parse(&bytes).with_context(name)?;
    let attaches = request.format.attaches();
    let offer = Offer { config: &config, attaches, now: SystemTime::now() };
    Ok(file.parameters(Some(offer))?)
}

fn notary(key: KeySource, (http, by): (&HttpClient, Witnesses)) -> Result<Notary, Failure> {
    match key {
        KeySource::File { path, passphrase_file } => {
            let passphrase = passphrase_file.as_deref().map(read_passphrase).transpose()?;
            Ok(Notary::with_key(unlock("privateKeyFile", &path, passphrase)?, by))
        }
        KeySource::Fulcio(fulcio) => {
            let asking = (ambient(), Arc::new(say) as securecp_keys::Tell);
            Ok(Notary::certified(http, &fulcio, by, asking)?)
        }
    }
}

/// Whether the witnesses are those that the forms of signatures need, and none is there for nothing.
fn check_forms(parameters: &SigningParameters, request: &SignRequest) -> Result<(), Failure> {
    let (by, format) = (&parameters.witnesses, &request.format);
    let (attaches, bundles) = (format.attaches(), format.bundles().is_some());
    if attaches && by.rekor.is_none() && by.rekor_v2.is_some() {
        return Err(Failure::usage(
            "attachments need the promise of a log of the first version (rekorURL); that of rekorV2URL makes none",
        )
        .hint("--sign-format bundle signs without attachments"));
    }
    let bundle = "without --sign-format bundle or both";
    let alone = "with --sign-format bundle, whose log is that of rekorV2URL";
    let attachment = "with --sign-format bundle: --sign-trusted-root has the keys of logs";
    let idle = [
        ("rekorV2URL", by.rekor_v2.is_some() && !bundles, bundle),
        ("tsaURL", by.tsa.is_some() && !bundles, bundle),
        ("rekorURL", by.rekor.is_some() && by.rekor_v2.is_some() && !attaches, alone),
        ("rekorPublicKeyFile", parameters.rekor_key.is_some() && !attaches, attachment),
    ];
    match idle.into_iter().find(|(_, idle, _)| *idle) {
        Some((member, _, why)) => Err(Failure::usage(format!("{member} has no effect {why}"))),
        None => Ok(()),
    }
}

/// Who must have logged and certified new attachments.
fn attachment_check(
    parameters: &SigningParameters,
    request: &SignRequest,
) -> Result<AttachmentCheck, Failure> {
    let mut check = AttachmentCheck::default();
    if let Some(path) = &parameters.rekor_key {
        let name = || format!("rekorPublicKeyFile {}", path.display());
        check = check.log_key(&read(path).with_context(name)?).with_context(name)?;
    }
    let Some(path) = request.trusted_root.as_deref().filter(|_| request.format.attaches()) else {
        return Ok(check);
    };
    if parameters.witnesses.rekor.is_none() {
        let problem = "--sign-trusted-root has no effect on attachments without rekorURL";
        return Err(Failure::usage(problem));
    }
    let bytes = trusted_root(path)?;
    Ok(check.trusted_root(&bytes).with_context(|| bundles::option(path))?)
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

    fn leaves_no_trace(&self) -> bool {
        true
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
    check: AttachmentCheck,
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
        Ok(self.notary.sign(&payload, &self.check, &self.scope)?)
    }
}
