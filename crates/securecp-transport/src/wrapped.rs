use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, ImageIdentity, RawManifest, Repository, Signature,
};

use crate::{BlobFile, Place, Source, TransportError};

/// A source that answers some questions itself and leads all others to the one inside of it.
pub trait WrappedSource: Send + Sync {
    /// The source inside.
    fn inner(&self) -> &dyn Source;

    /// What [`Source::root`] answers.
    ///
    /// # Errors
    /// As there.
    fn wrapped_root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        self.inner().root(scope)
    }

    /// What [`Source::blob`] answers.
    ///
    /// # Errors
    /// As there.
    fn wrapped_blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        self.inner().blob(descriptor, scope)
    }

    /// What [`Source::blob_after`] answers.
    ///
    /// # Errors
    /// As there.
    fn wrapped_blob_after(
        &self,
        descriptor: &Descriptor,
        prefix: Prefix,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        self.inner().blob_after(descriptor, prefix, scope)
    }
}

impl<W: WrappedSource> Source for W {
    fn name(&self) -> String {
        self.inner().name()
    }

    fn identity(&self) -> &ImageIdentity {
        self.inner().identity()
    }

    fn repository(&self) -> Option<&Repository> {
        self.inner().repository()
    }

    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError> {
        self.wrapped_root(scope)
    }

    fn manifest(&self, entry: &Descriptor, scope: &Scope) -> Result<RawManifest, TransportError> {
        self.inner().manifest(entry, scope)
    }

    fn blob(&self, blob: &Descriptor, scope: &Scope) -> Result<Layer<'static>, TransportError> {
        self.wrapped_blob(blob, scope)
    }

    fn blob_after(
        &self,
        blob: &Descriptor,
        prefix: Prefix,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        self.wrapped_blob_after(blob, prefix, scope)
    }

    /// None: the wrapper may give other bytes than the file of the source inside has.
    fn blob_file(&self, _: &Descriptor, scope: &Scope) -> Result<Option<BlobFile>, TransportError> {
        scope.check()?;
        Ok(None)
    }

    fn blob_size(&self, digest: &Digest, scope: &Scope) -> Result<u64, TransportError> {
        self.inner().blob_size(digest, scope)
    }

    fn signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError> {
        self.inner().signatures(manifest, place, scope)
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        self.inner().referrers(subject, scope)
    }

    fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        self.inner().attached(subject, what, scope)
    }
}
