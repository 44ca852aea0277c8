//! The one way from what was found to what may be copied.

use std::fmt;
use std::io;
use std::time::SystemTime;

use securecp_oci::{
    Digest, Escaped, ImageIdentity, RawManifest, SIGNATURE_COUNT_LIMIT, Signature, Transport,
};

use crate::policy::{Policy, Requirement, RequirementKind};
use crate::signed::{self, Case};
use crate::sigstore::{StoredBundle, TrustFile, sigstore_signed};
use crate::verdict::{Denial, Outcome, Refusal, RequirementVerdict, SubjectVerdict, Verdict};

/// Largest key or certificate file that is used, in bytes: 4 MiB.
pub const KEY_LIMIT: usize = 4 << 20;

/// One manifest that would be copied, with its signatures.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The manifest; its exact bytes are judged and later written.
    pub manifest: RawManifest,
    /// Its signatures in the order of their storage, or why they could not be had.
    pub signatures: Result<Vec<Signature>, FetchFailure>,
    /// The sigstore bundles that refer to it, or why they could not be had. Only a trust file asks.
    pub bundles: Result<Vec<StoredBundle>, FetchFailure>,
}

impl Subject {
    /// A manifest with its signatures, whose bundles nobody has looked for.
    pub fn new(manifest: RawManifest, signatures: Result<Vec<Signature>, FetchFailure>) -> Self {
        let bundles = Err(FetchFailure("not looked for".to_owned()));
        Self { manifest, signatures, bundles }
    }

    /// The same with what was found when bundles were looked for.
    #[must_use]
    pub fn with_bundles(self, bundles: Result<Vec<StoredBundle>, FetchFailure>) -> Self {
        Self { bundles, ..self }
    }
}

/// Why the signatures of a manifest could not be had. It denies every requirement that asks for a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Escaped::new(.0))]
pub struct FetchFailure(pub String);

/// What a survey found, seen by the gate.
pub trait Judged {
    /// What the image is called: the name that the user gave, for its instances too.
    fn identity(&self) -> &ImageIdentity;

    /// Every manifest that would be copied: images, attestation manifests, and the index that lists them, if there is
    /// one. An index without any of its instances (`index-only`) is judged like an image.
    fn subjects(&self) -> Vec<&Subject>;
}

/// What the bytes of an index have to do with the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IndexSignature {
    /// An index is not judged when its instances are, as in the reference.
    #[default]
    Ignore,
    /// An accepted index vouches for the instances that it names by digest.
    Accept,
    /// The index must be accepted as well as every instance.
    Require,
}

/// Reads a key file by the path that the policy gives.
pub type KeyReader<'a> = &'a (dyn Fn(&str) -> Result<Vec<u8>, io::Error> + Sync);

/// How a policy is to be applied.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Gate<'a> {
    /// Reads key files, only when a signature is judged with them. It should read [`KEY_LIMIT`] bytes and one more at
    /// most.
    pub keys: KeyReader<'a>,
    /// Refuse images for which no signature has to be verified (`--require-signed`).
    pub require_signed: bool,
    /// What an index has to do with the verdict (`--index-signature`).
    pub index_signature: IndexSignature,
    /// Who must have signed beyond what the policy asks (`--trust`); both must accept.
    pub trust: Option<&'a TrustFile>,
    /// The time at which keys must be valid.
    pub now: SystemTime,
}

impl<'a> Gate<'a> {
    /// A gate at the present time with the reference's behaviour.
    pub fn new(keys: KeyReader<'a>) -> Self {
        Self {
            keys,
            require_signed: false,
            index_signature: IndexSignature::default(),
            trust: None,
            now: SystemTime::now(),
        }
    }

    /// Refuses images for which no signature has to be verified.
    #[must_use]
    pub fn require_signed(self, require_signed: bool) -> Self {
        Self { require_signed, ..self }
    }

    /// Sets what an index has to do with the verdict.
    #[must_use]
    pub fn index_signature(self, index_signature: IndexSignature) -> Self {
        Self { index_signature, ..self }
    }

    /// Asks a trust file too; nothing is admitted that only one of the two accepts.
    #[must_use]
    pub fn trust(self, trust: Option<&'a TrustFile>) -> Self {
        Self { trust, ..self }
    }

    /// Whether the bundles of an image must be looked for.
    pub fn wants_bundles(&self, image: &ImageIdentity) -> bool {
        self.trust.is_some_and(|file| file.wants(image).0)
    }

    /// Judges keys at another time.
    #[must_use]
    pub fn at(self, now: SystemTime) -> Self {
        Self { now, ..self }
    }
}

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("require_signed", &self.require_signed)
            .field("index_signature", &self.index_signature)
            .field("trust", &self.trust.is_some())
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What a policy has let through, with the reasons. Only [`Policy::admit`] makes one.
///
/// ```compile_fail,E0451
/// use securecp_trust::{Admitted, Verdict};
/// fn forge<F>(found: F, verdict: Verdict) -> Admitted<F> {
///     Admitted { found, verdict }
/// }
/// ```
#[derive(Debug)]
pub struct Admitted<F> {
    found: F,
    verdict: Verdict,
}

