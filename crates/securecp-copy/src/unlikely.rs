//! What a registry so surely lacks that asking for it costs more than bringing it.
//!
//! Among many images, one that has no name there yet is taken as new: its manifests are put without a question (which
//! costs one request, as the question does), and its layers are looked for from below. Layers stand on each other:
//! where the lowest one is not there, those above are not either, and a small blob is brought in two requests where the
//! question and the two cost three. Nothing is lost where the guess is wrong: what was there is put again, under the
//! digest that it has.

use std::collections::{HashMap, HashSet};

use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, Image};
use securecp_transport::{Destination, TransportError};

use crate::parallel::Workers;
use crate::run::SMALL;
use crate::survey::{Found, FoundManifest};

/// What is copied to one storage.
pub(crate) struct Images<'a> {
    /// Those that have no name there.
    pub(crate) new: &'a [&'a Found],
    /// All others.
    pub(crate) others: &'a [&'a Found],
    /// The blobs of which it is known whether they are there.
    pub(crate) known: &'a HashMap<Digest, bool>,
}

/// What is not to be asked for, and what was learnt by looking for the lowest layers.
#[derive(Debug, Default)]
pub(crate) struct Unlikely {
    unasked: HashSet<Digest>,
    /// The lowest layers, and whether they are there.
    pub(crate) bases: HashMap<Digest, bool>,
}

impl Unlikely {
    /// Looks for the lowest layers of the new images; what any of the others holds as well is asked for as ever.
    pub(crate) fn find(
        coming: &Images<'_>,
        to: &dyn Destination,
        workers: &Workers,
        scope: &Scope,
    ) -> Result<Self, TransportError> {
        let Images { new, others, known } = coming;
        let images: Vec<&Image> = images(new).collect();
        let mut seen = HashSet::new();
        let lowest = images.iter().filter_map(|image| image.layers.first());
        let lowest = lowest.filter(|base| !known.contains_key(&base.digest));
        let lowest: Vec<&Descriptor> = lowest.filter(|base| seen.insert(&base.digest)).collect();
        let there = workers.each(&lowest, |base| to.has_blob(base, scope))?;
        let digests = lowest.into_iter().map(|base| base.digest.clone());
        let bases: HashMap<Digest, bool> = digests.zip(there).collect();
        let stands = |image: &Image| {
            let base = image.layers.first();
            let answer =
                |base: &Descriptor| known.get(&base.digest).or(bases.get(&base.digest)).copied();
            base.and_then(answer).unwrap_or(false)
        };
        let lacking = images.into_iter().filter(|image| !stands(image));
        let small = lacking.flat_map(blobs).filter(|blob| blob.size <= SMALL);
        let mut unasked: HashSet<Digest> = small.map(|blob| blob.digest.clone()).collect();
        unasked.extend(manifests(new).map(|manifest| manifest.subject.manifest.digest().clone()));
        for blob in self::images(others).flat_map(blobs) {
            unasked.remove(&blob.digest);
        }
        for manifest in manifests(others) {
            unasked.remove(manifest.subject.manifest.digest());
        }
        Ok(Self { unasked, bases })
    }

    /// Whether `digest` is to be brought without a question.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        self.unasked.contains(digest)
    }
}

fn manifests<'a>(found: &[&'a Found]) -> impl Iterator<Item = &'a FoundManifest> {
    found.iter().flat_map(|found| found.manifests())
}

fn images<'a>(found: &[&'a Found]) -> impl Iterator<Item = &'a Image> {
    manifests(found).filter_map(|manifest| manifest.content().image())
}

fn blobs(image: &Image) -> impl Iterator<Item = &Descriptor> {
    std::iter::once(&image.config).chain(&image.layers)
}
