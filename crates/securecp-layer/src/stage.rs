use std::fmt;

use bytes::Bytes;
use securecp_oci::Descriptor;

use crate::measure::Measure;
use crate::verify::Verify;
use crate::{LayerError, SourceError};

/// Raw bytes from somewhere, not verified. Becomes a layer only through [`Layer::verified`].
pub trait Chunks: Send {
    /// The next chunk, about [`crate::CHUNK`] bytes and never empty, or `None` at the end.
    ///
    /// # Errors
    /// The place that the bytes come from failed.
    fn next(&mut self) -> Result<Option<Bytes>, SourceError>;
}

impl<C: Chunks + ?Sized> Chunks for Box<C> {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        (**self).next()
    }
}

/// One stage of a chain: bytes come by `next`, facts by `finish`.
pub trait Stage: Send {
    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// The bytes are not what they should be, or could not be had.
    fn next(&mut self) -> Result<Option<Bytes>, LayerError>;

    /// Whether `finish` says SHA-256 and size of exactly what comes out, so that nobody has to measure it. A stage that
    /// has to see bytes first says so from then on.
    fn measures(&self) -> bool {
        false
    }

    /// What passed, to be called only after `next` said `None`.
    ///
    /// An outer stage calls the inner one first and edits what it got.
    ///
    /// # Errors
    /// The end was not read, or the bytes are not what was promised.
    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError>;
}

/// A change of a blob's bytes on its way: decryption, recompression, encryption.
pub trait Transform: Send + Sync {
    /// Wraps `layer`; the result has no known descriptor if its bytes differ.
    ///
    /// # Errors
    /// The layer is not one that this transform can take.
    fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError>;
}

/// A blob on its way.
pub struct Layer<'a> {
    /// Digest and size of what comes out, while no stage has changed the bytes.
    pub known: Option<Descriptor>,
    /// The chain so far.
    pub body: Box<dyn Stage + 'a>,
}

impl<'a> Layer<'a> {
    /// A layer of `source`, held to the digest and size of `descriptor`.
    pub fn verified(descriptor: Descriptor, source: impl Chunks + 'a) -> Self {
        Self {
            known: Some(descriptor.clone()),
            body: Box::new(Verify::new(descriptor, Box::new(source))),
        }
    }

    /// Applies `transform` if there is one.
    ///
    /// # Errors
    /// The transform does not take this layer.
    pub fn pipe(self, transform: Option<&'a dyn Transform>) -> Result<Self, LayerError> {
        match transform {
            Some(transform) => transform.wrap(self),
            None => Ok(self),
        }
    }

    /// Fills in digest and size of what goes out; costs nothing while the bytes are unchanged or were measured.
    #[must_use]
    pub fn measured(self) -> Self {
        if self.known.is_some() || self.body.measures() {
            return self;
        }
        Self { known: None, body: Box::new(Measure::new(self.body)) }
    }

    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// See [`Stage::next`].
    #[expect(clippy::should_implement_trait, reason = "fallible, and not an iterator")]
    pub fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        self.body.next()
    }

    /// What passed.
    ///
    /// # Errors
    /// See [`Stage::finish`].
    pub fn finish(self) -> Result<Descriptor, LayerError> {
        self.body.finish()
    }

    /// All bytes, verified. They stay in memory together, so their number must be bounded already.
    ///
    /// # Errors
    /// See [`Stage::finish`].
    pub fn read_whole(mut self) -> Result<Bytes, LayerError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next()? {
            bytes.extend_from_slice(&chunk);
        }
        self.finish()?;
        Ok(bytes.into())
    }
}

impl fmt::Debug for Layer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("known", &self.known).finish_non_exhaustive()
    }
}
