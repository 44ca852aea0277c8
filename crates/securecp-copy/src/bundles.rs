use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Descriptor, RawManifest, SIGNATURE_COUNT_LIMIT};
use securecp_transport::{Source, TransportError};
use securecp_trust::{BundleArtifact, FetchFailure, StoredBundle};

use crate::survey::chain_text;

/// Most bytes of bundles that one survey keeps: 256 MiB.
const TOTAL_LIMIT: u64 = 256 << 20;
/// How the types of all artifacts begin that carry a bundle, of whichever version.
const ARTIFACT_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// Looks for the sigstore bundles that refer to manifests.
pub(crate) struct BundleSearch<'a> {
    from: &'a dyn Source,
    scope: &'a Scope,
    /// Bytes that may still be read.
    left: AtomicU64,
}

/// Why bundles could not be had.
enum Failed {
    /// Nobody wants to know any more.
    Stopped(TransportError),
    /// They are there, or may be.
    Unread(String),
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Stopped(_) => Self::Stopped(error),
            other => Self::Unread(chain_text(&other)),
        }
    }
}

impl<'a> BundleSearch<'a> {
    pub(crate) fn new(from: &'a dyn Source, scope: &'a Scope) -> Self {
        Self { from, scope, left: AtomicU64::new(TOTAL_LIMIT) }
    }

    /// Everything that was stored as a bundle for `subject`, or why it could not be had; an error only if the job was
    /// stopped.
    pub(crate) fn of(
        &self,
        subject: &RawManifest,
    ) -> Result<Result<Vec<StoredBundle>, FetchFailure>, TransportError> {
        match self.read(subject) {
            Ok(found) => Ok(Ok(found)),
            Err(Failed::Unread(why)) => Ok(Err(FetchFailure(why))),
            Err(Failed::Stopped(error)) => Err(error),
        }
    }

    fn read(&self, subject: &RawManifest) -> Result<Vec<StoredBundle>, Failed> {
        let mut listed = self.from.referrers(subject.digest(), self.scope)?;
        listed.retain(may_carry_bundle);
        if listed.len() > SIGNATURE_COUNT_LIMIT {
            let found = listed.len();
            return Err(Failed::Unread(format!(
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
        let artifact = self.from.manifest(entry, self.scope)?;
        let refers = artifact.view().subject().is_some_and(|s| s.digest == *subject.digest());
        let untyped = entry.artifact_type.is_none() && !has_bundle_type(&artifact);
        if !refers || untyped {
            return Ok(None);
        }
        Ok(Some(match BundleArtifact::bundle_of(&artifact, subject.digest()) {
            Ok(bundle) => StoredBundle::Content(self.content(bundle)?),
            Err(fault) => StoredBundle::Odd(fault),
        }))
    }

    /// A blob whose size is bounded already.
    fn content(&self, blob: &Descriptor) -> Result<Bytes, Failed> {
        let take = |left: u64| left.checked_sub(blob.size);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Failed::Unread(format!("more than {TOTAL_LIMIT} bytes of bundles")));
        }
        let mut layer = self.from.blob(blob, self.scope)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = layer.next().map_err(TransportError::from)? {
            bytes.extend_from_slice(&chunk);
        }
        layer.finish().map_err(TransportError::from)?;
        Ok(bytes.into())
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
