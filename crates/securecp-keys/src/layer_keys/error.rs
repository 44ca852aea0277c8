use std::io;
use std::path::PathBuf;

use securecp_crypt::{CryptError, KeyFileError};

/// Why keys could not be had from where they live. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerKeyError {
    /// A file could not be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or descriptor holds more than allowed.
    #[error("{subject} holds more than {limit} bytes")]
    TooLarge {
        /// What.
        subject: String,
        /// The limit.
        limit: usize,
    },
    /// A key file is not what it should be.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key or option is refused.
    #[error(transparent)]
    Crypt(#[from] CryptError),
    /// A file holds another sort of key than its place needs.
    #[error("{subject}: expected {expected}, found {found}")]
    WrongKind {
        /// The file.
        subject: String,
        /// What belongs there.
        expected: &'static str,
        /// What it holds.
        found: &'static str,
    },
    /// A recipient's file holds several certificates.
    #[error(
        "{path}: expected one X.509 certificate, found {found}; give each recipient's certificate in a file of its own"
    )]
    SeveralCertificates {
        /// The file.
        path: PathBuf,
        /// How many it holds.
        found: usize,
    },
    /// A descriptor is named twice; it can be read only once.
    #[error("fd={0} is given for two passphrases, but can be read only once")]
    DescriptorTwice(u32),
    /// The terminal could not be asked for a passphrase.
    #[error("asking for the passphrase of {path}")]
    Prompt {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// GnuPG failed.
    #[error(transparent)]
    Gpg(#[from] crate::GpgError),
    /// GnuPG is needed, but was not offered.
    #[error("GnuPG is needed for {0}, but is not installed")]
    NoGpg(&'static str),
    /// Another program failed.
    #[error(transparent)]
    Program(#[from] super::ProgramError),
    /// A service cannot be reached as its address says.
    #[error(transparent)]
    Net(#[from] securecp_net::NetError),
    /// What GnuPG has exported cannot be read.
    #[error("GnuPG exported a public key that cannot be read")]
    UnreadableKey,
    /// A key provider is not configured, or in a way that cannot be used here.
    #[error("key provider {name}: {problem}")]
    Provider {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}
