use std::path::Path;

use securecp_crypt::{
    Certificate, JweRecipients, KeyMaterial, KeyWrapper, Passphrase, PgpCertificates, PgpRecipient,
    PgpRecipients, Pkcs7Keys, Pkcs7Recipients, PrivateKey, ProviderSpec, PublicKey, RecipientSpec,
    Recipients, read_key_file,
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
            RecipientSpec::Jwe(path) => found.jwe.extend(public_keys(path)?),
            RecipientSpec::Pkcs7(path) => found.pkcs7.push(certificate(path)?),
            RecipientSpec::PgpFile(path) => {
                for ring in certificates(path)? {
                    found.pgp.extend(ring.all()?);
                }
            }
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

/// Everything in a recipient's file. The reference takes the first block of PEM and drops the rest; here nothing that
/// could be somebody's key is left out.
fn read(path: &Path) -> Result<Vec<KeyMaterial>, LayerKeyError> {
    let name = path.display().to_string();
    Ok(read_key_file(&name, &file::read(path)?, &Passphrase::none())?)
}

/// All public keys of the file, each a recipient.
fn public_keys(path: &Path) -> Result<Vec<PublicKey>, LayerKeyError> {
    let key = |material| match material {
        KeyMaterial::Public(key) => Ok(key),
        other => Err(wrong_kind(path, "a public key or JWK", &other)),
    };
    read(path)?.into_iter().map(key).collect()
}

/// The one certificate of the file. Several are refused: in a chain the first is meant and the others are authorities,
/// in a list of people all are, and neither may be guessed. The certificate's own private key may stand beside it.
fn certificate(path: &Path) -> Result<Certificate, LayerKeyError> {
    let (mut certificates, mut private) = (Vec::new(), Vec::new());
    for material in read(path)? {
        match material {
            KeyMaterial::Certificate(certificate) => certificates.push(certificate),
            KeyMaterial::Private(key) => private.push(key),
            other => return Err(wrong_kind(path, CERTIFICATE, &other)),
        }
    }
    let stranger =
        |key: &PrivateKey| Pkcs7Keys::new(&certificates, std::slice::from_ref(key)).is_empty();
    if let Some(key) = private.into_iter().find(stranger) {
        return Err(wrong_kind(path, CERTIFICATE, &KeyMaterial::Private(key)));
    }
    let found = certificates.len();
    let one = certificates.pop().filter(|_| found == 1);
    one.ok_or_else(|| LayerKeyError::SeveralCertificates { path: path.to_owned(), found })
}

const CERTIFICATE: &str = "an X.509 certificate";

fn certificates(path: &Path) -> Result<Vec<PgpCertificates>, LayerKeyError> {
    let ring = |material| match material {
        KeyMaterial::PgpPublic(certificates) => Ok(certificates),
        other => Err(wrong_kind(path, "OpenPGP public keys", &other)),
    };
    read(path)?.into_iter().map(ring).collect()
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
