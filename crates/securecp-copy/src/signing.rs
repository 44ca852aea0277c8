//! New signatures beside manifests that are there, and those that travel with them.

use std::time::SystemTime;

use securecp_layer::{Layer, Once, TaskId};
use securecp_oci::{RawManifest, Signature};
use securecp_transport::{BlobPut, Piece, TransportError};
use securecp_trust::{BundleArtifact, BundleDraft};

use crate::bundles;
use crate::edits::{BundleSigner, ImageSigner};
use crate::error::{Cause, CopyError, Phase};
use crate::job::Job;
use crate::plan::{ManifestWork, NodeId, Plan, Produced, SignatureWork, Work};
use crate::run::{NodeResult, Runner};
use crate::schedule::Done;

/// The signatures that are made while blobs still move: by those who leave no trace, of manifests that keep their bytes.
/// They come one after the other, beside the nodes of the plan and behind them.
pub(crate) struct Early {
    /// How many nodes the plan has.
    nodes: usize,
    /// The nodes that store them, in order.
    stored_by: Vec<NodeId>,
}

impl Early {
    pub(crate) fn of(plan: &Plan, job: &Job<'_>) -> Self {
        let quiet = job.edits.signing.signers.iter().any(|signer| signer.leaves_no_trace());
        let nodes = plan.nodes().iter().enumerate().filter(|_| quiet);
        let stored_by = nodes.filter(|(_, node)| match &node.work {
            Work::Signatures(work) => !work.identities.is_empty() && kept(plan, work).is_some(),
            _ => false,
        });
        let stored_by = stored_by.map(|(position, _)| NodeId(position)).collect();
        Self { nodes: plan.nodes().len(), stored_by }
    }

    /// Adds what has to be done before to that of the plan's nodes.
    pub(crate) fn add_to(&self, needs: &mut Vec<Vec<usize>>) {
        for (turn, store) in self.stored_by.iter().enumerate() {
            let position = self.nodes + turn;
            needs[store.0].push(position);
            // Whoever holds the key is asked by one at a time; the others need not hold a thread for that.
            needs.push(turn.checked_sub(1).map(|_| position - 1).into_iter().collect());
        }
    }

    /// Which node stores what is made at `position`.
    pub(crate) fn signed_at(&self, position: usize) -> Option<NodeId> {
        self.stored_by.get(position.checked_sub(self.nodes)?).copied()
    }

    /// Where the signatures are made that the node at `position` stores.
    fn made_at(&self, position: usize) -> Option<usize> {
        let turn = self.stored_by.binary_search(&NodeId(position)).ok()?;
        Some(self.nodes + turn)
    }
}

/// The manifest that is signed, if it is known before it is put.
fn kept<'a>(plan: &'a Plan, work: &SignatureWork) -> Option<&'a RawManifest> {
    match &plan.nodes()[work.manifest.0].work {
        Work::Manifest(ManifestWork { produced: Produced::Kept(digest), found, .. }) => {
            Some(plan.found(*found).content()).filter(|manifest| manifest.digest() == digest)
        }
        _ => None,
    }
}

