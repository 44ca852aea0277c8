use std::fmt;

use securecp_layer::Scope;
use securecp_transport::Source;
use securecp_trust::{Admitted, Gate, Policy, Verdict};

use crate::budget::Budget;
use crate::error::CopyError;
use crate::job::Effort;
use crate::parallel::Workers;
use crate::select::Select;
use crate::survey::MEMORY_LIMIT;
use crate::survey::{Found, Survey};

/// One judgement without a copy.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// Where the image is.
    pub from: &'a dyn Source,
    /// Which of an index's manifests would be copied.
    pub select: &'a Select,
    /// Who may pass.
    pub policy: &'a Policy,
    /// What the policy may use to judge.
    pub gate: &'a Gate<'a>,
    /// How hard to try.
    pub effort: Effort,
    /// Ends every wait.
    pub scope: &'a Scope,
}

/// Judges an image as [`crate::copy`] would, from the same survey, and copies nothing.
///
/// # Errors
/// The image cannot be read. A refusal is no error: it stands in the verdict.
pub fn judge(trial: &Trial<'_>) -> Result<Verdict, CopyError> {
    Ok(trial.policy.judge(&read(trial)?, trial.gate))
}

/// Judges an image as [`crate::copy`] would, and gives what was read if it may pass.
///
/// # Errors
/// The image cannot be read, or is refused.
pub fn admit(trial: &Trial<'_>) -> Result<Admitted<Found>, CopyError> {
    let admitted = trial.policy.admit(read(trial)?, trial.gate);
    admitted.map_err(|refusal| CopyError::refused(String::new(), refusal))
}

pub(crate) fn read(trial: &Trial<'_>) -> Result<Found, CopyError> {
    let Trial { from, select, scope, .. } = *trial;
    let workers = &Workers::new(trial.effort.parallel_requests);
    let (gate, budget) = (trial.gate, Budget::new(MEMORY_LIMIT));
    Survey { from, select, workers, scope, gate, kept: None, ahead: false, budget }.read()
}

impl fmt::Debug for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("from", &self.from.name())
            .field("select", &self.select)
            .finish_non_exhaustive()
    }
}
