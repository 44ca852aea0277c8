use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::name::Name;
use crate::refusal::Refusal;
use crate::upload::{Shared, Upload};

/// Unfinished uploads, and how long one may rest, at most.
const MOST: usize = 10_000;
const REST: Duration = Duration::from_secs(3600);

/// How long a request waits for the one before it on the same upload: a client that resumes may be quicker than the
/// notice that its broken connection is gone.
const TURN: Duration = Duration::from_secs(2);

/// The sessions between `POST` and `PUT`.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    name: Name,
    upload: Shared,
    turn: Arc<tokio::sync::Mutex<()>>,
    touched: Instant,
}

/// The right to feed one upload.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) upload: Shared,
    _guard: OwnedMutexGuard<()>,
}

impl Uploads {
    /// Registers an upload and returns its identifier.
    pub(crate) fn begin(&self, name: &Name, upload: Upload) -> Result<String, Refusal> {
        let id = upload.id().ok_or(Refusal::UploadUnknown)?;
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.touched.elapsed() < REST);
        if sessions.len() >= MOST {
            return Err(Refusal::TooManyUploads);
        }
        let session = Session {
            name: name.clone(),
            upload: Shared::new(upload),
            turn: Arc::default(),
            touched: Instant::now(),
        };
        sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Waits a little for the upload to be free.
    pub(crate) async fn turn(&self, name: &Name, id: &str) -> Result<Turn, Refusal> {
        let (upload, turn) = self.touch(name, id).ok_or(Refusal::UploadUnknown)?;
        let guard = timeout(TURN, turn.lock_owned()).await.map_err(|_| Refusal::UploadBusy)?;
        Ok(Turn { upload, _guard: guard })
    }

    /// Forgets an upload; its file goes with it.
    pub(crate) fn end(&self, name: &Name, id: &str) -> Result<(), Refusal> {
        let mut sessions = self.sessions();
        if sessions.get(id).is_none_or(|session| session.name != *name) {
            return Err(Refusal::UploadUnknown);
        }
        sessions.remove(id);
        Ok(())
    }

    fn touch(&self, name: &Name, id: &str) -> Option<(Shared, Arc<tokio::sync::Mutex<()>>)> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(id).filter(|session| session.name == *name)?;
        session.touched = Instant::now();
        Some((session.upload.clone(), session.turn.clone()))
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
