use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Descriptor, RawManifest, SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, WithCauses};
use securecp_transport::{Source, TransportError};
use securecp_trust::{FetchFailure, StoredBundle, StoredRecords, Subject};

use crate::bundles::{BundleSearch, Failed, Shelf};
use crate::error::{CopyError, Phase, Side};

/// What stores a statement without an envelope.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Looks for the change records that refer to manifests.
pub(super) struct RecordSearch<'a> {
    from: &'a dyn Source,
    scope: &'a Scope,
    bundles: BundleSearch<'a>,
}

/// Everything beside one manifest that may be a record.
pub(super) struct Stored {
    bundles: Vec<StoredBundle>,
    statements: Vec<Bytes>,
}

impl Stored {
    pub(super) fn as_ref(&self) -> StoredRecords<'_> {
        StoredRecords { bundles: &self.bundles, statements: &self.statements }
    }
}

impl<'a> RecordSearch<'a> {
    pub(super) fn new(from: &'a dyn Source, scope: &'a Scope) -> Self {
        Self { from, scope, bundles: BundleSearch::new(Shelf::Source(from), scope) }
    }

    /// What there is beside `subject`, or why it could not be had; an error only if the job was stopped.
    pub(super) fn of(&self, subject: &Subject) -> Result<Result<Stored, FetchFailure>, CopyError> {
        let found = self.stored(subject);
        found.map_err(|cause| {
            CopyError::transport(Phase::Survey, Side::Source, self.from.name(), cause)
        })
    }

    fn stored(&self, subject: &Subject) -> Result<Result<Stored, FetchFailure>, TransportError> {
        // A trust file has asked for bundles already, unless it asks for nothing here.
        let bundles = match &subject.bundles {
            Ok(found) => Ok(found.clone()),
            Err(_) => self.bundles.of(&subject.manifest)?,
        };
        let statements = match self.statements(&subject.manifest) {
            Ok(found) => Ok(found),
            Err(Failed::Transport(error @ TransportError::Stopped(_))) => return Err(error),
            Err(Failed::Transport(error)) => Err(FetchFailure(WithCauses(&error).to_string())),
            Err(Failed::TooMuch(why)) => Err(FetchFailure(why)),
        };
        Ok(bundles.and_then(|bundles| statements.map(|statements| Stored { bundles, statements })))
    }

    /// Statements that nobody signed. They are only shown.
    fn statements(&self, subject: &RawManifest) -> Result<Vec<Bytes>, Failed> {
        let mut listed = self.from.referrers(subject.digest(), self.scope)?;
        listed.retain(|entry| entry.artifact_type.as_deref() == Some(STATEMENT));
        listed.truncate(SIGNATURE_COUNT_LIMIT);
        let mut found = Vec::new();
        for entry in &listed {
            let artifact = self.from.manifest(entry, self.scope)?;
            if let Some(layer) = statement_of(&artifact, subject) {
                found.extend(self.bundles.content(layer)?);
            }
        }
        Ok(found)
    }
}

/// The only layer of an artifact that refers to `subject`, if it can be a statement.
fn statement_of<'a>(artifact: &'a RawManifest, subject: &RawManifest) -> Option<&'a Descriptor> {
    let image = artifact.image()?;
    let refers = image.subject.as_ref().is_some_and(|s| s.digest == *subject.digest());
    match &image.layers[..] {
        [layer] if refers && layer.media_type.as_str() == STATEMENT => {
            Some(layer).filter(|layer| layer.size <= SIGNATURE_LIMIT as u64)
        }
        _ => None,
    }
}
