use std::io;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use securecp_oci::{Digest, DigestError, ManifestError};
use serde_json::json;

/// Why a request is not answered with success (distribution-spec, "Error Codes").
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("repository name does not follow the grammar")]
    NameInvalid,
    #[error("repository is not known to this registry")]
    NameUnknown,
    #[error("tag does not follow the grammar")]
    TagInvalid,
    #[error("tag exists and tags are immutable here")]
    TagImmutable,
    #[error("precondition failed: the tag has changed")]
    TagChanged,
    #[error("digest is malformed")]
    DigestInvalid(#[source] DigestError),
    #[error("content does not have the digest given: expected {expected}, found {found}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("parameter digest is missing")]
    DigestMissing,
    #[error("blob is not known to this repository")]
    BlobUnknown,
    #[error("range is outside the blob of {0} bytes")]
    RangeOutside(u64),
    #[error("upload is not known to this repository")]
    UploadUnknown,
    #[error("content range is malformed, expected FIRST-LAST")]
    ContentRange,
    #[error("chunk does not start where the upload ends: expected offset {0}")]
    ChunkOrder(u64),
    #[error("chunk length does not match: expected {expected} bytes, found {found}")]
    ChunkLength { expected: u64, found: u64 },
    #[error("upload is in use by another request")]
    UploadBusy,
    #[error("request body ended early or stalled")]
    BodyBroken,
    #[error("content is larger than the limit of {0} bytes")]
    TooLarge(u64),
    #[error("manifest is not known to this repository")]
    ManifestUnknown,
    #[error("manifest is invalid")]
    ManifestInvalid(#[source] ManifestError),
    #[error("content type is missing or not that of a manifest")]
    ManifestType,
    #[error("manifest names content that the repository does not have: {0}")]
    ManifestBlobUnknown(Digest),
    #[error("manifest states another size for {digest}: expected {expected} bytes, found {found}")]
    ManifestSize { digest: Digest, expected: u64, found: u64 },
    #[error("parameter {0} is malformed")]
    Parameter(&'static str),
    #[error("registry is read-only")]
    ReadOnly,
    #[error("method is not supported here")]
    Method,
    #[error("there is nothing at this path")]
    Path,
    #[error("too many unfinished uploads")]
    TooManyUploads,
    #[error("registry failed to reach its storage")]
    Storage(#[from] io::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NameUnknown
            | Self::BlobUnknown
            | Self::UploadUnknown
            | Self::ManifestUnknown
            | Self::Path => StatusCode::NOT_FOUND,
            Self::RangeOutside(_) | Self::ChunkOrder(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::UploadBusy | Self::TagImmutable => StatusCode::CONFLICT,
            Self::TagChanged => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ManifestType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ReadOnly | Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyUploads => StatusCode::TOO_MANY_REQUESTS,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::TagInvalid => "TAG_INVALID",
            Self::TagImmutable | Self::TagChanged => "DENIED",
            Self::DigestInvalid(_) | Self::DigestMismatch { .. } | Self::DigestMissing => {
                "DIGEST_INVALID"
            }
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::RangeOutside(_)
            | Self::ContentRange
            | Self::ChunkOrder(_)
            | Self::UploadBusy
            | Self::BodyBroken => "BLOB_UPLOAD_INVALID",
            Self::ChunkLength { .. } | Self::TooLarge(_) => "SIZE_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::ManifestInvalid(_) | Self::ManifestType | Self::ManifestSize { .. } => {
                "MANIFEST_INVALID"
            }
            Self::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            Self::Parameter("n") => "PAGINATION_NUMBER_INVALID",
            Self::ReadOnly | Self::Method => "UNSUPPORTED",
            Self::TooManyUploads => "TOOMANYREQUESTS",
            Self::Parameter(_) | Self::Path | Self::Storage(_) => "UNKNOWN",
        }
    }

    fn message(&self) -> String {
        use std::error::Error;
        match self {
            // Paths of the host stay in its log.
            Self::Storage(_) => self.to_string(),
            _ => match self.source() {
                Some(cause) => format!("{self}: {cause}"),
                None => self.to_string(),
            },
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        if let Self::Storage(cause) = &self {
            tracing::error!(%cause, "storage failed");
        }
        let text = json!({"errors": [{"code": self.code(), "message": self.message()}]});
        let mut response = Response::new(Body::from(text.to_string()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Self::RangeOutside(size) = self
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{size}"))
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
        response
    }
}
