use std::path::Path;

use securecp_crypt::{
    Certificate, JweRecipients, KeyMaterial, KeyWrapper, Passphrase, PgpCertificates, PgpRecipient,
    PgpRecipients, Pkcs7Recipients, ProviderSpec, PublicKey, RecipientSpec, Recipients,
    read_key_file,
};

use super::{file, gpg};
use crate::{GpgHome, KeyProviders, LayerKeyError};

/// Where recipients' keys may be had, beside files.
#[derive(Debug, Clone, Default)]
pub struct RecipientSources {
    /// The user's GnuPG, for OpenPGP recipients that are not files.
    pub gpg: Option<GpgHome>,
    /// The configured key providers.
    pub providers: KeyProviders,
}

impl RecipientSources {
    /// Reads the keys of everybody that `--encryption-key` names. Those of one scheme share one wrapped key, in the
    /// order given.
    ///
    /// # Errors
    /// A key cannot be read, found or used; nobody is left out.
    pub fn recipients(&self, specs: &[RecipientSpec]) -> Result<Recipients, LayerKeyError> {
        let mut found = Found::default();
        for spec in specs {
            self.add(spec, &mut found)?;
        }
        let mut wrappers: Vec<Box<dyn KeyWrapper>> = Vec::new();
        if !found.jwe.is_empty() {
            wrappers.push(Box::new(JweRecipients::new(found.jwe)?));
        }
        if !found.pgp.is_empty() {
            wrappers.push(Box::new(PgpRecipients::new(found.pgp)));
        }
        if !found.pkcs7.is_empty() {
            wrappers.push(Box::new(Pkcs7Recipients::new(found.pkcs7)?));
        }
        for name in names(&found.providers) {
            wrappers.push(Box::new(self.providers.provider(name, &found.providers)?));
        }
        Ok(Recipients::new(wrappers)?)
    }

    fn add(&self, spec: &RecipientSpec, found: &mut Found) -> Result<(), LayerKeyError> {
        match spec {
            RecipientSpec::Jwe(path) => found.jwe.push(public_key(path)?),
            RecipientSpec::Pkcs7(path) => found.pkcs7.push(certificate(path)?),
            RecipientSpec::PgpFile(path) => found.pgp.extend(certificates(path)?.all()?),
            RecipientSpec::Pgp(name) => {
                let gpg = self.gpg.as_ref().ok_or(LayerKeyError::NoGpg("OpenPGP recipients"))?;
                found.pgp.push(gpg::recipient(gpg, name)?);
            }
            RecipientSpec::Provider(provider) => found.providers.push(provider.clone()),
            _ => return Err(LayerKeyError::NoGpg("this recipient")),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Found {
    jwe: Vec<PublicKey>,
    pgp: Vec<PgpRecipient>,
    pkcs7: Vec<Certificate>,
    providers: Vec<ProviderSpec>,
}

/// Each provider once, in the order given.
pub(crate) fn names(specs: &[ProviderSpec]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for spec in specs {
        if !names.contains(&spec.name.as_str()) {
            names.push(&spec.name);
        }
    }
    names
}

fn first(path: &Path) -> Result<KeyMaterial, LayerKeyError> {
    let name = path.display().to_string();
    let found = read_key_file(&name, &file::read(path)?, &Passphrase::none())?;
    let unknown = || securecp_crypt::KeyFileError::Unknown { name };
    Ok(found.into_iter().next().ok_or_else(unknown)?)
}

fn public_key(path: &Path) -> Result<PublicKey, LayerKeyError> {
    match first(path)? {
        KeyMaterial::Public(key) => Ok(key),
        other => Err(wrong_kind(path, "a public key or JWK", &other)),
    }
}

fn certificate(path: &Path) -> Result<Certificate, LayerKeyError> {
    match first(path)? {
        KeyMaterial::Certificate(certificate) => Ok(certificate),
        other => Err(wrong_kind(path, "an X.509 certificate", &other)),
    }
}

fn certificates(path: &Path) -> Result<PgpCertificates, LayerKeyError> {
    match first(path)? {
        KeyMaterial::PgpPublic(certificates) => Ok(certificates),
        other => Err(wrong_kind(path, "OpenPGP public keys", &other)),
    }
}

pub(crate) fn wrong_kind(
    path: &Path,
    expected: &'static str,
    found: &KeyMaterial,
) -> LayerKeyError {
    let found = match found {
        KeyMaterial::Private(_) => "a private key",
        KeyMaterial::Public(_) => "a public key",
        KeyMaterial::Certificate(_) => "a certificate",
        KeyMaterial::Pgp(_) => "an OpenPGP secret key",
        KeyMaterial::PgpPublic(_) => "OpenPGP public keys",
        _ => "something else",
    };
    LayerKeyError::WrongKind { subject: path.display().to_string(), expected, found }
}