impl<F> Admitted<F> {
    /// What was admitted.
    pub fn found(&self) -> &F {
        &self.found
    }

    /// Why.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether the manifest with this digest was judged and accepted, by itself or through an index.
    pub fn admits(&self, digest: &Digest) -> bool {
        let accepted =
            |outcome: &Outcome| matches!(outcome, Outcome::Accepted | Outcome::VouchedFor { .. });
        self.verdict.subjects.iter().any(|s| s.digest == *digest && accepted(&s.outcome))
    }

    /// Takes it apart; what was found is no longer known to be admitted then.
    pub fn into_parts(self) -> (F, Verdict) {
        (self.found, self.verdict)
    }
}

impl Policy {
    /// Judges everything that was found and lets it through, whole or not at all.
    ///
    /// # Errors
    /// A manifest does not meet a requirement, or there is no manifest.
    pub fn admit<F: Judged>(&self, found: F, gate: &Gate<'_>) -> Result<Admitted<F>, Refusal> {
        let verdict = self.judge(&found, gate);
        if verdict.accepted { Ok(Admitted { found, verdict }) } else { Err(Refusal::new(verdict)) }
    }

    /// Judges everything that was found, without consequence. Both the policy and the gate's trust file are asked,
    /// whatever the other one says.
    pub fn judge<F: Judged>(&self, found: &F, gate: &Gate<'_>) -> Verdict {
        let (identity, all) = (found.identity(), found.subjects());
        let (scope, requirements) = self.scope_for(identity);
        let subjects = Bench { identity, requirements, gate }.judge_all(&all);
        let trust = gate.trust.map(|file| file.judge_all(identity, &all, gate));
        let mut verdict =
            Verdict { image: image_name(identity), accepted: false, scope, subjects, trust };
        verdict.accepted = !verdict.is_refused_by_policy() && !verdict.is_refused_by_trust_file();
        verdict
    }
}

/// The image as error messages name it, with its transport.
fn image_name(identity: &ImageIdentity) -> String {
    let slashes = if identity.transport == Transport::Docker { "//" } else { "" };
    format!("{}:{slashes}{}", identity.transport, Escaped::new(&identity.scope))
}

/// The requirements that apply to one image.
struct Bench<'a> {
    identity: &'a ImageIdentity,
    requirements: &'a [Requirement],
    gate: &'a Gate<'a>,
}

impl Bench<'_> {
    fn judge_all(&self, subjects: &[&Subject]) -> Vec<SubjectVerdict> {
        let indexes: Vec<(Digest, SubjectVerdict)> = subjects
            .iter()
            .filter(|subject| subject.manifest.index().is_some())
            .map(|subject| (subject.manifest.digest().clone(), self.judge_index(subject, subjects)))
            .collect();
        let one = |subject: &&Subject| {
            let own = subject.manifest.digest();
            match indexes.iter().find(|(digest, _)| digest == own) {
                Some((_, verdict)) => verdict.clone(),
                None => self.judge_leaf(subject, subjects, &indexes),
            }
        };
        subjects.iter().map(one).collect()
    }

    /// An index counts by itself unless its instances are judged in the same run and the mode says otherwise.
    fn judge_index(&self, subject: &Subject, subjects: &[&Subject]) -> SubjectVerdict {
        let with_instances = subjects.iter().any(|other| names(subject, other));
        match self.gate.index_signature {
            IndexSignature::Ignore if with_instances => {
                verdict_of(subject, Outcome::NotJudged, Vec::new())
            }
            IndexSignature::Accept if with_instances => {
                let found = self.judge_one(subject);
                match found.outcome {
                    Outcome::Refused => SubjectVerdict { outcome: Outcome::Tolerated, ..found },
                    _ => found,
                }
            }
            _ => self.judge_one(subject),
        }
    }

    fn judge_leaf(
        &self,
        subject: &Subject,
        subjects: &[&Subject],
        indexes: &[(Digest, SubjectVerdict)],
    ) -> SubjectVerdict {
        let vouching = |index: &&&Subject| {
            names(index, subject)
                && indexes.iter().any(|(digest, verdict)| {
                    digest == index.manifest.digest() && verdict.outcome == Outcome::Accepted
                })
        };
        let index = (self.gate.index_signature == IndexSignature::Accept)
            .then(|| subjects.iter().find(vouching))
            .flatten();
        match index {
            Some(index) => {
                let index = index.manifest.digest().clone();
                verdict_of(subject, Outcome::VouchedFor { index }, Vec::new())
            }
            None => self.judge_one(subject),
        }
    }

    /// All requirements, in order, up to the first that is not met.
    fn judge_one(&self, subject: &Subject) -> SubjectVerdict {
        let mut verdicts = Vec::new();
        for requirement in self.requirements {
            let verdict = self.judge_requirement(requirement, subject);
            let accepted = verdict.accepted;
            verdicts.push(verdict);
            if !accepted {
                return verdict_of(subject, Outcome::Refused, verdicts);
            }
        }
        let verified = self.requirements.iter().any(Requirement::verifies_signatures);
        let unsigned_policy = self.gate.require_signed && !verified;
        // A policy has no empty list; if it had, nothing would have been judged.
        let refused = unsigned_policy || verdicts.is_empty();
        let outcome = if refused { Outcome::Refused } else { Outcome::Accepted };
        SubjectVerdict { unsigned_policy, ..verdict_of(subject, outcome, verdicts) }
    }

    fn judge_requirement(
        &self,
        requirement: &Requirement,
        subject: &Subject,
    ) -> RequirementVerdict {
        let kind = requirement.kind();
        match requirement {
            Requirement::InsecureAcceptAnything => met(kind),
            Requirement::Reject => {
                not_met(kind, Denial::Rejected { image: image_name(self.identity) })
            }
            Requirement::SignedBaseLayer => not_met(kind, Denial::BaseLayer),
            Requirement::SignedBy(it) => simple(subject)
                .and_then(|found| signed::signed_by(self.case(subject), it, found))
                .unwrap_or_else(|denial| not_met(kind, denial)),
            Requirement::SigstoreSigned(it) => sigstore(subject)
                .and_then(|found| sigstore_signed(self.case(subject), it, found))
                .unwrap_or_else(|denial| not_met(kind, denial)),
        }
    }

    fn case<'b>(&'b self, subject: &'b Subject) -> Case<'b> {
        Case { gate: self.gate, subject, image: self.identity.reference.as_ref() }
    }
}

