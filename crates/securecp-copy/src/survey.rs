use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use securecp_layer::{Journal, Scope};
use securecp_oci::json::{self, Limits};
use securecp_oci::{
    Attached, CONFIG_LIMIT, Declared, Descriptor, Digest, Image, ImageIdentity, Index,
    MANIFEST_LIMIT, Platform, PlatformWish, RawManifest, Signature, WithCauses,
};
use securecp_transport::{Accepts, Place, Source, TransportError};
use securecp_trust::{FetchFailure, Gate, IndexSignature, Judged, Subject};

use crate::budget::Budget;
use crate::bundles::{BundleSearch, Shelf};
use crate::error::{Cause, CopyError, Phase, Side};
use crate::evidence::EvidenceChoice;
use crate::job::Copying;
use crate::parallel::Workers;
use crate::route::Route;
use crate::schema1::Restated;
use crate::select::{IndexMode, Select};

/// Most memory that one image's manifests, signatures and configurations may take, in bytes: 128 MiB.
pub(crate) const MEMORY_LIMIT: u64 = 128 << 20;
/// Deepest nesting of indexes.
const DEPTH_LIMIT: usize = 8;
/// Most manifests of one image.
const COUNT_LIMIT: usize = 10_000;

/// What was read of the source: every manifest that will be copied, once, with its exact bytes.
#[derive(Debug)]
pub struct Found {
    identity: ImageIdentity,
    source_name: String,
    /// Whether reading it takes requests.
    is_remote: bool,
    manifests: Vec<FoundManifest>,
    walked: Vec<Subject>,
}

/// One manifest that will be copied.
#[derive(Debug)]
pub struct FoundManifest {
    /// Its bytes and signatures.
    pub subject: Subject,
    /// Where it will stand.
    pub place: Place,
    /// Where it stands at the source: an image chosen from an index is the root only at the destination.
    pub place_at_source: Place,
    /// For each entry of an index that is copied: its position and which manifest here it is.
    pub entries: Vec<(usize, usize)>,
    /// The positions of the entries that stay in the index, if others are to be taken out.
    pub keep: Option<Vec<usize>>,
    /// The configuration of an image, where planning needs it.
    pub config: Option<Bytes>,
    /// What it is converted to before anything else, if it is of schema 1.
    restated: OnceLock<Restated>,
}

impl FoundManifest {
    /// The manifest as it is planned: the one found, or what an image of schema 1 was converted to.
    pub fn content(&self) -> &RawManifest {
        self.restated.get().map_or(&self.subject.manifest, |restated| &restated.manifest)
    }

    /// The configuration that belongs to [`Self::content`], where planning needs it.
    pub fn configuration(&self) -> Option<&Bytes> {
        self.restated.get().map(|restated| &restated.config).or(self.config.as_ref())
    }

    /// The configuration, if it is not at the source.
    pub(crate) fn made_config(&self) -> Option<&Bytes> {
        self.restated.get().map(|restated| &restated.config)
    }

    pub(crate) fn restate(&self, restated: Restated) {
        self.restated.get_or_init(|| restated);
    }
}

impl Found {
    /// The manifests, the root first.
    pub fn manifests(&self) -> &[FoundManifest] {
        &self.manifests
    }

    /// Whether reading its blobs takes requests.
    pub(crate) fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// What the image is called where it is judged.
    pub(crate) fn image(&self) -> &ImageIdentity {
        &self.identity
    }

    /// `TRANSPORT:REST` of the source.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }
}

impl FoundManifest {
    /// The digest that an entry names.
    pub(crate) fn entry_digest(&self, position: usize) -> Option<&Digest> {
        Some(&self.entry(position)?.digest)
    }

    fn entry(&self, position: usize) -> Option<&Descriptor> {
        self.subject.manifest.index()?.manifests.get(position)
    }

