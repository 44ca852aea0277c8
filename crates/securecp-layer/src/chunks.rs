use std::io::{self, Read};

use bytes::Bytes;

use crate::{Chunks, Layer, LayerError, SourceError};

/// Size of a chunk, in bytes: 256 KiB.
pub const CHUNK: usize = 256 << 10;

/// A blob that is already in memory, as one chunk.
#[derive(Debug)]
pub struct Once(Option<Bytes>);

impl Once {
    /// The whole blob.
    pub fn new(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|b| !b.is_empty()))
    }
}

impl Chunks for Once {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.take())
    }
}

/// Chunks of [`CHUNK`] bytes read from a file or any other reader.
#[derive(Debug)]
pub struct FileChunks<R> {
    reader: R,
}

impl<R: Read + Send> FileChunks<R> {
    /// Reads from where `reader` stands to its end.
    pub fn new(reader: R) -> Self {
        Self { reader }
    }
}

impl<R: Read + Send> Chunks for FileChunks<R> {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        read_chunk(&mut self.reader).map_err(SourceError::lasting)
    }
}

/// Up to [`CHUNK`] bytes without zeroing the buffer first; `None` at the end.
pub(crate) fn read_chunk(reader: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut buffer = Vec::with_capacity(CHUNK);
    reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer)?;
    Ok((!buffer.is_empty()).then(|| buffer.into()))
}

/// A layer as [`Read`], for codecs that want one. A failure of the layer ends reading; [`LayerRead::into_layer`] gives
/// the typed error back.
#[derive(Debug)]
pub struct LayerRead<'a> {
    layer: Layer<'a>,
    rest: Bytes,
    failure: Option<LayerError>,
}

impl<'a> LayerRead<'a> {
    /// Reads `layer` from its start.
    pub fn new(layer: Layer<'a>) -> Self {
        Self { layer, rest: Bytes::new(), failure: None }
    }

    /// The failure that ended reading, if there was one.
    pub fn take_failure(&mut self) -> Option<LayerError> {
        self.failure.take()
    }

    /// The layer, to finish it.
    pub fn into_layer(self) -> Layer<'a> {
        self.layer
    }

    fn refill(&mut self) -> io::Result<bool> {
        match self.layer.next() {
            Ok(Some(chunk)) => {
                self.rest = chunk;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                let message = error.to_string();
                self.failure = Some(error);
                Err(io::Error::other(message))
            }
        }
    }
}

impl Read for LayerRead<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.rest.len());
        out[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

impl io::BufRead for LayerRead<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_empty() {
            if !self.refill()? {
                break;
            }
        }
        Ok(&self.rest)
    }

    fn consume(&mut self, count: usize) {
        let _ = self.rest.split_to(count.min(self.rest.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

    #[test]
    fn reads_a_layer_as_a_reader_and_keeps_the_typed_error() {
        let data = vec![7; CHUNK + 5];
        let digest = Digest::of(Algorithm::Sha256, &data);
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, data.len() as u64);
        let whole = Layer::verified(descriptor.clone(), FileChunks::new(data.as_slice()));
        let mut read = LayerRead::new(whole);
        let mut out = Vec::new();
        read.read_to_end(&mut out).unwrap();
        assert_eq!(out, data);
        read.into_layer().finish().unwrap();

        let mut cut = LayerRead::new(Layer::verified(descriptor, FileChunks::new(&data[1..])));
        assert!(cut.read_to_end(&mut Vec::new()).is_err());
        assert!(matches!(cut.take_failure(), Some(LayerError::Short { .. })));
    }
}
