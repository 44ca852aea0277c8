//! What a storage is asked, so that questions whose answer is as good as known cost no request.
//!
//! Layers stand on each other, a configuration speaks of all of them, and registries take a manifest only after what it
//! names. So an image whose layers are not all there has neither its configuration nor its manifest there, nor a layer
//! above a lowest one that is missing; and an index is not there where something below it is not. What is not asked is
//! brought. Nothing is lost where that is wrong: what was there is put again, under the digest that it has.
//!
//! Of an image that has no name there yet, small layers are asked for only if the lowest layer and the large ones are
//! there: to ask and then bring a small blob costs three requests, to bring it two.

use std::collections::{HashMap, HashSet};

use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, Image, RawManifest};
use securecp_transport::{Destination, TransportError};

use crate::parallel::Workers;
use crate::run::SMALL;
use crate::survey::{Found, FoundManifest};

/// What is known of a storage.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) blobs: HashMap<Digest, bool>,
    pub(crate) manifests: HashMap<Digest, bool>,
}

/// How likely it is that an image is in a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likely {
    /// All its names stand for it, or nothing is taken for likely: everything is asked, all at once.
    There,
    /// Some of its names stand for something else.
    InPart,
    /// It has no name there.
    New,
}

/// Asks one storage.
pub(crate) struct Questions<'a> {
    pub(crate) to: &'a dyn Destination,
    pub(crate) workers: &'a Workers,
    pub(crate) scope: &'a Scope,
}

/// One question.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Blob(&'a Descriptor),
    Manifest(&'a RawManifest),
}

/// One image of a route.
struct Coming<'a> {
    image: &'a Image,
    likely: Likely,
}

impl Questions<'_> {
    /// Asks for everything of `images` that is not known, in as few rounds as the answers allow.
    pub(crate) fn ask(
        &self,
        images: &[(&Found, Likely)],
        known: &mut Known,
    ) -> Result<(), TransportError> {
        let all: Vec<Coming<'_>> = images.iter().flat_map(coming).collect();
        let surely = images.iter().filter(|(_, likely)| *likely == Likely::There);
        let surely = surely.flat_map(|(found, _)| manifests(found)).map(Ask::Manifest);
        let first = all.iter().flat_map(Coming::first).map(Ask::Blob).chain(surely);
        self.round(first.collect(), known)?;
        let rest = all.iter().filter(|coming| has_layers(coming.image, known));
        self.round(rest.flat_map(|coming| &coming.image.layers).map(Ask::Blob).collect(), known)?;
        let possible = images.iter().flat_map(|(found, _)| possible(found, known));
        self.round(possible.collect(), known)
    }

    /// Asks each question whose answer is not known, all at the same time.
    fn round(&self, asked: Vec<Ask<'_>>, known: &mut Known) -> Result<(), TransportError> {
        let mut seen = HashSet::new();
        let new = asked.into_iter().filter(|ask| ask.is_open(known) && seen.insert(ask.key()));
        let new: Vec<Ask<'_>> = new.collect();
        let answers = self.workers.each(&new, |ask| match ask {
            Ask::Blob(blob) => self.to.has_blob(blob, self.scope),
            Ask::Manifest(manifest) => self.to.has_manifest(manifest, self.scope),
        })?;
        for (ask, answer) in new.into_iter().zip(answers) {
            match ask {
                Ask::Blob(blob) => known.blobs.insert(blob.digest.clone(), answer),
                Ask::Manifest(found) => known.manifests.insert(found.digest().clone(), answer),
            };
        }
        Ok(())
    }
}

impl<'a> Ask<'a> {
    fn key(self) -> (bool, &'a Digest) {
        match self {
            Self::Blob(blob) => (true, &blob.digest),
            Self::Manifest(manifest) => (false, manifest.digest()),
        }
    }

    fn is_open(self, known: &Known) -> bool {
        match self {
            Self::Blob(blob) => !known.blobs.contains_key(&blob.digest),
            Self::Manifest(manifest) => !known.manifests.contains_key(manifest.digest()),
        }
    }
}

impl<'a> Coming<'a> {
    /// What is asked before anything is known of it.
    fn first(&self) -> impl Iterator<Item = &'a Descriptor> + use<'a> {
        let Self { image, likely } = *self;
        let config = Some(&image.config).filter(|_| likely == Likely::There);
        let lowest = image.layers.first().map(|layer| &layer.digest);
        let tells = move |layer: &&Descriptor| {
            likely != Likely::New || Some(&layer.digest) == lowest || layer.size > SMALL
        };
        config.into_iter().chain(image.layers.iter().filter(tells))
    }
}

/// Whether no layer is known to be missing. What may stay elsewhere says nothing.
fn has_layers(image: &Image, known: &Known) -> bool {
    let mut layers = image.layers.iter().filter(|layer| layer.urls.is_empty());
    layers.all(|layer| known.blobs.get(&layer.digest) != Some(&false))
}

/// The manifests of a route that may be there, and the configurations of those that are images.
fn possible<'a>(found: &'a Found, known: &Known) -> Vec<Ask<'a>> {
    let mut possible = Possible { found, known, judged: vec![None; found.manifests().len()] };
    let all = found.manifests().iter().enumerate();
    let all = all.filter(|(position, _)| possible.holds(*position)).map(|(_, manifest)| manifest);
    let config =
        |manifest: &'a FoundManifest| manifest.content().image().map(|image| &image.config);
    let ask = |manifest: &'a FoundManifest| {
        let manifest_itself = Ask::Manifest(&manifest.subject.manifest);
        config(manifest).map(Ask::Blob).into_iter().chain([manifest_itself])
    };
    all.flat_map(ask).collect()
}

struct Possible<'a> {
    found: &'a Found,
    known: &'a Known,
    /// By position, as far as known.
    judged: Vec<Option<bool>>,
}

impl Possible<'_> {
    /// Whether nothing below the manifest at `position` is known to be missing. Digests cannot lead in a circle.
    fn holds(&mut self, position: usize) -> bool {
        if let Some(known) = self.judged[position] {
            return known;
        }
        let manifest = &self.found.manifests()[position];
        let image = manifest.content().image();
        let own = image.is_none_or(|image| has_layers(image, self.known));
        let holds = own && manifest.entries.iter().all(|(_, child)| self.holds(*child));
        self.judged[position] = Some(holds);
        holds
    }
}

fn coming<'a>((found, likely): &(&'a Found, Likely)) -> Vec<Coming<'a>> {
    let images = found.manifests().iter().filter_map(|manifest| manifest.content().image());
    images.map(|image| Coming { image, likely: *likely }).collect()
}

fn manifests(found: &Found) -> impl Iterator<Item = &RawManifest> {
    found.manifests().iter().map(|FoundManifest { subject, .. }| &subject.manifest)
}
