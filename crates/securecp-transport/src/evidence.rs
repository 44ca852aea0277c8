use securecp_layer::Scope;
use securecp_oci::{Attached, Descriptor, Digest, RawManifest};

use crate::TransportError;

/// One piece of evidence at a destination. Its blobs are put before it.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// A manifest with a subject, to be listed among the referrers of that.
    Referrer(&'a RawManifest),
    /// A manifest that a piece of evidence names, being an index.
    Part(&'a RawManifest),
    /// What cosign attached to a manifest.
    Attached {
        /// The manifest.
        subject: &'a Digest,
        /// In what role.
        what: Attached,
        /// What was attached; at the destination it may have become a part of more.
        manifest: &'a RawManifest,
    },
}

impl<'a> Piece<'a> {
    /// The manifest of the piece.
    pub fn manifest(&self) -> &'a RawManifest {
        match self {
            Self::Referrer(manifest) | Self::Part(manifest) | Self::Attached { manifest, .. } => {
                manifest
            }
        }
    }

    /// The place has no room for evidence.
    pub(crate) fn unsupported(&self) -> TransportError {
        let problem = "this kind of destination cannot hold evidence".to_owned();
        TransportError::Unsupported { name: self.to_string(), problem }
    }
}

/// The answers of a source whose format has no place for evidence: there is none, for certain. A source has to ask for them,
/// so that none forgets to look.
pub(crate) struct NoEvidence;

impl NoEvidence {
    pub(crate) fn referrers(scope: &Scope) -> Result<Vec<Descriptor>, TransportError> {
        scope.check()?;
        Ok(Vec::new())
    }

    pub(crate) fn attached(scope: &Scope) -> Result<Option<RawManifest>, TransportError> {
        scope.check()?;
        Ok(None)
    }
}

impl std::fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Referrer(manifest) => write!(f, "referrer {}", manifest.digest()),
            Self::Part(manifest) => write!(f, "manifest {}", manifest.digest()),
            Self::Attached { subject, what, .. } => {
                write!(f, "what is attached to {subject} ({})", what.suffix())
            }
        }
    }
}
