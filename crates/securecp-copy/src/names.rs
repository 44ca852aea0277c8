use std::sync::{Mutex, MutexGuard, PoisonError};

use securecp_oci::{Digest, RawManifest};
use securecp_transport::{CommitError, Naming, Writing};

use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::Copying;
use crate::noted::Noted;
use crate::plan::{Plan, PlannedName};
use crate::protection::Protection;
use crate::route::{Storage, StorageName};
use crate::run::Writings;
use crate::whole;

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
    /// It was moved, and by somebody else again.
    Lost,
}

/// Gives the names, in every storage that was written. The last step; what a failure leaves is named in it.
pub(crate) fn commit<'a>(
    plan: &'a Plan,
    copying: &'a Copying<'a>,
    writings: Writings<'a>,
    manifests: &'a [Option<RawManifest>],
) -> Result<(), CopyError> {
    let before = |name| match plan.stands(name) {
        true => NameState::Stands,
        false => NameState::NotMoved,
    };
    let states = Mutex::new(plan.names().iter().map(before).collect());
    let mut moving = Vec::new();
    for (at, writing) in writings.into_iter().enumerate() {
        let Some(writing) = writing else { continue };
        let (storage, writing) = (&copying.storages[at], Mutex::new(Some(writing)));
        moving.push(Moving { plan, copying, at, storage, manifests, writing, states: &states });
    }
    let noted = Noted::begin(plan, copying.job, manifests);
    let ended = copying
        .workers
        .each(&moving, |moving| moving.commit().map_err(|cause| (moving.storage.to.name(), cause)));
    noted.end(plan, &locked(&states), ended.is_ok());
    if ended.is_ok() {
        whole::note_written(plan, copying, manifests);
    }
    ended.map(drop).map_err(|(place, cause)| failure(plan, &locked(&states), place, cause))
}

/// The names of one storage.
struct Moving<'a> {
    plan: &'a Plan,
    copying: &'a Copying<'a>,
    at: usize,
    storage: &'a Storage<'a>,
    manifests: &'a [Option<RawManifest>],
    /// Until it is used.
    writing: Mutex<Option<Box<dyn Writing + 'a>>>,
    states: &'a Mutex<Vec<NameState>>,
}

/// A name on its way.
struct Going<'a> {
    /// Among all names of the plan.
    position: usize,
    planned: &'a PlannedName,
    asked: StorageName<'a>,
    root: &'a RawManifest,
}

impl<'a> Moving<'a> {
    fn commit(&self) -> Result<(), Cause> {
        let Some(writing) = locked(&self.writing).take() else { return Ok(()) };
        let going = self.going();
        self.copying.workers.each(&going, |name| self.check_before(name))?;
        let namings: Vec<Naming<'_>> = going.iter().map(|name| self.naming(name)).collect();
        let ended = writing.commit(&namings, self.copying.job.scope);
        self.note(&going, &ended);
        ended.map_err(|error| error.cause)?;
        self.copying.workers.each(&going, |name| self.check_after(name)).map(drop)
    }

    fn going(&self) -> Vec<Going<'a>> {
        let planned = self.plan.names().iter().enumerate();
        let planned = planned.filter(|(_, name)| name.storage == self.at);
        let going = |((position, planned), asked): ((usize, &'a PlannedName), &StorageName<'a>)| {
            let root = self.manifests[planned.root.0].as_ref()?;
            Some(Going { position, planned, asked: *asked, root })
        };
        planned.zip(&self.storage.names).filter_map(going).collect()
    }

    fn naming<'b>(&self, name: &'b Going<'_>) -> Naming<'b> {
        let (stands, further) = (self.plan.stands(name.planned), name.asked.tag.is_some());
        let entry = name.planned.name.entry.as_deref();
        let protected = self.copying.job.protection != &Protection::None;
        Naming { entry, root: name.root, stands, further, protected }
    }

    fn note(&self, going: &[Going<'_>], ended: &Result<(), CommitError>) {
        let mut states = locked(self.states);
        for (turn, name) in going.iter().enumerate() {
            let state = &mut states[name.position];
            match ended {
                _ if *state == NameState::Stands => {}
                Ok(()) => *state = NameState::Moved,
                Err(error) if error.moved.contains(&turn) => *state = NameState::Moved,
                Err(error) if error.unclear.contains(&turn) => *state = NameState::Unclear,
                Err(_) => {}
            }
        }
    }

    /// What a protected name stands for now; asked directly before and after it is moved.
    fn current(&self, name: &Going<'_>) -> Result<Option<Option<Digest>>, Cause> {
        if self.copying.job.protection == &Protection::None {
            return Ok(None);
        }
        let scope = self.copying.job.scope;
        Ok(Some(name.asked.to.current(name.asked.tag, scope)?))
    }

    fn check_before(&self, name: &Going<'_>) -> Result<(), Cause> {
        let Some(found) = self.current(name)? else { return Ok(()) };
        let protection = self.copying.job.protection;
        if protection.allows(found.as_ref(), name.root.digest()) {
            return Ok(());
        }
        let (expected, name) = (protection.clone(), self.plan.shown(name.planned));
        Err(Cause::Protected { name, expected, found })
    }

    fn check_after(&self, name: &Going<'_>) -> Result<(), Cause> {
        let wanted = name.root.digest();
        match self.current(name)? {
            Some(found) if found.as_ref() != Some(wanted) => {
                locked(self.states)[name.position] = NameState::Lost;
                let shown = self.plan.shown(name.planned);
                Err(Cause::LostRace { name: shown, wanted: wanted.clone(), found })
            }
            _ => Ok(()),
        }
    }
}

/// One name needs no list, unless it is not simply where it was.
fn failure(plan: &Plan, states: &[NameState], place: String, cause: Cause) -> CopyError {
    let cause = match states {
        [NameState::NotMoved | NameState::Stands | NameState::Lost] => cause,
        _ => {
            let names = plan.names().iter().zip(states);
            let names = names.map(|(name, state)| (plan.shown(name), *state)).collect();
            Cause::Names { names, source: Box::new(cause) }
        }
    };
    CopyError { phase: Phase::Commit, side: Some(Side::Destination), place, cause }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
