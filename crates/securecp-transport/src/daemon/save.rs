use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use securecp_layer::Scope;

use super::{DaemonName, Engine};
use crate::TransportError;
use crate::archive::{Members, spool};
use crate::tar::TarIndex;

/// The archive that an engine makes of one image, kept in an unnamed file: the engine could not send parts of it again.
pub(super) struct SavedByEngine {
    engine: Engine,
    image: DaemonName,
    temporary: PathBuf,
    index: Mutex<Option<Arc<TarIndex>>>,
}

impl SavedByEngine {
    pub(super) fn new(engine: Engine, image: DaemonName, temporary: Option<&Path>) -> Self {
        let temporary = temporary.map_or_else(std::env::temp_dir, Path::to_owned);
        Self { engine, image, temporary, index: Mutex::new(None) }
    }

    fn fetch(&self, scope: &Scope) -> Result<TarIndex, TransportError> {
        let body = self.engine.save(&self.image, scope)?.body(scope);
        let file = spool(body, &self.temporary, scope, |error| {
            let message = format!("sending the image: {error}");
            scope.check().map_or_else(TransportError::from, |()| self.engine.failure(&message))
        })?;
        TarIndex::read(file, Path::new(&self.place()), scope)
    }
}

impl Members for SavedByEngine {
    fn index(&self, scope: &Scope) -> Result<Arc<TarIndex>, TransportError> {
        scope.check()?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*index {
            return Ok(Arc::clone(index));
        }
        let found = Arc::new(self.fetch(scope)?);
        *index = Some(Arc::clone(&found));
        Ok(found)
    }

    fn place(&self) -> String {
        format!("{} ({})", self.engine.host, self.image)
    }
}
