//! Several names are not given in one step. What was under way is noted, for a run that does not come to its end.

use securecp_layer::{Event, Notes};
use securecp_oci::RawManifest;

use crate::job::Job;
use crate::names::NameState;
use crate::plan::{Plan, PlannedName};

/// The notes about names that are being given; none if there is only one, or nowhere to note them.
pub(crate) struct Noted(Option<Notes>);

impl Noted {
    /// Notes what is about to move, and tells what an earlier run of the same copy left half done. Which names stand is
    /// what the destination said, not the notes.
    pub(crate) fn begin(plan: &Plan, job: &Job<'_>, manifests: &[Option<RawManifest>]) -> Self {
        let several = plan.names().len() > 1;
        let journal = job.journal.filter(|_| several);
        let Some(mut notes) = journal.and_then(|journal| journal.open(&subject(plan))) else {
            return Self(None);
        };
        if !notes.lines().is_empty() {
            job.report.event(&Event::Warning(&left(plan)));
        }
        for name in plan.names().iter().filter(|name| !plan.stands(name)) {
            if let Some(root) = &manifests[name.root.0] {
                notes.note(&format!("moving {} {}", root.digest(), plan.shown(name)));
            }
        }
        Self(Some(notes))
    }

    /// Notes how it ended; what ended well is not worth a note.
    pub(crate) fn end(self, plan: &Plan, states: &[NameState], whole: bool) {
        let Some(mut notes) = self.0 else { return };
        if whole {
            return notes.forget();
        }
        for (name, state) in plan.names().iter().zip(states) {
            let state = match state {
                NameState::Moved => "moved",
                NameState::Stands => "stood",
                NameState::NotMoved => "not-moved",
                NameState::Unclear => "unclear",
                NameState::Lost => "lost",
            };
            notes.note(&format!("{state} {}", plan.shown(name)));
        }
    }
}

fn subject(plan: &Plan) -> String {
    let names: Vec<String> = plan.names().iter().map(|name| plan.shown(name)).collect();
    format!("names {}", names.join(" "))
}

fn left(plan: &Plan) -> String {
    let list = |wanted: &dyn Fn(&PlannedName) -> bool| {
        let names = plan.names().iter().filter(|name| wanted(name));
        let names: Vec<String> = names.map(|name| plan.shown(name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    format!(
        "an earlier run ended while it moved names; of those of this copy, moved: {}; moved now: {}",
        list(&|name| plan.stands(name)),
        list(&|name| !plan.stands(name)),
    )
}
