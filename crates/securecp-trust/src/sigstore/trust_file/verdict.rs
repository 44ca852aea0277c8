//! What a trust file says of one manifest, as data.

use std::fmt::{self, Display};

use securecp_oci::Digest;
use serde::Serialize;

use super::shown;
use crate::sigstore::{BundleFault, SigstoreFault};

/// What a trust file says of everything that one copy would bring along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TrustReport {
    /// Whether everything may be copied.
    pub accepted: bool,
    /// One verdict for each manifest that was judged by itself. An index is not, unless its signature counts, and
    /// neither is what an accepted index vouches for.
    pub manifests: Vec<TrustVerdict>,
}

/// The outcome for one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TrustVerdict {
    /// The digest of the bytes that were judged.
    #[serde(serialize_with = "crate::verdict::as_text")]
    pub digest: Digest,
    /// The entry of the file that decided.
    pub scope: String,
    /// Whether the manifest may be copied.
    pub accepted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::verdict::explained")]
    pub denial: Option<TrustDenial>,
    /// Everything that was looked at, in order.
    pub found: Vec<FoundVerdict>,
}

/// The outcome of one bundle or signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FoundVerdict {
    /// What it is.
    pub kind: Found,
    /// Its place among those of its kind, from 1.
    pub position: usize,
    /// Who made it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The signers of the file that this is.
    pub signers: Vec<String>,
    /// Why it is none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::verdict::explained")]
    pub fault: Option<TrustFault>,
}

/// The forms of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Found {
    /// A sigstore bundle.
    Bundle,
    /// A layer of a sigstore attachment.
    Attachment,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum TrustDenial {
    /// The file says so.
    #[error("rejected by the trust file")]
    Rejected,
    /// Signatures could not be had; that is never the same as having none.
    #[error("{what} could not be fetched: {failure}")]
    NotFetched {
        /// Bundles or attachments.
        what: &'static str,
        /// Why.
        failure: String,
    },
    /// There is nothing to be judged.
    #[error("no signature of the accepted form")]
    NoSignature,
    /// More than any manifest may have.
    #[error("manifest has {found} {what}, the limit is {limit}")]
    TooMany {
        /// Bundles or attachments.
        what: &'static str,
        /// Number found.
        found: usize,
        /// Number allowed.
        limit: usize,
    },
    /// The trusted root or a key cannot be used.
    #[error("{subject} cannot be used: {failure}")]
    Material {
        /// The file.
        subject: String,
        /// Why.
        failure: String,
    },
    /// Those who signed are not those who must have.
    #[error("signed by {}, expected {expected}", if .signed.is_empty() { "nobody known".to_owned() } else { .signed.join(", ") })]
    NotMet {
        /// The rule.
        expected: String,
        /// The signers whose signatures were accepted.
        signed: Vec<String>,
    },
}

/// Why a bundle or signature is by none of the signers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum TrustFault {
    /// It is good, but by somebody else.
    #[error("made by {holder}, who is none of the signers ({})", .mismatches.join("; "))]
    OtherSigner {
        /// Who made it.
        holder: String,
        /// For each signer, what is different.
        mismatches: Vec<String>,
    },
    /// No key of the file made it.
    #[error("made with none of the keys: {}", .failures.join("; "))]
    NoKey {
        /// Why, for each key.
        failures: Vec<String>,
    },
    /// There is no signer of its kind.
    #[error("signed with a {found}, and no signer of the file has one")]
    OtherKind {
        /// A key or a certificate.
        found: &'static str,
    },
    /// It has a form that does not count.
    #[error("the trust file accepts no {found} for this image")]
    OtherForm {
        /// Bundles or attachments.
        found: &'static str,
    },
    /// It is another kind of attachment.
    #[error("not a signature")]
    NotASignature,
    /// It is about another manifest.
    #[error("signature for digest {signed} does not match")]
    Digest {
        /// The digest that it names.
        signed: String,
    },
    /// The signed bytes are not a payload.
    #[error("signed payload is not valid: {failure}")]
    Payload {
        /// Why.
        failure: String,
    },
    /// The bundle is not good.
    #[error(transparent)]
    #[serde(untagged)]
    Bundle(#[from] BundleFault),
    /// The signature is not good.
    #[error(transparent)]
    #[serde(untagged)]
    Signature(#[from] SigstoreFault),
}

impl TrustDenial {
    /// Whether signatures were looked for and found wanting: there is none, or none by somebody who counts.
    pub(crate) fn is_want_of_signatures(&self) -> bool {
        matches!(self, Self::NoSignature | Self::NotMet { .. })
    }
}

impl TrustReport {
    /// Says in one line why not everything may be copied.
    pub(crate) fn refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // From the end: an index that need not be accepted stands before its images.
        let refused = self.manifests.iter().rev().find(|verdict| !verdict.accepted);
        match refused.map(|verdict| (verdict, &verdict.denial)) {
            Some((verdict, Some(denial))) => {
                write!(f, "the trust file does not accept {}: {denial}", verdict.digest)?;
                verdict.faults().try_for_each(|fault| write!(f, "; {fault}"))
            }
            _ => f.write_str("nothing was there to be judged by the trust file"),
        }
    }
}

impl TrustVerdict {
    /// Why the bundles and signatures that are by none of the signers are not.
    pub fn faults(&self) -> impl Iterator<Item = &TrustFault> {
        self.found.iter().filter_map(|found| found.fault.as_ref())
    }
}

impl Display for TrustReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.accepted { "accepted" } else { "refused" };
        writeln!(f, "trust file: {word}")?;
        self.manifests.iter().try_for_each(|verdict| verdict.fmt(f))
    }
}

impl Display for TrustVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.accepted { "accepted" } else { "refused" };
        write!(f, "  {}: {word} ({})", self.digest, shown(&self.scope))?;
        match &self.denial {
            Some(denial) => writeln!(f, ": {denial}")?,
            None => writeln!(f)?,
        }
        self.found.iter().try_for_each(|found| found.fmt(f))
    }
}

impl Display for FoundVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Found::Bundle => "bundle",
            Found::Attachment => "signature",
        };
        write!(f, "    {kind} {}: ", self.position)?;
        match &self.fault {
            Some(fault) => writeln!(f, "{fault}"),
            None => {
                let holder = self.holder.as_deref().unwrap_or("somebody");
                writeln!(f, "by {holder}, as {}", self.signers.join(", "))
            }
        }
    }
}
