use std::collections::HashMap;

use securecp_oci::{Descriptor, Digest, ImageIdentity, RawManifest};
use securecp_transport::{Place, TransportError};
use securecp_trust::{FetchFailure, Judged, Subject};

use crate::error::{Cause, CopyError, Phase, Side};
use crate::job::Job;
use crate::parallel;
use crate::select::Select;

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

/// Reads what `job` selects of its source.
pub(crate) fn survey(job: &Job<'_>) -> Result<Found, CopyError> {
    let survey = Survey { job };
    let root = job.from.root(job.scope).map_err(|e| survey.failed(e))?;
    let root = match (job.select, root.index()) {
        (Select::System(_), Some(_)) => survey.choose(root)?,
        _ => root,
    };
    let mut manifests = vec![survey.found(root, Place::Root)];
    if *job.select != Select::IndexOnly {
        survey.descend(&mut manifests)?;
    }
    survey.read_signatures(&mut manifests)?;
    Ok(Found { identity: job.from.identity().clone(), source_name: job.from.name(), manifests })
}

struct Survey<'a> {
    job: &'a Job<'a>,
}

impl Survey<'_> {
    fn failed(&self, cause: impl Into<Cause>) -> CopyError {
        CopyError {
            phase: Phase::Survey,
            side: Some(Side::Source),
            place: self.job.from.name(),
            cause: cause.into(),
        }
    }

    /// Follows an index, also a nested one, to the image of the wanted platform.
    fn choose(&self, root: RawManifest) -> Result<RawManifest, CopyError> {
        let Select::System(wish) = self.job.select else { return Ok(root) };
        let mut manifest = root;
        for _ in 0..DEPTH_LIMIT {
            let Some(index) = manifest.index() else { return Ok(manifest) };
            let chosen = wish.choose(index).and_then(|position| index.manifests.get(position));
            let entry = chosen.ok_or_else(|| self.failed(Cause::NoPlatform(wish.clone())))?;
            manifest = self.child(entry)?;
        }
        Err(self.too_deep())
    }

    fn child(&self, entry: &Descriptor) -> Result<RawManifest, CopyError> {
        self.job.from.manifest(entry, self.job.scope).map_err(|e| self.failed(e))
    }

    fn too_deep(&self) -> CopyError {
        self.failed(Cause::TooMany(format!("indexes nest deeper than {DEPTH_LIMIT}")))
    }

    /// Reads all manifests below the root, one level after the other, each digest once.
    fn descend(&self, manifests: &mut Vec<FoundManifest>) -> Result<(), CopyError> {
        let mut known = HashMap::from([(manifests[0].subject.manifest.digest().clone(), 0)]);
        let mut level = 0..1;
        for _ in 0..=DEPTH_LIMIT {
            if level.is_empty() {
                return Ok(());
            }
            let wanted = self.new_entries(&manifests[level.clone()], &known)?;
            let read = parallel::each(self.job.effort.parallel_requests, &wanted, |entry| {
                self.child(entry)
            })?;
            let start = manifests.len();
            for manifest in read {
                known.insert(manifest.digest().clone(), manifests.len());
                manifests.push(self.found(manifest, Place::Child));
            }
            link(&mut manifests[level.clone()], &known);
            level = start..manifests.len();
        }
        Err(self.too_deep())
    }

    fn new_entries(
        &self,
        parents: &[FoundManifest],
        known: &HashMap<Digest, usize>,
    ) -> Result<Vec<Descriptor>, CopyError> {
        let mut wanted: Vec<Descriptor> = Vec::new();
        let entries = parents.iter().filter_map(|p| p.subject.manifest.index());
        for entry in entries.flat_map(|index| &index.manifests) {
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
        }
    }

    /// A failure to look signatures up is kept beside the manifest: it denies, it never counts as "there are none".
    fn read_signatures(&self, manifests: &mut [FoundManifest]) -> Result<(), CopyError> {
        let workers = self.job.effort.parallel_requests;
        let looked_up = parallel::each(workers, manifests, |m| {
            let found = self.job.from.signatures(&m.subject.manifest, m.place, self.job.scope);
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

fn link(parents: &mut [FoundManifest], known: &HashMap<Digest, usize>) {
    for parent in parents {
        let Some(index) = parent.subject.manifest.index() else { continue };
        let entries = index.manifests.iter().enumerate();
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
