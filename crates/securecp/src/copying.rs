//! The one place where checked options become a job of the engine, for every command that copies.

use securecp_copy::{Edits, Job, Outcome, Plan, Protection, Written, copy};
use securecp_layer::{Report, Scope};
use securecp_trust::{Policy, TrustFile};

use crate::connect::Doors;
use crate::evidence_view;
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::policy;
use crate::progress::{ProgressStyle, warn};
use crate::request::{Globals, Terms};
use crate::routes::{OpenRoute, with_routes};
use crate::session::Session;
use crate::signers;
use crate::trust;

/// Everything that copies need beside their images, loaded once and before any image is opened.
pub(crate) struct Copying<'a> {
    terms: &'a Terms,
    scope: &'a Scope,
    globals: &'a Globals,
    policy: Policy,
    trust: Option<TrustFile>,
    edits: Edits,
    report: Box<dyn Report>,
    /// Where signatures of registry images lie.
    pub(crate) lookaside: Lookaside,
}

impl<'a> Copying<'a> {
    /// Loads policy, trust file and keys.
    pub(crate) fn new(
        terms: &'a Terms,
        doors: &Doors<'_>,
        session: &'a Session<'_>,
    ) -> Result<Self, Failure> {
        let scope = session.scope;
        let policy = policy::load(&session.globals.policy)?;
        let trust = trust::load(terms.trust.as_deref())?;
        let signing = signers::load(&terms.signing, doors, scope)?;
        Ok(Self {
            terms,
            scope,
            globals: &session.globals,
            policy,
            trust,
            edits: Edits { signing, scope: scope.clone(), ..terms.edits.clone() },
            report: style(terms, session).start(),
            lookaside: Lookaside::load(session.globals.registries_d.as_deref())?,
        })
    }

    /// Brings the images where they go, as one set; a dry run only plans it.
    pub(crate) fn copy(
        &self,
        routes: &[OpenRoute],
        protection: &Protection,
    ) -> Result<Outcome, Failure> {
        let gate = trust::gate(self.globals, self.terms.index_signature, self.trust.as_ref());
        let outcome = with_routes(routes, |routes| {
            copy(&Job {
                routes,
                select: &self.terms.select,
                policy: &self.policy,
                gate: &gate,
                edits: &self.edits,
                protection,
                effort: self.terms.effort,
                dry_run: self.terms.dry_run,
                scope: self.scope,
                report: &*self.report,
                journal: self.terms.resuming.uploads.journal.as_ref(),
            })
        })?;
        outcome.plan.without_effect().for_each(warn);
        outcome.written.iter().for_each(|written| warn_of_losses(&outcome.plan, written));
        Ok(outcome)
    }
}

/// Evidence that stays behind is never left silently.
fn warn_of_losses(plan: &Plan, written: &Written) {
    for image in &written.images {
        let receipt = evidence_view::receipt(plan, image);
        receipt.skipped.iter().for_each(|one| warn(&evidence_view::warning(one)));
    }
}

/// The ways to the outside, for a copy under these terms.
pub(crate) fn doors<'a>(terms: &Terms, session: &'a Session<'_>) -> Result<Doors<'a>, Failure> {
    Ok(Doors::new(&session.globals, terms.retry)?.resuming(&terms.resuming))
}

/// The reference says nothing on standard error while it copies, and our bars need a terminal.
fn style(terms: &Terms, session: &Session<'_>) -> ProgressStyle {
    match terms.progress {
        ProgressStyle::Lines if session.dialect.is_skopeo() => ProgressStyle::WarningsOnly,
        style => style,
    }
}
