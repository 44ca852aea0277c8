use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use securecp_copy::Encryption;
use securecp_crypt::{
    Budget, Certificate, DecryptionKeySpec, JweKeys, JweRecipients, KeyMaterial, KeyUnwrapper,
    KeyWrapper, Keys, LayerSelection, Passphrase, PassphraseSource, PgpCertificates, PgpKeys,
    PgpRecipient, PgpRecipients, PgpSecretKey, Pkcs7Keys, Pkcs7Recipients, PrivateKey, PublicKey,
    RecipientSpec, Recipients, Secret, read_key_file, split_list,
};

use crate::args::CryptArgs;
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::prompt;

/// Largest key file, in bytes.
const KEY_FILE_LIMIT: usize = 1 << 20;
/// Longest passphrase, in bytes.
const PASSPHRASE_LIMIT: usize = 64 << 10;

/// Who can decrypt which layers; `None` if nothing is to be encrypted.
pub(crate) fn encryption(args: &CryptArgs) -> Result<Option<Encryption>, Failure> {
    if args.encryption_key.is_empty() {
        return match args.encrypt_layer.is_empty() {
            true => Ok(None),
            false => Err(Failure::usage("--encrypt-layer has no effect without --encryption-key")),
        };
    }
    let mut found = Wanted::default();
    for value in &args.encryption_key {
        for text in split_list("--encryption-key", value).map_err(usage)? {
            found.add(&RecipientSpec::parse(&text).map_err(usage)?)?;
        }
    }
    let layers = LayerSelection::parse(&args.encrypt_layer).map_err(usage)?;
    Ok(Some(Encryption { recipients: Arc::new(found.recipients()?), layers }))
}

/// The private keys at hand; `None` if nothing is to be decrypted.
pub(crate) fn decryption(args: &CryptArgs) -> Result<Option<Arc<Keys>>, Failure> {
    if args.decryption_key.is_empty() {
        return match args.dangerous_accept_pkcs7_cbc {
            false => Ok(None),
            true => Err(Failure::usage(
                "--dangerous-accept-pkcs7-cbc has no effect without --decryption-key",
            )),
        };
    }
    let mut found = Owned::default();
    for value in &args.decryption_key {
        for text in split_list("--decryption-key", value.expose()).map_err(usage)? {
            let spec = DecryptionKeySpec::parse(&text, Path::is_file).map_err(usage)?;
            found.add(&spec)?;
        }
    }
    Ok(Some(Arc::new(found.keys(args.dangerous_accept_pkcs7_cbc)?)))
}

fn usage(error: securecp_crypt::CryptError) -> Failure {
    Failure::usage(error.to_string())
}

/// Recipients, sorted by scheme: each scheme wraps for all of its own in one item.
#[derive(Default)]
struct Wanted {
    jwe: Vec<PublicKey>,
    pkcs7: Vec<Certificate>,
    pgp: Vec<PgpRecipient>,
}

impl Wanted {
    fn add(&mut self, spec: &RecipientSpec) -> Result<(), Failure> {
        match spec {
            RecipientSpec::Jwe(path) => self.add_public(path),
            RecipientSpec::Pkcs7(path) => self.add_certificates(path),
            RecipientSpec::PgpFile(path) => self.add_pgp_file(path),
            RecipientSpec::Pgp(_) => Err(not_yet("pgp: with a name from the keyring")
                .hint("export the key to a file: gpg --export --armor NAME > name.asc")),
            RecipientSpec::Provider(provider) => {
                Err(not_yet(&format!("provider:{}", provider.name)))
            }
            _ => Err(not_yet("this kind of recipient")),
        }
    }

    fn add_public(&mut self, path: &Path) -> Result<(), Failure> {
        for material in read_keys(path, &Passphrase::none())? {
            match material {
                KeyMaterial::Public(key) => self.jwe.push(key),
                other => return Err(wrong_kind(path, "a public key", &other)),
            }
        }
        Ok(())
    }

    fn add_certificates(&mut self, path: &Path) -> Result<(), Failure> {
        for material in read_keys(path, &Passphrase::none())? {
            match material {
                KeyMaterial::Certificate(certificate) => self.pkcs7.push(certificate),
                other => return Err(wrong_kind(path, "an X.509 certificate", &other)),
            }
        }
        Ok(())
    }

