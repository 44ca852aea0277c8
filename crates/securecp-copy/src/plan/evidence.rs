use std::collections::HashMap;

use securecp_oci::{Attached, Digest, Signature};

use crate::evidence::{Evidence, EvidenceForm, EvidenceOf, OnOrphaned};
use crate::plan::build::{Builder, listed};
use crate::plan::{FoundId, ManifestWork, NodeId, PlanError, Produced, Work};

/// Evidence to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceWork {
    /// The route that it comes by.
    pub route: usize,
    /// Its position among what that route carries.
    pub piece: usize,
}

/// A piece of evidence, and what becomes of it in one storage.
#[derive(Debug)]
pub struct PlannedEvidence {
    /// The storage.
    pub storage: usize,
    /// Which piece.
    pub work: EvidenceWork,
    /// What becomes of it.
    pub fate: EvidenceFate,
}

/// What becomes of a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceFate {
    /// It is there already.
    There,
    /// It is put.
    Put(NodeId),
    /// It travels as signatures of its manifest, which have room there.
    AsSignatures,
    /// It stays behind: its manifest gets another digest, for these reasons.
    Orphaned(String),
    /// It stays behind: signatures were not wanted.
    Removed,
    /// It stays behind: the place has no room for evidence.
    NoRoom,
}

impl EvidenceFate {
    /// Why it stays behind, if it does.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::There | Self::Put(_) | Self::AsSignatures => None,
            Self::Orphaned(reasons) => Some(format!("its subject gets another digest: {reasons}")),
            Self::Removed => Some("signatures are removed".to_owned()),
            Self::NoRoom => Some("the destination has no room for evidence".to_owned()),
        }
    }
}

/// An attestation that an index names, as BuildKit writes it, and what becomes of it in one storage.
#[derive(Debug)]
pub struct PlannedAttestation {
    /// The storage.
    pub storage: usize,
    /// Its manifest.
    pub found: FoundId,
    /// The manifest that it attests.
    pub subject: Digest,
    /// What becomes of it.
    pub fate: EvidenceFate,
}

/// Names a piece within a storage: other routes may bring the same.
type PieceKey = (Digest, EvidenceForm, Digest);

/// Decides what becomes of the evidence in one storage.
pub(super) struct EvidenceDesk<'b, 'a> {
    pub(super) builder: &'b mut Builder<'a>,
}

impl EvidenceDesk<'_, '_> {
    /// What became of the attestations that indexes name.
    pub(super) fn attestations(&self) -> Result<Vec<PlannedAttestation>, PlanError> {
        let mut planned = Vec::new();
        for route in &self.builder.there.routes {
            for (manifest, found) in self.builder.manifests_of(*route).iter().enumerate() {
                let index = FoundId { route: *route, manifest };
                let attested = found.entries.iter();
                let attested = attested.filter_map(|entry| Some((entry, found.attests(entry.0)?)));
                for ((position, child), subject) in attested {
                    let child = FoundId { manifest: *child, ..index };
                    planned.push(PlannedAttestation {
                        storage: self.builder.storage,
                        found: child,
                        subject: subject.clone(),
                        fate: self.attestation(index, *position, child),
                    });
                }
            }
        }
        self.check_attestations(&planned)?;
        Ok(planned)
    }

    fn attestation(&self, index: FoundId, position: usize, child: FoundId) -> EvidenceFate {
        let Some(node) = self.builder.planned.get(&child) else {
            let found = self.builder.at(index);
            let subject = found.entries.iter().find(|(at, _)| {
                found.entry_digest(*at).is_some()
                    && found.entry_digest(*at) == found.attests(position)
            });
            let of = subject.map(|(_, of)| FoundId { manifest: *of, ..index });
            return EvidenceFate::Orphaned(of.and_then(|of| self.orphans(of)).unwrap_or_default());
        };
        match &self.builder.nodes[node.0].work {
            Work::Manifest(work) if work.there => EvidenceFate::There,
            _ => EvidenceFate::Put(*node),
        }
    }

    fn check_attestations(&self, planned: &[PlannedAttestation]) -> Result<(), PlanError> {
        let refuse = self.builder.edits.evidence.on_orphaned == OnOrphaned::Refuse;
        let mut orphaned = planned.iter().filter_map(|one| match &one.fate {
            EvidenceFate::Orphaned(reasons) if refuse => Some((one, reasons)),
            _ => None,
        });
        let Some((first, reasons)) = orphaned.next() else { return Ok(()) };
        let manifest = self.builder.at(first.found).subject.manifest.digest().clone();
        let others = 1 + orphaned.count();
        let first = format!("attestation {manifest}, an entry of the index,");
        Err(PlanError::Orphaned {
            manifest,
            first,
            reasons: reasons.clone(),
            signatures: 0,
            others,
        })
    }

    /// Plans every piece of every route that leads here.
    pub(super) fn plan(mut self) -> Result<Vec<PlannedEvidence>, PlanError> {
        let mut planned: Vec<PlannedEvidence> = Vec::new();
        let mut nodes = HashMap::new();
        for route in self.builder.there.routes.clone() {
            let mut fates: Vec<EvidenceFate> = Vec::new();
            for (piece, evidence) in self.builder.carried[route].pieces().iter().enumerate() {
                let work = EvidenceWork { route, piece };
                let fate = match self.stays_behind(route, evidence, &fates) {
                    Some(fate) => fate,
                    None => self.travels(work, evidence, (&fates, &mut nodes)),
                };
                fates.push(fate.clone());
                planned.push(PlannedEvidence { storage: self.builder.storage, work, fate });
            }
        }
        if !self.builder.edits.evidence.lenient {
            self.check_room(&planned)?;
            self.check_orphaned(&planned)?;
        }
        Ok(planned)
    }

