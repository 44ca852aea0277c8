use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use securecp_oci::{Algorithm, Descriptor, Digest, Hasher};

use crate::decode::{Unpack, first_bytes};
use crate::{Aside, CHUNK, Codec, Fold, Guard, Layer, LayerError, Scope, Stage, Transform};

/// Where the diffID of a layer is put once its plain bytes have passed and its own digest was checked.
#[derive(Debug, Clone, Default)]
pub struct FoundDiffId(Arc<Mutex<Option<Digest>>>);

impl FoundDiffId {
    /// The digest of the plain bytes, if a layer has passed whole.
    pub fn digest(&self) -> Option<Digest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, digest: Digest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
    }
}

/// What is wanted of the plain bytes: a diffID to hold them to, a place to put theirs, or both.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) expected: Option<Digest>,
    pub(crate) found: Option<FoundDiffId>,
}

impl Wish {
    pub(crate) fn hasher(&self) -> Option<Hasher> {
        let wanted = self.expected.is_some() || self.found.is_some();
        wanted.then(|| Hasher::new(self.algorithm()))
    }

    fn algorithm(&self) -> Algorithm {
        self.expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm)
    }

    /// Judges the hash of plain bytes that came from `layer`, which is verified by now.
    pub(crate) fn judge(&self, layer: &Digest, found: Digest) -> Result<(), LayerError> {
        match &self.expected {
            Some(expected) if *expected != found => {
                let (layer, expected) = (layer.clone(), expected.clone());
                Err(LayerError::DiffId { layer, expected, found })
            }
            _ => {
                if let Some(cell) = &self.found {
                    cell.set(found);
                }
                Ok(())
            }
        }
    }
}

/// Hashes plain bytes on their way to a compressor or a destination, and says what they are.
pub(crate) struct Hashed<'a> {
    inner: Box<dyn Stage + 'a>,
    wish: Wish,
    /// Gone where the layer was plain and is hashed by who verifies it.
    hasher: Option<Aside<Hasher>>,
    size: u64,
}

impl<'a> Hashed<'a> {
    pub(crate) fn wrap(inner: Box<dyn Stage + 'a>, wish: Wish) -> Box<dyn Stage + 'a> {
        match wish.hasher() {
            Some(hasher) => {
                let hasher = Some(Aside::new(hasher));
                Box::new(Self { inner, wish, hasher, size: 0 })
            }
            None => inner,
        }
    }
}

impl Stage for Hashed<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let next = self.inner.next()?;
        if self.size == 0 && self.measures() && self.inner.measures() {
            self.hasher = None;
        }
        if let Some(chunk) = &next {
            self.size += chunk.len() as u64;
            self.hasher.as_mut().map_or(Ok(()), |hasher| hasher.take(chunk))?;
        }
        Ok(next)
    }

    fn measures(&self) -> bool {
        self.wish.algorithm() == Algorithm::Sha256
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        let layer = self.inner.finish()?;
        let found = self.hasher.map_or_else(|| Ok(layer.digest.clone()), Aside::end)?;
        self.wish.judge(&layer.digest, found.clone())?;
        Ok(Descriptor { digest: found, size: self.size, ..layer })
    }
}

/// Passes a layer through unchanged, in whatever format, and holds its decompressed bytes to a diffID.
///
/// A mismatch is an error of `finish`, before anything is committed.
#[derive(Debug, Clone, Default)]
pub struct CheckDiffId {
    wish: Wish,
    codec: Option<Codec>,
    guard: Guard,
    scope: Scope,
}

impl CheckDiffId {
    /// Neither expects nor records anything yet.
    pub fn new() -> Self {
        Self::default()
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

    /// Holds the blob to a format as well, as told from its first bytes.
    #[must_use]
    pub fn expect_codec(mut self, codec: Codec) -> Self {
        self.codec = Some(codec);
        self
    }

    /// Bounds decompression by `guard`.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Ends with `scope`.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
}

impl CheckDiffId {
    fn told(&self, first: &[u8]) -> Result<Codec, LayerError> {
        let found = Codec::detect(first);
        match self.codec.filter(|expected| *expected != found) {
            Some(expected) => Err(LayerError::Format { expected, found }),
            None => Ok(found),
        }
    }
}

impl Transform for CheckDiffId {
    fn wrap<'a>(&'a self, layer: Layer<'a>) -> Result<Layer<'a>, LayerError> {
        let hasher = match (self.wish.hasher(), self.codec) {
            (Some(hasher), _) => hasher,
            (None, Some(_)) => Hasher::new(Algorithm::Sha256),
            (None, None) => return Ok(layer),
        };
        let plain = PlainHash { hasher: Aside::new(hasher), buffer: Vec::new() };
        let side = Side { settings: self.clone(), unpack: None, plain };
        let body = Checked {
            inner: layer.body,
            wish: &self.wish,
            side: Some(Aside::new(side)),
            found: None,
            begun: false,
            drained: false,
            state: State::Passing,
        };
        Ok(Layer { known: layer.known, body: Box::new(body) })
    }
}

/// Decompresses beside the way.
struct Side {
    settings: CheckDiffId,
    unpack: Option<Unpack>,
    plain: PlainHash,
}

impl Fold for Side {
    type Output = Digest;

    fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
        let (mut chunk, settings) = (chunk.clone(), &self.settings);
        let unpack = match &mut self.unpack {
            Some(unpack) => unpack,
            None => {
                let fresh = Unpack::new(settings.told(&chunk)?, settings.guard)?;
                self.unpack.insert(fresh)
            }
        };
        if unpack.is_plain() {
            return self.plain.hasher.take(&chunk);
        }
        loop {
            settings.scope.check()?;
            let mut plain = self.plain.empty();
            unpack.feed(&mut chunk, &mut plain)?;
            let full = plain.len() == plain.capacity();
            self.plain.take(plain.into())?;
            if !full {
                return Ok(());
            }
        }
    }

