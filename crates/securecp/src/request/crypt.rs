use std::env;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use securecp_copy::Encryption;
use securecp_crypt::{
    DecryptionKeySpec, Keys, LayerSelection, RecipientSpec, Recipients, Secret, split_list,
};
use securecp_keys::{DecryptionSources, GpgHome, KeyProviders, LayerKeyError, RecipientSources};

use super::both;
use crate::args::CryptArgs;
use crate::failure::Failure;
use crate::progress;
use crate::prompt;

/// Who can decrypt which layers; `None` if nothing is to be encrypted.
pub(crate) fn encryption(args: &CryptArgs) -> Result<Option<Encryption>, Failure> {
    let no_effect = |text: &str| Err(Failure::usage(text));
    match (args.encryption_key.is_empty(), args.add_recipient.is_empty()) {
        (false, false) => Err(both("--encryption-key", "--add-recipient")),
        (true, _) if !args.encrypt_layer.is_empty() => {
            no_effect("--encrypt-layer has no effect without --encryption-key")
        }
        (true, true) => Ok(None),
        (true, false) if args.decryption_key.is_empty() => {
            no_effect("--add-recipient needs the key of a present recipient: --decryption-key")
        }
        (true, false) => {
            let recipients = recipients("--add-recipient", &args.add_recipient)?;
            Ok(Some(Encryption { recipients, layers: LayerSelection::all(), add: true }))
        }
        (false, true) => {
            let recipients = recipients("--encryption-key", &args.encryption_key)?;
            let layers = LayerSelection::parse(&args.encrypt_layer).map_err(usage)?;
            Ok(Some(Encryption { recipients, layers, add: false }))
        }
    }
}

/// The private keys at hand; `None` if nothing is to be decrypted.
pub(crate) fn decryption(args: &CryptArgs) -> Result<Option<Arc<Keys>>, Failure> {
    let dangerous = args.dangerous_accept_pkcs7_cbc;
    match args.decryption_key.is_empty() {
        true if dangerous => Err(Failure::usage(
            "--dangerous-accept-pkcs7-cbc has no effect without --decryption-key",
        )),
        true => Ok(None),
        false => Ok(Some(Arc::new(keys(args)?))),
    }
}

fn recipients(option: &'static str, values: &[String]) -> Result<Arc<Recipients>, Failure> {
    let mut specs = Vec::new();
    for value in values {
        for text in split_list(option, value).map_err(usage)? {
            specs.push(RecipientSpec::parse(&text).map_err(usage)?);
        }
    }
    let sources = RecipientSources { gpg: GpgHome::of_user().ok(), providers: providers()? };
    Ok(Arc::new(sources.recipients(&specs).map_err(unusable)?))
}

fn keys(args: &CryptArgs) -> Result<Keys, Failure> {
    let mut specs = Vec::new();
    for value in &args.decryption_key {
        for text in split_list("--decryption-key", value.expose()).map_err(usage)? {
            specs.push(DecryptionKeySpec::parse(&text, Path::is_file).map_err(usage)?);
        }
    }
    let sources = DecryptionSources {
        gpg: GpgHome::of_user().ok(),
        providers: providers()?,
        prompt: &ask,
        dangerous_unauthenticated_pkcs7: args.dangerous_accept_pkcs7_cbc,
    };
    let found = sources.keys(&specs).map_err(unusable)?;
    found.warnings.iter().for_each(|warning| progress::warn(warning));
    Ok(found.keys)
}

fn usage(error: securecp_crypt::CryptError) -> Failure {
    Failure::usage(error.to_string())
}

fn unusable(error: LayerKeyError) -> Failure {
    Failure::from(anyhow::Error::from(error))
}

/// The key providers of the configuration that ocicrypt uses too.
fn providers() -> Result<KeyProviders, Failure> {
    match env::var_os("OCICRYPT_KEYPROVIDER_CONFIG").filter(|path| !path.is_empty()) {
        Some(path) => {
            Ok(KeyProviders::read(Path::new(&path)).context("OCICRYPT_KEYPROVIDER_CONFIG")?)
        }
        None => Ok(KeyProviders::default()),
    }
}

fn ask(path: &Path) -> io::Result<Secret> {
    let question = format!("Passphrase for {}: ", path.display());
    let typed =
        prompt::secret(&question).map_err(|failure| io::Error::other(failure.to_string()))?;
    Ok(Secret::new(typed.expose().as_bytes().to_vec()))
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
    }
}