impl Runner<'_> {
    /// Signs a manifest whose bytes are known, before it is in place.
    pub(crate) fn sign_early(&self, work: &Work) -> Result<NodeResult, CopyError> {
        let Work::Signatures(work) = work else { return Ok(NodeResult::Early(Vec::new())) };
        self.scope.check().map_err(|stopped| self.stopped(stopped))?;
        let signers = self.job.edits.signing.signers.iter();
        let signers = signers.filter(|signer| signer.leaves_no_trace());
        let made = match kept(self.plan, work) {
            Some(manifest) => signers.map(|signer| sign(&**signer, manifest, work)).collect(),
            None => Ok(Vec::new()),
        };
        made.map(|made: Vec<Vec<_>>| NodeResult::Early(made.concat()))
    }

    /// Stores the signatures that a manifest gets; what comes out are the artifacts made for it.
    pub(crate) fn signatures(
        &self,
        task: TaskId,
        work: &SignatureWork,
        done: &Done<NodeResult>,
    ) -> Result<NodeResult, CopyError> {
        let signed = (done.of(work.manifest.0), &self.plan.nodes()[work.manifest.0].work);
        let (Some(NodeResult::Manifest(manifest)), Work::Manifest(found)) = signed else {
            return Ok(NodeResult::Signed(Vec::new()));
        };
        let early = match self.early.made_at(task.0).and_then(|position| done.of(position)) {
            Some(NodeResult::Early(made)) => made.as_slice(),
            _ => &[],
        };
        let signatures = self.all_signatures(work, manifest, early)?;
        let place = self.plan.found(found.found).place;
        if !signatures.is_empty() {
            self.sign(task, || {
                self.writing()?.put_signatures(manifest, place, &signatures, self.scope)
            })?;
        }
        self.bundles(task, work, (manifest, found)).map(NodeResult::Signed)
    }

    /// Those that travel, and the new ones.
    fn all_signatures(
        &self,
        work: &SignatureWork,
        manifest: &RawManifest,
        early: &[Signature],
    ) -> Result<Vec<Signature>, CopyError> {
        let mut signatures = work.carried.clone();
        let mut early = early.chunks(work.identities.len().max(1));
        for signer in &self.job.edits.signing.signers {
            let made = if signer.leaves_no_trace() { early.next() } else { None };
            match made {
                Some(made) => signatures.extend_from_slice(made),
                None => signatures.extend(sign(&**signer, manifest, work)?),
            }
        }
        Ok(signatures)
    }

    /// Has bundles made and stores them. Of a manifest that was made on the way it is only known now whether they are there.
    fn bundles(
        &self,
        task: TaskId,
        work: &SignatureWork,
        (manifest, planned): (&RawManifest, &ManifestWork),
    ) -> Result<Vec<RawManifest>, CopyError> {
        let signing = &self.job.edits.signing;
        let there = match planned.produced {
            Produced::Made(_) if !work.bundlers.is_empty() => {
                self.standing(task, &BundleDraft::new(manifest))?
            }
            _ => Vec::new(),
        };
        let missing = work.bundlers.iter().filter(|at| there.get(**at) != Some(&true));
        missing.map(|at| self.bundle(task, manifest, &*signing.bundlers[*at])).collect()
    }

    /// Whose bundle of `draft` is at the destination already.
    pub(crate) fn standing(
        &self,
        task: TaskId,
        draft: &BundleDraft,
    ) -> Result<Vec<bool>, CopyError> {
        let signing = &self.job.edits.signing;
        self.sign(task, || bundles::standing(self.to, signing, draft, self.scope))
    }

    fn bundle(
        &self,
        task: TaskId,
        manifest: &RawManifest,
        bundler: &dyn BundleSigner,
    ) -> Result<RawManifest, CopyError> {
        let bundle = bundler.bundle(BundleDraft::new(manifest));
        let bundle = bundle.map_err(|source| unsigned(bundler.name(), source))?;
        let artifact = BundleArtifact::new(manifest, bundle, SystemTime::now());
        let artifact = artifact.map_err(|source| unsigned(bundler.name(), source.into()))?;
        self.put_artifact(task, &artifact)?;
        Ok(artifact.manifest)
    }

    /// Stores an artifact beside its subject, its blobs first.
    pub(crate) fn put_artifact(
        &self,
        task: TaskId,
        artifact: &BundleArtifact,
    ) -> Result<(), CopyError> {
        for (descriptor, bytes) in &artifact.blobs {
            let open = || Ok(Layer::verified(descriptor.clone(), Once::new(bytes.clone())));
            let put = BlobPut::new(descriptor, &open);
            self.sign(task, || self.writing()?.put_blob(&put, self.scope))?;
        }
        let piece = Piece::Referrer(&artifact.manifest);
        self.sign(task, || self.writing()?.put_evidence(&piece, self.scope))
    }

    /// Repeats what may succeed the next time; a failure is one of signing.
    fn sign<T>(
        &self,
        task: TaskId,
        attempt: impl FnMut() -> Result<T, TransportError>,
    ) -> Result<T, CopyError> {
        self.retry(task, attempt).map_err(|error| CopyError { phase: Phase::Signatures, ..error })
    }
}

/// By one signer, under every name.
fn sign(
    signer: &dyn ImageSigner,
    manifest: &RawManifest,
    work: &SignatureWork,
) -> Result<Vec<Signature>, CopyError> {
    let sign = |identity| {
        let made = signer.sign(manifest, identity);
        made.map_err(|source| unsigned(signer.name(), source))
    };
    work.identities.iter().map(sign).collect()
}

fn unsigned(signer: String, source: Box<dyn std::error::Error + Send + Sync>) -> CopyError {
    let cause = Cause::Signing { signer, source };
    CopyError { phase: Phase::Signatures, side: None, place: String::new(), cause }
}
