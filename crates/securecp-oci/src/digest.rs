use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Escaped;

/// A digest algorithm of the OCI image specification's registry ("Digests").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal digits.
    Sha256,
    /// SHA-384, 96 hexadecimal digits.
    Sha384,
    /// SHA-512, 128 hexadecimal digits.
    Sha512,
}

impl Algorithm {
    /// The name that stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Number of hexadecimal digits of a value.
    pub fn hex_len(self) -> usize {
        self.ring().output_len() * 2
    }

    fn ring(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm(Escaped::new(name).limit(64).to_string())),
        }
    }
}

impl Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no colon.
    #[error("digest {0:?} has no algorithm, expected ALGORITHM:HEX")]
    NoAlgorithm(String),
    /// The algorithm is not one of sha256, sha384, sha512.
    #[error("digest algorithm {0:?} is not available, expected sha256, sha384 or sha512")]
    Algorithm(String),
    /// The value has the wrong length or characters other than `0-9a-f`.
    #[error(
        "digest value of {algorithm} is not {expected} lower-case hexadecimal digits: {found:?}"
    )]
    Hex {
        /// The algorithm named.
        algorithm: Algorithm,
        /// Digits expected.
        expected: usize,
        /// The value found, escaped and cut.
        found: String,
    },
}

/// A validated content digest: algorithm and lower-case hexadecimal value of exact length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// Hashes `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Whether `bytes` hash to this digest.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm, bytes) == *self
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm(Escaped::new(text).limit(80).to_string()))?;
        let algorithm: Algorithm = name.parse()?;
        let valid = hex.len() == algorithm.hex_len()
            && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(DigestError::Hex {
                algorithm,
                expected: algorithm.hex_len(),
                found: Escaped::new(hex).limit(140).to_string(),
            });
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes one digest over bytes that come in pieces (FIPS 180-4).
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: ring::digest::Context,
}

impl Hasher {
    /// Starts an empty hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, context: ring::digest::Context::new(algorithm.ring()) }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let value = self.context.finish();
        let mut hex = String::with_capacity(self.algorithm.hex_len());
        for byte in value.as_ref() {
            hex.push(char::from(HEX[usize::from(byte >> 4)]));
            hex.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest { algorithm: self.algorithm, hex: hex.into() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_known_values() {
        assert_eq!(
            Digest::of(Algorithm::Sha256, b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::of(Algorithm::Sha384, b"").hex().len(), 96);
        assert_eq!(Digest::of(Algorithm::Sha512, b"").hex().len(), 128);
    }

    #[test]
    fn prints_what_it_parsed() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"x");
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let good = Digest::of(Algorithm::Sha256, b"x").hex().to_owned();
        for bad in [
            String::new(),
            good.clone(),
            format!("md5:{good}"),
            format!("SHA256:{good}"),
            format!("sha256:{}", good.to_uppercase()),
            format!("sha256:{}", &good[1..]),
            format!("sha256:{good}0"),
            format!("sha512:{good}"),
            format!("sha256:{}", good.replace(&good[..1], "/")),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
