use std::collections::HashMap;

use securecp_oci::{Descriptor, Digest, Reference, Repository, Tag};
use securecp_transport::{Accepts, TransportError};
use securecp_trust::Admitted;

use crate::error::{CopyError, Phase, Side};
use crate::job::Job;
use crate::parallel;
use crate::survey::Found;

/// What the destination has and takes, asked without any effect.
#[derive(Debug, Clone)]
pub struct There {
    /// `TRANSPORT:REST` of the destination.
    pub name: String,
    /// What it takes.
    pub accepts: Accepts,
    /// The reference that names it, if it has one.
    pub reference: Option<Reference>,
    /// Which blobs it has.
    pub blobs: HashMap<Digest, bool>,
    /// Which manifests it has.
    pub manifests: HashMap<Digest, bool>,
    /// What its name (`None`) and the further tags stand for now.
    pub names: Vec<(Option<Tag>, Option<Digest>)>,
    /// Repositories of the same registry that hold the blobs.
    pub mount_from: Vec<Repository>,
}

/// Asks the destination about everything that `admitted` would bring.
pub(crate) fn probe(job: &Job<'_>, admitted: &Admitted<Found>) -> Result<There, CopyError> {
    let failed = |cause: TransportError| {
        CopyError::transport(Phase::Probe, Side::Destination, job.to.name(), cause)
    };
    job.to.check(job.scope).map_err(failed)?;
    let found = admitted.found();
    let workers = job.effort.parallel_requests;
    let blobs = blobs_of(found);
    let manifests: Vec<_> = found.manifests().iter().map(|m| &m.subject.manifest).collect();
    let names: Vec<Option<&Tag>> = std::iter::once(None).chain(job.tags.iter().map(Some)).collect();
    let has_blob =
        parallel::each(workers, &blobs, |b| job.to.has_blob(b, job.scope)).map_err(failed)?;
    let has_manifest = parallel::each(workers, &manifests, |m| job.to.has_manifest(m, job.scope))
        .map_err(failed)?;
    let current =
        parallel::each(workers, &names, |t| job.to.current(*t, job.scope)).map_err(failed)?;
    let digests = manifests.iter().map(|m| m.digest().clone());
    Ok(There {
        name: job.to.name(),
        accepts: job.to.accepts(),
        reference: job.to.reference().cloned(),
        blobs: blobs.into_iter().map(|b| b.digest).zip(has_blob).collect(),
        manifests: digests.zip(has_manifest).collect(),
        names: names.into_iter().map(|t| t.cloned()).zip(current).collect(),
        mount_from: mount_candidates(job),
    })
}

/// Every blob of every image, each digest once.
fn blobs_of(found: &Found) -> Vec<Descriptor> {
    let images = found.manifests().iter().filter_map(|m| m.subject.manifest.image());
    let all = images.flat_map(|image| std::iter::once(&image.config).chain(&image.layers));
    let mut seen = std::collections::HashSet::new();
    all.filter(|blob| seen.insert(blob.digest.clone())).cloned().collect()
}

fn mount_candidates(job: &Job<'_>) -> Vec<Repository> {
    let (Some(from), Some(to)) = (job.from.repository(), job.to.reference()) else {
        return Vec::new();
    };
    let same_host = from.host() == to.repository().host();
    let other_path = from.path() != to.repository().path();
    if same_host && other_path { vec![from.clone()] } else { Vec::new() }
}
