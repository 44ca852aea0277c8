use std::collections::BTreeSet;

use crate::evidence::OnOrphaned;
use crate::plan::build::Builder;
use crate::plan::{ManifestWork, NodeId, PlanError, Produced, RecordWork, Work};

impl Builder<'_> {
    /// Every manifest that changes gets a record, if changes are recorded: whether or not evidence is lost by it, nobody can
    /// tell afterwards where it came from.
    pub(super) fn records(&mut self) -> Result<(), PlanError> {
        if self.edits.evidence.on_orphaned != OnOrphaned::Record {
            return Ok(());
        }
        let manifests: BTreeSet<NodeId> = self.planned.values().copied().collect();
        for manifest in manifests {
            if let Some(work) = self.changed(manifest) {
                self.check_record(work)?;
                self.push(Work::Record(RecordWork { manifest }), vec![manifest]);
            }
        }
        Ok(())
    }

    fn changed(&self, id: NodeId) -> Option<&ManifestWork> {
        match &self.nodes[id.0].work {
            Work::Manifest(work) if matches!(work.produced, Produced::Made(_)) => Some(work),
            _ => None,
        }
    }

    /// Only signed records are written. Where bundles find no room, that was refused before.
    fn check_record(&self, work: &ManifestWork) -> Result<(), PlanError> {
        let manifest = self.at(work.found).subject.manifest.digest().clone();
        match self.edits.signing.bundlers.is_empty() {
            true => Err(PlanError::NoRecorder { manifest }),
            false => Ok(()),
        }
    }
}
