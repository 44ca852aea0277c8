use std::collections::{HashMap, HashSet};

use securecp_oci::{Descriptor, Digest, RawManifest, Reference, Repository, Tag};
use securecp_transport::{Accepts, Requests, TransportError};
use securecp_trust::{Admitted, BundleDraft};

use crate::bundles;
use crate::error::{CopyError, Phase, Side};
use crate::evidence::Carried;
use crate::job::Copying;
use crate::route::{Storage, StorageName};
use crate::select::Select;
use crate::survey::Found;
use crate::unlikely::{Images, Unlikely};
use crate::whole;

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
        let coming: Vec<&Found> = routes.iter().map(|route| found[*route]).collect();
        let beside = routes.iter().filter(|_| to.accepts().evidence).map(|route| &evidence[*route]);
        let beside: Vec<&Carried> = beside.collect();
        let (mut has_manifest, whole) = self.settled(&names, found)?;
        let mut has_blob = certain(blobs_of(&whole, &[]).into_iter().map(|blob| blob.digest));
        if to.vouches_for_names() {
            has_manifest.extend(names.iter().filter_map(|name| Some((name.now.clone()?, true))));
        }
        let (new, others) = self.by_age(&names, found);
        let images = Images { new: &new, others: &others, known: &has_blob };
        let unlikely = Unlikely::find(&images, to, workers, scope)?;
        has_blob.extend(unlikely.bases.clone());
        let (mut blobs, mut manifests) = (blobs_of(&coming, &beside), manifests_of(&coming));
        let is_open = |digest: &Digest| !unlikely.holds(digest);
        blobs.retain(|b| !has_blob.contains_key(&b.digest) && is_open(&b.digest));
        manifests.retain(|m| !has_manifest.contains_key(m.digest()) && is_open(m.digest()));
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
        let found = workers.each(&manifests, |manifest| {
            bundles::standing(storage.to, signing, &BundleDraft::new(manifest), job.scope)
        })?;
        Ok(manifests.iter().map(|manifest| manifest.digest().clone()).zip(found).collect())
    }

    /// Which manifests the storage has of images for which all names here stand already, and which of those images it
    /// has whole. Among many images, the blobs of such a one are not asked for again. Its manifests are: somebody may have
    /// copied the index with only some of its platforms.
    fn settled<'f>(
        &self,
        names: &[Name],
        found: &[&'f Found],
    ) -> Result<(HashMap<Digest, bool>, Vec<&'f Found>), TransportError> {
        let Copying { job, workers, .. } = self.copying;
        let partial = matches!(job.select, Select::Platforms { .. });
        if job.routes.len() < 2 || partial || !self.storage.to.vouches_for_names() {
            return Ok(Default::default());
        }
        let mut stand: Vec<&Found> = self.standing(names, found);
        let known = whole::known(job, self.storage.to);
        let unknown = stand.iter().filter(|found| !known.contains(root(found).digest()));
        let below = unknown.flat_map(|found| &found.manifests()[1..]);
        let below: Vec<&RawManifest> = each_once(below.map(|found| &found.subject.manifest));
        let there = workers.each(&below, |m| self.storage.to.has_manifest(m, job.scope))?;
        let digests = below.iter().map(|manifest| manifest.digest().clone());
        let mut there: HashMap<Digest, bool> = digests.zip(there).collect();
        let has = |digest: &Digest| there.get(digest) == Some(&true);
        stand.retain(|found| {
            let mut below = found.manifests()[1..].iter().map(|found| &found.subject.manifest);
            known.contains(root(found).digest()) || below.all(|manifest| has(manifest.digest()))
        });
        whole::note(job, self.storage.to, stand.iter().map(|found| root(found)));
        let known = stand.iter().filter(|found| known.contains(root(found).digest()));
        let known = manifests_of(&known.copied().collect::<Vec<_>>());
        there.extend(known.into_iter().map(|manifest| (manifest.digest().clone(), true)));
        Ok((there, stand))
    }

    /// The images for which every name here stands already.
    fn standing<'f>(&self, names: &[Name], found: &[&'f Found]) -> Vec<&'f Found> {
        let stands = |name: &Name| name.now.as_ref() == Some(root(found[name.route]).digest());
        let all = |route: &usize| names.iter().filter(|name| name.route == *route).all(stands);
        let routes = self.storage.routes().into_iter().filter(all);
        routes.map(|route| found[route]).collect()
    }

    /// The images that have no name here yet, among many others (see [`Unlikely`]), and all others.
    fn by_age<'f>(&self, names: &[Name], found: &[&'f Found]) -> (Vec<&'f Found>, Vec<&'f Found>) {
        let job = self.copying.job;
        // Who makes bundles asks of each manifest whether it has some already.
        let many = job.routes.len() > 1 && job.edits.signing.bundlers.is_empty();
        let many = many && self.storage.to.vouches_for_names();
        let known: HashSet<usize> =
            names.iter().filter(|name| name.now.is_some()).map(|name| name.route).collect();
        let named: HashSet<usize> = names.iter().map(|name| name.route).collect();
        let is_new = |route: &usize| many && named.contains(route) && !known.contains(route);
        let (new, others): (Vec<usize>, Vec<usize>) =
            self.storage.routes().into_iter().partition(is_new);
        let of = |routes: Vec<usize>| routes.into_iter().map(|route| found[route]).collect();
        (of(new), of(others))
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

fn root(found: &Found) -> &RawManifest {
    &found.manifests()[0].subject.manifest
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
    each_once(manifests.map(|found| &found.subject.manifest))
}

fn each_once<'a>(manifests: impl Iterator<Item = &'a RawManifest>) -> Vec<&'a RawManifest> {
    let mut seen = HashSet::new();
    manifests.filter(|manifest| seen.insert(manifest.digest().clone())).collect()
}
