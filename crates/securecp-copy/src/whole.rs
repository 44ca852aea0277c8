//! Which indexes were seen with everything below them in a storage, and when: so that a copy of many tags that are there
//! need not ask for each of their manifests every time.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use securecp_layer::Journal;
use securecp_oci::{Digest, RawManifest};
use securecp_transport::Destination;

use crate::job::{Copying, Job};
use crate::plan::Plan;
use crate::select::Select;

/// How long it is taken for granted that nobody has removed anything, in seconds: a day.
const LASTS: u64 = 24 * 3600;

/// The indexes that were whole there a short time ago.
pub(crate) fn known(job: &Job<'_>, to: &dyn Destination) -> HashSet<Digest> {
    let notes = journal(job, to).and_then(|(journal, subject)| journal.open(&subject));
    let Some(notes) = notes else { return HashSet::new() };
    let now = now();
    let recent = |line: &String| {
        let (seen, digest) = line.split_once(' ')?;
        let age = now.checked_sub(seen.parse().ok()?)?;
        (age < LASTS).then(|| digest.parse().ok()).flatten()
    };
    notes.lines().iter().filter_map(recent).collect()
}

/// Notes indexes that are whole there now.
pub(crate) fn note<'a>(
    job: &Job<'_>,
    to: &dyn Destination,
    roots: impl Iterator<Item = &'a RawManifest>,
) {
    let roots: HashSet<&Digest> =
        roots.filter(|root| root.index().is_some()).map(RawManifest::digest).collect();
    let notes = journal(job, to).filter(|_| !roots.is_empty());
    let Some(mut notes) = notes.and_then(|(journal, subject)| journal.open(&subject)) else {
        return;
    };
    let now = now();
    roots.iter().for_each(|digest| notes.note(&format!("{now} {digest}")));
}

/// Notes what was written and found to be there.
pub(crate) fn note_written(plan: &Plan, copying: &Copying<'_>, manifests: &[Option<RawManifest>]) {
    for (at, storage) in copying.storages.iter().enumerate() {
        let names = plan.names().iter().filter(|name| name.storage == at);
        note(copying.job, storage.to, names.filter_map(|name| manifests[name.root.0].as_ref()));
    }
}

/// Only copies of whole indexes know that an index is whole.
fn journal<'a>(job: &Job<'a>, to: &dyn Destination) -> Option<(&'a Journal, String)> {
    let knows = matches!(job.select, Select::All) && to.vouches_for_names();
    let journal = job.journal.filter(|_| knows)?;
    Some((journal, format!("whole {}", to.storage()?)))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
