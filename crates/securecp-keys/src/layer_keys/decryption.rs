use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use securecp_crypt::{
    Budget, Certificate, DecryptionKeySpec, JweKeys, KeyFileError, KeyMaterial, KeyUnwrapper, Keys,
    Passphrase, PassphraseSource, PgpKeys, PgpSecretKey, Pkcs7Keys, PrivateKey, ProviderSpec,
    Secret, read_key_file,
};

use super::file;
use super::recipients::{names, wrong_kind};
use crate::{GpgHome, GpgKeys, KeyProviders, LayerKeyError};

/// Asks a person for the passphrase of a key file.
pub type Prompt<'a> = &'a (dyn Fn(&Path) -> io::Result<Secret> + 'a);

/// Where private keys may be had, beside files.
pub struct DecryptionSources<'a> {
    /// The user's GnuPG, used only for `pgp:`.
    pub gpg: Option<GpgHome>,
    /// The configured key providers; each is used only if `provider:NAME` names it.
    pub providers: KeyProviders,
    /// Asks for passphrases, for `FILE:prompt`.
    pub prompt: Prompt<'a>,
    /// Accept PKCS#7 keys in CBC mode, which anybody on the way can alter unnoticed.
    pub dangerous_unauthenticated_pkcs7: bool,
}

impl std::fmt::Debug for DecryptionSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecryptionSources").field("gpg", &self.gpg).finish_non_exhaustive()
    }
}

/// Private keys, ready for use.
#[derive(Debug)]
pub struct DecryptionKeys {
    /// The keys; those that ask other programs or people are tried last.
    pub keys: Keys,
    /// What the user should know of them: weak keys, certificates without key.
    pub warnings: Vec<String>,
}

impl DecryptionSources<'_> {
    /// Reads everything that `--decryption-key` names.
    ///
    /// # Errors
    /// A file cannot be read, is of no known kind, is only public, or its passphrase is missing or wrong.
    pub fn keys(&self, specs: &[DecryptionKeySpec]) -> Result<DecryptionKeys, LayerKeyError> {
        let mut found = Found::default();
        for spec in specs {
            match spec {
                DecryptionKeySpec::File { path, passphrase } => {
                    self.read(path, passphrase, &mut found)?;
                }
                DecryptionKeySpec::Provider(provider) => found.providers.push(provider.clone()),
                _ => found.gpg = true,
            }
        }
        let warnings = found.warnings();
        Ok(DecryptionKeys { keys: self.assemble(found)?, warnings })
    }

    fn read(
        &self,
        path: &Path,
        source: &PassphraseSource,
        found: &mut Found,
    ) -> Result<(), LayerKeyError> {
        let (name, bytes) = (path.display().to_string(), file::read(path)?);
        let passphrase = self.passphrase(path, source, &mut found.descriptors)?;
        for material in read_key_file(&name, &bytes, &passphrase)? {
            match material {
                KeyMaterial::Private(key) => {
                    if key.is_weak() {
                        found.weak.push(name.clone());
                    }
                    found.private.push(key);
                }
                KeyMaterial::Certificate(certificate) => found.certificates.push(certificate),
                KeyMaterial::Pgp(key) => found.pgp.push(key),
                other => return Err(wrong_kind(path, "a private key or certificate", &other)),
            }
        }
        Ok(())
    }

    fn passphrase(
        &self,
        path: &Path,
        source: &PassphraseSource,
        descriptors: &mut BTreeSet<u32>,
    ) -> Result<Passphrase, LayerKeyError> {
        let secret = match source {
            PassphraseSource::None => return Ok(Passphrase::none()),
            PassphraseSource::Literal(secret) => secret.clone(),
            PassphraseSource::File(file) => file::read_passphrase(file)?,
            PassphraseSource::Descriptor(number) => {
                if !descriptors.insert(*number) {
                    return Err(LayerKeyError::DescriptorTwice(*number));
                }
                file::read_descriptor(*number)?
            }
            PassphraseSource::Prompt => (self.prompt)(path)
                .map_err(|source| LayerKeyError::Prompt { path: path.to_owned(), source })?,
            _ => {
                let name = path.display().to_string();
                return Err(KeyFileError::PassphraseMissing { name }.into());
            }
        };
        Ok(Passphrase::new(secret))
    }

    fn assemble(&self, found: Found) -> Result<Keys, LayerKeyError> {
        let pkcs7 = Pkcs7Keys::new(&found.certificates, &found.private)
            .dangerous_accept_unauthenticated(self.dangerous_unauthenticated_pkcs7);
        let mut unwrappers: Vec<Box<dyn KeyUnwrapper>> = Vec::new();
        if !found.private.is_empty() {
            unwrappers.push(Box::new(JweKeys::new(found.private)));
        }
        if !pkcs7.is_empty() {
            unwrappers.push(Box::new(pkcs7));
        }
        if !found.pgp.is_empty() {
            unwrappers.push(Box::new(PgpKeys::new(found.pgp)));
        }
        for name in names(&found.providers) {
            unwrappers.push(Box::new(self.providers.provider(name, &found.providers)?));
        }
        if found.gpg {
            let gpg = self.gpg.clone().ok_or(LayerKeyError::NoGpg("pgp:"))?;
            unwrappers.push(Box::new(GpgKeys::new(gpg)));
        }
        Ok(Keys::new(unwrappers, Budget::default()))
    }
}

#[derive(Default)]
struct Found {
    private: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
    pgp: Vec<PgpSecretKey>,
    providers: Vec<ProviderSpec>,
    gpg: bool,
    weak: Vec<String>,
    descriptors: BTreeSet<u32>,
}

impl Found {
    fn warnings(&self) -> Vec<String> {
        let weak = self.weak.iter().map(|name| {
            format!("{name}: an RSA key of less than 2048 bits; what it protects can be broken")
        });
        let lonely = self.certificates.iter().filter(|certificate| {
            Pkcs7Keys::new(std::slice::from_ref(certificate), &self.private).is_empty()
        });
        let lonely = lonely.map(|certificate| {
            format!("certificate of {}: its private key was not given", certificate.id())
        });
        weak.chain(lonely).collect()
    }
}
