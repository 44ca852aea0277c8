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
    /// No colon, nothing behind it, an unknown protocol, or PKCS#11.
    pub fn parse(text: &str) -> Result<Self, CryptError> {
        let shown = securecp_oci::Escaped::new(text).limit(120).to_string();
        let fail = |problem: String| CryptError::Option { option: OPTION, problem };
        let (protocol, value) =
            text.split_once(':').filter(|(_, v)| !v.is_empty()).ok_or_else(|| {
                fail(format!("Invalid recipient format {shown:?}, expected PROTOCOL:VALUE"))
            })?;
        match protocol {
            "jwe" => Ok(Self::Jwe(value.into())),
            "pkcs7" => Ok(Self::Pkcs7(value.into())),
            "pgp" if is_file(value) => Ok(Self::PgpFile(value.into())),
            "pgp" => Ok(Self::Pgp(value.to_owned())),
            "provider" => ProviderSpec::parse(value)
                .map(Self::Provider)
                .ok_or_else(|| fail(format!("{shown:?} names no provider"))),
            "pkcs11" => Err(fail("PKCS#11 tokens are not supported yet".to_owned())),
            _ => Err(fail(format!(
                "Provided protocol not recognized in {shown:?}, expected jwe, pgp, pkcs7 or provider"
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
            ("age:x", "Provided protocol not recognized"),
            ("JWE:x", "Provided protocol not recognized"),
            ("provider::x", "names no provider"),
            ("pkcs11:x", "not supported yet"),
        ] {
            let error = RecipientSpec::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("--encryption-key: ") && error.contains(expected), "{error}");
        }
    }
}
