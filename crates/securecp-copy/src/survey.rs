use std::collections::HashMap;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, ImageIdentity, Index, PlatformWish, RawManifest};
use securecp_transport::{Accepts, Place, Source, TransportError};
use securecp_trust::{FetchFailure, Judged, Subject};

use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::{Effort, Job};
use crate::parallel;
use crate::select::{IndexMode, Select};

/// Largest configuration that is read, in bytes: 4 MiB.
pub(crate) const CONFIG_LIMIT: usize = 4 << 20;
/// Deepest nesting of indexes.
const DEPTH_LIMIT: usize = 8;
/// Most manifests of one image.
const COUNT_LIMIT: usize = 10_000;

/// What was read of the source: every manifest that will be copied, once, with its exact bytes.
#[derive(Debug)]
pub struct Found {
    identity: ImageIdentity,
    source_name: String,
    manifests: Vec<FoundManifest>,
}

/// One manifest that will be copied.
#[derive(Debug)]
pub struct FoundManifest {
    /// Its bytes and signatures.
    pub subject: Subject,
    /// Where it stands.
    pub place: Place,
    /// For each entry of an index that is copied: its position and which manifest here it is.
    pub entries: Vec<(usize, usize)>,
    /// The positions of the entries that stay in the index, if others are to be taken out.
    pub keep: Option<Vec<usize>>,
    /// The configuration of an image, where planning needs it.
    pub config: Option<Bytes>,
}

impl Found {
    /// The manifests, the root first.
    pub fn manifests(&self) -> &[FoundManifest] {
        &self.manifests
    }

    /// `TRANSPORT:REST` of the source.
    pub fn source_name(&self) -> &str {
        &self.source_name
    }
}

impl Judged for Found {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        self.manifests.iter().map(|m| &m.subject).collect()
    }
}

/// Reads what `job` selects of its source, and whatever planning needs to know besides.
pub(crate) fn survey(job: &Job<'_>) -> Result<Found, CopyError> {
    let effort = job.effort;
    let survey = Survey { from: job.from, select: job.select, effort, scope: job.scope };
    let mut found = survey.read()?;
    if job.edits.need_config() || may_convert(&job.to.accepts(), &found.manifests) {
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
    pub(crate) effort: Effort,
    pub(crate) scope: &'a Scope,
}

impl Survey<'_> {
    /// Everything that can be judged: the manifests selected, with their signatures.
    pub(crate) fn read(&self) -> Result<Found, CopyError> {
        let root = self.from.root(self.scope).map_err(|e| self.failed(e))?;
        let root = match (self.select, root.index()) {
            (Select::System(_), Some(_)) => self.choose(root)?,
            _ => root,
        };
        let mut manifests = vec![self.found(root, Place::Root)];
        match (self.select, manifests[0].subject.manifest.index()) {
            (Select::IndexOnly, _) | (_, None) => {}
            (Select::Platforms { wishes, index }, Some(found)) => {
                let kept = self.chosen(wishes, found)?;
                manifests[0].keep = (*index == IndexMode::Rewrite
                    && kept.len() < found.manifests.len())
                .then(|| kept.clone());
                self.descend(&mut manifests, |position| kept.contains(&position))?;
            }
            _ => self.descend(&mut manifests, |_| true)?,
        }
        self.read_signatures(&mut manifests)?;
        let identity = self.from.identity().clone();
        Ok(Found { identity, source_name: self.from.name(), manifests })
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
    fn choose(&self, root: RawManifest) -> Result<RawManifest, CopyError> {
        let Select::System(wish) = self.select else { return Ok(root) };
        let mut manifest = root;
        for _ in 0..DEPTH_LIMIT {
            let Some(index) = manifest.index() else { return Ok(manifest) };
            let chosen = wish.choose(index).and_then(|position| index.manifests.get(position));
            let entry = chosen.ok_or_else(|| self.failed(Cause::NoPlatform(wish.clone())))?;
            manifest = self.child(entry)?;
        }
        Err(self.too_deep())
    }

    /// The positions that serve the wishes, and the attestations of what stands there, in the order of the index.
    fn chosen(&self, wishes: &[PlatformWish], index: &Index) -> Result<Vec<usize>, CopyError> {
        let mut kept = std::collections::BTreeSet::new();
        for wish in wishes {
            let position = wish.choose(index);
            kept.insert(position.ok_or_else(|| self.failed(Cause::NoPlatform(wish.clone())))?);
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

    fn child(&self, entry: &Descriptor) -> Result<RawManifest, CopyError> {
        self.from.manifest(entry, self.scope).map_err(|e| self.failed(e))
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
            let read =
                parallel::each(self.effort.parallel_requests, &wanted, |entry| self.child(entry))?;
            let start = manifests.len();
            for manifest in read {
                known.insert(manifest.digest().clone(), manifests.len());
                manifests.push(self.found(manifest, Place::Child));
            }
            link(&mut manifests[level.clone()], &known, &wanted_of_root);
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
            subject: Subject { manifest, signatures: unread },
            place,
            entries: Vec::new(),
            keep: None,
            config: None,
        }
    }

    /// The configurations of images (not of artifacts), whole and verified.
    fn read_configs(&self, manifests: &mut [FoundManifest]) -> Result<(), CopyError> {
        let workers = self.effort.parallel_requests;
        let configs = parallel::each(workers, manifests, |m| match m.subject.manifest.image() {
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
        let read = || -> Result<Bytes, TransportError> {
            let mut layer = self.from.blob(descriptor, self.scope)?;
            let mut bytes = Vec::new();
            while let Some(chunk) = layer.next()? {
                bytes.extend_from_slice(&chunk);
            }
            layer.finish()?;
            Ok(bytes.into())
        };
        read().map_err(|e| self.failed(e))
    }

    /// A failure to look signatures up is kept beside the manifest: it denies, it never counts as "there are none".
    fn read_signatures(&self, manifests: &mut [FoundManifest]) -> Result<(), CopyError> {
        let workers = self.effort.parallel_requests;
        let looked_up = parallel::each(workers, manifests, |m| {
            let found = self.from.signatures(&m.subject.manifest, m.place, self.scope);
            match found {
                Err(TransportError::Stopped(stopped)) => Err(self.failed(stopped)),
                Err(error) => Ok(Err(FetchFailure(chain_text(&error)))),
                Ok(signatures) => Ok(Ok(signatures)),
            }
        })?;
        for (manifest, signatures) in manifests.iter_mut().zip(looked_up) {
            manifest.subject.signatures = signatures;
        }
        Ok(())
    }
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

fn link(
    parents: &mut [FoundManifest],
    known: &HashMap<Digest, usize>,
    wanted_of_root: &impl Fn(usize) -> bool,
) {
    for parent in parents {
        let entries = entries_of(parent, wanted_of_root);
        parent.entries = entries
            .filter_map(|(position, entry)| known.get(&entry.digest).map(|at| (position, *at)))
            .collect();
    }
}

/// An error with its causes on one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
