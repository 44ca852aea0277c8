use securecp_layer::{Layer, LayerError, Prefix, Scope, Stopped};
use securecp_oci::{
    Attached, Descriptor, Digest, ManifestKind, RawManifest, Reference, Repository, Signature, Tag,
};

use crate::{BlobFile, Piece, Requests, TransportError};

/// Where a manifest stands in the image that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The manifest that the name stands for.
    Root,
    /// A manifest inside an index.
    Child,
}

/// What a destination takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// Manifest formats, best first; empty means any.
    pub manifests: &'static [ManifestKind],
    /// Whether it can hold an index with the manifests it names.
    pub indexes: bool,
    /// Whether it holds only images of file system layers in the clear: no artifacts, nothing encrypted.
    pub only_images: bool,
    /// Whether it can hold simple-signing signatures.
    pub simple_signatures: bool,
    /// Whether it can hold sigstore signatures.
    pub sigstore_signatures: bool,
    /// Whether it can hold evidence: referrers, and what cosign attaches.
    pub evidence: bool,
    /// Whether layers that are to be had from elsewhere (`urls`) may stay there.
    pub keeps_urls: bool,
}

/// One blob to be put.
pub struct BlobPut<'a> {
    /// Digest and size of what will come, if the chain leaves the bytes unchanged.
    pub known: Option<&'a Descriptor>,
    /// Repositories of the same registry that hold the blob, for a mount.
    pub mount_from: &'a [Repository],
    /// Opens the chain from its start; may be called again for a retry.
    pub open: &'a (dyn Fn() -> Result<Layer<'a>, LayerError> + Sync + 'a),
    /// Opens it with its first bytes given; only where the chain leaves the bytes unchanged.
    pub open_after: Option<&'a OpenAfter<'a>>,
    /// The source's own file, for a destination whose file system can share its bytes; only together with `open_after`.
    pub file: Option<&'a OpenFile<'a>>,
}

impl<'a> BlobPut<'a> {
    /// A blob that comes as it is described, from its start and from nowhere else.
    pub fn new(
        known: &'a Descriptor,
        open: &'a (dyn Fn() -> Result<Layer<'a>, LayerError> + Sync + 'a),
    ) -> Self {
        Self { known: Some(known), mount_from: &[], open, open_after: None, file: None }
    }
}

/// Opens a chain whose first bytes are there already; `None` if it can only be opened from its start.
pub type OpenAfter<'a> = dyn Fn(Prefix) -> Result<Option<Layer<'a>>, LayerError> + Sync + 'a;

/// Opens the file that a blob is at its source; `None` if it is none.
pub type OpenFile<'a> = dyn Fn() -> Result<Option<BlobFile>, LayerError> + Sync + 'a;

impl std::fmt::Debug for BlobPut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobPut").field("known", &self.known).finish_non_exhaustive()
    }
}

/// A place that an image is to be copied to. Nothing here has an effect before [`Destination::begin`].
pub trait Destination: Send + Sync {
    /// `TRANSPORT:REST` as the user gave it, for messages.
    fn name(&self) -> String;

    /// The Docker reference under which signatures are made here, if there is one.
    fn reference(&self) -> Option<&Reference>;

    /// Names the storage that this destination shares with others: a blob, manifest or signature that is put through
    /// one of them is there for all, and one [`Writing`] serves them. `None` shares with nobody.
    fn storage(&self) -> Option<String> {
        None
    }

    /// The name of the image within its storage: a tag, the name in a layout; `None` if it has none there.
    fn entry(&self) -> Option<&str> {
        None
    }

    /// Whether what a name stands for is surely there, so that asking for the manifest as well would be the same question
    /// again.
    fn vouches_for_names(&self) -> bool {
        false
    }

    /// What it takes.
    fn accepts(&self) -> Accepts;

    /// How many requests what is put here costs.
    fn requests(&self) -> Requests {
        Requests::default()
    }

    /// Looks whether the place can be written as asked (parents exist, what is there is an image of this transport …).
    ///
    /// # Errors
    /// It cannot.
    fn check(&self, scope: &Scope) -> Result<(), TransportError>;

    /// Whether a blob is already there and will still be there after [`Destination::begin`].
    ///
    /// # Errors
    /// It cannot be told; this is never reported as absent.
    fn has_blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<bool, TransportError>;

    /// A blob that is there, held to its digest and size as from a source; `None` where nothing can be read.
    ///
    /// # Errors
    /// It is not there, or cannot be opened.
    fn read_blob(
        &self,
        _descriptor: &Descriptor,
        _scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        Ok(None)
    }

    /// Whether a manifest is already there under its digest.
    ///
    /// # Errors
    /// It cannot be told; this is never reported as absent.
    fn has_manifest(&self, manifest: &RawManifest, scope: &Scope) -> Result<bool, TransportError>;

    /// The digest that the name given (or one of `tags` beside it) stands for now.
    ///
    /// # Errors
    /// It cannot be told; this is never reported as absent.
    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError>;

