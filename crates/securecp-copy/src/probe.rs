use std::collections::{HashMap, HashSet};

use securecp_oci::{Descriptor, Digest, RawManifest, Reference, Repository, Tag};
use securecp_transport::{Accepts, Requests, TransportError};
use securecp_trust::Admitted;

use crate::bundles;
use crate::error::{CopyError, Phase, Side};
use crate::evidence::Carried;
use crate::job::Copying;
use crate::route::{Storage, StorageName};
use crate::select::Select;
use crate::survey::Found;

/// What one storage has and takes, asked without any effect.
#[derive(Debug, Clone)]
pub struct There {
    /// `TRANSPORT:REST` of the first destination there.
    pub name: String,
    /// What it takes.
    pub accepts: Accepts,
    /// What is put there costs so many requests.
    pub requests: Requests,
    /// The routes that end there.
    pub routes: Vec<usize>,
    /// Which blobs it has.
    pub blobs: HashMap<Digest, bool>,
    /// Which manifests it has.
    pub manifests: HashMap<Digest, bool>,
    /// For manifests that it has, by whom of those who make bundles theirs is there.
    pub bundles: HashMap<Digest, Vec<bool>>,
    /// The names that are to be given there.
    pub names: Vec<Name>,
    /// For each route, the repository of the same registry from which its blobs may be mounted.
    pub mount_from: HashMap<usize, Repository>,
}

/// A name that is to be given, and what it stands for now.
#[derive(Debug, Clone)]
pub struct Name {
    /// The route whose image it is to name.
    pub route: usize,
    /// `TRANSPORT:REST` of its destination.
    pub destination: String,
    /// The tag beside the destination's own name, if it is not that name itself.
    pub tag: Option<Tag>,
    /// The name within the storage.
    pub entry: Option<String>,
    /// The reference under which signatures are made, if there is one.
    pub reference: Option<Reference>,
    /// The digest that it stands for now.
    pub now: Option<Digest>,
}

/// Asks every storage about everything that would be brought there.
pub(crate) fn probe(
    copying: &Copying<'_>,
    admitted: &[Admitted<Found>],
    evidence: &[Carried],
) -> Result<Vec<There>, CopyError> {
    let found: Vec<&Found> = admitted.iter().map(Admitted::found).collect();
    copying.workers.each(&copying.storages, |storage| {
        Probe { copying, storage }.ask(&found, evidence).map_err(|cause| {
            CopyError::transport(Phase::Probe, Side::Destination, storage.to.name(), cause)
        })
    })
}

struct Probe<'a> {
    copying: &'a Copying<'a>,
    storage: &'a Storage<'a>,
}

