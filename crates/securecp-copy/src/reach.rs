use std::collections::HashSet;

use securecp_oci::Digest;

use crate::error::{CopyError, Phase, Side};
use crate::job::Copying;
use crate::plan::{BlobAction, BlobWork, Plan, Work};

/// Looks whether the sources have the blobs that also, and perhaps only, are to be had from elsewhere (`urls`): what
/// nobody has cannot be copied, and a plan does not say that it could. Nothing is read but the beginning.
///
/// # Errors
/// A source does not have one, or it cannot be told. What may pass is left to the run, unless there is none.
pub(crate) fn check(copying: &Copying<'_>, plan: &Plan) -> Result<(), CopyError> {
    let mut seen: HashSet<(usize, &Digest)> = HashSet::new();
    let mut elsewhere: Vec<&BlobWork> = plan
        .nodes()
        .iter()
        .filter_map(|node| match &node.work {
            Work::Blob(work) if is_doubtful(work) => Some(work),
            _ => None,
        })
        .collect();
    elsewhere.retain(|work| seen.insert((work.route, &work.source.digest)));
    copying.workers.each(&elsewhere, |work| open(copying, work)).map(drop)
}

fn is_doubtful(work: &BlobWork) -> bool {
    !work.source.urls.is_empty() && matches!(work.action, BlobAction::Copy { .. })
}

fn open(copying: &Copying<'_>, work: &BlobWork) -> Result<(), CopyError> {
    let job = copying.job;
    let from = job.routes[work.route].from;
    match from.blob(&work.source, job.scope) {
        Err(error) if error.is_transient() && !job.dry_run => Ok(()),
        Err(error) => Err(CopyError::transport(Phase::Probe, Side::Source, from.name(), error)),
        Ok(_) => Ok(()),
    }
}
