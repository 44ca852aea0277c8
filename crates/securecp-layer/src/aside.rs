use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use securecp_oci::{Digest, Hasher};

use crate::LayerError;
use crate::cores::Core;

/// Work beside a layer's way: it sees every chunk in order and comes to a result at the end.
pub trait Fold: Send + 'static {
    /// What it comes to.
    type Output: Send + 'static;

    /// Takes the next chunk.
    ///
    /// # Errors
    /// The bytes are not what they should be.
    fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError>;

    /// The result, after the last chunk.
    ///
    /// # Errors
    /// The bytes are not what they should be.
    fn end(self) -> Result<Self::Output, LayerError>;
}

impl Fold for Hasher {
    type Output = Digest;

    fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
        self.update(chunk);
        Ok(())
    }

    fn end(self) -> Result<Digest, LayerError> {
        Ok(self.finish())
    }
}

/// A [`Fold`] that is done on the thread that brings the chunks, or, once the layer has shown to be large and while a
/// core is idle, on one of its own. What it comes to is the same; an error may come some chunks later.
pub struct Aside<F: Fold> {
    place: Place<F>,
    seen: u64,
    ask_at: u64,
}

enum Place<F: Fold> {
    Here(F),
    There(Helper<F::Output>),
    Nowhere,
}

/// A thread is not worth its start for fewer bytes.
const WORTH: u64 = 1 << 20;
/// Bytes after which an idle core is looked for again.
const AGAIN: u64 = 8 << 20;
/// Chunks that may wait for the helper, so that neither side waits for every single one.
const WAITING: usize = 4;

impl<F: Fold> Aside<F> {
    /// Begins here.
    pub fn new(fold: F) -> Self {
        Self { place: Place::Here(fold), seen: 0, ask_at: WORTH }
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// See [`Fold::take`].
    pub fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
        match &mut self.place {
            Place::Here(fold) => fold.take(chunk)?,
            Place::There(helper) if helper.send(chunk) => {}
            Place::There(_) | Place::Nowhere => return Err(self.failure()),
        }
        self.seen = self.seen.saturating_add(chunk.len() as u64);
        if self.seen >= self.ask_at {
            self.ask_at = self.seen.saturating_add(AGAIN);
            self.move_out();
        }
        Ok(())
    }

    /// The result.
    ///
    /// # Errors
    /// See [`Fold::end`].
    pub fn end(self) -> Result<F::Output, LayerError> {
        match self.place {
            Place::Here(fold) => fold.end(),
            Place::There(helper) => helper.end(),
            Place::Nowhere => Err(lost()),
        }
    }

    /// Why the helper takes no more.
    fn failure(&mut self) -> LayerError {
        match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::There(helper) => helper.end().err().unwrap_or_else(lost),
            Place::Here(_) | Place::Nowhere => lost(),
        }
    }

    fn move_out(&mut self) {
        if !matches!(self.place, Place::Here(_)) {
            return;
        }
        let Some(core) = Core::idle() else { return };
        // A thread more or less must not decide whether a layer can be copied.
        let Ok((helper, hand)) = Helper::start::<F>(core) else { return };
        if let Place::Here(fold) = std::mem::replace(&mut self.place, Place::There(helper)) {
            // Should the thread be gone, the next chunk finds out.
            let _ = hand.send(fold);
        }
    }
}

impl<F: Fold> fmt::Debug for Aside<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("seen", &self.seen).finish_non_exhaustive()
    }
}

struct Helper<T> {
    chunks: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<Result<T, LayerError>>>,
}

impl<T: Send + 'static> Helper<T> {
    /// A thread that waits for its fold first, so that the fold is not lost with a thread that cannot be started.
    fn start<F: Fold<Output = T>>(core: Core) -> std::io::Result<(Self, SyncSender<F>)> {
        let (chunks, arriving) = sync_channel::<Bytes>(WAITING);
        let (hand, fold) = sync_channel::<F>(1);
        let work = move || {
            let _spoken_for = core;
            let mut fold = fold.recv().map_err(|_| lost())?;
            arriving.iter().try_for_each(|chunk| fold.take(&chunk))?;
            fold.end()
        };
        let thread = Builder::new().name("layer-aside".to_owned()).spawn(work)?;
        Ok((Self { chunks: Some(chunks), thread: Some(thread) }, hand))
    }

    fn send(&self, chunk: &Bytes) -> bool {
        self.chunks.as_ref().is_some_and(|chunks| chunks.send(chunk.clone()).is_ok())
    }

    fn end(mut self) -> Result<T, LayerError> {
        self.join().unwrap_or_else(|| Err(lost()))
    }
}

impl<T> Helper<T> {
    fn join(&mut self) -> Option<Result<T, LayerError>> {
        self.chunks = None;
        self.thread.take()?.join().ok()
    }
}

/// Waits for the few chunks that are in work, so that no thread outlives its layer.
impl<T> Drop for Helper<T> {
    fn drop(&mut self) {
        self.join();
    }
}

fn lost() -> LayerError {
    LayerError::Transform {
        transform: "helper thread",
        problem: "ended without a result".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::Algorithm;

    /// Fails at a chunk that begins with 9.
    struct Picky(Hasher);

    impl Fold for Picky {
        type Output = Digest;

        fn take(&mut self, chunk: &Bytes) -> Result<(), LayerError> {
            if chunk.first() == Some(&9) {
                return Err(LayerError::FinishedEarly);
            }
            self.0.take(chunk)
        }

        fn end(self) -> Result<Digest, LayerError> {
            self.0.end()
        }
    }

    fn picky() -> Aside<Picky> {
        Aside::new(Picky(Hasher::new(Algorithm::Sha256)))
    }

    fn moved(aside: &mut Aside<Picky>) {
        let (helper, hand) = Helper::start::<Picky>(Core::take()).unwrap();
        match std::mem::replace(&mut aside.place, Place::There(helper)) {
            Place::Here(fold) => hand.send(fold).unwrap(),
            _ => panic!("moved already"),
        }
    }

    #[test]
    fn comes_to_the_same_here_and_there() {
        let chunks: Vec<Bytes> = (0..9_u8).map(|n| vec![n; 1000 + usize::from(n)].into()).collect();
        let expected = Digest::of(Algorithm::Sha256, &chunks.concat());
        for move_at in 0..10 {
            let mut aside = picky();
            for (n, chunk) in chunks.iter().enumerate() {
                if n == move_at {
                    moved(&mut aside);
                }
                aside.take(chunk).unwrap();
            }
            assert_eq!(aside.end().unwrap(), expected, "moved at {move_at}");
        }
    }

    #[test]
    fn a_failure_there_is_told_with_its_reason() {
        let mut aside = picky();
        moved(&mut aside);
        let told = (0..1000).find_map(|n| aside.take(&vec![9; 10 + n].into()).err());
        assert!(matches!(told, Some(LayerError::FinishedEarly)), "{told:?}");
        assert!(aside.take(&Bytes::from_static(b"x")).is_err() && aside.end().is_err());
        let mut late = picky();
        moved(&mut late);
        late.take(&vec![9; 10].into()).unwrap();
        assert!(matches!(late.end(), Err(LayerError::FinishedEarly)));
    }
}
