use std::error::Error;
use std::io;
use std::path::PathBuf;

use securecp_oci::{Digest, MediaType};

use crate::{Codec, Stopped};

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
    /// Compressed bytes are not what their format asks for, or more than is safe.
    #[error("layer{} cannot be decompressed as {codec}", of_layer(layer.as_ref()))]
    Decompress {
        /// The layer's own digest, if its bytes were found to have it.
        layer: Option<Digest>,
        /// The format, as told from the first bytes.
        codec: Codec,
        /// Why.
        source: CodecError,
    },
    /// Compressing failed.
    #[error("layer cannot be compressed as {codec}")]
    Compress {
        /// The format.
        codec: Codec,
        /// Why.
        source: CodecError,
    },
    /// The decompressed bytes are not those that the image's configuration names.
    #[error(
        "diffID of layer {layer} does not match its configuration: expected {expected}, found {found}"
    )]
    DiffId {
        /// The layer's own digest.
        layer: Digest,
        /// The diffID promised (`rootfs.diff_ids`).
        expected: Digest,
        /// The digest of the decompressed bytes.
        found: Digest,
    },
    /// The blob is in another format than it has to be.
    #[error("layer is in another format: expected {expected}, found {found}")]
    Format {
        /// The format wanted.
        expected: Codec,
        /// The format told from the first bytes.
        found: Codec,
    },
    /// An entry of the transform cache cannot be written.
    #[error("transform cache entry {} cannot be written", .path.display())]
    Cache {
        /// The entry.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The media type is not one of a file system layer that can be changed.
    #[error(
        "layer of media type {0} cannot be recompressed, expected an OCI or Docker file system layer that is not encrypted"
    )]
    NotRecompressible(MediaType),
    /// The media type has no form for the new compression.
    #[error("layers of media type {media_type} have no form for {codec}")]
    NoMediaType {
        /// The layer's media type.
        media_type: MediaType,
        /// The compression asked for.
        codec: Codec,
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

fn of_layer(layer: Option<&Digest>) -> String {
    layer.map(|layer| format!(" {layer}")).unwrap_or_default()
}

/// Why a codec gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The data ends before its format says so.
    #[error("data is truncated")]
    Truncated,
    /// Something follows the last member or frame.
    #[error("trailing garbage after the compressed data")]
    Trailing,
    /// The data breaks its format.
    #[error("data is corrupt: {0}")]
    Corrupt(String),
    /// Reading the data would take more memory than is allowed.
    #[error("data needs a window of more than {limit_bytes} bytes")]
    Window {
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// More comes out than a [`crate::Guard`] allows.
    #[error("data expands beyond all proportion: more than {allowed} bytes from {read}")]
    Expands {
        /// Compressed bytes read so far.
        read: u64,
        /// Decompressed bytes allowed for them.
        allowed: u64,
    },
    /// The codec could not be set up or fed.
    #[error("codec failed: {0}")]
    Failed(String),
    /// A thread to compress with could not be started.
    #[error("no thread to compress with")]
    Thread(#[source] io::Error),
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