    fn end(mut self) -> Result<Digest, LayerError> {
        match self.unpack.as_mut() {
            Some(unpack) => unpack.end()?,
            None => self.settings.told(&[]).map(drop)?,
        }
        self.plain.hasher.end()
    }
}

/// Hashes what was decompressed, beside that where a core is idle.
struct PlainHash {
    hasher: Aside<Hasher>,
    /// One that was hashed here already, to be filled again.
    buffer: Vec<u8>,
}

impl PlainHash {
    fn empty(&mut self) -> Vec<u8> {
        let mut empty = std::mem::take(&mut self.buffer);
        empty.clear();
        empty.reserve_exact(CHUNK);
        empty
    }

    fn take(&mut self, plain: Bytes) -> Result<(), LayerError> {
        self.hasher.take(&plain)?;
        if plain.is_unique() {
            self.buffer = plain.into();
        }
        Ok(())
    }
}

struct Checked<'a> {
    inner: Box<dyn Stage + 'a>,
    wish: &'a Wish,
    /// Gone when the end was read; then its result is in `found`.
    side: Option<Aside<Side>>,
    found: Option<Digest>,
    begun: bool,
    drained: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Passing,
    Ended,
    Failed,
}

impl Checked<'_> {
    fn pull(&mut self) -> Result<Option<Bytes>, LayerError> {
        if std::mem::replace(&mut self.begun, true) {
            return if self.drained { Ok(None) } else { self.inner.next() };
        }
        let (first, drained) = first_bytes(self.inner.as_mut())?;
        self.drained = drained;
        Ok(Some(first).filter(|first| !first.is_empty()))
    }

    fn step(&mut self) -> Result<Option<Bytes>, LayerError> {
        let next = self.pull()?;
        if let (Some(chunk), Some(side)) = (&next, &mut self.side) {
            side.take(chunk)?;
            return Ok(next);
        }
        self.found = self.side.take().map(Aside::end).transpose()?;
        self.state = State::Ended;
        Ok(None)
    }
}

impl Stage for Checked<'_> {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        match self.state {
            State::Ended => return Ok(None),
            State::Failed => return Err(LayerError::FinishedEarly),
            State::Passing => {}
        }
        let next = self.step();
        if next.is_err() {
            self.state = State::Failed;
        }
        next
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        let (State::Ended, Some(found)) = (self.state, self.found) else {
            return Err(LayerError::FinishedEarly);
        };
        let descriptor = self.inner.finish()?;
        self.wish.judge(&descriptor.digest, found)?;
        Ok(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Decoded;
    use crate::{Once, Recompress};
    use securecp_oci::MediaType;

    const PLAIN: &[u8] = b"a tar archive, as far as this test goes";

    fn verified(algorithm: Algorithm, digest_of: &[u8], bytes: &[u8]) -> Layer<'static> {
        let digest = Digest::of(algorithm, digest_of);
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, bytes.len() as u64);
        Layer::verified(descriptor, Once::new(Bytes::copy_from_slice(bytes)))
    }

    /// Reads to the end; gives whether plain bytes were hashed on their own, and what was found.
    fn read(layer: Layer<'static>, expected: Digest) -> (bool, Result<Descriptor, LayerError>) {
        let plain = Decoded::new(layer.body, Guard::default(), Scope::default());
        let wish = Wish { expected: Some(expected), found: None };
        let hasher = wish.hasher().map(Aside::new);
        let mut hashed = Hashed { inner: Box::new(plain), wish, hasher, size: 0 };
        while hashed.next().unwrap().is_some() {}
        (hashed.hasher.is_some(), Box::new(hashed).finish())
    }

    #[test]
    fn plain_layers_are_hashed_by_who_verifies_them() {
        let gzip = Recompress::new(crate::Compression::Gzip(crate::GzipLevel::new(6).unwrap()));
        let layer = verified(Algorithm::Sha256, PLAIN, PLAIN).pipe(Some(&gzip)).unwrap();
        let packed = layer.read_whole().unwrap();
        let (sha256, sha512) = (Algorithm::Sha256, Algorithm::Sha512);
        for (source, bytes, wished, own) in [
            (sha256, PLAIN, sha256, false),
            (sha512, PLAIN, sha256, true),
            (sha256, PLAIN, sha512, true),
            (sha512, PLAIN, sha512, true),
            (sha256, &packed, sha256, true),
        ] {
            let (hashed, found) = read(verified(source, bytes, bytes), Digest::of(wished, PLAIN));
            assert_eq!(hashed, own, "{source:?} {wished:?}");
            let found = found.unwrap();
            assert_eq!((found.digest, found.size), (Digest::of(wished, PLAIN), PLAIN.len() as u64));
        }
    }

    #[test]
    fn plain_layers_are_still_held_to_their_digest_and_diff_id() {
        let sha256 = |bytes: &[u8]| Digest::of(Algorithm::Sha256, bytes);
        let (_, found) = read(verified(Algorithm::Sha256, PLAIN, PLAIN), sha256(b"another"));
        assert!(matches!(found, Err(LayerError::DiffId { .. })), "{found:?}");
        let altered = verified(Algorithm::Sha256, b"another", PLAIN);
        let (_, found) = read(altered, sha256(b"another"));
        assert!(matches!(found, Err(LayerError::Altered { .. })), "{found:?}");
        let (_, found) = read(verified(Algorithm::Sha256, b"", b""), sha256(b""));
        assert_eq!(found.unwrap().size, 0);
    }
}
