use bytes::Bytes;
use securecp_layer::{Layer, Scope};
use securecp_oci::{Descriptor, Digest, RawManifest, SIGNATURE_COUNT_LIMIT, WithCauses};
use securecp_transport::{Destination, Source, TransportError};
use securecp_trust::{BundleArtifact, BundleDraft, FetchFailure, StoredBundle};

use crate::budget::Budget;
use crate::edits::Signing;

/// Most bytes of bundles that one survey keeps: 256 MiB.
const TOTAL_LIMIT: u64 = 256 << 20;
/// How the types of all artifacts begin that carry a bundle, of whichever version.
const ARTIFACT_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// Looks for the sigstore bundles that refer to manifests.
pub(crate) struct BundleSearch<'a> {
    shelf: Shelf<'a>,
    scope: &'a Scope,
    budget: Budget,
}

/// Where bundles may stand.
#[derive(Clone, Copy)]
pub(crate) enum Shelf<'a> {
    Source(&'a dyn Source),
    Destination(&'a dyn Destination),
}

/// Why bundles could not be had.
pub(crate) enum Failed {
    /// They could not be read.
    Transport(TransportError),
    /// There is too much of them.
    TooMuch(String),
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

/// For each of those who make bundles, whether theirs of `draft` is at the destination. One that cannot be read is an
/// error, unless it is certain that it is gone.
pub(crate) fn standing(
    to: &dyn Destination,
    signing: &Signing,
    draft: &BundleDraft,
    scope: &Scope,
) -> Result<Vec<bool>, TransportError> {
    let found = BundleSearch::new(Shelf::Destination(to), scope).read(draft.manifest());
    let found = found.map_err(|failed| match failed {
        Failed::Transport(error) => error,
        Failed::TooMuch(problem) => TransportError::Unsupported { name: to.name(), problem },
    })?;
    let contents = found.iter().filter_map(|bundle| match bundle {
        StoredBundle::Content(bytes) => Some(bytes),
        StoredBundle::Odd(_) => None,
    });
    let contents: Vec<&Bytes> = contents.collect();
    let bundlers = signing.bundlers.iter();
    Ok(bundlers.map(|by| contents.iter().any(|bytes| by.has_made(draft, bytes))).collect())
}

impl<'a> BundleSearch<'a> {
    pub(crate) fn new(shelf: Shelf<'a>, scope: &'a Scope) -> Self {
        Self { shelf, scope, budget: Budget::new(TOTAL_LIMIT) }
    }

    /// Everything that was stored as a bundle for `subject`, or why it could not be had; an error only if the job was
    /// stopped.
    pub(crate) fn of(
        &self,
        subject: &RawManifest,
    ) -> Result<Result<Vec<StoredBundle>, FetchFailure>, TransportError> {
        let failed = match self.read(subject) {
            Ok(found) => return Ok(Ok(found)),
            Err(Failed::Transport(error @ TransportError::Stopped(_))) => return Err(error),
            Err(Failed::Transport(error)) => WithCauses(&error).to_string(),
            Err(Failed::TooMuch(why)) => why,
        };
        // What was cut short by a stop says nothing of the image.
        self.scope.check()?;
        Ok(Err(FetchFailure(failed)))
    }

    fn read(&self, subject: &RawManifest) -> Result<Vec<StoredBundle>, Failed> {
        let mut listed = self.shelf.referrers(subject.digest(), self.scope)?;
        listed.retain(may_carry_bundle);
        if listed.len() > SIGNATURE_COUNT_LIMIT {
            let found = listed.len();
            return Err(Failed::TooMuch(format!(
                "{found} are listed, the limit is {SIGNATURE_COUNT_LIMIT}"
            )));
        }
        let mut found = Vec::new();
        for entry in &listed {
            found.extend(self.carried(entry, subject)?);
        }
        Ok(found)
    }

    /// What one artifact carries; `None` if the list is wrong about it, so that it is no referrer.
    fn carried(
        &self,
        entry: &Descriptor,
        subject: &RawManifest,
    ) -> Result<Option<StoredBundle>, Failed> {
        let Some(artifact) = self.shelf.manifest(entry, self.scope)? else { return Ok(None) };
        let refers = artifact.view().subject().is_some_and(|s| s.digest == *subject.digest());
        let untyped = entry.artifact_type.is_none() && !has_bundle_type(&artifact);
        if !refers || untyped {
            return Ok(None);
        }
        Ok(Some(match BundleArtifact::bundle_of(&artifact, subject.digest()) {
            Ok(bundle) => match self.content(bundle)? {
                Some(content) => StoredBundle::Content(content),
                None => return Ok(None),
            },
            Err(fault) => StoredBundle::Odd(fault),
        }))
    }

    /// A blob whose size is bounded already.
    pub(crate) fn content(&self, blob: &Descriptor) -> Result<Option<Bytes>, Failed> {
        let taken = self.budget.take(blob.size);
        taken.map_err(|exceeded| Failed::TooMuch(format!("bundles: {exceeded}")))?;
        let layer = self.shelf.blob(blob, self.scope)?;
        Ok(layer.map(Layer::read_whole).transpose().map_err(TransportError::from)?)
    }
}

/// At a source what is listed must be there. At a destination it is written anew if it is gone.
impl<'a> Shelf<'a> {
    fn referrers(self, subject: &Digest, scope: &Scope) -> Result<Vec<Descriptor>, TransportError> {
        match self {
            Self::Source(from) => from.referrers(subject, scope),
            Self::Destination(to) => to.referrers(subject, scope),
        }
    }

    fn manifest(
        self,
        entry: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        match self {
            Self::Source(from) => from.manifest(entry, scope).map(Some),
            Self::Destination(to) => to.read_manifest(entry, scope),
        }
    }

    fn blob(self, blob: &Descriptor, scope: &Scope) -> Result<Option<Layer<'a>>, TransportError> {
        match self {
            Self::Source(from) => from.blob(blob, scope).map(Some),
            Self::Destination(to) => match to.read_blob(blob, scope) {
                Err(error) if error.is_not_found() => Ok(None),
                found => found,
            },
        }
    }
}

/// Lists need not give the type; what does not is looked at.
fn may_carry_bundle(entry: &Descriptor) -> bool {
    entry.artifact_type.as_deref().is_none_or(|found| found.starts_with(ARTIFACT_TYPE))
}

fn has_bundle_type(artifact: &RawManifest) -> bool {
    let found = artifact.image().and_then(|image| image.artifact_type.as_deref());
    found.is_some_and(|found| found.starts_with(ARTIFACT_TYPE))
}