    /// The manifest that an entry attests, as BuildKit writes it.
    pub(crate) fn attests(&self, position: usize) -> Option<&Digest> {
        let annotations = &self.entry(position)?.annotations;
        let kind = annotations.get("vnd.docker.reference.type")?;
        let subject = annotations.get("vnd.docker.reference.digest")?;
        let mut entries = self.subject.manifest.index()?.manifests.iter();
        let entry = entries.find(|entry| entry.digest.to_string() == *subject)?;
        (kind == "attestation-manifest").then_some(&entry.digest)
    }

    /// The platform of an entry; of an attestation that of what it attests.
    pub(crate) fn platform(&self, position: usize) -> Option<String> {
        let subject = self.attests(position);
        let mut entries = self.subject.manifest.index()?.manifests.iter();
        let entry = match subject {
            Some(subject) => entries.find(|entry| entry.digest == *subject),
            None => self.entry(position),
        };
        let platform = entry?.platform.as_ref()?;
        let parts = [&platform.os, &platform.architecture, &platform.variant];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        Some(parts.join("/").trim_end_matches('/').to_owned())
    }
}

impl Judged for Found {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        self.walked.iter().chain(self.manifests.iter().map(|m| &m.subject)).collect()
    }
}

/// Reads what is selected of every source, and whatever planning needs to know besides.
pub(crate) fn survey(copying: &Copying<'_>) -> Result<Vec<Found>, CopyError> {
    copying.workers.each(copying.job.routes, |route| survey_one(copying, route))
}

fn survey_one(copying: &Copying<'_>, route: &Route<'_>) -> Result<Found, CopyError> {
    let (job, workers) = (copying.job, &copying.workers);
    let (from, select, scope) = (route.from, job.select, job.scope);
    // A single image is read as it is at its source, also where that costs a request.
    let kept = job.journal.filter(|_| job.routes.len() > 1 && from.repository().is_some());
    let budget = Budget::new(MEMORY_LIMIT);
    // One of many looks ahead for all of them.
    let first = job.routes.first().is_some_and(|first| std::ptr::eq(first, route));
    let beside = job.edits.evidence.which != EvidenceChoice::None && from.repository().is_some();
    let ahead = first && beside;
    let survey = Survey { from, select, workers, scope, gate: job.gate, kept, ahead, budget };
    let mut found = survey.read()?;
    let converts = |accepts: Accepts| may_convert(&accepts, &found.manifests);
    if job.edits.need_config() || route.to.iter().any(|target| converts(target.to.accepts())) {
        survey.read_configs(&mut found.manifests)?;
    }
    Ok(found)
}

/// Whether the destination does not take a format that was found; no question is asked for that.
fn may_convert(accepts: &Accepts, manifests: &[FoundManifest]) -> bool {
    let taken = accepts.manifests;
    let kinds = manifests.iter().filter_map(|m| m.subject.manifest.media_type().manifest_kind());
    !taken.is_empty() && kinds.into_iter().any(|kind| !taken.contains(&kind))
}

/// Reads manifests and signatures.
pub(crate) struct Survey<'a> {
    pub(crate) from: &'a dyn Source,
    pub(crate) select: &'a Select,
    pub(crate) workers: &'a Workers,
    pub(crate) scope: &'a Scope,
    /// Says what has to be looked for.
    pub(crate) gate: &'a Gate<'a>,
    /// Manifests that earlier runs have read.
    pub(crate) kept: Option<&'a Journal>,
    /// Whether to learn ahead how a registry tells what stands beside the images.
    pub(crate) ahead: bool,
    /// Memory for manifests, signatures and configurations.
    pub(crate) budget: Budget,
}