impl Probe<'_> {
    fn ask(&self, found: &[&Found], evidence: &[Carried]) -> Result<There, TransportError> {
        let Self { copying: Copying { job, workers, .. }, storage } = self;
        let (to, scope) = (storage.to, job.scope);
        to.check(scope)?;
        let names = workers.each(&storage.names, |name| self.name(name))?;
        let routes = storage.routes();
        let settled = self.settled(&names, found);
        let coming: Vec<&Found> = routes.iter().map(|route| found[*route]).collect();
        let beside = routes.iter().filter(|_| to.accepts().evidence).map(|route| &evidence[*route]);
        let beside: Vec<&Carried> = beside.collect();
        let whole: Vec<&Found> = settled.iter().map(|route| found[*route]).collect();
        let mut has_blob = certain(blobs_of(&whole, &[]).into_iter().map(|blob| blob.digest));
        let mut has_manifest = certain(manifests_of(&whole).iter().map(|m| m.digest().clone()));
        if to.vouches_for_names() {
            has_manifest.extend(names.iter().filter_map(|name| Some((name.now.clone()?, true))));
        }
        let (mut blobs, mut manifests) = (blobs_of(&coming, &beside), manifests_of(&coming));
        blobs.retain(|blob| !has_blob.contains_key(&blob.digest));
        manifests.retain(|manifest| !has_manifest.contains_key(manifest.digest()));
        let found_blobs = workers.each(&blobs, |blob| to.has_blob(blob, scope))?;
        let found_manifests = workers.each(&manifests, |m| to.has_manifest(m, scope))?;
        has_blob.extend(blobs.into_iter().map(|blob| blob.digest).zip(found_blobs));
        let digests = manifests.iter().map(|manifest| manifest.digest().clone());
        has_manifest.extend(digests.zip(found_manifests));
        let bundles = self.bundles(&coming, &has_manifest)?;
        Ok(There {
            bundles,
            name: to.name(),
            accepts: to.accepts(),
            requests: to.requests(),
            blobs: has_blob,
            manifests: has_manifest,
            names,
            mount_from: self.mount_candidates(&routes),
            routes,
        })
    }

    /// Who need not make bundles again, for each manifest that is there.
    fn bundles(
        &self,
        coming: &[&Found],
        there: &HashMap<Digest, bool>,
    ) -> Result<HashMap<Digest, Vec<bool>>, TransportError> {
        let Self { copying: Copying { job, workers, .. }, storage } = self;
        let signing = &job.edits.signing;
        if signing.bundlers.is_empty() || !storage.to.accepts().evidence {
            return Ok(HashMap::new());
        }
        let mut manifests = manifests_of(coming);
        manifests.retain(|manifest| there.get(manifest.digest()) == Some(&true));
        let found =
            workers.each(&manifests, |m| bundles::standing(storage.to, signing, m, job.scope))?;
        Ok(manifests.iter().map(|manifest| manifest.digest().clone()).zip(found).collect())
    }

    /// The routes whose every name here stands for their image already. Among many images such a one is taken as whole,
    /// unless only some of its platforms are copied: it may have come as others.
    fn settled(&self, names: &[Name], found: &[&Found]) -> Vec<usize> {
        let job = self.copying.job;
        let partial = matches!(job.select, Select::Platforms { .. });
        if job.routes.len() < 2 || partial || !self.storage.to.vouches_for_names() {
            return Vec::new();
        }
        let stands = |name: &Name| {
            let root = found[name.route].manifests().first();
            root.is_some_and(|root| name.now.as_ref() == Some(root.subject.manifest.digest()))
        };
        let all = |route: &usize| names.iter().filter(|name| name.route == *route).all(stands);
        self.storage.routes().into_iter().filter(all).collect()
    }

    fn name(&self, name: &StorageName<'_>) -> Result<Name, TransportError> {
        let reference = name.to.reference().map(|reference| match name.tag {
            Some(tag) => reference.repository().tagged(tag.clone()),
            None => reference.clone(),
        });
        Ok(Name {
            route: name.route,
            destination: name.to.name(),
            tag: name.tag.cloned(),
            entry: name.entry().map(str::to_owned),
            reference,
            now: name.to.current(name.tag, self.copying.job.scope)?,
        })
    }

    fn mount_candidates(&self, routes: &[usize]) -> HashMap<usize, Repository> {
        let Some(to) = self.storage.to.reference() else { return HashMap::new() };
        let usable = |from: &&Repository| {
            from.host() == to.repository().host() && from.path() != to.repository().path()
        };
        let source = |route: &usize| self.copying.job.routes[*route].from.repository();
        let candidates = routes.iter().filter_map(|route| Some((*route, source(route)?)));
        let candidates = candidates.filter(|(_, from)| usable(from));
        candidates.map(|(route, from)| (route, from.clone())).collect()
    }
}

fn certain(digests: impl Iterator<Item = Digest>) -> HashMap<Digest, bool> {
    digests.map(|digest| (digest, true)).collect()
}

/// Every blob of every image and of the evidence beside it, each digest once.
fn blobs_of(coming: &[&Found], beside: &[&Carried]) -> Vec<Descriptor> {
    let manifests = coming.iter().flat_map(|found| found.manifests());
    let manifests = manifests.map(|found| found.content());
    let evidence = beside.iter().flat_map(|carried| carried.manifests());
    let images = manifests.chain(evidence).filter_map(RawManifest::image);
    let all = images.flat_map(|image| std::iter::once(&image.config).chain(&image.layers));
    let mut seen = HashSet::new();
    all.filter(|blob| seen.insert(blob.digest.clone())).cloned().collect()
}

/// Every manifest, each digest once.
fn manifests_of<'a>(coming: &[&'a Found]) -> Vec<&'a RawManifest> {
    let manifests = coming.iter().flat_map(|found| found.manifests());
    let mut seen = HashSet::new();
    manifests
        .map(|found| &found.subject.manifest)
        .filter(|manifest| seen.insert(manifest.digest().clone()))
        .collect()
}
