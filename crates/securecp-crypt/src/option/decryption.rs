use std::path::{Path, PathBuf};

use super::ProviderSpec;
use crate::{CryptError, Secret};

const OPTION: &str = "--decryption-key";

/// A private key to decrypt with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DecryptionKeySpec {
    /// `FILE[:PASSPHRASE]` – a key, certificate or OpenPGP key.
    File {
        /// The file.
        path: PathBuf,
        /// Where its passphrase comes from.
        passphrase: PassphraseSource,
    },
    /// `pgp:` – the secret keys that the user's gpg can reach: agent, smartcard.
    Gpg,
    /// `provider:NAME[:PARAMETER]` – a key provider.
    Provider(ProviderSpec),
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum PassphraseSource {
    /// There is none.
    #[default]
    None,
    /// `prompt` – asked for on the terminal.
    Prompt,
    /// `pass=TEXT`, or any other text.
    Literal(Secret),
    /// `file=FILE` – the contents of a file.
    File(PathBuf),
    /// `fd=NUMBER` – read from an open file descriptor.
    Descriptor(u32),
}

impl DecryptionKeySpec {
    /// Reads one value of the option.
    ///
    /// Paths and passphrases may hold colons: of all places where the value could be divided, the last one whose left
    /// side is a file counts (the whole value first). If there is no such file the first colon divides, as in the
    /// reference. `exists` says whether a path is there.
    ///
    /// # Errors
    /// The value is empty, or a provider or descriptor is malformed; the text is not quoted, it may be a passphrase.
    pub fn parse(text: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, CryptError> {
        let fail =
            |problem: &str| CryptError::Option { option: OPTION, problem: problem.to_owned() };
        if text == "pgp:" {
            return Ok(Self::Gpg);
        }
        if let Some(provider) = text.strip_prefix("provider:") {
            let provider = ProviderSpec::parse(provider);
            return provider.map(Self::Provider).ok_or_else(|| fail("names no provider"));
        }
        let (path, passphrase) = divide(text, exists);
        if path.is_empty() {
            return Err(fail("no file is named"));
        }
        let passphrase = passphrase.map_or(Some(PassphraseSource::None), PassphraseSource::parse);
        let passphrase =
            passphrase.ok_or_else(|| fail("fd= is not followed by the number of a descriptor"))?;
        Ok(Self::File { path: path.into(), passphrase })
    }
}

fn divide(text: &str, exists: impl Fn(&Path) -> bool) -> (&str, Option<&str>) {
    if exists(Path::new(text)) {
        return (text, None);
    }
    let places = text.rmatch_indices(':').map(|(place, _)| place);
    let place = places.into_iter().find(|place| exists(Path::new(&text[..*place])));
    match place.or(text.find(':')) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

impl PassphraseSource {
    fn parse(text: &str) -> Option<Self> {
        let literal = |text: &str| Self::Literal(Secret::new(text.as_bytes().to_vec()));
        Some(match text.split_once('=') {
            Some(("pass", passphrase)) => literal(passphrase),
            Some(("file", path)) => Self::File(path.into()),
            Some(("fd", number)) => Self::Descriptor(number.parse().ok()?),
            _ if text == "prompt" => Self::Prompt,
            _ => literal(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reading in one line, with `files` in place.
    fn read(text: &str, files: &[&str]) -> String {
        let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        match DecryptionKeySpec::parse(text, exists) {
            Ok(DecryptionKeySpec::Gpg) => "gpg".to_owned(),
            Ok(DecryptionKeySpec::Provider(p)) => format!("{} {}", p.name, p.parameter),
            Ok(DecryptionKeySpec::File { path, passphrase }) => {
                let passphrase = match passphrase {
                    PassphraseSource::None => String::new(),
                    PassphraseSource::Prompt => " prompt".to_owned(),
                    PassphraseSource::Literal(p) => format!(" {}", String::from_utf8_lossy(&p)),
                    PassphraseSource::File(path) => format!(" file {}", path.display()),
                    PassphraseSource::Descriptor(number) => format!(" fd {number}"),
                };
                format!("{}{passphrase}", path.display())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_every_form() {
        for (text, expected) in [
            ("k.pem", "k.pem"),
            ("k.pem:secret", "k.pem secret"),
            ("k.pem:pass=secret", "k.pem secret"),
            ("k.pem:pass=pass=x", "k.pem pass=x"),
            ("k.pem:filename=pw", "k.pem filename=pw"),
            ("k.pem:file=/a/b", "k.pem file /a/b"),
            ("k.pem:fd=3", "k.pem fd 3"),
            ("k.pem:prompt", "k.pem prompt"),
            ("k.pem:pass=prompt", "k.pem prompt"),
            ("k.pem:", "k.pem "),
            ("pgp:", "gpg"),
            ("provider:kms", "kms Enabled"),
            ("provider:kms:a:b", "kms a:b"),
        ] {
            assert_eq!(read(text, &["k.pem"]), expected, "{text}");
        }
    }

    #[test]
    fn colons_in_paths_and_passphrases_work() {
        for (text, files, expected) in [
            ("k.pem:pa:ss", &["k.pem"][..], "k.pem pa:ss"),
            ("k.pem:pass=pa:ss", &["k.pem"], "k.pem pa:ss"),
            ("dir:1/k.pem", &["dir:1/k.pem"], "dir:1/k.pem"),
            ("dir:1/k.pem:pass=a:b", &["dir:1/k.pem"], "dir:1/k.pem a:b"),
            ("k:1", &["k", "k:1"], "k:1"),
            ("k:1:pw", &["k", "k:1"], "k:1 pw"),
            ("none:pa:ss", &[], "none pa:ss"),
            ("k.pem:file=a:b", &["k.pem"], "k.pem file a:b"),
        ] {
            assert_eq!(read(text, files), expected, "{text}");
        }
    }

    #[test]
    fn errors_do_not_quote_what_may_be_a_passphrase() {
        for bad in ["", ":hunter2", "k:fd=hunter2", "k:fd=-1", "provider::hunter2"] {
            let error = read(bad, &[]);
            assert!(
                error.starts_with("--decryption-key: ") && !error.contains("hunter"),
                "{error}"
            );
        }
        let spec = DecryptionKeySpec::parse("k:hunter2", |_| false).unwrap();
        assert!(!format!("{spec:?}").contains("hunter2"));
    }
}