impl Survey<'_> {
    /// Everything that can be judged: the manifests selected, with their signatures.
    pub(crate) fn read(&self) -> Result<Found, CopyError> {
        let root = self.from.root(self.scope);
        let root = root.map_err(|e| CopyError { phase: Phase::Open, ..self.failed(e) })?;
        let chosen = self.choose(root)?;
        let (manifests, ()) =
            self.workers.both(|| self.manifests(&chosen), || self.look_ahead(&chosen.manifest));
        let mut manifests = manifests?;
        self.read_signatures(&mut manifests)?;
        // Where the signature of an index counts, those on the way to a chosen image are judged too.
        let mut walked = match self.judges_indexes() {
            true => chosen.walked.into_iter().map(|(m, place)| self.subject(m, place)).collect(),
            false => Ok(Vec::new()),
        }?;
        self.read_bundles(&mut manifests, &mut walked)?;
        let identity = self.from.identity().clone();
        let (source_name, is_remote) = (self.from.name(), self.from.repository().is_some());
        Ok(Found { identity, source_name, is_remote, manifests, walked })
    }

    fn manifests(&self, chosen: &Chosen) -> Result<Vec<FoundManifest>, CopyError> {
        let mut manifests = vec![self.found(chosen.manifest.clone(), Place::Root)];
        manifests[0].place_at_source = chosen.place;
        self.select_below(&mut manifests)?;
        Ok(manifests)
    }

    /// Has the source learn, while the images of an index are read, how its registry tells what stands beside them: whether
    /// it lists referrers, and which tags there are. A failure is none here: the question is asked again, and fails then.
    fn look_ahead(&self, root: &RawManifest) {
        if self.ahead && root.index().is_some() {
            let digest = root.digest();
            self.workers.both(
                || self.from.referrers(digest, self.scope).is_ok(),
                || self.from.attached(digest, Attached::Signatures, self.scope).is_ok(),
            );
        }
    }

    /// Reads what is selected below the root.
    fn select_below(&self, manifests: &mut Vec<FoundManifest>) -> Result<(), CopyError> {
        match (self.select, manifests[0].subject.manifest.index()) {
            (Select::Platforms { wishes, .. }, None) => self.check_platform(wishes, &manifests[0]),
            (Select::IndexOnly, _) | (_, None) => Ok(()),
            (Select::Platforms { wishes, index }, Some(found)) => {
                let kept = self.chosen(wishes, found)?;
                let rewrites = *index == IndexMode::Rewrite && kept.len() < found.manifests.len();
                manifests[0].keep = rewrites.then(|| kept.clone());
                self.descend(manifests, |position| kept.contains(&position))
            }
            _ => self.descend(manifests, |_| true),
        }
    }

    /// A single image serves a platform only if its configuration says so.
    fn check_platform(
        &self,
        wishes: &[PlatformWish],
        found: &FoundManifest,
    ) -> Result<(), CopyError> {
        let manifest = &found.subject.manifest;
        let platform = match (manifest.image(), manifest.as_schema1()) {
            (Some(image), _) => self.platform(image)?,
            (None, Some(schema1)) => schema1.platform(),
            (None, None) => return Ok(()),
        };
        match wishes.iter().find(|wish| !wish.candidates().contains(&platform)) {
            Some(wish) => Err(self.failed(Cause::NoPlatform {
                wish: wish.clone(),
                there: vec![platform.to_string()],
            })),
            None => Ok(()),
        }
    }

    fn platform(&self, image: &Image) -> Result<Platform, CopyError> {
        let config = self.config(&image.config)?;
        let config = json::parse(&config, Limits::bytes(CONFIG_LIMIT)).unwrap_or_default();
        let text = |key: &str| config.get(key).and_then(|v| v.as_str()).unwrap_or_default();
        let mut platform = Platform::new(text("os"), text("architecture"));
        text("variant").clone_into(&mut platform.variant);
        Ok(platform)
    }

    fn no_platform(&self, wish: &PlatformWish, index: &Index) -> CopyError {
        let there = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        // Attestations stand for no platform.
        let there = there.map(ToString::to_string).filter(|text| text != "unknown/unknown");
        let mut there: Vec<String> = there.collect();
        there.dedup();
        self.failed(Cause::NoPlatform { wish: wish.clone(), there })
    }

    fn failed(&self, cause: impl Into<Cause>) -> CopyError {
        CopyError {
            phase: Phase::Survey,
            side: Some(Side::Source),
            place: self.from.name(),
            cause: cause.into(),
        }
    }

    /// Follows an index, also a nested one, to the image of the wanted platform.
    fn choose(&self, root: RawManifest) -> Result<Chosen, CopyError> {
        let mut chosen = Chosen { manifest: root, place: Place::Root, walked: Vec::new() };
        let Select::System(wish) = self.select else { return Ok(chosen) };
        for _ in 0..DEPTH_LIMIT {
            let Some(index) = chosen.manifest.index() else { return Ok(chosen) };
            let entry = wish.choose(index).and_then(|position| index.manifests.get(position));
            let entry = entry.ok_or_else(|| self.no_platform(wish, index))?;
            let next = self.child(entry)?;
            let index = std::mem::replace(&mut chosen.manifest, next);
            chosen.walked.push((index, chosen.place));
            chosen.place = Place::Child;
        }
        Err(self.too_deep())
    }

    fn subject(&self, manifest: RawManifest, place: Place) -> Result<Subject, CopyError> {
        let signatures = self.signatures(&manifest, place)?;
        Ok(Subject::new(manifest, signatures))
    }

    /// The positions that serve the wishes, and the attestations of what stands there, in the order of the index.
    fn chosen(&self, wishes: &[PlatformWish], index: &Index) -> Result<Vec<usize>, CopyError> {
        let mut kept = std::collections::BTreeSet::new();
        for wish in wishes {
            let position = wish.choose(index);
            kept.insert(position.ok_or_else(|| self.no_platform(wish, index))?);
        }
        let images: Vec<String> =
            kept.iter().map(|position| index.manifests[*position].digest.to_string()).collect();
        let attests = |entry: &Descriptor| {
            let of = entry.annotations.get("vnd.docker.reference.digest");
            of.is_some_and(|digest| images.contains(digest))
        };
        let attestations = index.manifests.iter().enumerate().filter(|(_, entry)| attests(entry));
        kept.extend(attestations.map(|(position, _)| position));
        Ok(kept.into_iter().collect())
    }

    /// One that an earlier run has read need not be fetched again: its digest says that it is the same.
    fn child(&self, entry: &Descriptor) -> Result<RawManifest, CopyError> {
        let kept = self.kept.and_then(|journal| journal.kept(&entry.digest));
        // Taken before it is read, so that what is beyond the bound costs nothing.
        self.keep(entry.size.min(MANIFEST_LIMIT as u64))?;
        if let Some(Ok(found)) = kept.map(|bytes| RawManifest::read(bytes, Declared::from(entry))) {
            return self.keep_view(&found).map(|()| found);
        }
        let found = self.from.manifest(entry, self.scope).map_err(|e| self.failed(e))?;
        self.keep_view(&found)?;
        if let Some(journal) = self.kept {
            journal.keep(found.digest(), found.bytes());
        }
        Ok(found)
    }

    /// What a manifest takes beside the bytes that its entry named.
    fn keep_view(&self, manifest: &RawManifest) -> Result<(), CopyError> {
        self.keep((manifest.bytes_kept() as u64).saturating_sub(manifest.size()))
    }

    /// Makes sure that so many bytes more may be kept in memory.
    fn keep(&self, bytes: u64) -> Result<(), CopyError> {
        let kept = self.budget.take(bytes);
        kept.map_err(|exceeded| self.failed(Cause::TooMany(format!("manifests: {exceeded}"))))
    }

    fn too_deep(&self) -> CopyError {
        self.failed(Cause::TooMany(format!("indexes nest deeper than {DEPTH_LIMIT}")))
    }

    /// Reads all manifests below the root, one level after the other, each digest once.
    fn descend(
        &self,
        manifests: &mut Vec<FoundManifest>,
        wanted_of_root: impl Fn(usize) -> bool,
    ) -> Result<(), CopyError> {
        let mut known = HashMap::from([(manifests[0].subject.manifest.digest().clone(), 0)]);
        let mut level = 0..1;
        for _ in 0..=DEPTH_LIMIT {
            if level.is_empty() {
                return Ok(());
            }
            let wanted = self.new_entries(&manifests[level.clone()], &known, &wanted_of_root)?;
            let read = self.workers.each(&wanted, |entry| self.child(entry))?;
            let start = manifests.len();
            for manifest in read {
                known.insert(manifest.digest().clone(), manifests.len());
                manifests.push(self.found(manifest, Place::Child));
            }
            self.link(manifests, level.clone(), &known, &wanted_of_root)?;
            level = start..manifests.len();
        }
        Err(self.too_deep())
    }

    fn new_entries(
        &self,
        parents: &[FoundManifest],
        known: &HashMap<Digest, usize>,
        wanted_of_root: &impl Fn(usize) -> bool,
    ) -> Result<Vec<Descriptor>, CopyError> {
        let mut wanted: Vec<Descriptor> = Vec::new();
        let entries = parents.iter().flat_map(|parent| entries_of(parent, wanted_of_root));
        for (_, entry) in entries {
            let seen = known.contains_key(&entry.digest)
                || wanted.iter().any(|w| w.digest == entry.digest);
            if !seen {
                wanted.push(entry.clone());
            }
            if known.len() + wanted.len() > COUNT_LIMIT {
                return Err(
                    self.failed(Cause::TooMany(format!("more than {COUNT_LIMIT} manifests")))
                );
            }
        }
        Ok(wanted)
    }

    fn found(&self, manifest: RawManifest, place: Place) -> FoundManifest {
        let unread = Err(FetchFailure("not looked up yet".to_owned()));
        FoundManifest {
            subject: Subject::new(manifest, unread),
            place,
            place_at_source: place,
            entries: Vec::new(),
            keep: None,
            config: None,
            restated: OnceLock::new(),
        }
    }

    /// The configurations of images (not of artifacts), whole and verified.
    fn read_configs(&self, manifests: &mut [FoundManifest]) -> Result<(), CopyError> {
        let configs = self.workers.each(manifests, |m| match m.subject.manifest.image() {
            Some(image) if image.config.media_type.is_image_config() => {
                self.config(&image.config).map(Some)
            }
            _ => Ok(None),
        })?;
        for (manifest, config) in manifests.iter_mut().zip(configs) {
            manifest.config = config;
        }
        Ok(())
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Bytes, CopyError> {
        if descriptor.size > CONFIG_LIMIT as u64 {
            let problem = format!(
                "configuration {} has {} bytes, the limit is {CONFIG_LIMIT}",
                descriptor.digest, descriptor.size
            );
            return Err(self.failed(Cause::TooMany(problem)));
        }
        self.keep(descriptor.size)?;
        let layer = self.from.blob(descriptor, self.scope);
        let read = layer.and_then(|layer| Ok(layer.read_whole()?));
        read.map_err(|e| self.failed(e))
    }

    fn read_signatures(&self, manifests: &mut [FoundManifest]) -> Result<(), CopyError> {
        let looked_up = self
            .workers
            .each(manifests, |m| self.signatures(&m.subject.manifest, m.place_at_source))?;
        for (manifest, signatures) in manifests.iter_mut().zip(looked_up) {
            manifest.subject.signatures = signatures;
        }
        Ok(())
    }

    fn judges_indexes(&self) -> bool {
        self.gate.index_signature != IndexSignature::Ignore
    }

    /// Reads the bundles of everything that a trust file will ask about.
    fn read_bundles(
        &self,
        manifests: &mut [FoundManifest],
        walked: &mut [Subject],
    ) -> Result<(), CopyError> {
        if !self.gate.wants_bundles(self.from.identity()) {
            return Ok(());
        }
        let search = BundleSearch::new(Shelf::Source(self.from), self.scope);
        let judged = |found: &&mut FoundManifest| found.entries.is_empty() || self.judges_indexes();
        let subjects = manifests.iter_mut().filter(judged).map(|found| &mut found.subject);
        let mut subjects: Vec<&mut Subject> = subjects.chain(walked).collect();
        let looked_up = self.workers.each(&subjects, |subject| {
            search.of(&subject.manifest).map_err(|error| self.failed(error))
        })?;
        for (subject, bundles) in subjects.iter_mut().zip(looked_up) {
            subject.bundles = bundles;
        }
        Ok(())
    }

    /// A failure to look signatures up is kept beside the manifest: it denies, it never counts as "there are none".
    fn signatures(
        &self,
        manifest: &RawManifest,
        place: Place,
    ) -> Result<Result<Vec<Signature>, FetchFailure>, CopyError> {
        match self.from.signatures(manifest, place, self.scope) {
            Err(TransportError::Stopped(stopped)) => Err(self.failed(stopped)),
            Err(error) => {
                // What was cut short by a stop says nothing of the image.
                self.scope.check().map_err(|stopped| self.failed(stopped))?;
                Ok(Err(FetchFailure(WithCauses(&error).to_string())))
            }
            Ok(signatures) => {
                let bytes = signatures.iter().map(|one| one.bytes_kept() as u64).sum();
                let kept = self.budget.take(bytes);
                Ok(kept
                    .map(|()| signatures)
                    .map_err(|exceeded| FetchFailure(format!("with the manifests, {exceeded}"))))
            }
        }
    }

    /// Ties entries to the manifests that were read. Every entry must describe what was found, not only the first.
    fn link(
        &self,
        manifests: &mut [FoundManifest],
        level: Range<usize>,
        known: &HashMap<Digest, usize>,
        wanted_of_root: &impl Fn(usize) -> bool,
    ) -> Result<(), CopyError> {
        for parent in level {
            let mut entries = Vec::new();
            for (position, entry) in entries_of(&manifests[parent], wanted_of_root) {
                let Some(at) = known.get(&entry.digest) else { continue };
                let found = &manifests[*at].subject.manifest;
                contradiction(entry, found).map_or(Ok(()), |problem| Err(self.failed(problem)))?;
                entries.push((position, *at));
            }
            manifests[parent].entries = entries;
        }
        Ok(())
    }
}

/// An image on its way from an index.
struct Chosen {
    manifest: RawManifest,
    place: Place,
    /// The indexes that led to it, outermost first.
    walked: Vec<(RawManifest, Place)>,
}

/// What an entry says of a manifest that is not so.
fn contradiction(entry: &Descriptor, found: &RawManifest) -> Option<Cause> {
    let typed = entry.media_type.manifest_kind().is_some();
    let other_type = typed && entry.media_type != *found.media_type();
    let differs = other_type || entry.size != found.size();
    differs.then(|| Cause::Contradiction {
        digest: entry.digest.clone(),
        said: format!("{} of {} bytes", entry.media_type, entry.size),
        found: format!("{} of {} bytes", found.media_type(), found.size()),
    })
}

/// The entries of an index that are copied; of the root only those wanted.
fn entries_of<'a>(
    parent: &'a FoundManifest,
    wanted_of_root: &'a impl Fn(usize) -> bool,
) -> impl Iterator<Item = (usize, &'a Descriptor)> {
    let index = parent.subject.manifest.index();
    let entries = index.map(|index| index.manifests.as_slice()).unwrap_or_default();
    let root = parent.place == Place::Root;
    entries.iter().enumerate().filter(move |(position, _)| !root || wanted_of_root(*position))
}
