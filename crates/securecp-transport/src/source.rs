use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{
    Attached, Descriptor, Digest, ImageIdentity, RawManifest, Repository, Signature,
};

use crate::{BlobFile, Place, TransportError};

/// An image to be read, from several threads at once. Everything it returns was checked against its digest.
pub trait Source: Send + Sync {
    /// `TRANSPORT:REST` as the user gave it, for messages.
    fn name(&self) -> String;

    /// What policies and signatures call this image.
    fn identity(&self) -> &ImageIdentity;

    /// The repository, if it is one from which a destination of the same registry may mount blobs.
    fn repository(&self) -> Option<&Repository>;

    /// The manifest that the name stands for. It is read once; later calls return the same bytes.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or is not what its digest says.
    fn root(&self, scope: &Scope) -> Result<RawManifest, TransportError>;

    /// A manifest that another one names.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or is not what `descriptor` says.
    fn manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<RawManifest, TransportError>;

    /// A blob, held to the digest and size of `descriptor`. May be called again for a retry.
    ///
    /// # Errors
    /// It does not exist or cannot be opened.
    fn blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError>;

    /// A blob of which `prefix` has the first bytes, or all: only the rest is read from the source, and the
    /// whole is held to `descriptor`. `None` if the source cannot leave out a beginning.
    ///
    /// # Errors
    /// It does not exist or cannot be opened.
    fn blob_after(
        &self,
        _descriptor: &Descriptor,
        _prefix: Prefix,
        _scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        Ok(None)
    }

    /// The file that a blob is, for a destination on the same file system that can share its bytes. Unlike all else that
    /// comes from here it is not verified. `None` if the blob is no file by itself.
    ///
    /// # Errors
    /// It cannot be opened.
    fn blob_file(
        &self,
        _descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<BlobFile>, TransportError> {
        scope.check()?;
        Ok(None)
    }

    /// The size of a blob that no descriptor speaks of, as the layers of schema 1.
    ///
    /// # Errors
    /// It does not exist, or this transport holds no images in such a format.
    fn blob_size(&self, digest: &Digest, scope: &Scope) -> Result<u64, TransportError> {
        scope.check()?;
        let problem = format!("blobs without descriptor are not read there ({digest})");
        Err(TransportError::Unsupported { name: self.name(), problem })
    }

    /// The signatures stored for `manifest`; an empty list is a definite "there are none".
    ///
    /// # Errors
    /// They could not be looked up; this is never reported as an empty list.
    fn signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<Vec<Signature>, TransportError>;

    /// The manifests that have `subject` as their subject, as they are listed, each once and never the subject itself;
    /// read one with [`Source::manifest`]. What a list says is nobody's promise: whether a manifest really has that
    /// subject is for the reader to see. An empty list is a definite "there are none".
    ///
    /// # Errors
    /// They could not be looked up; this is never reported as an empty list.
    fn referrers(&self, subject: &Digest, scope: &Scope)
    -> Result<Vec<Descriptor>, TransportError>;

    /// What cosign attached to `subject` under a tag of its own; `None` is a definite "nothing".
    ///
    /// # Errors
    /// It could not be looked up; this is never reported as nothing.
    fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError>;
}
