use securecp_layer::{Journal, Report, Scope};
use securecp_oci::{Digest, RawManifest};
use securecp_trust::{Admitted, Gate, Policy};

use crate::edits::Edits;
use crate::error::CopyError;
use crate::evidence;
use crate::parallel::Workers;
use crate::plan::{Plan, Reason};
use crate::probe;
use crate::protection::Protection;
use crate::reach;
use crate::route::{Route, Storage, storages};
use crate::run::write;
use crate::schema1::restate;
use crate::select::Select;
use crate::survey::{Found, survey};

/// One copy of one image or many, ready to go: everything was parsed, nothing was done.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Which images go where. All of them make one plan: no name moves before everything has arrived.
    pub routes: &'a [Route<'a>],
    /// Which of an index's manifests are wanted.
    pub select: &'a Select,
    /// Who may pass.
    pub policy: &'a Policy,
    /// What the policy may use to judge.
    pub gate: &'a Gate<'a>,
    /// What is to be changed on the way.
    pub edits: &'a Edits,
    /// Which names may be moved.
    pub protection: &'a Protection,
    /// How hard to try.
    pub effort: Effort,
    /// Stop after the plan is made.
    pub dry_run: bool,
    /// Ends every wait.
    pub scope: &'a Scope,
    /// Watches.
    pub report: &'a dyn Report,
    /// Where it is noted which names are being given, for the case of an interruption.
    pub journal: Option<&'a Journal>,
}

/// How many things at once, and how often again.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Blobs in motion at the same time.
    pub parallel_blobs: usize,
    /// Small requests at the same time.
    pub parallel_requests: usize,
    /// Further attempts after a failure that may pass.
    pub retry_times: u32,
    /// Time between attempts; doubling from 200 ms when not given.
    pub retry_delay: Option<std::time::Duration>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { parallel_blobs: 6, parallel_requests: 32, retry_times: 2, retry_delay: None }
    }
}

/// How a copy ended.
#[derive(Debug)]
pub struct Outcome {
    /// What was planned.
    pub plan: Plan,
    /// What was written; `None` after a dry run.
    pub written: Option<Written>,
}

/// What is at the destinations now.
#[derive(Debug, Clone)]
pub struct Written {
    /// For each route, and each storage that it leads to.
    pub images: Vec<WrittenImage>,
    /// Every name that was asked for.
    pub names: Vec<WrittenName>,
    /// Bytes of blobs that were sent.
    pub sent_bytes: u64,
}

/// One image in one storage.
#[derive(Debug, Clone)]
pub struct WrittenImage {
    /// The route that led it there.
    pub route: usize,
    /// The storage, as [`Plan::there`] counts them.
    pub storage: usize,
    /// The manifest that its names stand for.
    pub root: RawManifest,
    /// Every manifest put or found there, children first.
    pub manifests: Vec<Digest>,
    /// Manifests that have another digest here than at the source, and why.
    pub changed: Vec<Changed>,
}

/// A name that stands for what was copied.
#[derive(Debug, Clone)]
pub struct WrittenName {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub digest: Digest,
    /// It stood for something else, or for nothing, before.
    pub moved: bool,
}

/// A manifest that became another one.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Its digest at the source.
    pub from: Digest,
    /// Its digest here.
    pub to: Digest,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The records of that which were put beside it.
    pub records: Vec<Digest>,
}

/// Copies images: the one path.
///
/// # Errors
/// [`CopyError`] names phase, side and subject. Nothing stands under a final name unless everything before it
/// succeeded, for all images.
pub fn copy(job: &Job<'_>) -> Result<Outcome, CopyError> {
    let copying = Copying::new(job);
    // What the names at the destinations stand for is asked meanwhile; nobody hears of it unless the images pass.
    let early = job.scope.child();
    let (admitted, names) = copying.workers.both(
        || survey(&copying).and_then(|found| admit(job, found)).inspect_err(|_| early.cancel()),
        || probe::names(&copying, &early),
    );
    let admitted = admitted?;
    restate(&copying, &admitted)?;
    let names = names?;
    let (evidence, there) = copying.workers.both(
        || evidence::survey(&copying, &admitted).inspect_err(|_| early.cancel()),
        || probe::images(&copying, &admitted, &names, &early),
    );
    let evidence = evidence?;
    let there = probe::evidence(&copying, there?, &evidence)?;
    let plan = Plan::new((admitted, evidence), job, there).map_err(CopyError::plan)?;
    reach::check(&copying, &plan)?;
    if job.dry_run {
        return Ok(Outcome { plan, written: None });
    }
    let written = if plan.is_done() { plan.as_written() } else { write(&copying, &plan)? };
    Ok(Outcome { plan, written: Some(written) })
}

/// Judges every image under its own name; one that is refused ends everything.
fn admit(job: &Job<'_>, found: Vec<Found>) -> Result<Vec<Admitted<Found>>, CopyError> {
    let many = found.len() > 1;
    let admit = |found: Found| {
        let place = if many { found.source_name().to_owned() } else { String::new() };
        job.policy.admit(found, job.gate).map_err(|refusal| CopyError::refused(place, refusal))
    };
    found.into_iter().map(admit).collect()
}

/// A job under way.
pub(crate) struct Copying<'a> {
    pub(crate) job: &'a Job<'a>,
    /// Where its routes end.
    pub(crate) storages: Vec<Storage<'a>>,
    pub(crate) workers: Workers,
}

impl<'a> Copying<'a> {
    fn new(job: &'a Job<'a>) -> Self {
        let workers = Workers::new(job.effort.parallel_requests);
        Self { job, storages: storages(job.routes), workers }
    }
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("routes", &self.routes)
            .field("select", &self.select)
            .finish_non_exhaustive()
    }
}
