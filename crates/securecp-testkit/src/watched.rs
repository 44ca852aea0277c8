use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use securecp_layer::{Layer, Scope};
use securecp_oci::{Attached, Descriptor, Digest, RawManifest, Reference, Signature, Tag};
use securecp_transport::{
    Accepts, BlobPut, CommitError, Destination, Naming, Piece, Place, TransportError, Writing,
};

/// One effect on a destination, or the attempt at it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Writing began.
    Begin,
    /// A blob was put; the digest is known only if it succeeded.
    Blob(Option<Digest>),
    /// A manifest was put.
    Manifest(Digest, Place),
    /// Signatures of a manifest were put, so many.
    Signatures(Digest, usize),
    /// A piece of evidence was put.
    Evidence(Digest),
    /// A manifest, or a piece of evidence, was read back.
    ReadBack(Digest),
    /// The names moved, each to this digest.
    Commit(Vec<Digest>),
    /// Writing ended without commit.
    Abandon,
}

/// A destination that works, notes the order of its effects, and fails at one of them if told so.
pub struct WatchedDestination {
    destination: Box<dyn Destination>,
    notes: Notes,
}

#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    effects: Vec<Effect>,
    fail_at: Option<usize>,
}

impl WatchedDestination {
    /// Wraps a destination.
    pub fn new(destination: Box<dyn Destination>) -> Self {
        Self { destination, notes: Notes::default() }
    }

    /// Fails at the `n`th effect, counted from 1, instead of doing it.
    pub fn fail_at(&self, n: usize) {
        self.notes.state().fail_at = Some(n);
    }

    /// The effects so far, in order; failed attempts included.
    pub fn effects(&self) -> Vec<Effect> {
        self.notes.state().effects.clone()
    }
}

impl fmt::Debug for WatchedDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.destination.name();
        f.debug_struct("WatchedDestination").field("name", &name).finish_non_exhaustive()
    }
}

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an effect; an error if this is where to fail. Returns its position.
    fn note(&self, effect: Effect) -> Result<usize, TransportError> {
        let mut state = self.state();
        state.effects.push(effect);
        let position = state.effects.len();
        if state.fail_at != Some(position) {
            return Ok(position - 1);
        }
        Err(TransportError::Io {
            operation: "failing on purpose at effect",
            path: position.to_string().into(),
            source: io::ErrorKind::Other.into(),
        })
    }
}

impl Destination for WatchedDestination {
    fn name(&self) -> String {
        self.destination.name()
    }

    fn reference(&self) -> Option<&Reference> {
        self.destination.reference()
    }

    fn storage(&self) -> Option<String> {
        self.destination.storage()
    }

    fn entry(&self) -> Option<&str> {
        self.destination.entry()
    }

    fn accepts(&self) -> Accepts {
        self.destination.accepts()
    }

    fn check(&self, scope: &Scope) -> Result<(), TransportError> {
        self.destination.check(scope)
    }

    fn has_blob(&self, descriptor: &Descriptor, scope: &Scope) -> Result<bool, TransportError> {
        self.destination.has_blob(descriptor, scope)
    }

    fn has_manifest(&self, manifest: &RawManifest, scope: &Scope) -> Result<bool, TransportError> {
        self.destination.has_manifest(manifest, scope)
    }

    fn current(&self, tag: Option<&Tag>, scope: &Scope) -> Result<Option<Digest>, TransportError> {
        self.destination.current(tag, scope)
    }

    fn read_blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        self.destination.read_blob(descriptor, scope)
    }

    fn referrers(
        &self,
        subject: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Descriptor>, TransportError> {
        self.destination.referrers(subject, scope)
    }

    fn read_manifest(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<RawManifest>, TransportError> {
        self.destination.read_manifest(descriptor, scope)
    }

    fn has_referrers(
        &self,
        subject: &Digest,
        wanted: &[Descriptor],
        scope: &Scope,
    ) -> Result<Vec<bool>, TransportError> {
        self.destination.has_referrers(subject, wanted, scope)
    }

    fn has_attached(
        &self,
        subject: (&Digest, Attached),
        manifest: &RawManifest,
        scope: &Scope,
    ) -> Result<bool, TransportError> {
        self.destination.has_attached(subject, manifest, scope)
    }

    fn begin(&self, scope: &Scope) -> Result<Box<dyn Writing + '_>, TransportError> {
        self.notes.note(Effect::Begin)?;
        let writing = Some(self.destination.begin(scope)?);
        Ok(Box::new(Watched { writing, notes: self.notes.clone() }))
    }
}

struct Watched<'a> {
    /// There until the commit.
    writing: Option<Box<dyn Writing + 'a>>,
    notes: Notes,
}

impl<'a> Watched<'a> {
    fn writing(&self) -> Result<&(dyn Writing + 'a), TransportError> {
        self.writing.as_deref().ok_or_else(over)
    }
}

impl Writing for Watched<'_> {
    fn put_blob(&self, blob: &BlobPut<'_>, scope: &Scope) -> Result<Descriptor, TransportError> {
        let position = self.notes.note(Effect::Blob(None))?;
        let put = self.writing()?.put_blob(blob, scope)?;
        if let Some(effect) = self.notes.state().effects.get_mut(position) {
            *effect = Effect::Blob(Some(put.digest.clone()));
        }
        Ok(put)
    }

    fn put_manifest(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        self.notes.note(Effect::Manifest(manifest.digest().clone(), place))?;
        self.writing()?.put_manifest(manifest, place, scope)
    }

    fn put_signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
        signatures: &[Signature],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        self.notes.note(Effect::Signatures(manifest.digest().clone(), signatures.len()))?;
        self.writing()?.put_signatures(manifest, place, signatures, scope)
    }

    fn put_evidence(&self, piece: &Piece<'_>, scope: &Scope) -> Result<(), TransportError> {
        self.notes.note(Effect::Evidence(piece.manifest().digest().clone()))?;
        self.writing()?.put_evidence(piece, scope)
    }

    fn read_back_evidence(
        &self,
        pieces: &[Piece<'_>],
        scope: &Scope,
    ) -> Result<(), TransportError> {
        for piece in pieces {
            self.notes.note(Effect::ReadBack(piece.manifest().digest().clone()))?;
        }
        self.writing()?.read_back_evidence(pieces, scope)
    }

    fn read_back(
        &self,
        manifest: &RawManifest,
        place: Place,
        scope: &Scope,
    ) -> Result<(), TransportError> {
        self.notes.note(Effect::ReadBack(manifest.digest().clone()))?;
        self.writing()?.read_back(manifest, place, scope)
    }

    fn commit(mut self: Box<Self>, names: &[Naming<'_>], scope: &Scope) -> Result<(), CommitError> {
        let names_given = names.iter().map(|naming| naming.root.digest().clone()).collect();
        self.notes.note(Effect::Commit(names_given))?;
        self.writing.take().ok_or_else(over)?.commit(names, scope)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.writing.is_some() {
            // An abandoned writing cannot fail; the note is all that matters.
            let _ = self.notes.note(Effect::Abandon);
        }
    }
}

fn over() -> TransportError {
    TransportError::Unsupported {
        name: "testkit".to_owned(),
        problem: "writing is over".to_owned(),
    }
}
