use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use securecp_layer::{Layer, Prefix, Scope};
use securecp_oci::{Descriptor, Digest};
use securecp_transport::{Source, TransportError, WrappedSource};

use crate::bent::{Bend, Bent, LayerChunks};

/// A source that works, except that the bytes of some blobs are wrong some of the time. It verifies what it hands out,
/// as every source must, and remembers which blobs were opened.
pub struct BentSource {
    source: Box<dyn Source>,
    bends: Mutex<Vec<BendRule>>,
    opened: Mutex<Vec<Digest>>,
}

#[derive(Debug)]
struct BendRule {
    digest: Digest,
    turns: RangeInclusive<usize>,
    bend: Bend,
}

impl BentSource {
    /// Wraps a source; nothing is wrong yet.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, bends: Mutex::default(), opened: Mutex::default() }
    }

    /// Bends a blob in those of its openings that are in `turns`, counted from 1.
    pub fn bend(&self, digest: &Digest, turns: RangeInclusive<usize>, bend: Bend) {
        locked(&self.bends).push(BendRule { digest: digest.clone(), turns, bend });
    }

    /// The blobs opened so far, in order; a blob that was opened again is there again.
    pub fn opened(&self) -> Vec<Digest> {
        locked(&self.opened).clone()
    }

    /// Counts an opening and says what is wrong with it.
    fn open(&self, digest: &Digest) -> Option<Bend> {
        let mut opened = locked(&self.opened);
        opened.push(digest.clone());
        let turn = opened.iter().filter(|seen| *seen == digest).count();
        let bends = locked(&self.bends);
        let rule = bends.iter().find(|r| r.digest == *digest && r.turns.contains(&turn));
        rule.map(|rule| rule.bend.clone())
    }
}

impl WrappedSource for BentSource {
    fn inner(&self) -> &dyn Source {
        self.source.as_ref()
    }

    fn wrapped_blob(
        &self,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<Layer<'static>, TransportError> {
        let bend = self.open(&descriptor.digest);
        let layer = self.source.blob(descriptor, scope)?;
        Ok(match bend {
            None => layer,
            Some(bend) => {
                let chunks = Bent::new(LayerChunks::new(layer), bend, scope.clone());
                Layer::verified(descriptor.clone(), chunks)
            }
        })
    }

    /// A blob is bent as a whole.
    fn wrapped_blob_after(
        &self,
        _: &Descriptor,
        _: Prefix,
        _: &Scope,
    ) -> Result<Option<Layer<'static>>, TransportError> {
        Ok(None)
    }
}

impl fmt::Debug for BentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source.name();
        f.debug_struct("BentSource").field("name", &name).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