/// Judges one manifest under one requirement of a policy.
pub(crate) fn meets(
    identity: &ImageIdentity,
    requirement: &Requirement,
    subject: &Subject,
    gate: &Gate<'_>,
) -> RequirementVerdict {
    Bench { identity, requirements: &[], gate }.judge_requirement(requirement, subject)
}

/// The simple-signing signatures with their places; sigstore ones are invisible to `signedBy`.
fn simple(subject: &Subject) -> Result<Vec<(usize, &[u8])>, Denial> {
    let found: Vec<_> = numbered(subject)?
        .filter_map(|(position, signature)| match signature {
            Signature::Simple(message) => Some((position, message.as_ref())),
            Signature::Sigstore { .. } => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Denial::NoSignature { non_sigstore: 0, non_signatures: 0 });
    }
    Ok(found)
}

/// The sigstore signatures with their places; other attachments and other families are only counted.
fn sigstore(subject: &Subject) -> Result<Vec<(usize, &Signature)>, Denial> {
    let (mut found, mut non_sigstore, mut non_signatures) = (Vec::new(), 0, 0);
    for (position, signature) in numbered(subject)? {
        match signature {
            Signature::Simple(_) => non_sigstore += 1,
            Signature::Sigstore { media_type, .. } => {
                if media_type == Signature::SIGSTORE_MEDIA_TYPE {
                    found.push((position, signature));
                } else {
                    non_signatures += 1;
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Denial::NoSignature { non_sigstore, non_signatures });
    }
    Ok(found)
}

fn numbered(subject: &Subject) -> Result<impl Iterator<Item = (usize, &Signature)>, Denial> {
    signatures(subject).map(|found| (1..).zip(found))
}

/// The signatures of a manifest; a failure to fetch them is a denial of its own.
fn signatures(subject: &Subject) -> Result<&[Signature], Denial> {
    match &subject.signatures {
        Err(failure) => Err(Denial::NotFetched { failure: failure.to_string() }),
        Ok(found) if found.len() > SIGNATURE_COUNT_LIMIT => {
            Err(Denial::TooManySignatures { found: found.len(), limit: SIGNATURE_COUNT_LIMIT })
        }
        Ok(found) => Ok(found),
    }
}

/// Whether `index` names `other` by the digest of its bytes.
pub(crate) fn names(index: &Subject, other: &Subject) -> bool {
    let digest = other.manifest.digest();
    let entries = index.manifest.index();
    entries.is_some_and(|index| index.manifests.iter().any(|entry| entry.digest == *digest))
}

fn met(kind: RequirementKind) -> RequirementVerdict {
    RequirementVerdict { kind, accepted: true, denial: None, signatures: Vec::new() }
}

fn not_met(kind: RequirementKind, denial: Denial) -> RequirementVerdict {
    RequirementVerdict { kind, accepted: false, denial: Some(denial), signatures: Vec::new() }
}

fn verdict_of(
    subject: &Subject,
    outcome: Outcome,
    requirements: Vec<RequirementVerdict>,
) -> SubjectVerdict {
    SubjectVerdict {
        digest: subject.manifest.digest().clone(),
        media_type: subject.manifest.media_type().to_string(),
        outcome,
        requirements,
        unsigned_policy: false,
    }
}
