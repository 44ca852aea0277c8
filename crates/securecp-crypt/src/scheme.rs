use std::fmt::{self, Display};

/// Everything that belongs to encryption begins so; removed on decryption.
pub(crate) const ENC: &str = "org.opencontainers.image.enc";
/// The public options.
pub(crate) const PUBOPTS: &str = "org.opencontainers.image.enc.pubopts";
const KEYS: &str = "org.opencontainers.image.enc.keys.";
const PROVIDER: &str = "provider.";

/// A way of wrapping layer keys, as named by the annotation that carries the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// JSON Web Encryption (RFC 7516).
    Jwe,
    /// OpenPGP (RFC 4880).
    Pgp,
    /// PKCS#7 enveloped data (RFC 2315, in the dialect of ocicrypt).
    Pkcs7,
    /// Keys in a PKCS#11 token; can be recognised, not used yet.
    Pkcs11,
    /// A key provider of the user, by name.
    Provider(String),
    /// Something newer.
    Other(String),
}

impl Scheme {
    /// The scheme that an annotation key names, if it is one of wrapped keys.
    pub fn of_annotation(key: &str) -> Option<Self> {
        let name = key.strip_prefix(KEYS)?;
        Some(match name {
            "jwe" => Self::Jwe,
            "pgp" => Self::Pgp,
            "pkcs7" => Self::Pkcs7,
            "pkcs11" => Self::Pkcs11,
            _ => match name.strip_prefix(PROVIDER) {
                Some(provider) => Self::Provider(provider.to_owned()),
                None => Self::Other(name.to_owned()),
            },
        })
    }

    /// The kind alone, without any name that somebody gave.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Jwe => "jwe",
            Self::Pgp => "pgp",
            Self::Pkcs7 => "pkcs7",
            Self::Pkcs11 => "pkcs11",
            Self::Provider(_) => "provider",
            Self::Other(_) => "other",
        }
    }

    /// The annotation key under which wrapped keys stand.
    pub fn annotation(&self) -> String {
        match self {
            Self::Jwe => format!("{KEYS}jwe"),
            Self::Pgp => format!("{KEYS}pgp"),
            Self::Pkcs7 => format!("{KEYS}pkcs7"),
            Self::Pkcs11 => format!("{KEYS}pkcs11"),
            Self::Provider(name) => format!("{KEYS}{PROVIDER}{name}"),
            Self::Other(name) => format!("{KEYS}{name}"),
        }
    }
}

impl Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwe => f.write_str("jwe"),
            Self::Pgp => f.write_str("pgp"),
            Self::Pkcs7 => f.write_str("pkcs7"),
            Self::Pkcs11 => f.write_str("pkcs11"),
            Self::Provider(name) => write!(f, "provider:{}", securecp_oci::Escaped::new(name)),
            Self::Other(name) => securecp_oci::Escaped::new(name).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_annotation_it_was_read_from() {
        for name in ["jwe", "pgp", "pkcs7", "pkcs11", "provider.kms", "provider.", "new"] {
            let key = format!("{KEYS}{name}");
            assert_eq!(Scheme::of_annotation(&key).unwrap().annotation(), key);
        }
        assert!(Scheme::of_annotation(PUBOPTS).is_none());
        assert!(Scheme::of_annotation("keys.jwe").is_none());
    }
}