    fn add_pgp_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = read_file(path)?;
        let found = PgpCertificates::read(&bytes).ok_or_else(|| {
            Failure::new(format!("{}: expected OpenPGP certificates, found none", path.display()))
        })?;
        self.pgp.extend(found.all().context("--encryption-key")?);
        Ok(())
    }

    fn recipients(self) -> Result<Recipients, Failure> {
        let mut wrappers: Vec<Box<dyn KeyWrapper>> = Vec::new();
        if !self.jwe.is_empty() {
            wrappers.push(Box::new(JweRecipients::new(self.jwe).map_err(weak)?));
        }
        if !self.pgp.is_empty() {
            wrappers.push(Box::new(PgpRecipients::new(self.pgp)));
        }
        if !self.pkcs7.is_empty() {
            wrappers.push(Box::new(Pkcs7Recipients::new(self.pkcs7).map_err(weak)?));
        }
        Ok(Recipients::new(wrappers).context("--encryption-key")?)
    }
}

fn weak(error: securecp_crypt::CryptError) -> Failure {
    Failure::new(format!("--encryption-key: {error}"))
        .hint("make a key that lasts, for example with: openssl genrsa -out key.pem 3072")
}

/// Private keys and certificates, in the order given.
#[derive(Default)]
struct Owned {
    private: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
    pgp: Vec<PgpSecretKey>,
}

impl Owned {
    fn add(&mut self, spec: &DecryptionKeySpec) -> Result<(), Failure> {
        match spec {
            DecryptionKeySpec::File { path, passphrase } => {
                let passphrase = read_passphrase(path, passphrase)?;
                read_keys(path, &passphrase)?
                    .into_iter()
                    .try_for_each(|material| self.take(path, material))
            }
            DecryptionKeySpec::Gpg => Err(not_yet("pgp: without a key file")),
            DecryptionKeySpec::Provider(provider) => {
                Err(not_yet(&format!("provider:{}", provider.name)))
            }
            _ => Err(not_yet("this kind of key")),
        }
    }

    fn take(&mut self, path: &Path, material: KeyMaterial) -> Result<(), Failure> {
        match material {
            KeyMaterial::Private(key) => {
                if key.is_weak() {
                    let text = format!("{}: RSA keys under 2048 bits are weak", path.display());
                    crate::progress::warn(&text);
                }
                self.private.push(key);
            }
            KeyMaterial::Certificate(certificate) => self.certificates.push(certificate),
            KeyMaterial::Pgp(key) => self.pgp.push(key),
            other => return Err(wrong_kind(path, "a private key or a certificate", &other)),
        }
        Ok(())
    }

    fn keys(self, dangerous_cbc: bool) -> Result<Keys, Failure> {
        let mut unwrappers: Vec<Box<dyn KeyUnwrapper>> = Vec::new();
        let pkcs7 = Pkcs7Keys::new(&self.certificates, &self.private);
        if !self.certificates.is_empty() && pkcs7.is_empty() {
            return Err(Failure::new("--decryption-key: no private key fits a certificate given")
                .hint("give the certificate and its private key, each with --decryption-key"));
        }
        if !self.private.is_empty() {
            unwrappers.push(Box::new(JweKeys::new(self.private)));
        }
        if !pkcs7.is_empty() {
            unwrappers.push(Box::new(pkcs7.dangerous_accept_unauthenticated(dangerous_cbc)));
        }
        if !self.pgp.is_empty() {
            unwrappers.push(Box::new(PgpKeys::new(self.pgp)));
        }
        Ok(Keys::new(unwrappers, Budget::default()))
    }
}