    /// Everything that is listed among the referrers of `subject`; none where nothing can be.
    ///
    /// # Errors
    /// It cannot be told; this is never reported as absent.
    fn referrers(
        &self,
        _subject: &Digest,
        _scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        Ok(Vec::new())
    }

    /// A manifest that is there under its digest, held to it; `None` where it is not.
    ///
    /// # Errors
    /// It cannot be read.
    fn read_manifest(
        &self,
        _descriptor: &Descriptor,
        _scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        Ok(None)
    }

    /// Which of the manifests `wanted` are there and found among the referrers of `subject`.
    ///
    /// # Errors
    /// It cannot be told; this is never reported as absent.
    fn has_referrers(
        &self,
        _subject: &Digest,
        wanted: &[Descriptor],
        _scope: &Scope,
    ) -> Result<Vec<bool>, TransportError> {
        Ok(vec![false; wanted.len()])
    }

    /// Whether everything that `manifest` holds is attached to `subject` in that role.
    ///
    /// # Errors
    /// It cannot be told, or something else is attached to which nothing can be added; this is never reported as absent.
    fn has_attached(
        &self,
        _subject: (&Digest, Attached),
        _manifest: &RawManifest,
        _scope: &Scope,
    ) -> Result<bool, TransportError> {
        Ok(false)
    }

    /// Begins to write: the first effect.
    ///
    /// # Errors
    /// The place cannot be written.
    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError>;
}

/// An image being written. Dropped without [`Writing::commit`], nothing is left under the final name.
pub trait Writing: Send + Sync {
    /// Puts a blob under its digest and says what was put.
    ///
    /// # Errors
    /// The chain failed, or the place did not take it; nothing is then left under the digest.
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError>;

    /// Puts exact manifest bytes under their digest, without any tag.
    ///
    /// # Errors
    /// The place did not take them.
    fn put_manifest(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError>;

    /// Stores the signatures of a manifest, without losing those that others stored.
    ///
    /// # Errors
    /// They cannot be held there.
    fn put_signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError>;

    /// Stores one piece of evidence, whose blobs were put, without losing what others stored.
    ///
    /// # Errors
    /// It cannot be held there.
    fn put_evidence(&self, piece: &Piece<'_>, _scope: &Scope) -> Result<(), TransportError> {
        Err(piece.unsupported())
    }

    /// Looks whether pieces of evidence that were put are really there, byte for byte, with their blobs, and found where
    /// readers look for them.
    ///
    /// # Errors
    /// One of them is not, or it cannot be told.
    fn read_back_evidence(
        &self,
        pieces: &[Piece<'_>],
        _scope: &Scope,
    ) -> Result<(), TransportError> {
        pieces.first().map_or(Ok(()), |piece| Err(piece.unsupported()))
    }

    /// Looks whether a manifest that was put, or was there before, is really there, byte for byte under its digest.
    ///
    /// # Errors
    /// It is not, or it cannot be told.
    fn read_back(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError>;

    /// Makes the names stand for their manifests. The last step.
    ///
    /// # Errors
    /// It failed; the error says which names moved.
    fn commit(self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError>;
}

/// A name that is to stand for a manifest.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// The name within the storage, as [`Destination::entry`] gives it.
    pub entry: Option<&'a str>,
    /// The manifest.
    pub root: &'a RawManifest,
    /// It stands for that manifest already.
    pub stands: bool,
    /// It is one beside the name that the user gave, which comes last.
    pub further: bool,
    /// Nothing that stands in the storage may be lost by giving it. Where that cannot be made sure, giving it fails.
    pub protected: bool,
}

impl<'a> Naming<'a> {
    /// The name that `destination` itself has.
    pub fn own(destination: &'a dyn Destination, root: &'a RawManifest) -> Self {
        let (stands, further, protected) = (false, false, false);
        Self { entry: destination.entry(), root, stands, further, protected }
    }

    /// A further name beside it.
    pub fn tag(tag: &'a Tag, root: &'a RawManifest) -> Self {
        Self { entry: Some(tag.as_str()), root, stands: false, further: true, protected: false }
    }

    /// The same name, protected.
    #[must_use]
    pub fn protected(self) -> Self {
        Self { protected: true, ..self }
    }
}

/// Names that could not all be given. A name that is in neither list did not move.
#[derive(Debug, thiserror::Error)]
#[error("giving names")]
pub struct CommitError {
    /// Why the first of them could not be given.
    #[source]
    pub cause: TransportError,
    /// Positions of the names that stand for their manifests now.
    pub moved: Vec<usize>,
    /// Positions of the names of which it is not known.
    pub unclear: Vec<usize>,
}

impl From<TransportError> for CommitError {
    /// Nothing moved.
    fn from(cause: TransportError) -> Self {
        Self { cause, moved: Vec::new(), unclear: Vec::new() }
    }
}

impl From<Stopped> for CommitError {
    fn from(stopped: Stopped) -> Self {
        TransportError::from(stopped).into()
    }
}
