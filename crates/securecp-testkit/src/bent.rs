use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use securecp_layer::{Chunks, Layer, Scope, SourceError};

/// What is wrong with the bytes of a [`Bent`] source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Bend {
    /// They end after so many bytes, as if that were all.
    CutAfter(u64),
    /// The byte at this offset is altered.
    FlipAt(u64),
    /// More bytes follow at the end.
    Append(Bytes),
    /// Reading fails after so many bytes; the failure may pass (`true`) or lasts.
    FailAt(u64, bool),
    /// Each chunk takes so long.
    Pause(Duration),
    /// Nothing comes after so many bytes, until the scope ends.
    StallAt(u64),
}

/// Chunks with something wrong.
pub struct Bent<C> {
    chunks: C,
    bend: Bend,
    scope: Scope,
    position: u64,
    ended: bool,
}

impl<C> fmt::Debug for Bent<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bent").field("bend", &self.bend).finish_non_exhaustive()
    }
}

impl<C: Chunks> Bent<C> {
    /// Bends `chunks`; waits end with `scope`.
    pub fn new(chunks: C, bend: Bend, scope: Scope) -> Self {
        Self { chunks, bend, scope, position: 0, ended: false }
    }

    /// The chunk up to `place`, and whether the place was reached.
    fn up_to(&self, chunk: Bytes, place: u64) -> (Bytes, bool) {
        let room = usize::try_from(place.saturating_sub(self.position)).unwrap_or(usize::MAX);
        if room <= chunk.len() { (chunk.slice(..room), true) } else { (chunk, false) }
    }

    /// What comes of a chunk, and whether the bytes end with it.
    fn bent(&mut self, chunk: Bytes) -> Result<Bytes, SourceError> {
        match self.bend {
            Bend::FlipAt(place) => Ok(flipped(chunk, place.checked_sub(self.position))),
            Bend::CutAfter(place) => {
                let (chunk, reached) = self.up_to(chunk, place);
                self.ended = reached;
                Ok(chunk)
            }
            Bend::FailAt(place, passes) => match self.up_to(chunk, place) {
                (chunk, true) if chunk.is_empty() => Err(failure(passes)),
                (chunk, _) => Ok(chunk),
            },
            Bend::StallAt(place) => match self.up_to(chunk, place) {
                (chunk, true) if chunk.is_empty() => Err(self.stall()),
                (chunk, _) => Ok(chunk),
            },
            Bend::Pause(pause) => {
                self.scope.sleep(pause).map_err(SourceError::lasting)?;
                Ok(chunk)
            }
            Bend::Append(_) => Ok(chunk),
        }
    }

    /// Waits for the end of the scope.
    fn stall(&self) -> SourceError {
        loop {
            if let Err(stopped) = self.scope.sleep(Duration::from_secs(3600)) {
                return SourceError::lasting(stopped);
            }
        }
    }

    fn after_the_end(&mut self) -> Option<Bytes> {
        self.ended = true;
        match &mut self.bend {
            Bend::Append(more) => Some(std::mem::take(more)).filter(|more| !more.is_empty()),
            _ => None,
        }
    }
}

impl<C: Chunks> Chunks for Bent<C> {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.ended {
            return Ok(None);
        }
        // What a place cut off of one chunk must not come with the next one.
        if let Bend::FailAt(place, _) | Bend::StallAt(place) = self.bend
            && self.position >= place
        {
            self.bent(Bytes::from_static(b" "))?;
        }
        let Some(chunk) = self.chunks.next()? else { return Ok(self.after_the_end()) };
        let chunk = self.bent(chunk)?;
        self.position += chunk.len() as u64;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }
}

/// A layer as raw chunks, to be bent and then verified anew.
#[derive(Debug)]
pub struct LayerChunks<'a>(Layer<'a>);

impl<'a> LayerChunks<'a> {
    /// Reads `layer`; its own verdict at the end is left aside.
    pub fn new(layer: Layer<'a>) -> Self {
        Self(layer)
    }
}

impl Chunks for LayerChunks<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().map_err(SourceError::lasting)
    }
}

fn flipped(chunk: Bytes, offset: Option<u64>) -> Bytes {
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    let Some(offset) = offset.filter(|offset| *offset < chunk.len()) else { return chunk };
    let mut bytes = chunk.to_vec();
    bytes[offset] ^= 1;
    bytes.into()
}

fn failure(passes: bool) -> SourceError {
    let error = io::Error::new(io::ErrorKind::ConnectionReset, "failing on purpose");
    if passes { SourceError::transient(error) } else { SourceError::lasting(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_layer::{FileChunks, LayerError};
    use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

    const SIZE: u64 = 600_000;

    fn read(bend: Bend) -> (u64, Result<Descriptor, LayerError>) {
        let bytes = vec![9; 600_000];
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, SIZE);
        let scope = Scope::lasting(Duration::from_millis(100));
        let chunks = Bent::new(FileChunks::new(bytes.as_slice()), bend, scope);
        let mut layer = Layer::verified(descriptor, chunks);
        let mut count = 0;
        loop {
            match layer.next() {
                Ok(Some(chunk)) => count += chunk.len() as u64,
                Ok(None) => return (count, layer.finish()),
                Err(error) => return (count, Err(error)),
            }
        }
    }

    #[test]
    fn each_bend_is_noticed_by_verification() {
        for place in [0, 1, 262_144, 300_000, SIZE - 1] {
            let (_, outcome) = read(Bend::CutAfter(place));
            assert!(matches!(outcome, Err(LayerError::Short { found, .. }) if found == place));
            assert!(matches!(read(Bend::FlipAt(place)).1, Err(LayerError::Altered { .. })));
            let (count, outcome) = read(Bend::FailAt(place, true));
            assert!(matches!(outcome, Err(ref e @ LayerError::Source { .. }) if e.is_transient()));
            assert_eq!(count, place);
            let (count, outcome) = read(Bend::FailAt(place, false));
            assert!(outcome.is_err_and(|error| !error.is_transient()));
            assert_eq!(count, place);
            assert!(matches!(read(Bend::StallAt(place)).1, Err(LayerError::Source { .. })));
        }
        let more = Bytes::from_static(b"more");
        assert!(matches!(read(Bend::Append(more)).1, Err(LayerError::Long { .. })));
    }

    #[test]
    fn bends_behind_the_end_do_nothing() {
        for bend in [
            Bend::CutAfter(SIZE + 1),
            Bend::FlipAt(SIZE),
            Bend::FailAt(SIZE + 1, true),
            Bend::Pause(Duration::from_millis(1)),
        ] {
            assert!(read(bend.clone()).1.is_ok(), "{bend:?}");
        }
    }
}
