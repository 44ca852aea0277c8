use std::collections::{HashMap, HashSet};

use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, Image, RawManifest, Reference, Repository, Tag};
use securecp_transport::{Accepts, Requests, TransportError};
use securecp_trust::{Admitted, BundleDraft};

use crate::bundles;
use crate::error::{CopyError, Phase, Side};
use crate::evidence::Carried;
use crate::job::Copying;
use crate::questions::{Known, Likely, Questions};
use crate::route::{Storage, StorageName};
use crate::select::Select;
use crate::survey::Found;
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

/// Asks every storage what the names that are to be given there stand for now.
pub(crate) fn names(copying: &Copying<'_>, scope: &Scope) -> Result<Vec<Vec<Name>>, CopyError> {
    each_storage(copying, scope, |probe| probe.names())
}

/// Asks every storage about all images that would be brought there, whose names stand for `names`.
pub(crate) fn images(
    copying: &Copying<'_>,
    admitted: &[Admitted<Found>],
    names: &[Vec<Name>],
    scope: &Scope,
) -> Result<Vec<There>, CopyError> {
    let found: Vec<&Found> = admitted.iter().map(Admitted::found).collect();
    each_storage(copying, scope, |probe| probe.images(&names[probe.position], &found))
}

/// Asks every storage about the blobs of the evidence, too.
pub(crate) fn evidence(
    copying: &Copying<'_>,
    there: Vec<There>,
    evidence: &[Carried],
) -> Result<Vec<There>, CopyError> {
    let scope = copying.job.scope;
    let found =
        each_storage(copying, scope, |probe| probe.evidence(&there[probe.position], evidence));
    let extend = |(mut there, found): (There, HashMap<Digest, bool>)| {
        there.blobs.extend(found);
        there
    };
    Ok(there.into_iter().zip(found?).map(extend).collect())
}

fn each_storage<T: Send>(
    copying: &Copying<'_>,
    scope: &Scope,
    ask: impl Fn(&Probe<'_>) -> Result<T, TransportError> + Sync,
) -> Result<Vec<T>, CopyError> {
    let storages: Vec<usize> = (0..copying.storages.len()).collect();
    copying.workers.each(&storages, |position| {
        let storage = &copying.storages[*position];
        ask(&Probe { copying, storage, position: *position, scope }).map_err(|cause| {
            CopyError::transport(Phase::Probe, Side::Destination, storage.to.name(), cause)
        })
    })
}

struct Probe<'a> {
    copying: &'a Copying<'a>,
    storage: &'a Storage<'a>,
    /// Which of all storages it is.
    position: usize,
    scope: &'a Scope,
}