    /// Evidence of what stays behind stays behind with it.
    fn stays_behind(
        &self,
        route: usize,
        evidence: &Evidence,
        fates: &[EvidenceFate],
    ) -> Option<EvidenceFate> {
        let removed = self.builder.edits.remove_signatures && evidence.is_sigstore_signature();
        if removed {
            return Some(EvidenceFate::Removed);
        }
        if !self.builder.there.accepts.evidence {
            return Some(self.without_room(route, evidence));
        }
        match evidence.of {
            EvidenceOf::Evidence(other) => fates[other].why().map(|_| fates[other].clone()),
            EvidenceOf::Manifest(manifest) => {
                let reasons = self.orphans(FoundId { route, manifest });
                reasons.map(EvidenceFate::Orphaned)
            }
        }
    }

    /// Signatures that were read as such have room where evidence has none.
    fn without_room(&self, route: usize, evidence: &Evidence) -> EvidenceFate {
        let attached = evidence.form == EvidenceForm::Attached(Attached::Signatures);
        let EvidenceOf::Manifest(manifest) = evidence.of else { return EvidenceFate::NoRoom };
        let found = self.builder.at(FoundId { route, manifest });
        let signatures = found.subject.signatures.as_deref().unwrap_or_default();
        let read = signatures.iter().any(|one| matches!(one, Signature::Sigstore { .. }));
        match attached && read && self.builder.there.accepts.sigstore_signatures {
            true => EvidenceFate::AsSignatures,
            false => EvidenceFate::NoRoom,
        }
    }

    /// Why a manifest's evidence no longer applies.
    fn orphans(&self, id: FoundId) -> Option<String> {
        let Some(node) = self.builder.planned.get(&id) else {
            return Some("it is left out itself".to_owned());
        };
        match &self.builder.nodes[node.0].work {
            Work::Manifest(ManifestWork { produced: Produced::Made(reasons), .. }) => {
                Some(listed(reasons))
            }
            _ => None,
        }
    }

    fn travels(
        &mut self,
        work: EvidenceWork,
        evidence: &Evidence,
        (fates, nodes): (&[EvidenceFate], &mut HashMap<PieceKey, NodeId>),
    ) -> EvidenceFate {
        let there = evidence.there.contains(&self.builder.storage);
        let (Some(body), false) = (&evidence.body, there) else { return EvidenceFate::There };
        let key = (evidence.subject.clone(), evidence.form, evidence.digest.clone());
        if let Some(node) = nodes.get(&key) {
            return EvidenceFate::Put(*node);
        }
        let mut needs = Vec::new();
        for image in body.manifests().filter_map(|manifest| manifest.image()) {
            needs.push(match &body.config {
                Some(bytes) => self.builder.made(work.route, bytes.clone()),
                None => self.builder.verbatim(work.route, &image.config),
            });
            for blob in &image.layers {
                needs.push(self.builder.verbatim(work.route, blob));
            }
        }
        needs.extend(match evidence.of {
            EvidenceOf::Manifest(manifest) => {
                self.builder.planned.get(&FoundId { route: work.route, manifest }).copied()
            }
            EvidenceOf::Evidence(other) => match fates[other] {
                EvidenceFate::Put(node) => Some(node),
                _ => None,
            },
        });
        let node = self.builder.push(Work::Evidence(work), needs);
        nodes.insert(key, node);
        EvidenceFate::Put(node)
    }

    fn check_room(&self, planned: &[PlannedEvidence]) -> Result<(), PlanError> {
        let mut left = planned.iter().filter(|one| one.fate == EvidenceFate::NoRoom);
        let Some(first) = left.next() else { return Ok(()) };
        Err(PlanError::NoRoom {
            name: self.builder.there.name.clone(),
            count: 1 + left.count(),
            first: self.piece(first).to_string(),
        })
    }

    /// Signatures are `--remove-signatures`' to drop, what remains is `--on-orphaned`'s.
    fn check_orphaned(&self, planned: &[PlannedEvidence]) -> Result<(), PlanError> {
        let orphaned = planned.iter().filter_map(|one| match &one.fate {
            EvidenceFate::Orphaned(reasons) => Some((self.piece(one), reasons)),
            _ => None,
        });
        let (signatures, others): (Vec<_>, Vec<_>) =
            orphaned.partition(|(piece, _)| piece.is_sigstore_signature());
        let refused = self.builder.edits.evidence.on_orphaned == OnOrphaned::Refuse;
        let refused: Vec<_> = others.iter().filter(|_| refused).collect();
        let Some((first, reasons)) = signatures.first().or(refused.first().copied()) else {
            return Ok(());
        };
        Err(PlanError::Orphaned {
            manifest: first.subject.clone(),
            first: first.to_string(),
            reasons: (*reasons).clone(),
            signatures: signatures.len(),
            others: refused.len(),
        })
    }

    fn piece(&self, planned: &PlannedEvidence) -> &Evidence {
        &self.builder.carried[planned.work.route].pieces()[planned.work.piece]
    }
}
