use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use securecp_oci::Descriptor;

/// Entries of this process that wait to be written into lists which many write to: whoever has the turn writes all of
/// them at once.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<HashMap<String, Vec<Descriptor>>>);

/// An entry that waits; it is taken out when this is dropped.
pub(crate) struct Waits<'a> {
    waiting: &'a Waiting,
    list: String,
    entry: Descriptor,
}

impl Waiting {
    pub(crate) fn enter(&self, list: &str, entry: Descriptor) -> Waits<'_> {
        self.lists().entry(list.to_owned()).or_default().push(entry.clone());
        Waits { waiting: self, list: list.to_owned(), entry }
    }

    /// Everything that waits to be written into a list.
    pub(crate) fn of(&self, list: &str) -> Vec<Descriptor> {
        self.lists().get(list).cloned().unwrap_or_default()
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<String, Vec<Descriptor>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut lists = self.waiting.lists();
        let Some(list) = lists.get_mut(&self.list) else { return };
        if let Some(position) = list.iter().position(|entry| entry.digest == self.entry.digest) {
            list.remove(position);
        }
        if list.is_empty() {
            lists.remove(&self.list);
        }
    }
}
