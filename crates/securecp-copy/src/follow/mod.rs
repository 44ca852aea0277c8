//! Following change records: an image that was changed on the way is judged by what it was made from.
//!
//! A record is a statement like any other until the trust file says that its signer may be believed. Then the source that
//! it names is judged, by digest, under the same policy and trust file. It stands in for signatures that the changed
//! image cannot have, and for nothing else: what a policy rejects stays rejected, and a source that is refused, or cannot be
//! reached, is never passed over.

mod error;
mod records;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use securecp_oci::Digest;
use securecp_transport::Source;
use securecp_trust::{
    ChangeRecord, IndexSignature, Judged, RecordVerdict, RecordedSource, Subject, TrustDenial,
    TrustFile, Verdict,
};
use serde::Serialize;

use crate::follow::records::RecordSearch;
use crate::judge::{Trial, read};
use crate::survey::Found;

pub use error::FollowError;

/// Longest chain of records.
const DEPTH_LIMIT: usize = 4;
/// Most sources that are judged for one image, with everything below it.
const SOURCE_LIMIT: usize = 256;

/// Opens the source that a record names, as that very manifest.
pub type OpenRecorded<'a> =
    &'a dyn Fn(
        &RecordedSource,
    ) -> Result<Box<dyn Source>, Box<dyn std::error::Error + Send + Sync>>;

/// One judgement that follows records.
#[derive(Clone, Copy)]
pub struct Following<'a> {
    /// The judgement.
    pub trial: Trial<'a>,
    /// Says whose records count. It is at the trial's gate as well.
    pub trust: &'a TrustFile,
    /// Opens sources.
    pub open: OpenRecorded<'a>,
}

/// The verdict on an image, and on what its manifests were made from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The verdict on the image itself; `accepted` in it is the one that counts, with the records.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whether the image is accepted without its records.
    pub accepted_itself: bool,
    /// What became of the records of each manifest that was judged by itself.
    pub records: Vec<FollowedManifest>,
}

/// What became of the records of one manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowedManifest {
    /// Its digest.
    pub digest: Digest,
    /// Whether it may pass, with everything that is known.
    pub accepted: bool,
    /// Every record found beside it.
    pub found: Vec<RecordVerdict>,
    /// Why none of them changes the verdict on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<FollowDenial>,
    /// What it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<FollowedSource>>,
}

/// What a manifest was made from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowedSource {
    /// Its digest.
    pub digest: Digest,
    /// The verdict on it.
    pub verdict: Followed,
}

/// Why the records of a manifest do not change the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum FollowDenial {
    /// There is none.
    #[error("no change record")]
    NoRecord,
    /// None is by a recorder of the trust file, about this manifest, and good.
    #[error("no change record that counts")]
    NoTrustedRecord,
    /// They could not be had; that is never the same as having none.
    #[error("change records could not be fetched: {failure}")]
    NotFetched {
        /// Why.
        failure: String,
    },
    /// A key of a recorder or the trusted root cannot be used.
    #[error("recorders cannot be known: {failure}")]
    Recorders {
        /// Why.
        failure: String,
    },
    /// It is refused for a reason that no record lifts.
    #[error("refused for more than missing signatures, which no record lifts")]
    Barred,
    /// What it was made from is refused.
    #[error("its source {digest} is refused")]
    SourceRefused {
        /// The digest of the source.
        digest: Digest,
    },
}

impl FollowDenial {
    /// Whether the manifest is refused for it, whatever is known of it otherwise.
    fn is_final(&self) -> bool {
        !matches!(self, Self::NoRecord | Self::NoTrustedRecord | Self::Barred)
    }
}

/// Judges an image as [`crate::judge`] does, and what its manifests were made from, where a record by a recorder of the
/// trust file says so.
///
/// # Errors
/// The image, or a source that a record names, cannot be read. A refusal is no error: it stands in the verdict.
pub fn follow(following: &Following<'_>) -> Result<Followed, FollowError> {
    let walk = Walk { following, judged: Cell::new(0), path: RefCell::default() };
    walk.image(&following.trial, (&following.trial.from.name(), DEPTH_LIMIT))
}

