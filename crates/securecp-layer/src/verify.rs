use bytes::Bytes;
use securecp_oci::{Algorithm, Descriptor, Hasher};

use crate::cores::Core;
use crate::{Aside, Chunks, LayerError, Stage};

/// Holds raw bytes to digest and size; reads at most one chunk beyond the promised size.
pub(crate) struct Verify<'a> {
    descriptor: Descriptor,
    source: Box<dyn Chunks + 'a>,
    hasher: Aside<Hasher>,
    seen: u64,
    ended: bool,
    _spoken_for: Core,
}

impl<'a> Verify<'a> {
    pub(crate) fn new(descriptor: Descriptor, source: Box<dyn Chunks + 'a>) -> Self {
        let hasher = Aside::new(Hasher::new(descriptor.digest.algorithm()));
        Self { descriptor, source, hasher, seen: 0, ended: false, _spoken_for: Core::take() }
    }

    fn end(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.seen < self.descriptor.size {
            return Err(LayerError::Short {
                digest: self.descriptor.digest.clone(),
                expected: self.descriptor.size,
                found: self.seen,
            });
        }
        self.ended = true;
        Ok(None)
    }

    fn take(&mut self, chunk: Bytes) -> Result<Option<Bytes>, LayerError> {
        self.seen = self.seen.saturating_add(chunk.len() as u64);
        if self.seen > self.descriptor.size {
            return Err(LayerError::Long {
                digest: self.descriptor.digest.clone(),
                expected: self.descriptor.size,
            });
        }
        self.hasher.take(&chunk)?;
        Ok(Some(chunk))
    }
}

impl Stage for Verify<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let next = self.source.next().map_err(|source| LayerError::Source {
            digest: self.descriptor.digest.clone(),
            source,
        })?;
        match next {
            Some(chunk) => self.take(chunk),
            None => self.end(),
        }
    }

    fn measures(&self) -> bool {
        self.descriptor.digest.algorithm() == Algorithm::Sha256
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if !self.ended {
            return Err(LayerError::FinishedEarly);
        }
        let found = self.hasher.end()?;
        if found != self.descriptor.digest {
            return Err(LayerError::Altered { expected: self.descriptor.digest, found });
        }
        Ok(self.descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, SourceError};
    use securecp_oci::{Algorithm, Digest, MediaType};

    /// Counts what was asked of it, so that a test can see that reading stopped.
    struct Pieces(Vec<Result<&'static [u8], bool>>);

    impl Chunks for Pieces {
        fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
            if self.0.is_empty() {
                return Ok(None);
            }
            match self.0.remove(0) {
                Ok(bytes) => Ok(Some(Bytes::from_static(bytes))),
                Err(transient) => Err(SourceError { source: "reset".into(), transient }),
            }
        }
    }

    fn layer(pieces: Vec<Result<&'static [u8], bool>>) -> Layer<'static> {
        let digest = Digest::of(Algorithm::Sha256, b"abcdef");
        Layer::verified(Descriptor::new(MediaType::OCI_LAYER, digest, 6), Pieces(pieces))
    }

    fn drain(mut layer: Layer<'_>) -> Result<(Vec<u8>, Descriptor), LayerError> {
        let mut out = Vec::new();
        while let Some(chunk) = layer.next()? {
            out.extend_from_slice(&chunk);
        }
        Ok((out, layer.finish()?))
    }

    #[test]
    fn passes_whole_bytes_and_says_what_they_are() {
        let (out, descriptor) = drain(layer(vec![Ok(b"abc"), Ok(b"def")])).unwrap();
        assert_eq!((out.as_slice(), descriptor.size), (b"abcdef".as_slice(), 6));
    }

    #[test]
    fn fails_on_early_end() {
        let error = drain(layer(vec![Ok(b"abc")])).unwrap_err();
        assert!(matches!(error, LayerError::Short { expected: 6, found: 3, .. }));
    }

    #[test]
    fn fails_on_the_first_byte_too_many_without_passing_it_on() {
        let mut long = layer(vec![Ok(b"abcdef"), Ok(b"g"), Ok(b"never asked for")]);
        assert_eq!(long.next().unwrap().unwrap(), b"abcdef".as_slice());
        assert!(matches!(long.next(), Err(LayerError::Long { expected: 6, .. })));
    }

    #[test]
    fn fails_on_altered_bytes_at_finish() {
        let error = drain(layer(vec![Ok(b"abcdeg")])).unwrap_err();
        assert!(matches!(error, LayerError::Altered { .. }));
    }

    #[test]
    fn fails_on_finish_before_the_end_was_read() {
        let mut early = layer(vec![Ok(b"abcdef")]);
        early.next().unwrap();
        assert!(matches!(early.finish(), Err(LayerError::FinishedEarly)));
    }

    #[test]
    fn passes_on_whether_a_source_failure_may_pass() {
        for transient in [true, false] {
            let error = drain(layer(vec![Ok(b"abc"), Err(transient)])).unwrap_err();
            assert_eq!(error.is_transient(), transient);
        }
    }
}
