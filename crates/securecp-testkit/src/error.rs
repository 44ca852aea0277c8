use std::fmt::Display;
use std::io;

/// Why a piece of the test bench cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// A file, socket or process failed.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A peer tool that the test needs is not installed.
    #[error("peer {program} is missing: install the Debian package {package}")]
    MissingPeer {
        /// The program looked for.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A peer was started but does not answer.
    #[error("peer {program} is not ready: {found}")]
    NotReady {
        /// The program.
        program: String,
        /// What was seen, with what it wrote.
        found: String,
    },
    /// A registry refused what a fixture needs.
    #[error("{what} was refused: expected status {expected}, found {found}: {body}")]
    Refused {
        /// The request.
        what: String,
        /// The status expected.
        expected: u16,
        /// The status found.
        found: u16,
        /// The start of the body.
        body: String,
    },
    /// A certificate cannot be made or used.
    #[error("certificate cannot be made or used: {0}")]
    Certificate(String),
    /// A pattern of a rule is not a regular expression.
    #[error("pattern of a rule is not a regular expression")]
    Pattern(#[from] regex::Error),
}

/// Shorthand of this crate.
pub type Result<T, E = TestkitError> = std::result::Result<T, E>;

/// Names what was tried when it fails.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl Display) -> Result<T>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl Display) -> Result<T> {
        self.map_err(|source| TestkitError::Io { what: what.to_string(), source })
    }
}
