//! New signatures beside manifests that are there, and those that travel with them.

use std::time::SystemTime;

use securecp_layer::{Layer, Once, TaskId};
use securecp_oci::{RawManifest, Signature};
use securecp_transport::{BlobPut, Piece, TransportError};
use securecp_trust::{BundleArtifact, BundleDraft};

use crate::bundles;
use crate::edits::BundleSigner;
use crate::error::{Cause, CopyError, Phase};
use crate::plan::{ManifestWork, Produced, SignatureWork, Work};
use crate::run::{NodeResult, Runner};
use crate::schedule::Done;

impl Runner<'_> {
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
        let signatures = self.all_signatures(work, manifest)?;
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
    ) -> Result<Vec<Signature>, CopyError> {
        let mut signatures = work.carried.clone();
        for signer in &self.job.edits.signing.signers {
            for identity in &work.identities {
                let signed = signer.sign(manifest, identity);
                signatures.push(signed.map_err(|source| unsigned(signer.name(), source))?);
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
            let known = Some(descriptor);
            let put = BlobPut { known, mount_from: &[], open: &open, open_after: None, file: None };
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

fn unsigned(signer: String, source: Box<dyn std::error::Error + Send + Sync>) -> CopyError {
    let cause = Cause::Signing { signer, source };
    CopyError { phase: Phase::Signatures, side: None, place: String::new(), cause }
}
