use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use securecp_oci::Escaped;
use securecp_trust::SignError;

/// Why GnuPG did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpgError {
    /// There is no program `gpg` in an absolute folder of `PATH`.
    #[error("program gpg was not found in PATH")]
    NotInstalled,
    /// The program cannot be run.
    #[error("running gpg")]
    Run(#[source] io::Error),
    /// The program did not end in time.
    #[error("gpg did not end within {limit:?}")]
    TooLong {
        /// The time given.
        limit: Duration,
    },
    /// Somebody asked to stop while the program ran.
    #[error("gpg was stopped")]
    Stopped(#[source] Box<dyn Error + Send + Sync>),
    /// The program said more than any answer has.
    #[error("gpg answered with more than {limit} bytes")]
    TooMuch {
        /// Bytes allowed.
        limit: usize,
    },
    /// No secret key has this name.
    #[error("gpg has no secret key for \"{id}\"")]
    NoSecretKey {
        /// What was asked for.
        id: String,
    },
    /// Several keys have this name.
    #[error("\"{id}\" is ambiguous, gpg has several secret keys for it: {}", joined(matches))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// The keys that match.
        matches: Vec<KeyMatch>,
    },
    /// No public key has this name.
    #[error("gpg has no public key for \"{id}\"")]
    NoPublicKey {
        /// What was asked for.
        id: String,
    },
    /// A passphrase is one line.
    #[error("invalid passphrase: must not contain a line break")]
    PassphraseLines,
    /// The passphrase does not unlock the key.
    #[error("the passphrase does not unlock key {key}")]
    WrongPassphrase {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The program failed for another reason.
    #[error("gpg failed to {what}: {said}")]
    Failed {
        /// What it was to do.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// The signature is not one that would be accepted.
    #[error("the signature made by gpg with key {key} is not usable")]
    NotUsable {
        /// The fingerprint of the primary key.
        key: String,
        /// Why.
        source: SignError,
    },
}

/// A secret key that has a name asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyMatch {
    /// The fingerprint of the primary key, in upper-case hexadecimal digits.
    pub fingerprint: String,
    /// Its first user ID; empty if it has none.
    pub user: String,
}

impl Display for KeyMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint)?;
        if self.user.is_empty() { Ok(()) } else { write!(f, " ({})", Escaped::new(&self.user)) }
    }
}

fn joined(matches: &[KeyMatch]) -> String {
    matches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
