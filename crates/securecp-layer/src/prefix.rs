use std::fmt;

use bytes::Bytes;
use securecp_oci::Descriptor;

use crate::{Chunks, Layer, SourceError};

/// The first bytes of a blob, had from elsewhere than the rest. They are as little trusted as the rest is.
pub struct Prefix {
    chunks: Box<dyn Chunks>,
    size_bytes: u64,
}

impl Prefix {
    /// The `size_bytes` that `chunks` has to give; more is cut off, less is an error of the layer.
    pub fn new(chunks: impl Chunks + 'static, size_bytes: u64) -> Self {
        Self { chunks: Box::new(chunks), size_bytes }
    }

    /// How many bytes it has.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl<'a> Layer<'a> {
    /// The layer of `prefix` and `rest` behind it, held as a whole to the digest and size of `descriptor`.
    pub fn verified_after(
        descriptor: Descriptor,
        prefix: Prefix,
        rest: impl Chunks + 'a,
    ) -> Layer<'a> {
        Layer::verified(descriptor, Joined { left: prefix.size_bytes, first: prefix.chunks, rest })
    }
}

struct Joined<C> {
    first: Box<dyn Chunks>,
    left: u64,
    rest: C,
}

impl<C: Chunks> Chunks for Joined<C> {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.left == 0 {
            return self.rest.next();
        }
        let Some(mut chunk) = self.first.next()? else {
            let short = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(SourceError::lasting(short));
        };
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= chunk.len() as u64;
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerError, Once};
    use securecp_oci::{Algorithm, Digest, MediaType};

    fn read(first: &'static str, size: u64, rest: &'static str) -> Result<Vec<u8>, LayerError> {
        let digest = Digest::of(Algorithm::Sha256, b"abcdef");
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, 6);
        let once = |text: &'static str| Once::new(Bytes::from_static(text.as_bytes()));
        let prefix = Prefix::new(once(first), size);
        let mut layer = Layer::verified_after(descriptor, prefix, once(rest));
        let mut out = Vec::new();
        while let Some(chunk) = layer.next()? {
            out.extend_from_slice(&chunk);
        }
        layer.finish().map(|_| out)
    }

    #[test]
    fn both_parts_count_for_the_digest() {
        assert_eq!(read("abc", 3, "def").unwrap(), b"abcdef");
        assert_eq!(read("abcxyz", 3, "def").unwrap(), b"abcdef");
        assert_eq!(read("", 0, "abcdef").unwrap(), b"abcdef");
        assert!(matches!(read("abX", 3, "def"), Err(LayerError::Altered { .. })));
        assert!(matches!(read("abc", 3, "deX"), Err(LayerError::Altered { .. })));
        assert!(matches!(read("abc", 3, "de"), Err(LayerError::Short { .. })));
        assert!(matches!(read("abc", 3, "defg"), Err(LayerError::Long { .. })));
        assert!(matches!(read("ab", 3, "cdef"), Err(LayerError::Source { .. })));
    }
}
