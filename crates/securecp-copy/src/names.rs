use std::sync::{Mutex, PoisonError};

use securecp_oci::RawManifest;
use securecp_transport::{CommitError, Naming, Writing};

use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::Copying;
use crate::noted::Noted;
use crate::plan::{Plan, PlannedName};
use crate::run::Writings;

/// Gives the names, in every storage that was written. The last step; what a failure leaves is named in it.
pub(crate) fn commit(
    plan: &Plan,
    copying: &Copying<'_>,
    writings: Writings<'_>,
    manifests: &[Option<RawManifest>],
) -> Result<(), CopyError> {
    let writings = writings.into_iter().enumerate();
    let begun: Vec<_> = writings
        .filter_map(|(storage, writing)| Some((storage, Mutex::new(Some(writing?)))))
        .collect();
    let states = Mutex::new(vec![NameState::NotMoved; plan.names().len()]);
    for (position, name) in plan.names().iter().enumerate() {
        if plan.stands(name) {
            locked(&states)[position] = NameState::Stands;
        }
    }
    let commit = |(storage, writing): &(usize, Mutex<Option<Box<dyn Writing + '_>>>)| {
        let Some(writing) = locked(writing).take() else { return Ok(()) };
        let moving = Moving { plan, storage: *storage, manifests };
        let ended = writing.commit(&moving.namings(), copying.job.scope);
        moving.note(&ended, &mut locked(&states));
        ended.map_err(|error| (*storage, error))
    };
    let noted = Noted::begin(plan, copying.job, manifests);
    let ended = copying.workers.each(&begun, commit);
    noted.end(plan, &locked(&states), ended.is_ok());
    ended.map(drop).map_err(|(storage, error)| {
        let place = copying.storages[storage].to.name();
        failure(plan, &locked(&states), place, error)
    })
}

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameState {
    /// It stands for what was copied.
    Moved,
    /// It stood for it before.
    Stands,
    /// It was not touched.
    NotMoved,
    /// It was being moved; it may or may not stand for what was copied.
    Unclear,
}

/// The names of one storage.
struct Moving<'a> {
    plan: &'a Plan,
    storage: usize,
    manifests: &'a [Option<RawManifest>],
}

impl<'a> Moving<'a> {
    fn names(&self) -> impl Iterator<Item = (usize, &'a PlannedName)> {
        let storage = self.storage;
        let names = self.plan.names().iter().enumerate();
        names.filter(move |(_, name)| name.storage == storage)
    }

    /// Further tags first: the name that the user gave comes last of all.
    fn in_order(&self) -> Vec<(usize, &'a PlannedName)> {
        let mut names: Vec<_> = self.names().collect();
        names.sort_by_key(|(_, name)| name.name.tag.is_none());
        names
    }

    fn namings(&self) -> Vec<Naming<'a>> {
        let naming = |(_, name): (usize, &'a PlannedName)| {
            let root = self.manifests[name.root.0].as_ref()?;
            let stands = self.plan.stands(name);
            Some(Naming { entry: name.name.entry.as_deref(), root, stands })
        };
        self.in_order().into_iter().filter_map(naming).collect()
    }

    fn note(&self, ended: &Result<(), CommitError>, states: &mut [NameState]) {
        for (turn, (position, _)) in self.in_order().into_iter().enumerate() {
            let state = &mut states[position];
            match ended {
                _ if *state == NameState::Stands => {}
                Ok(()) => *state = NameState::Moved,
                Err(error) if error.moved.contains(&turn) => *state = NameState::Moved,
                Err(error) if error.unclear.contains(&turn) => *state = NameState::Unclear,
                Err(_) => {}
            }
        }
    }
}

/// One name that did not move needs no list.
fn failure(plan: &Plan, states: &[NameState], place: String, error: CommitError) -> CopyError {
    let cause = match states {
        [_] => Cause::Transport(error.cause),
        _ => {
            let names = plan.names().iter().zip(states);
            let names = names.map(|(name, state)| (plan.shown(name), *state)).collect();
            Cause::Names { names, source: error.cause }
        }
    };
    CopyError { phase: Phase::Commit, side: Some(Side::Destination), place, cause }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