struct Walk<'a> {
    following: &'a Following<'a>,
    /// How many sources were judged.
    judged: Cell<usize>,
    /// What was made from what, down to what is judged now. One manifest may be signed at one place and not at another.
    path: RefCell<Vec<(String, Digest)>>,
}

/// What an image is called where it was named, and how many records may follow.
type Step<'a> = (&'a str, usize);

/// An image that was read and judged.
struct Image<'a> {
    trial: &'a Trial<'a>,
    found: Found,
    verdict: Verdict,
}

impl Walk<'_> {
    fn image(&self, trial: &Trial<'_>, (name, depth): Step<'_>) -> Result<Followed, FollowError> {
        let found = read(trial).map_err(FollowError::Image)?;
        let verdict = trial.policy.judge(&found, trial.gate);
        let image = Image { trial, found, verdict };
        let judged = image.found.subjects().into_iter().filter(|subject| image.is_judged(subject));
        let records = judged.map(|subject| self.manifest(&image, subject, (name, depth)));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let accepted = image.conclude(&records);
        let mut verdict = image.verdict;
        let accepted_itself = std::mem::replace(&mut verdict.accepted, accepted);
        Ok(Followed { verdict, accepted_itself, records })
    }

    fn manifest(
        &self,
        image: &Image<'_>,
        subject: &Subject,
        (name, depth): Step<'_>,
    ) -> Result<FollowedManifest, FollowError> {
        let digest = subject.manifest.digest().clone();
        let own = image.accepts(&digest);
        let (mut found, mut source) = (Vec::new(), None);
        let denial = if !own && !image.wants_only_signatures(&digest) {
            Some(FollowDenial::Barred)
        } else {
            match self.records(image.trial, subject)? {
                Err(denial) => Some(denial),
                Ok(records) => {
                    found = records;
                    let records = found.iter().filter_map(|one| one.record.as_ref()).collect();
                    self.path.borrow_mut().push((name.to_owned(), digest.clone()));
                    source = self.sources(image.trial, (&digest, records), depth)?;
                    self.path.borrow_mut().pop();
                    denial(&found, source.as_ref())
                }
            }
        };
        let follows = source.as_ref().is_some_and(|source| source.verdict.verdict.accepted);
        let accepted = match &denial {
            Some(denial) => own && !denial.is_final(),
            None => follows,
        };
        let source = source.map(Box::new);
        Ok(FollowedManifest { digest, accepted, found, denial, source })
    }

    fn records(
        &self,
        trial: &Trial<'_>,
        subject: &Subject,
    ) -> Result<Result<Vec<RecordVerdict>, FollowDenial>, FollowError> {
        let search = RecordSearch::new(trial.from, trial.scope);
        let stored = match search.of(subject).map_err(FollowError::Image)? {
            Ok(stored) => stored,
            Err(failure) => {
                return Ok(Err(FollowDenial::NotFetched { failure: failure.to_string() }));
            }
        };
        let files = trial.gate.keys;
        let judged = self.following.trust.judge_records(&subject.manifest, stored.as_ref(), files);
        Ok(judged
            .map_err(|denial: TrustDenial| FollowDenial::Recorders { failure: denial.to_string() }))
    }

    /// Judges the sources that records name, up to the first that is accepted; of those that are refused the first is
    /// shown. What was made from itself, by whatever detour, tells nothing.
    fn sources(
        &self,
        trial: &Trial<'_>,
        (manifest, records): (&Digest, Vec<&ChangeRecord>),
        depth: usize,
    ) -> Result<Option<FollowedSource>, FollowError> {
        let mut seen = BTreeSet::new();
        let mut first = None;
        for record in records {
            let RecordedSource { image, digest, .. } = &record.source;
            let circular = self.path.borrow().contains(&(image.clone(), digest.clone()));
            if circular || !seen.insert((image, digest)) {
                continue;
            }
            let verdict = self.source(trial, (manifest, &record.source), depth)?;
            let (accepted, digest) = (verdict.verdict.accepted, digest.clone());
            let source = FollowedSource { digest, verdict };
            if accepted {
                return Ok(Some(source));
            }
            first.get_or_insert(source);
        }
        Ok(first)
    }

    fn source(
        &self,
        trial: &Trial<'_>,
        (manifest, recorded): (&Digest, &RecordedSource),
        depth: usize,
    ) -> Result<Followed, FollowError> {
        let failed = |source| FollowError::Source {
            manifest: manifest.clone(),
            image: recorded.image.clone(),
            digest: recorded.digest.clone(),
            source,
        };
        let depth = depth.checked_sub(1).ok_or(FollowError::TooDeep { limit: DEPTH_LIMIT })?;
        self.judged.set(self.judged.get() + 1);
        if self.judged.get() > SOURCE_LIMIT {
            return Err(FollowError::TooMany { limit: SOURCE_LIMIT });
        }
        let from = (self.following.open)(recorded).map_err(failed)?;
        let root = from.root(trial.scope).map_err(|error| failed(Box::new(error)))?;
        if *root.digest() != recorded.digest {
            return Err(FollowError::OtherDigest {
                image: recorded.image.clone(),
                expected: recorded.digest.clone(),
                found: root.digest().clone(),
            });
        }
        let trial = Trial { from: &*from, ..*trial };
        self.image(&trial, (&recorded.image, depth)).map_err(|error| failed(Box::new(error)))
    }
}

