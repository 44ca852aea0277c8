use std::io::Read;
use std::sync::LazyLock;

use bytes::Bytes;
use securecp_layer::{
    Chunks, Codec, Compression, FileChunks, Layer, LayerError, Recompress, SourceError, Stage,
};
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

/// Tells how the bytes that `reader` gives from its start are compressed.
pub(crate) fn detect(reader: impl Read) -> std::io::Result<Codec> {
    let mut prefix = Vec::with_capacity(Codec::PREFIX);
    reader.take(Codec::PREFIX as u64).read_to_end(&mut prefix)?;
    Ok(Codec::detect(&prefix))
}

/// The decompressed bytes of `reader`, whatever its format; within the bounds of the usual guard against bombs.
pub(crate) fn unpack(reader: impl Read + Send + 'static) -> Result<Unpacked, LayerError> {
    let raw = Raw { chunks: FileChunks::new(reader), ended: false };
    let layer = Layer { known: None, body: Box::new(raw) };
    Ok(Unpacked { layer: Some(layer.pipe(Some(&*PLAIN))?) })
}

static PLAIN: LazyLock<Recompress> = LazyLock::new(|| Recompress::new(Compression::None));

/// Decompressed bytes, not verified.
pub(crate) struct Unpacked {
    layer: Option<Layer<'static>>,
}

impl Chunks for Unpacked {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let Some(layer) = &mut self.layer else { return Ok(None) };
        if let Some(chunk) = layer.next().map_err(SourceError::lasting)? {
            return Ok(Some(chunk));
        }
        // Only now is it known that the compressed stream was whole.
        if let Some(layer) = self.layer.take() {
            layer.finish().map_err(SourceError::lasting)?;
        }
        Ok(None)
    }
}

/// Bytes that nothing is promised of, as the start of a chain.
struct Raw<R> {
    chunks: FileChunks<R>,
    ended: bool,
}

impl<R: Read + Send> Stage for Raw<R> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let next = self
            .chunks
            .next()
            .map_err(|source| LayerError::Source { digest: unknown().digest, source })?;
        self.ended = next.is_none();
        Ok(next)
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if self.ended { Ok(unknown()) } else { Err(LayerError::FinishedEarly) }
    }
}

/// Stands for a blob that has no descriptor yet; nobody sees it.
fn unknown() -> Descriptor {
    Descriptor::new(MediaType::DOCKER_LAYER_GZIP, Digest::of(Algorithm::Sha256, b""), 0)
}
