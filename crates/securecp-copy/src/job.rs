use securecp_layer::{Report, Scope};
use securecp_oci::{Digest, RawManifest, Tag};
use securecp_transport::{Destination, Source};
use securecp_trust::{Gate, Policy};

use crate::edits::Edits;
use crate::error::{CopyError, Phase, Side};
use crate::plan::{Plan, Reason};
use crate::probe::probe;
use crate::run::run;
use crate::select::Select;
use crate::survey::survey;

/// One copy, ready to go: everything was parsed, nothing was done.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Where the image is.
    pub from: &'a dyn Source,
    /// Where it is to be.
    pub to: &'a dyn Destination,
    /// Further tags beside the destination's name.
    pub tags: &'a [Tag],
    /// Which of an index's manifests are wanted.
    pub select: &'a Select,
    /// Who may pass.
    pub policy: &'a Policy,
    /// What the policy may use to judge.
    pub gate: &'a Gate<'a>,
    /// What is to be changed on the way.
    pub edits: &'a Edits,
    /// How hard to try.
    pub effort: Effort,
    /// Stop after the plan is made.
    pub dry_run: bool,
    /// Ends every wait.
    pub scope: &'a Scope,
    /// Watches.
    pub report: &'a dyn Report,
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
        Self { parallel_blobs: 6, parallel_requests: 16, retry_times: 2, retry_delay: None }
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

/// What is at the destination now.
#[derive(Debug, Clone)]
pub struct Written {
    /// The manifest that the name stands for.
    pub root: RawManifest,
    /// Every manifest put or found there, children first.
    pub manifests: Vec<Digest>,
    /// Manifests that have another digest here than at the source, and why.
    pub changed: Vec<Changed>,
    /// Bytes of blobs that were sent.
    pub sent_bytes: u64,
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
}

/// Copies an image: the one path.
///
/// # Errors
/// [`CopyError`] names phase, side and subject. Nothing stands under the final name unless everything before it
/// succeeded.
pub fn copy(job: &Job<'_>) -> Result<Outcome, CopyError> {
    let found = survey(job)?;
    let admitted = job.policy.admit(found, job.gate).map_err(CopyError::refused)?;
    let there = probe(job, &admitted)?;
    let plan = Plan::new(admitted, job.edits, there).map_err(CopyError::plan)?;
    if job.dry_run {
        return Ok(Outcome { plan, written: None });
    }
    let written = if plan.is_done() { plan.as_written() } else { write(job, &plan)? };
    Ok(Outcome { plan, written: Some(written) })
}

/// Begins to write, runs the plan, reads back, commits.
fn write(job: &Job<'_>, plan: &Plan) -> Result<Written, CopyError> {
    let at =
        |phase| move |cause| CopyError::transport(phase, Side::Destination, job.to.name(), cause);
    let writing = job.to.begin(job.scope).map_err(at(Phase::Begin))?;
    let written = run(plan, job, &*writing)?;
    for (manifest, place) in &written.manifests {
        writing.read_back(manifest, *place, job.scope).map_err(at(Phase::ReadBack))?;
    }
    let moved: Vec<Tag> = plan.tags_to_move().cloned().collect();
    writing.commit(&written.root, &moved, job.scope).map_err(at(Phase::Commit))?;
    Ok(written.into_written())
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("from", &self.from.name())
            .field("to", &self.to.name())
            .field("select", &self.select)
            .finish_non_exhaustive()
    }
}