fn read_keys(path: &Path, passphrase: &Passphrase) -> Result<Vec<KeyMaterial>, Failure> {
    let bytes = read_file(path)?;
    read_key_file(&path.display().to_string(), &bytes, passphrase).map_err(|error| {
        let missing = matches!(error, securecp_crypt::KeyFileError::PassphraseMissing { .. });
        let failure = Failure::from(anyhow::Error::from(error));
        if missing { failure.hint("add :prompt or :file=FILE behind the path") } else { failure }
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = read_bounded(path, KEY_FILE_LIMIT);
    Ok(read.with_context(|| format!("reading key file {}", path.display()))?)
}

fn read_passphrase(key: &Path, source: &PassphraseSource) -> Result<Passphrase, Failure> {
    let from = |path: &Path| -> Result<Passphrase, Failure> {
        let bytes = read_bounded(path, PASSPHRASE_LIMIT)
            .with_context(|| format!("reading the passphrase of {}", key.display()))?;
        if bytes.len() > PASSPHRASE_LIMIT {
            let text = format!("the passphrase of {} is too long", key.display());
            return Err(Failure::new(text));
        }
        Ok(Passphrase::new(Secret::new(bytes)))
    };
    match source {
        PassphraseSource::Literal(secret) => Ok(Passphrase::new(secret.clone())),
        PassphraseSource::File(path) => from(path),
        PassphraseSource::Descriptor(number) => from(Path::new(&format!("/dev/fd/{number}"))),
        PassphraseSource::Prompt => {
            let typed = prompt::secret(&format!("Passphrase for {}: ", key.display()))?;
            Ok(Passphrase::new(Secret::new(typed.expose().as_bytes().to_vec())))
        }
        _ => Ok(Passphrase::none()),
    }
}

fn wrong_kind(path: &Path, expected: &str, found: &KeyMaterial) -> Failure {
    let found = match found {
        KeyMaterial::Private(_) => "a private key",
        KeyMaterial::Public(_) => "a public key",
        KeyMaterial::Certificate(_) => "an X.509 certificate",
        KeyMaterial::Pgp(_) => "an OpenPGP secret key",
        _ => "something else",
    };
    Failure::new(format!("{}: expected {expected}, found {found}", path.display()))
}

fn not_yet(what: &str) -> Failure {
    Failure::usage(format!("{what} is not supported yet"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Secret as Hidden;
    use crate::failure::Exit;

    fn key(name: &str) -> String {
        format!("{}/../../testdata/crypt/keys/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn reads_recipients_of_every_scheme() {
        let args = CryptArgs {
            encryption_key: vec![
                format!("jwe:{},pkcs7:{}", key("rsa-a.pub.pem"), key("x509-a.pem")),
                format!("pgp:{}", key("pgp-alice.pub.asc")),
            ],
            encrypt_layer: vec!["-1,0".to_owned()],
            ..CryptArgs::default()
        };
        let found = encryption(&args).unwrap().unwrap();
        assert_eq!(found.recipients.list().len(), 3);
        assert_eq!(found.layers.indices(), [-1, 0]);
    }

    #[test]
    fn refuses_what_cannot_take_effect_or_is_of_the_wrong_kind() {
        let with = |values: &[String]| CryptArgs {
            encryption_key: values.to_vec(),
            ..CryptArgs::default()
        };
        let only_layers = CryptArgs { encrypt_layer: vec!["1".to_owned()], ..CryptArgs::default() };
        assert_eq!(encryption(&only_layers).unwrap_err().exit(), Exit::Usage);
        for bad in [
            "nocolon".to_owned(),
            "rot13:x".to_owned(),
            "jwe:/nonexistent".to_owned(),
            format!("jwe:{}", key("rsa-a.pem")),
            format!("pkcs7:{}", key("rsa-a.pub.pem")),
            format!("pgp:{}", key("rsa-a.pem").replace("rsa-a.pem", "missing.asc")),
        ] {
            assert!(encryption(&with(std::slice::from_ref(&bad))).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_private_keys_with_their_passphrases_and_never_shows_them() {
        let locked = key("rsa-a.pkcs8-enc.pem");
        let with = |value: &str| CryptArgs {
            decryption_key: vec![Hidden::new(value)],
            ..CryptArgs::default()
        };
        assert!(decryption(&with(&format!("{locked}:pass=hunter2"))).unwrap().is_some());
        let args = with(&format!("{locked}:pass=wrong-hunter"));
        let error = decryption(&args).unwrap_err();
        assert!(!format!("{error} {error:?} {args:?}").contains("hunter"), "{error}");
        assert!(decryption(&with(&locked)).is_err());
        assert!(decryption(&with(&key("x509-a.pem"))).is_err(), "a certificate without its key");
    }
}
