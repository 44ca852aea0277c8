//! Decompression as a stage: detects the format, then pulls compressed and gives plain chunks.

mod bzip2;
mod gzip;
mod xz;
mod zstd;

use bytes::{Buf, Bytes};
use securecp_oci::Descriptor;

use crate::{CHUNK, Codec, CodecError, Guard, LayerError, Scope, Stage};

/// One format's decoder, fed with whatever arrives.
pub(crate) trait Decode: Send {
    /// Decodes from `input` into the spare capacity of `out` until one of them is used up; says how many bytes of `input`
    /// were used.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CodecError>;

    /// Called when there is no more input and everything was given out.
    fn end(&mut self) -> Result<(), CodecError>;
}

/// A decoder that counts, guards and says in its errors which format it is.
pub(crate) struct Unpack {
    codec: Codec,
    decoder: Option<Box<dyn Decode>>,
    guard: Guard,
    read: u64,
    made: u64,
}

impl Unpack {
    pub(crate) fn new(codec: Codec, guard: Guard) -> Result<Self, LayerError> {
        let decoder: Option<Box<dyn Decode>> = match codec {
            Codec::Plain => None,
            Codec::Gzip => Some(Box::new(gzip::Gunzip::new())),
            Codec::Zstd => Some(Box::new(zstd::Unzstd::new().map_err(|e| broken(codec, e))?)),
            Codec::Bzip2 => Some(Box::new(bzip2::Bunzip2::new())),
            Codec::Xz => Some(Box::new(xz::Unxz::new())),
        };
        Ok(Self { codec, decoder, guard, read: 0, made: 0 })
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.decoder.is_none()
    }

    /// Decodes from the front of `input` until it is used up or `out` is full.
    pub(crate) fn feed(&mut self, input: &mut Bytes, out: &mut Vec<u8>) -> Result<(), LayerError> {
        let Some(decoder) = self.decoder.as_mut() else { return Ok(()) };
        loop {
            let before = out.len();
            let used = decoder.decode(input, out).map_err(|e| broken(self.codec, e))?;
            input.advance(used.min(input.len()));
            self.read = self.read.saturating_add(used as u64);
            let made = out.len() - before;
            self.made = self.made.saturating_add(made as u64);
            self.guard.check(self.read, self.made).map_err(|e| broken(self.codec, e))?;
            let still = used == 0 && made == 0;
            if out.len() == out.capacity() || (still && input.is_empty()) {
                return Ok(());
            }
            if still {
                let stuck = CodecError::Corrupt("no progress".to_owned());
                return Err(broken(self.codec, stuck));
            }
        }
    }

    pub(crate) fn end(&mut self) -> Result<(), LayerError> {
        match self.decoder.as_mut() {
            Some(decoder) => decoder.end().map_err(|e| broken(self.codec, e)),
            None => Ok(()),
        }
    }
}

fn broken(codec: Codec, source: CodecError) -> LayerError {
    LayerError::Decompress { layer: None, codec, source }
}

/// Pulls until the format can be told, or the blob ends (then the second value is true).
pub(crate) fn first_bytes(inner: &mut dyn Stage) -> Result<(Bytes, bool), LayerError> {
    let mut first = Bytes::new();
    while first.len() < Codec::PREFIX {
        match inner.next()? {
            Some(chunk) if first.is_empty() => first = chunk,
            Some(chunk) => first = [first, chunk].concat().into(),
            None => return Ok((first, true)),
        }
    }
    Ok((first, false))
}

/// The plain bytes of a layer in whatever format.
pub(crate) struct Decoded<'a> {
    inner: Box<dyn Stage + 'a>,
    guard: Guard,
    scope: Scope,
    unpack: Option<Unpack>,
    input: Bytes,
    drained: bool,
    ended: bool,
}

impl<'a> Decoded<'a> {
    pub(crate) fn new(inner: Box<dyn Stage + 'a>, guard: Guard, scope: Scope) -> Self {
        let input = Bytes::new();
        Self { inner, guard, scope, unpack: None, input, drained: false, ended: false }
    }

    fn started(&mut self) -> Result<Unpack, LayerError> {
        match self.unpack.take() {
            Some(unpack) => Ok(unpack),
            None => {
                (self.input, self.drained) = first_bytes(self.inner.as_mut())?;
                Unpack::new(Codec::detect(&self.input), self.guard)
            }
        }
    }

    fn refill(&mut self) -> Result<bool, LayerError> {
        self.scope.check()?;
        let next = if self.drained { None } else { self.inner.next()? };
        self.drained = next.is_none();
        self.ended = self.drained;
        self.input = next.unwrap_or_default();
        Ok(!self.ended)
    }

    fn verbatim(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.input.is_empty() {
            self.refill()?;
        }
        Ok(Some(std::mem::take(&mut self.input)).filter(|chunk| !chunk.is_empty()))
    }

    fn pulled(&mut self) -> Result<Option<Bytes>, LayerError> {
        let mut unpack = self.started()?;
        let next = if unpack.is_plain() { self.verbatim()? } else { self.decoded(&mut unpack)? };
        self.unpack = Some(unpack);
        Ok(next)
    }

    /// Whose fault it is that the bytes cannot be decompressed: that is told by the rest of them. If they are not those
    /// promised, that is what went wrong.
    fn judged(&mut self, codec: Codec, source: CodecError) -> LayerError {
        let inner = std::mem::replace(&mut self.inner, Box::new(Spent));
        match read_out(inner, &self.scope) {
            Ok(found) => LayerError::Decompress { layer: Some(found.digest), codec, source },
            Err(error) => error,
        }
    }

    fn decoded(&mut self, unpack: &mut Unpack) -> Result<Option<Bytes>, LayerError> {
        let mut out = Vec::with_capacity(CHUNK);
        loop {
            unpack.feed(&mut self.input, &mut out)?;
            if out.len() == out.capacity() {
                return Ok(Some(out.into()));
            }
            if !self.refill()? {
                unpack.end()?;
                return Ok((!out.is_empty()).then(|| out.into()));
            }
        }
    }
}

/// Reads what is left and says what all of it was.
fn read_out(mut inner: Box<dyn Stage + '_>, scope: &Scope) -> Result<Descriptor, LayerError> {
    while inner.next()?.is_some() {
        scope.check()?;
    }
    inner.finish()
}

/// Stands where a stage was that was read out.
struct Spent;

impl Stage for Spent {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        Err(LayerError::FinishedEarly)
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        Err(LayerError::FinishedEarly)
    }
}

impl Stage for Decoded<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        self.pulled().map_err(|error| match error {
            LayerError::Decompress { layer: None, codec, source } => self.judged(codec, source),
            other => other,
        })
    }

    /// What was plain comes out as it went in.
    fn measures(&self) -> bool {
        self.unpack.as_ref().is_some_and(Unpack::is_plain) && self.inner.measures()
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if self.ended { self.inner.finish() } else { Err(LayerError::FinishedEarly) }
    }
}
