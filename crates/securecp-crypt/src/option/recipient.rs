use std::path::PathBuf;

use super::ProviderSpec;
use crate::CryptError;

const OPTION: &str = "--encryption-key";

/// For whom layers are to be encrypted: `PROTOCOL:VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecipientSpec {
    /// `jwe:FILE` – a public key or JWK.
    Jwe(PathBuf),
    /// `pgp:NAME` – an address, name, key id or fingerprint in the user's keyring.
    Pgp(String),
    /// `pgp:FILE` – OpenPGP certificates in a file.
    PgpFile(PathBuf),
    /// `pkcs7:FILE` – an X.509 certificate.
    Pkcs7(PathBuf),
    /// `provider:NAME[:PARAMETER]` – a key provider.
    Provider(ProviderSpec),
}

impl RecipientSpec {
    /// Reads one value of the option; the first colon divides.
    ///
    /// # Errors
    /// No colon, nothing behind it, an unknown protocol, or PKCS#11; what stands behind the first colon is not quoted, it
    /// may be a provider's secret.
    pub fn parse(text: &str) -> Result<Self, CryptError> {
        let fail = |problem: String| CryptError::Option { option: OPTION, problem };
        let (protocol, value) = text
            .split_once(':')
            .filter(|(_, v)| !v.is_empty())
            .ok_or_else(|| fail("Invalid recipient format, expected PROTOCOL:VALUE".to_owned()))?;
        let shown = securecp_oci::Escaped::new(protocol).limit(40).to_string();
        match protocol {
            "jwe" => Ok(Self::Jwe(value.into())),
            "pkcs7" => Ok(Self::Pkcs7(value.into())),
            "pgp" if is_file(value) => Ok(Self::PgpFile(value.into())),
            "pgp" => Ok(Self::Pgp(value.to_owned())),
            "provider" => ProviderSpec::parse(value).map(Self::Provider).ok_or_else(|| {
                fail("provider: names no provider, expected provider:NAME[:PARAMETER]".to_owned())
            }),
            "pkcs11" => Err(fail("PKCS#11 tokens are not supported yet".to_owned())),
            _ => Err(fail(format!(
                "Provided protocol {shown:?} not recognized, expected jwe, pgp, pkcs7 or provider"
            ))),
        }
    }
}

/// Whether the value is a path and not somebody's name: by its ending or by how it begins.
fn is_file(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    ["/", "./", "../"].iter().any(|start| value.starts_with(start))
        || [".asc", ".gpg", ".pgp"].iter().any(|end| lower.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_protocol() {
        let provider = |name: &str, parameter: &str| {
            let (name, parameter) = (name.to_owned(), parameter.to_owned());
            RecipientSpec::Provider(ProviderSpec { name, parameter })
        };
        for (text, expected) in [
            ("jwe:a/b:c.pem", RecipientSpec::Jwe("a/b:c.pem".into())),
            ("pkcs7:c.pem", RecipientSpec::Pkcs7("c.pem".into())),
            ("pgp:anna@x.test", RecipientSpec::Pgp("anna@x.test".to_owned())),
            ("pgp:A / B <a@x.test>", RecipientSpec::Pgp("A / B <a@x.test>".to_owned())),
            ("pgp:team.ASC", RecipientSpec::PgpFile("team.ASC".into())),
            ("pgp:./ring", RecipientSpec::PgpFile("./ring".into())),
            ("provider:kms", provider("kms", "Enabled")),
            ("provider:kms:a:b", provider("kms", "a:b")),
            ("provider:kms:", provider("kms", "")),
        ] {
            assert_eq!(RecipientSpec::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for (text, expected) in [
            ("key.pem", "Invalid recipient format"),
            ("jwe:", "Invalid recipient format"),
            ("age:x", "Provided protocol \"age\" not recognized"),
            ("JWE:x", "Provided protocol \"JWE\" not recognized"),
            ("provider::x", "names no provider"),
            ("pkcs11:x", "not supported yet"),
        ] {
            let error = RecipientSpec::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("--encryption-key: ") && error.contains(expected), "{error}");
        }
    }

    /// As for `--decryption-key`.
    #[test]
    fn errors_do_not_quote_what_may_be_a_secret() {
        for bad in ["provider::hunter2", "providr:kms:hunter2", "provider kms hunter2"] {
            let error = RecipientSpec::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
