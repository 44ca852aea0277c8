use std::error::Error;
use std::io;

use securecp_oci::Digest;

use crate::Stopped;

/// Why the bytes of a blob did not arrive whole and unaltered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The source ended before the promised size.
    #[error("blob {digest} is too short: expected {expected} bytes, found {found}")]
    Short {
        /// The blob.
        digest: Digest,
        /// Bytes promised.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The source sends more than the promised size.
    #[error("blob {digest} is too long: expected {expected} bytes, found more")]
    Long {
        /// The blob.
        digest: Digest,
        /// Bytes promised.
        expected: u64,
    },
    /// The bytes have another digest.
    #[error("Digest did not match: blob altered, expected {expected}, found {found}")]
    Altered {
        /// The digest promised.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// `finish` was called before `next` had said that there is no more.
    #[error("layer finished before its end was read")]
    FinishedEarly,
    /// The place that the bytes come from failed.
    #[error("reading blob {digest}")]
    Source {
        /// The blob.
        digest: Digest,
        /// Why.
        source: SourceError,
    },
    /// A temporary file failed.
    #[error("temporary file for blob data")]
    Spool(#[source] io::Error),
    /// A transform refused the bytes.
    #[error("{transform}: {problem}")]
    Transform {
        /// Which one, for example `gunzip`.
        transform: &'static str,
        /// What is wrong with the bytes.
        problem: String,
    },
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl LayerError {
    /// Whether asking again may help: only failures to read from the source say so themselves.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Source { source, .. } if source.transient)
    }
}

/// A failure of the place that bytes come from.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct SourceError {
    /// The failure.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
    /// Whether asking again may help.
    pub transient: bool,
}

impl SourceError {
    /// A failure that will be the same next time.
    pub fn lasting(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into(), transient: false }
    }

    /// A failure that may pass.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into(), transient: true }
    }
}
