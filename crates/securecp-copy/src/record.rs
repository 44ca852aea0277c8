//! Records of how manifests were changed: what they say, and how they get beside what was made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use securecp_crypt::Recipients;
use securecp_layer::TaskId;
use securecp_oci::{Algorithm, Attached, Digest, RawManifest, Signature};
use securecp_trust::{
    BundleArtifact, BundleDraft, ChangeRecord, RecordedChange, RecordedEvidence,
    RecordedRecipients, RecordedSource, RecordedVerdict,
};

use crate::edits::{BundleSigner, Edits};
use crate::error::{Cause, CopyError, Phase};
use crate::evidence::EvidenceForm;
use crate::plan::{FoundId, ManifestWork, Plan, Produced, Reason, RecordWork, Work};
use crate::run::{NodeResult, Runner};
use crate::schedule::Done;

impl Runner<'_> {
    /// Says beside a manifest that was changed how that was done; everybody who makes bundles signs a record.
    pub(crate) fn records(
        &self,
        task: TaskId,
        work: RecordWork,
        done: &Done<NodeResult>,
    ) -> Result<NodeResult, CopyError> {
        let made = (done.of(work.manifest.0), &self.plan.nodes()[work.manifest.0].work);
        let (Some(NodeResult::Manifest(manifest)), Work::Manifest(work)) = made else {
            return Ok(NodeResult::Signed(Vec::new()));
        };
        let storage = self.plan.nodes()[task.0].storage;
        let recording = Recording { plan: self.plan, edits: self.job.edits, storage, work };
        let record = recording.record().ok_or_else(|| unrecorded(manifest))?;
        let draft = BundleDraft::record(manifest, &record);
        let draft = draft.map_err(|error| unsigned("a change record", error.into()))?;
        // An earlier copy may have said the same.
        let there = self.standing(task, &draft)?;
        let bundlers =
            self.job.edits.signing.bundlers.iter().zip(there).filter(|(_, there)| !there);
        let records = bundlers.map(|(by, _)| self.record(task, &draft, &**by));
        Ok(NodeResult::Signed(records.collect::<Result<_, _>>()?))
    }

    fn record(
        &self,
        task: TaskId,
        draft: &BundleDraft,
        by: &dyn BundleSigner,
    ) -> Result<RawManifest, CopyError> {
        let bundle = by.bundle(draft.clone()).map_err(|source| unsigned(&by.name(), source))?;
        let artifact = BundleArtifact::record(draft.manifest(), bundle, SystemTime::now());
        let artifact = artifact.map_err(|error| unsigned(&by.name(), error.into()))?;
        self.put_artifact(task, &artifact)?;
        Ok(artifact.manifest)
    }
}

fn unsigned(signer: &str, source: Box<dyn std::error::Error + Send + Sync>) -> CopyError {
    CopyError::local(Phase::Signatures, Cause::Signing { signer: signer.to_owned(), source })
}

/// No plan asks for a record of what was not admitted.
fn unrecorded(manifest: &RawManifest) -> CopyError {
    let digest = manifest.digest().clone();
    CopyError::local(Phase::Signatures, Cause::NothingToRecord { digest })
}

/// What is to be said of one manifest that changes.
struct Recording<'a> {
    plan: &'a Plan,
    edits: &'a Edits,
    /// Where it goes.
    storage: usize,
    work: &'a ManifestWork,
}

