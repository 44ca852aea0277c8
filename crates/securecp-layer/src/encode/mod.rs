//! Compression as a stage: pulls plain and gives compressed chunks, computed on threads of its own.

mod gzip;
mod zstd;

use bytes::Bytes;
use securecp_oci::Descriptor;

use crate::{Codec, CodecError, Compression, LayerError, Scope, Stage, Workers};

/// One format's encoder. Its output depends on the bytes written and the level, on nothing else.
pub(crate) trait Encode: Send {
    /// Takes bytes from the front of `plain` until it is used up or a chunk has come out.
    fn write(&mut self, plain: &mut Bytes) -> Result<Option<Bytes>, CodecError>;

    /// The next chunk after the last `write`, or `None` when everything was given out.
    fn end(&mut self) -> Result<Option<Bytes>, CodecError>;
}

/// The compressed bytes of a plain stage.
pub(crate) struct Encoded<'a> {
    inner: Box<dyn Stage + 'a>,
    encoder: Box<dyn Encode>,
    codec: Codec,
    scope: Scope,
    plain: Bytes,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Writing,
    Ending,
    Ended,
}

impl<'a> Encoded<'a> {
    /// Compresses `inner`, or hands it back if nothing is to be compressed.
    pub(crate) fn wrap(
        inner: Box<dyn Stage + 'a>,
        to: Compression,
        workers: Workers,
        scope: Scope,
    ) -> Result<Box<dyn Stage + 'a>, LayerError> {
        let encoder: Box<dyn Encode> = match to {
            Compression::None => return Ok(inner),
            Compression::Gzip(level) => Box::new(gzip::GzipBlocks::new(level, workers)),
            Compression::Zstd(level) => Box::new(
                zstd::ZstdFrame::new(level, workers)
                    .map_err(|source| LayerError::Compress { codec: Codec::Zstd, source })?,
            ),
        };
        let (codec, plain) = (to.codec(), Bytes::new());
        Ok(Box::new(Self { inner, encoder, codec, scope, plain, state: State::Writing }))
    }

    fn write(&mut self) -> Result<Option<Bytes>, LayerError> {
        loop {
            if self.plain.is_empty() {
                self.scope.check()?;
                match self.inner.next()? {
                    Some(chunk) => self.plain = chunk,
                    None => {
                        self.state = State::Ending;
                        return Ok(None);
                    }
                }
            }
            let codec = self.codec;
            let out = self.encoder.write(&mut self.plain);
            if let Some(out) = out.map_err(|source| LayerError::Compress { codec, source })? {
                return Ok(Some(out));
            }
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, LayerError> {
        self.scope.check()?;
        let codec = self.codec;
        let out = self.encoder.end();
        let out = out.map_err(|source| LayerError::Compress { codec, source })?;
        if out.is_none() {
            self.state = State::Ended;
        }
        Ok(out)
    }
}

impl Stage for Encoded<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.state == State::Writing
            && let Some(out) = self.write()?
        {
            return Ok(Some(out));
        }
        if self.state == State::Ending { self.end() } else { Ok(None) }
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if self.state != State::Ended {
            return Err(LayerError::FinishedEarly);
        }
        self.inner.finish()
    }
}
