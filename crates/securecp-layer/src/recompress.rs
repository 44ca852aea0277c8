use bytes::Bytes;
use securecp_oci::{Annotations, Descriptor, Digest, LayerType, MediaType};

use crate::decode::Decoded;
use crate::diff_id::{FoundDiffId, Hashed, Wish};
use crate::encode::Encoded;
use crate::{Compression, Guard, Layer, LayerError, Scope, Stage, Transform, Workers};

/// Changes how a layer is compressed; the tar archive inside stays as it is, to the byte.
///
/// The format that comes in is told from its first bytes. The same input, target and level give the same bytes on
/// every run and for every number of workers. The digest of the plain bytes is checked as they pass; a mismatch is
/// an error of `finish`, before anything is committed.
#[derive(Debug, Clone)]
pub struct Recompress {
    to: Compression,
    workers: Workers,
    wish: Wish,
    guard: Guard,
    scope: Scope,
}

impl Recompress {
    /// To `to`, on all cores, without checking a diffID.
    pub fn new(to: Compression) -> Self {
        let (workers, wish, guard) = (Workers::default(), Wish::default(), Guard::default());
        Self { to, workers, wish, guard, scope: Scope::default() }
    }

    /// Compresses with `workers` threads.
    #[must_use]
    pub fn with_workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Holds the plain bytes to `diff_id`.
    #[must_use]
    pub fn expect(mut self, diff_id: Digest) -> Self {
        self.wish.expected = Some(diff_id);
        self
    }

    /// Puts the diffID found into `cell`.
    #[must_use]
    pub fn record(mut self, cell: FoundDiffId) -> Self {
        self.wish.found = Some(cell);
        self
    }

    /// Bounds decompression by `guard`.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Ends with `scope`; dropping the layer ends everything as well.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// The media type that a layer of type `from` will have.
    ///
    /// # Errors
    /// `from` is not a file system layer, is encrypted, or has no form for the new compression.
    pub fn media_type(&self, from: &MediaType) -> Result<MediaType, LayerError> {
        let found = LayerType::of(from).filter(|found| !found.encrypted);
        let found = found.ok_or_else(|| LayerError::NotRecompressible(from.clone()))?;
        let made = LayerType { compression: self.to.layer_compression(), ..found };
        made.media_type().ok_or_else(|| LayerError::NoMediaType {
            media_type: from.clone(),
            codec: self.to.codec(),
        })
    }
}

impl Recompress {
    /// What `layer` is called afterwards; digest and size are still those of `layer`.
    ///
    /// # Errors
    /// See [`Recompress::media_type`].
    pub fn describe(&self, layer: Descriptor) -> Result<Descriptor, LayerError> {
        let media_type = self.media_type(&layer.media_type)?;
        let mut described = Descriptor { media_type, ..layer };
        // What lies at the old addresses has the old digest.
        described.urls.clear();
        drop_positions(&mut described.annotations);
        Ok(described)
    }
}

impl Transform for Recompress {
    fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError> {
        if let Some(known) = &layer.known {
            self.media_type(&known.media_type)?;
        }
        let plain = Box::new(Decoded::new(layer.body, self.guard, self.scope.clone()));
        let checked = Hashed::wrap(plain, self.wish.clone());
        let inner = Encoded::wrap(checked, self.to, self.workers, self.scope.clone())?;
        Ok(Layer {
            known: None,
            body: Box::new(Relabelled { inner, recompress: self, failed: false }),
        })
    }
}

/// Says what the bytes are now; after a failure nothing comes out of it any more, whoever asks again.
struct Relabelled<'a> {
    inner: Box<dyn Stage + 'a>,
    recompress: &'a Recompress,
    failed: bool,
}

impl Stage for Relabelled<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.failed {
            return Err(LayerError::FinishedEarly);
        }
        let next = self.inner.next();
        self.failed = next.is_err();
        next
    }

    fn measures(&self) -> bool {
        self.inner.measures()
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if self.failed {
            return Err(LayerError::FinishedEarly);
        }
        self.recompress.describe(self.inner.finish()?)
    }
}

/// Drops the annotations that point into the old compressed bytes.
fn drop_positions(annotations: &mut Annotations) {
    annotations
        .retain(|key, _| !key.starts_with(ZSTD_CHUNKED_PREFIX) && !ESTARGZ.contains(&key.as_str()));
}

/// Written by containers/storage for `zstd:chunked`: manifest checksum, manifest and tar-split positions.
const ZSTD_CHUNKED_PREFIX: &str = "io.github.containers.zstd-chunked.";
/// Written by stargz-snapshotter and containers/storage for eStargz.
const ESTARGZ: [&str; 2] =
    ["containerd.io/snapshot/stargz/toc.digest", "io.containers.estargz.uncompressed-size"];
