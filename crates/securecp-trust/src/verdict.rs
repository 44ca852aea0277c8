//! What the gate found, as data: for people through `Display`, for machines through `Serialize`.

use std::fmt::{self, Display};

use securecp_oci::{Digest, Escaped};
use serde::{Serialize, Serializer};

use crate::policy::{RequirementKind, ScopeUsed};
use crate::sigstore::{SigstoreFault, SigstoreKeyFault, TrustDenial, TrustReport, TrustVerdict};

/// The outcome of judging everything that one copy would bring along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Verdict {
    /// The image, with its transport, as the user named it.
    pub image: String,
    /// Whether everything may be copied.
    pub accepted: bool,
    /// The entry of the policy that decided.
    pub scope: ScopeUsed,
    /// One verdict for each manifest; none means that nothing was there to be judged.
    pub subjects: Vec<SubjectVerdict>,
    /// What the trust file says, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustReport>,
}

/// The outcome for one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SubjectVerdict {
    /// The digest of the bytes that were judged.
    #[serde(serialize_with = "as_text")]
    pub digest: Digest,
    /// The media type of the manifest.
    pub media_type: String,
    /// What follows for the copy.
    pub outcome: Outcome,
    /// The requirements that were evaluated, in the order of the policy, up to the first that was not met.
    pub requirements: Vec<RequirementVerdict>,
    /// Every requirement was met, but `--require-signed` asks for one that verifies signatures.
    pub unsigned_policy: bool,
}

/// What follows from the judgement of one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// It meets every requirement itself.
    Accepted,
    /// An accepted index names it by digest (`--index-signature accept`).
    VouchedFor {
        /// The digest of that index.
        #[serde(serialize_with = "as_text")]
        index: Digest,
    },
    /// An index whose instances are judged one by one (`--index-signature ignore`).
    NotJudged,
    /// An index that is not accepted itself, whose instances are judged one by one (`--index-signature accept`).
    Tolerated,
    /// It may not be copied.
    Refused,
}

/// The outcome of one requirement for one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RequirementVerdict {
    /// The type of the requirement.
    #[serde(rename = "type")]
    pub kind: RequirementKind,
    /// Whether it is met.
    pub accepted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "explained")]
    pub denial: Option<Denial>,
    /// The signatures that were tried, up to the first that was accepted.
    pub signatures: Vec<SignatureVerdict>,
}

/// The outcome of one signature for one requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SignatureVerdict {
    /// Its place among all signatures of the manifest, from 1.
    pub position: usize,
    /// Who signed and for which identity, if the signature is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Signer>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "explained")]
    pub fault: Option<SignatureFault>,
}

/// Who made an accepted signature, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Signer {
    /// The fingerprint of the OpenPGP primary key, or the name of the sigstore key or certificate.
    pub key: String,
    /// The identity that the signature claims.
    pub identity: String,
}

/// Why a requirement is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Denial {
    /// The requirement is `reject`.
    #[error("Running image {image} is rejected by policy.")]
    Rejected {
        /// The image.
        image: String,
    },
    /// The requirement is `signedBaseLayer`.
    #[error("signedBaseLayer not implemented yet!")]
    BaseLayer,
    /// The signatures could not be had; that is never the same as having none.
    #[error("signatures could not be fetched: {failure}")]
    NotFetched {
        /// Why.
        failure: String,
    },
    /// There is no signature of the family that the requirement asks for.
    #[error("A signature was required, but no signature exists{}", others(*.non_sigstore, *.non_signatures))]
    NoSignature {
        /// Simple-signing signatures seen by `sigstoreSigned`.
        non_sigstore: usize,
        /// Sigstore attachments that are not signatures, seen by `sigstoreSigned`.
        non_signatures: usize,
    },
    /// More signatures than any manifest may have.
    #[error("manifest has {found} signatures, the limit is {limit}")]
    TooManySignatures {
        /// Signatures found.
        found: usize,
        /// Signatures allowed.
        limit: usize,
    },
    /// The key type is part of the grammar only.
    #[error("Unimplemented \"keyType\" value \"{key_type}\"")]
    KeyType {
        /// The key type.
        key_type: &'static str,
    },
    /// A key of the requirement cannot be used.
    #[error("{fault}")]
    Keys {
        /// Why.
        fault: KeyFault,
    },
    /// The only signature is not accepted.
    #[error("{fault}")]
    Signature {
        /// Why.
        #[serde(skip)]
        fault: SignatureFault,
    },
    /// None of several signatures is accepted.
    #[error("None of the signatures were accepted, reasons: {}", joined(.faults))]
    Signatures {
        /// Why, for each.
        #[serde(skip)]
        faults: Vec<SignatureFault>,
    },
}