impl Recording<'_> {
    /// The record; `None` if the manifest does not change, or nobody judged it.
    fn record(&self) -> Option<ChangeRecord> {
        let Produced::Made(reasons) = &self.work.produced else { return None };
        let admitted = &self.plan.admitted()[self.work.found.route];
        let manifest = &self.plan.found(self.work.found).subject.manifest;
        let encrypts = reasons.iter().any(is_for_recipients);
        let encryption = self.edits.encrypt.as_ref().filter(|_| encrypts);
        Some(ChangeRecord {
            source: RecordedSource {
                image: admitted.found().source_name().to_owned(),
                digest: manifest.digest().clone(),
                media_type: manifest.media_type().as_str().to_owned(),
                size: manifest.size(),
            },
            changes: reasons.iter().map(change).collect(),
            recipients: encryption.map(|found| kinds(&found.recipients)).unwrap_or_default(),
            left_behind: self.left_behind(),
            verdict: RecordedVerdict::of(admitted.verdict(), manifest.digest())?,
        })
    }

    fn digest(&self) -> &Digest {
        self.plan.found(self.work.found).subject.manifest.digest()
    }

    /// Everything that stays at the source because of this manifest, each piece once.
    fn left_behind(&self) -> Vec<RecordedEvidence> {
        let mut left = self.pieces();
        left.extend(self.uncarried());
        left.extend(self.attestations());
        left.extend(self.signatures());
        let mut seen = BTreeSet::new();
        left.retain(|one| seen.insert((one.kind.clone(), one.digest.clone())));
        left
    }

    fn pieces(&self) -> Vec<RecordedEvidence> {
        let planned = self.plan.evidence().iter();
        let here = planned.filter(|one| one.storage == self.storage && one.fate.why().is_some());
        let ours = here.filter(|one| {
            let route = one.work.route;
            self.is_this(route, self.plan.carried()[route].manifest_of(one.work.piece))
        });
        let pieces = ours.map(|one| self.plan.piece(one.work));
        pieces
            .map(|piece| RecordedEvidence {
                kind: piece.kind.name().to_owned(),
                digest: piece.digest.clone(),
                artifact_type: piece.artifact_type.clone(),
            })
            .collect()
    }

    /// What could not have been carried in any case.
    fn uncarried(&self) -> Vec<RecordedEvidence> {
        let routes = self.plan.carried().iter().enumerate();
        let left =
            routes.flat_map(|(route, carried)| carried.left().iter().map(move |l| (route, l)));
        let ours = left.filter(|(route, left)| self.is_this(*route, left.manifest));
        ours.map(|(_, left)| RecordedEvidence {
            kind: left.kind.name().to_owned(),
            digest: left.digest.clone(),
            artifact_type: String::new(),
        })
        .collect()
    }

    /// Attestations that this index named.
    fn attestations(&self) -> Vec<RecordedEvidence> {
        let id = self.work.found;
        let entries = &self.plan.found(id).entries;
        let planned = self.plan.attestations().iter();
        let ours = planned.filter(|one| {
            let named = entries.iter().any(|(_, child)| *child == one.found.manifest);
            one.storage == self.storage && one.found.route == id.route && named
        });
        ours.filter(|one| one.fate.why().is_some())
            .map(|one| RecordedEvidence {
                kind: "attestation".to_owned(),
                digest: self.plan.found(one.found).subject.manifest.digest().clone(),
                artifact_type: String::new(),
            })
            .collect()
    }

    /// Signatures that are no pieces of evidence. One that changes never travels with what it signed.
    fn signatures(&self) -> Vec<RecordedEvidence> {
        let attached = EvidenceForm::Attached(Attached::Signatures);
        let mut pieces = self.plan.carried()[self.work.found.route].pieces().iter();
        let as_evidence = pieces.any(|p| p.form == attached && p.subject == *self.digest());
        let subject = &self.plan.found(self.work.found).subject;
        let signatures = subject.signatures.as_deref().unwrap_or_default().iter();
        let recorded = signatures.filter_map(|signature| {
            let (kind, bytes) = match signature {
                Signature::Simple(message) => ("simple-signing signature", message),
                Signature::Sigstore { .. } if as_evidence => return None,
                Signature::Sigstore { payload, .. } => ("sigstore signature", payload),
            };
            let digest = Digest::of(Algorithm::Sha256, bytes);
            Some(RecordedEvidence { kind: kind.to_owned(), digest, artifact_type: String::new() })
        });
        recorded.collect()
    }

    /// Whether a manifest found on a route is the one that is recorded: several routes may bring it.
    fn is_this(&self, route: usize, manifest: usize) -> bool {
        let there = &self.plan.there()[self.storage];
        let found = self.plan.found(FoundId { route, manifest });
        there.routes.contains(&route) && found.subject.manifest.digest() == self.digest()
    }
}

fn is_for_recipients(reason: &Reason) -> bool {
    matches!(reason, Reason::Encrypted(_) | Reason::Recipients(_))
}

/// How many keys of each kind; nothing that tells whose they are.
fn kinds(recipients: &Recipients) -> Vec<RecordedRecipients> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for recipient in recipients.list() {
        *counts.entry(recipient.scheme.kind().to_owned()).or_default() += 1;
    }
    counts.into_iter().map(|(kind, count)| RecordedRecipients { kind, count }).collect()
}

fn change(reason: &Reason) -> RecordedChange {
    match reason {
        Reason::Decrypted(layer) => RecordedChange::Decrypted { layer: *layer },
        Reason::Recompressed { layer, to } => {
            RecordedChange::Recompressed { layer: *layer, to: (*to).to_owned() }
        }
        Reason::Encrypted(layer) => RecordedChange::Encrypted { layer: *layer },
        Reason::Recipients(layer) => RecordedChange::Recipients { layer: *layer },
        Reason::Converted(format) => RecordedChange::Converted { to: format.to_string() },
        Reason::Entry(entry) => RecordedChange::Entry { entry: *entry },
        Reason::Orphaned(entry) => RecordedChange::AttestationLeftOut { entry: *entry },
        Reason::Subset { removed, of } => RecordedChange::Subset { removed: *removed, of: *of },
    }
}
