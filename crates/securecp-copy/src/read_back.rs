use std::collections::BTreeMap;

use securecp_oci::{Digest, RawManifest};
use securecp_transport::Piece;

use crate::error::{CopyError, Phase};
use crate::job::Copying;
use crate::plan::{Node, Plan, Work, place};
use crate::run::{Ran, Writings, failed};

/// Looks whether everything that a run put is where it was put; nobody has been told of it yet.
pub(crate) fn read_back(
    plan: &Plan,
    copying: &Copying<'_>,
    writings: &Writings<'_>,
    ran: &Ran,
) -> Result<(), CopyError> {
    let put = plan.nodes().iter().zip(&ran.manifests);
    let put: Vec<_> = put.filter_map(|(node, put)| Some((node, put.as_ref()?))).collect();
    let check = |(node, manifest): &(&Node, &RawManifest)| {
        let (Work::Manifest(work), Some(writing)) = (&node.work, &writings[node.storage]) else {
            return Ok(());
        };
        let there = writing.read_back(manifest, place(plan, work), copying.job.scope);
        there.map_err(|cause| failed(Phase::ReadBack, &copying.storages[node.storage], cause))
    };
    copying.workers.each(&put, check)?;
    read_back_bundles(plan, copying, writings, ran)?;
    read_back_evidence(plan, copying, writings)
}

/// Looks whether every new bundle is found from the manifest for which it was made.
fn read_back_bundles(
    plan: &Plan,
    copying: &Copying<'_>,
    writings: &Writings<'_>,
    ran: &Ran,
) -> Result<(), CopyError> {
    let made = plan.nodes().iter().zip(&ran.artifacts);
    let made: Vec<_> = made.filter(|(_, artifacts)| !artifacts.is_empty()).collect();
    let check = |(node, artifacts): &(&Node, &Vec<RawManifest>)| {
        let Some(writing) = &writings[node.storage] else { return Ok(()) };
        let pieces: Vec<Piece<'_>> = artifacts.iter().map(Piece::Referrer).collect();
        let there = writing.read_back_evidence(&pieces, copying.job.scope);
        there.map_err(|cause| failed(Phase::ReadBack, &copying.storages[node.storage], cause))
    };
    copying.workers.each(&made, check).map(drop)
}

/// Looks whether all evidence that was put is whole, and found where readers look for it.
fn read_back_evidence(
    plan: &Plan,
    copying: &Copying<'_>,
    writings: &Writings<'_>,
) -> Result<(), CopyError> {
    let mut put: BTreeMap<(usize, &Digest), Vec<Piece<'_>>> = BTreeMap::new();
    for node in plan.nodes() {
        let Work::Evidence(work) = &node.work else { continue };
        let evidence = plan.piece(*work);
        let pieces = put.entry((node.storage, &evidence.subject)).or_default();
        pieces.extend(evidence.body.iter().flat_map(|body| &body.parts).map(Piece::Part));
        pieces.extend(evidence.piece());
    }
    let put: Vec<_> = put.into_iter().collect();
    let check = |((storage, _), pieces): &((usize, &Digest), Vec<Piece<'_>>)| {
        let Some(writing) = &writings[*storage] else { return Ok(()) };
        let whole = writing.read_back_evidence(pieces, copying.job.scope);
        whole.map_err(|cause| failed(Phase::ReadBack, &copying.storages[*storage], cause))
    };
    copying.workers.each(&put, check).map(drop)
}
