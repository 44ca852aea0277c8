use bytes::Bytes;
use securecp_oci::{Algorithm, Descriptor, Hasher};

use crate::{Aside, LayerError, Stage};

/// Computes SHA-256 and length of what a changed chain puts out.
pub(crate) struct Measure<'a> {
    inner: Box<dyn Stage + 'a>,
    hasher: Aside<Hasher>,
    size: u64,
    ended: bool,
}

impl<'a> Measure<'a> {
    pub(crate) fn new(inner: Box<dyn Stage + 'a>) -> Self {
        let hasher = Aside::new(Hasher::new(Algorithm::Sha256));
        Self { inner, hasher, size: 0, ended: false }
    }
}

impl Stage for Measure<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let next = self.inner.next()?;
        match &next {
            Some(chunk) => {
                self.hasher.take(chunk)?;
                self.size += chunk.len() as u64;
            }
            None => self.ended = true,
        }
        Ok(next)
    }

    fn measures(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if !self.ended {
            return Err(LayerError::FinishedEarly);
        }
        let inner = self.inner.finish()?;
        Ok(Descriptor { digest: self.hasher.end()?, size: self.size, ..inner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, Once, Transform};
    use securecp_oci::{Digest, MediaType};

    /// Turns every byte into two, to stand for any transform.
    struct Double;
    struct Doubled<'a>(Box<dyn Stage + 'a>);

    impl Transform for Double {
        fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError> {
            Ok(Layer { known: None, body: Box::new(Doubled(layer.body)) })
        }
    }

    impl Stage for Doubled<'_> {
        fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
            let next = self.0.next()?;
            Ok(next.map(|chunk| chunk.iter().flat_map(|b| [*b, *b]).collect()))
        }

        fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
            self.0.finish()
        }
    }

    fn source() -> Layer<'static> {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, 3);
        Layer::verified(descriptor, Once::new(Bytes::from_static(b"abc")))
    }

    #[test]
    fn measures_what_goes_out() {
        let mut layer = source().pipe(Some(&Double)).unwrap().measured();
        assert!(layer.known.is_none());
        while layer.next().unwrap().is_some() {}
        let found = layer.finish().unwrap();
        assert_eq!((found.digest, found.size), (Digest::of(Algorithm::Sha256, b"aabbcc"), 6));
    }

    #[test]
    fn refuses_to_finish_early() {
        let mut layer = source().pipe(Some(&Double)).unwrap().measured();
        layer.next().unwrap();
        assert!(matches!(layer.finish(), Err(LayerError::FinishedEarly)));
    }

    #[test]
    fn costs_nothing_while_bytes_are_unchanged() {
        let layer = source().pipe(None).unwrap().measured();
        assert_eq!(layer.known.unwrap().size, 3);
    }
}