impl Probe<'_> {
    fn names(&self) -> Result<Vec<Name>, TransportError> {
        let Self { copying: Copying { workers, .. }, storage, .. } = self;
        let (usable, names) = workers.both(
            || storage.to.check(self.scope),
            || workers.each(&storage.names, |name| self.name(name)),
        );
        usable.and(names)
    }

    fn images(&self, names: &[Name], found: &[&Found]) -> Result<There, TransportError> {
        let Self { copying: Copying { workers, .. }, storage, scope, .. } = self;
        let (to, routes) = (storage.to, storage.routes());
        let (manifests, whole) = self.settled(names, found)?;
        let mut known = Known { blobs: certain(&blobs_of(images_in(&whole))), manifests };
        if to.vouches_for_names() {
            known.manifests.extend(names.iter().filter_map(|n| Some((n.now.clone()?, true))));
        }
        let likely = |route: &usize| (found[*route], self.likely(names, *route, found));
        let coming: Vec<(&Found, Likely)> = routes.iter().map(likely).collect();
        Questions { to, workers, scope }.ask(&coming, &mut known)?;
        Ok(There {
            bundles: self.bundles(&coming, &known.manifests)?,
            name: to.name(),
            accepts: to.accepts(),
            requests: to.requests(),
            blobs: known.blobs,
            manifests: known.manifests,
            names: names.to_vec(),
            mount_from: self.mount_candidates(&routes),
            routes,
        })
    }

    fn evidence(
        &self,
        there: &There,
        evidence: &[Carried],
    ) -> Result<HashMap<Digest, bool>, TransportError> {
        let to = self.storage.to;
        let beside = there.routes.iter().filter(|_| to.accepts().evidence);
        let beside = beside.flat_map(|route| evidence[*route].manifests());
        let mut blobs = blobs_of(beside.filter_map(RawManifest::image));
        blobs.retain(|blob| !there.blobs.contains_key(&blob.digest));
        let found = self.copying.workers.each(&blobs, |blob| to.has_blob(blob, self.scope))?;
        Ok(blobs.into_iter().map(|blob| blob.digest).zip(found).collect())
    }

    /// What may be expected of the image of a route, by what its names stand for.
    fn likely(&self, names: &[Name], route: usize, found: &[&Found]) -> Likely {
        let edits = self.copying.job.edits;
        // Layers that change say nothing of what is there, and who makes bundles asks of each manifest whether it has some.
        let guesses = !edits.need_config() && edits.signing.bundlers.is_empty();
        if !guesses || !self.storage.to.vouches_for_names() {
            return Likely::There;
        }
        let root = Some(root(found[route]).digest());
        let mut own = names.iter().filter(|name| name.route == route).map(|name| name.now.as_ref());
        match (own.clone().all(|now| now == root), own.any(|now| now.is_some())) {
            (true, _) => Likely::There,
            (false, true) => Likely::InPart,
            (false, false) => Likely::New,
        }
    }

    /// Who need not make bundles again, for each manifest that is there.
    fn bundles(
        &self,
        coming: &[(&Found, Likely)],
        there: &HashMap<Digest, bool>,
    ) -> Result<HashMap<Digest, Vec<bool>>, TransportError> {
        let Self { copying: Copying { job, workers, .. }, storage, .. } = self;
        let signing = &job.edits.signing;
        if signing.bundlers.is_empty() || !storage.to.accepts().evidence {
            return Ok(HashMap::new());
        }
        let mut manifests = manifests_of(coming.iter().map(|(found, _)| *found));
        manifests.retain(|manifest| there.get(manifest.digest()) == Some(&true));
        let found = workers.each(&manifests, |manifest| {
            bundles::standing(storage.to, signing, &BundleDraft::new(manifest), self.scope)
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
        let there = workers.each(&below, |m| self.storage.to.has_manifest(m, self.scope))?;
        let digests = below.iter().map(|manifest| manifest.digest().clone());
        let mut there: HashMap<Digest, bool> = digests.zip(there).collect();
        let has = |digest: &Digest| there.get(digest) == Some(&true);
        stand.retain(|found| {
            let mut below = found.manifests()[1..].iter().map(|found| &found.subject.manifest);
            known.contains(root(found).digest()) || below.all(|manifest| has(manifest.digest()))
        });
        whole::note(job, self.storage.to, stand.iter().map(|found| root(found)));
        let known = stand.iter().filter(|found| known.contains(root(found).digest()));
        let known = manifests_of(known.copied());
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
            now: name.to.current(name.tag, self.scope)?,
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

fn certain(blobs: &[Descriptor]) -> HashMap<Digest, bool> {
    blobs.iter().map(|blob| (blob.digest.clone(), true)).collect()
}

fn images_in<'a>(found: &'a [&Found]) -> impl Iterator<Item = &'a Image> {
    let manifests = found.iter().flat_map(|found| found.manifests());
    manifests.filter_map(|found| found.content().image())
}

/// Every blob of these images, each digest once.
fn blobs_of<'a>(images: impl Iterator<Item = &'a Image>) -> Vec<Descriptor> {
    let all = images.flat_map(|image| std::iter::once(&image.config).chain(&image.layers));
    let mut seen = HashSet::new();
    all.filter(|blob| seen.insert(blob.digest.clone())).cloned().collect()
}

/// Every manifest, each digest once.
fn manifests_of<'a>(found: impl Iterator<Item = &'a Found>) -> Vec<&'a RawManifest> {
    let manifests = found.flat_map(|found| found.manifests());
    each_once(manifests.map(|found| &found.subject.manifest))
}

fn each_once<'a>(manifests: impl Iterator<Item = &'a RawManifest>) -> Vec<&'a RawManifest> {
    let mut seen = HashSet::new();
    manifests.filter(|manifest| seen.insert(manifest.digest().clone())).collect()
}