fn denial(found: &[RecordVerdict], source: Option<&FollowedSource>) -> Option<FollowDenial> {
    match source {
        Some(source) if source.verdict.verdict.accepted => None,
        Some(source) => Some(FollowDenial::SourceRefused { digest: source.digest.clone() }),
        None if found.is_empty() => Some(FollowDenial::NoRecord),
        None => Some(FollowDenial::NoTrustedRecord),
    }
}

impl Image<'_> {
    /// Whether the gate judged this manifest by itself.
    fn is_judged(&self, subject: &Subject) -> bool {
        self.verdict.judges(subject.manifest.digest())
    }

    fn accepts(&self, digest: &Digest) -> bool {
        self.verdict.accepts(digest)
    }

    /// Whether a manifest is refused for nothing but signatures that it lacks.
    fn wants_only_signatures(&self, digest: &Digest) -> bool {
        self.trial.policy.asks_only_for_signatures(self.found.identity())
            && self.verdict.lacks_only_signatures(digest)
    }

    /// Whether everything may pass: each manifest by itself or by its record, or as one that an index names which passes
    /// and vouches for what it names.
    fn conclude(&self, records: &[FollowedManifest]) -> bool {
        let subjects = self.found.subjects();
        !records.is_empty() && subjects.iter().all(|subject| self.passes(subject, records))
    }

    fn passes(&self, subject: &Subject, records: &[FollowedManifest]) -> bool {
        let digest = subject.manifest.digest();
        let Some(one) = records.iter().find(|one| one.digest == *digest) else { return true };
        let vouching = self.trial.gate.index_signature == IndexSignature::Accept;
        one.accepted
            || (vouching
                && (self.is_tolerated(subject, one) || self.is_vouched_for(digest, records)))
    }

    /// An index that need not be accepted if what it names is; but not one whose record leads to a refusal.
    fn is_tolerated(&self, subject: &Subject, one: &FollowedManifest) -> bool {
        let names_judged = self.found.subjects().iter().any(|other| names(subject, other));
        names_judged && !one.denial.as_ref().is_some_and(FollowDenial::is_final)
    }

    fn is_vouched_for(&self, digest: &Digest, records: &[FollowedManifest]) -> bool {
        let subjects = self.found.subjects();
        let mut passed = records.iter().filter(|one| one.accepted);
        passed.any(|one| {
            let index = subjects.iter().find(|subject| *subject.manifest.digest() == one.digest);
            index.is_some_and(|index| names_digest(index, digest))
        })
    }
}

fn names(index: &Subject, other: &Subject) -> bool {
    names_digest(index, other.manifest.digest())
}

fn names_digest(index: &Subject, digest: &Digest) -> bool {
    let entries = index.manifest.index();
    entries.is_some_and(|index| index.manifests.iter().any(|entry| entry.digest == *digest))
}

impl std::fmt::Debug for Following<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("trial", &self.trial).finish_non_exhaustive()
    }
}