/// Why a key of a requirement cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum KeyFault {
    /// The file cannot be read.
    #[error("open {path}: {failure}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        failure: String,
    },
    /// The file is larger than allowed.
    #[error("key {path} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: String,
        /// Bytes allowed.
        limit: usize,
    },
    /// No certificate was found in any of the files.
    #[error("No public keys imported")]
    NoneImported,
    /// Something among the keys is not a certificate that can be read.
    #[error("OpenPGP keys cannot be read: {failure}")]
    Certificate {
        /// Why.
        failure: String,
    },
    /// A signature without a certificate, such as a revocation, belongs to none that is there.
    #[error(
        "a signature of OpenPGP key {key} stands alone, and no certificate is there that it belongs to"
    )]
    Alone {
        /// The key that made it, in upper-case hexadecimal digits.
        key: String,
    },
    /// A reason that only keys and certificates of `sigstoreSigned` have.
    #[error(transparent)]
    #[serde(untagged)]
    Sigstore(#[from] SigstoreKeyFault),
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum SignatureFault {
    /// The signed digest is another one.
    #[error("Signature for digest {signed} does not match")]
    Digest {
        /// The digest that the signature names.
        signed: String,
    },
    /// The signed identity is another one.
    #[error("Signature for identity \"{signed}\" is not accepted")]
    Identity {
        /// The identity that the signature names.
        signed: String,
    },
    /// The signed bytes are not a payload.
    #[error("signed payload is not valid: {failure}")]
    Payload {
        /// Why.
        failure: String,
    },
    /// The message is armoured, clear-signed or not OpenPGP at all.
    #[error("signature is not a binary OpenPGP message")]
    NotBinary,
    /// The message is encrypted.
    #[error("signature is an encrypted OpenPGP message, expected a signed one")]
    Encrypted,
    /// The message has no signature.
    #[error("OpenPGP message is not signed")]
    Unsigned,
    /// There is a signature without the signed data.
    #[error("OpenPGP signature is detached, expected a signed message")]
    Detached,
    /// The message does not follow the grammar.
    #[error("malformed OpenPGP message: {failure}")]
    Malformed {
        /// Why.
        failure: String,
    },
    /// The content is larger than any payload.
    #[error("signed content has more than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The message has more signatures than one.
    #[error("Unexpected GPG signature count {found}")]
    SignatureCount {
        /// Signatures found.
        found: usize,
    },
    /// The key is not one of those that the policy names.
    #[error("signature by key {key} is not accepted")]
    UnknownKey {
        /// The key that the signature claims.
        key: String,
    },
    /// The key has expired.
    #[error("Invalid GPG signature: key {key} has expired")]
    KeyExpired {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The key or its signing subkey is revoked.
    #[error("Invalid GPG signature: key {key} is revoked")]
    KeyRevoked {
        /// The fingerprint of the primary key.
        key: String,
    },
    /// The key may not be used for signing.
    #[error("Invalid GPG signature: key {key} cannot be used: {failure}")]
    KeyUnusable {
        /// The fingerprint of the primary key.
        key: String,
        /// Why.
        failure: String,
    },
    /// The signature has expired.
    #[error("Invalid GPG signature: the signature has expired")]
    SignatureExpired,
    /// The signature was made in the future.
    #[error("Invalid GPG signature: the signature is dated in the future")]
    NotYetValid,
    /// The signature rests on an algorithm that is no longer safe.
    #[error("Invalid GPG signature: {what} is not safe any more")]
    Weak {
        /// The algorithm.
        what: String,
    },
    /// The signature does not belong to the data.
    #[error("Invalid GPG signature: it does not verify")]
    Broken,
    /// A reason that only sigstore signatures have.
    #[error(transparent)]
    #[serde(untagged)]
    Sigstore(#[from] SigstoreFault),
}

/// Everything that `admit` refuses to let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Verdict>);

impl Refusal {
    pub(crate) fn new(verdict: Verdict) -> Self {
        Self(Box::new(verdict))
    }

    /// What was found.
    pub fn verdict(&self) -> &Verdict {
        &self.0
    }
}

impl Verdict {
    /// The refusal, if the image is refused.
    pub fn refusal(&self) -> Option<Refusal> {
        (!self.accepted).then(|| Refusal::new(self.clone()))
    }

    /// Whether the policy refuses, whatever a trust file says.
    pub fn is_refused_by_policy(&self) -> bool {
        self.subjects.is_empty() || self.subjects.iter().any(|s| s.outcome == Outcome::Refused)
    }

    /// Whether a trust file was asked and refuses, whatever the policy says.
    pub fn is_refused_by_trust_file(&self) -> bool {
        self.trust.as_ref().is_some_and(|trust| !trust.accepted)
    }
}

impl Verdict {
    /// Whether the manifest with this digest was judged by itself, by the policy or the trust file.
    pub fn judges(&self, digest: &Digest) -> bool {
        let by_itself = |outcome: &Outcome| {
            matches!(outcome, Outcome::Accepted | Outcome::Tolerated | Outcome::Refused)
        };
        self.of_policy(digest).any(|subject| by_itself(&subject.outcome))
            || self.of_trust(digest).next().is_some()
    }

    /// Whether nothing is held against the manifest with this digest: its own signatures are what was asked for.
    pub fn accepts(&self, digest: &Digest) -> bool {
        let good = |outcome: &Outcome| !matches!(outcome, Outcome::Tolerated | Outcome::Refused);
        self.of_policy(digest).next().is_some()
            && self.of_policy(digest).all(|subject| good(&subject.outcome))
            && self.of_trust(digest).all(|trust| trust.accepted)
    }

    /// Whether all that is held against the manifest with this digest is that nobody who counts has signed it.
    pub fn lacks_only_signatures(&self, digest: &Digest) -> bool {
        let by_policy = |subject: &SubjectVerdict| {
            let denials = subject.requirements.iter().filter_map(|found| found.denial.as_ref());
            !subject.unsigned_policy && denials.into_iter().all(Denial::is_want_of_signatures)
        };
        let by_trust = |trust: &TrustVerdict| {
            trust.accepted || trust.denial.as_ref().is_some_and(TrustDenial::is_want_of_signatures)
        };
        self.of_policy(digest).next().is_some()
            && self.of_policy(digest).all(by_policy)
            && self.of_trust(digest).all(by_trust)
    }

    fn of_policy(&self, digest: &Digest) -> impl Iterator<Item = &SubjectVerdict> {
        self.subjects.iter().filter(move |subject| subject.digest == *digest)
    }

    fn of_trust(&self, digest: &Digest) -> impl Iterator<Item = &TrustVerdict> {
        let manifests = self.trust.iter().flat_map(|report| &report.manifests);
        manifests.filter(move |verdict| verdict.digest == *digest)
    }
}

impl Denial {
    /// Whether signatures were looked for and found wanting: there is none, or none by somebody who counts.
    fn is_want_of_signatures(&self) -> bool {
        matches!(self, Self::NoSignature { .. } | Self::Signature { .. } | Self::Signatures { .. })
    }
}

impl std::error::Error for Refusal {}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source image rejected: ")?;
        let image = &self.0.image;
        if let (false, Some(trust)) = (self.0.is_refused_by_policy(), &self.0.trust) {
            return trust.refusal(f);
        }
        let Some(subject) = self.0.subjects.iter().find(|s| s.outcome == Outcome::Refused) else {
            return write!(f, "nothing of image {image} was there to be judged");
        };
        match subject.denial() {
            Some(denial) => denial.fmt(f),
            None => write!(f, "No signature verification policy found for image {image}"),
        }
    }
}

impl SubjectVerdict {
    /// Why the first requirement that is not met is not.
    pub fn denial(&self) -> Option<&Denial> {
        self.requirements.iter().find_map(|requirement| requirement.denial.as_ref())
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.accepted { "accepted" } else { "refused" };
        writeln!(f, "{}: {word} ({})", self.image, self.scope)?;
        self.subjects.iter().try_for_each(|subject| subject.fmt(f))?;
        self.trust.as_ref().map_or(Ok(()), |trust| trust.fmt(f))
    }
}

impl Display for SubjectVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} {}: {}", self.digest, Escaped::new(&self.media_type), self.outcome)?;
        if self.unsigned_policy {
            writeln!(f, "    no requirement of this scope verifies signatures")?;
        }
        self.requirements.iter().try_for_each(|requirement| requirement.fmt(f))
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::VouchedFor { index } => {
                write!(f, "accepted, named by the accepted index {index}")
            }
            Self::NotJudged => f.write_str("not judged, its instances are"),
            Self::Tolerated => f.write_str("not accepted itself, its instances are judged"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

impl Display for RequirementVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.denial {
            Some(denial) => writeln!(f, "    {}: {denial}", self.kind.name())?,
            None => writeln!(f, "    {}: met", self.kind.name())?,
        }
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

impl Display for SignatureVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "      signature {}: ", self.position)?;
        match (&self.accepted, &self.fault) {
            (Some(signer), _) => writeln!(f, "by {}, for {}", signer.key, signer.identity),
            (None, Some(fault)) => writeln!(f, "{fault}"),
            (None, None) => writeln!(f, "not accepted"),
        }
    }
}

fn others(non_sigstore: usize, non_signatures: usize) -> String {
    if non_sigstore == 0 && non_signatures == 0 {
        return String::new();
    }
    format!(
        " ({non_sigstore} non-sigstore signatures, {non_signatures} sigstore non-signature attachments)"
    )
}

fn joined(faults: &[SignatureFault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

pub(crate) fn as_text<S: Serializer>(value: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Adds the text for people to the members for machines.
pub(crate) fn explained<T: Serialize + Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Explained<'a, T> {
        #[serde(flatten)]
        reason: &'a T,
        message: String,
    }
    match value {
        Some(reason) => Explained { reason, message: reason.to_string() }.serialize(serializer),
        None => serializer.serialize_none(),
    }
}
