//! What stands beside the images that are copied: attestations, bills of materials, signatures that nobody was asked to
//! judge. It is looked for after the images were admitted, held to its digests and to bounds, and is never mistaken for
//! something judged: it has a type of its own, [`Carried`], and an image that poses as evidence is refused.

mod error;
mod kind;
mod limits;
mod read;
mod receipt;
mod survey;
mod verified;

pub use error::EvidenceError;
pub use kind::EvidenceKind;
pub use receipt::{Counts, EvidenceReceipt, ReceiptRow, Skipped};
pub(crate) use survey::survey;

use bytes::Bytes;
use securecp_oci::{Attached, Digest, RawManifest};
use securecp_transport::Piece;
use securecp_trust::Vouched;

/// What travels beside the images, and what becomes of that which cannot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceEdits {
    /// What is looked for.
    pub which: EvidenceChoice,
    /// Artifact types that are carried although they are indexes or have the configuration of an image.
    pub types: Vec<String>,
    /// What becomes of evidence whose manifest gets another digest.
    pub on_orphaned: OnOrphaned,
    /// Evidence that cannot travel is a warning, as for users of tools that carry none.
    pub lenient: bool,
}

/// Which evidence is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EvidenceChoice {
    /// All of it.
    #[default]
    All,
    /// Signatures, of whatever kind, and what refers to them.
    Signatures,
    /// What somebody signed whom the policy or the trust file names.
    Verified,
    /// None.
    None,
}

/// What becomes of evidence whose manifest gets another digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnOrphaned {
    /// Nothing is copied.
    #[default]
    Refuse,
    /// It stays behind.
    Drop,
    /// It stays behind, and a signed record beside every manifest that changes says what became of it.
    Record,
}

/// The evidence beside the manifests of one route: digest-checked and bounded, and judged only where it was asked to be.
#[derive(Debug, Default)]
pub struct Carried {
    pieces: Vec<Evidence>,
    left: Vec<Left>,
    /// For each manifest which of its signatures are verified, where that was asked.
    signatures: Option<Vec<Vec<bool>>>,
}

/// Why a piece may travel where only what is verified does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// It was signed for its subject.
    Signed(Vouched),
    /// A verified signature has it as its subject.
    SignedBy {
        /// The signature.
        piece: Digest,
        /// Who made that.
        by: Vouched,
    },
}

/// A piece that may travel where only what is verified does. There is none without [`Verified`], and none of that without a
/// judgement.
struct VerifiedEvidence(Evidence);

impl VerifiedEvidence {
    fn new(evidence: Evidence, verified: Verified) -> Self {
        Self(Evidence { verified: Some(verified), ..evidence })
    }
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signed(by) => write!(f, "signed by {}", by.by()),
            Self::SignedBy { piece, by } => write!(f, "signed in {piece} by {}", by.by()),
        }
    }
}

/// One piece of evidence.
#[derive(Debug)]
pub struct Evidence {
    /// What it is evidence of.
    pub of: EvidenceOf,
    /// The digest of that.
    pub subject: Digest,
    /// How it is tied to that.
    pub form: EvidenceForm,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it is.
    pub kind: EvidenceKind,
    /// Its artifact type as the source states it.
    pub artifact_type: String,
    /// Its bytes; `None` if it is there already wherever the route leads.
    pub body: Option<EvidenceBody>,
    /// Why it counts as verified; `None` where nobody was asked.
    pub verified: Option<Verified>,
    /// Whether it is there, for each storage that has room for evidence.
    pub(crate) there: Vec<usize>,
}

/// The manifests of a piece of evidence.
#[derive(Debug)]
pub struct EvidenceBody {
    /// The manifest that refers to the subject, or is attached to it.
    pub manifest: RawManifest,
    /// What it names, if it is an index: those first that others name.
    pub parts: Vec<RawManifest>,
    /// Its configuration, if it was made here and is not at the source.
    pub(crate) config: Option<Bytes>,
}

/// What a piece is evidence of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceOf {
    /// A manifest that is copied, by its position in what was found.
    Manifest(usize),
    /// Another piece of evidence.
    Evidence(usize),
}

/// How evidence is tied to what it is evidence of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceForm {
    /// It has a subject, and is listed among its referrers.
    Referrer,
    /// It stands under a tag made of the digest.
    Attached(Attached),
}

/// Evidence that stays at the source.
#[derive(Debug)]
pub struct Left {
    /// Which manifest it is evidence of, directly or not.
    pub manifest: usize,
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: EvidenceKind,
    /// Why it stays.
    pub why: String,
}

impl Carried {
    fn of_verified(
        kept: Vec<VerifiedEvidence>,
        signatures: Vec<Vec<bool>>,
        left: Vec<Left>,
    ) -> Self {
        let pieces = kept.into_iter().map(|VerifiedEvidence(piece)| piece).collect();
        Self { pieces, left, signatures: Some(signatures) }
    }

    /// Whether only what is verified travels.
    pub fn is_judged(&self) -> bool {
        self.signatures.is_some()
    }

    /// Whether a signature that was read with a manifest may travel, by its position there.
    pub(crate) fn lets(&self, manifest: usize, signature: usize) -> bool {
        let Some(judged) = &self.signatures else { return true };
        judged.get(manifest).and_then(|verified| verified.get(signature)) == Some(&true)
    }

    /// The pieces; one that is evidence of another stands behind that.
    pub fn pieces(&self) -> &[Evidence] {
        &self.pieces
    }

    /// Every manifest that was read.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        self.pieces.iter().filter_map(|piece| piece.body.as_ref()).flat_map(EvidenceBody::manifests)
    }

    /// What was found and cannot travel.
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// The manifest that a piece is evidence of, directly or not.
    pub fn manifest_of(&self, piece: usize) -> usize {
        match self.pieces[piece].of {
            EvidenceOf::Manifest(manifest) => manifest,
            EvidenceOf::Evidence(other) => self.manifest_of(other),
        }
    }
}

impl EvidenceBody {
    /// Every manifest, those first that others name.
    pub fn manifests(&self) -> impl Iterator<Item = &RawManifest> {
        self.parts.iter().chain([&self.manifest])
    }
}

impl Evidence {
    /// The piece as destinations take it, if it has to be put anywhere.
    pub(crate) fn piece(&self) -> Option<Piece<'_>> {
        let manifest = &self.body.as_ref()?.manifest;
        Some(match self.form {
            EvidenceForm::Referrer => Piece::Referrer(manifest),
            EvidenceForm::Attached(what) => {
                Piece::Attached { subject: &self.subject, what, manifest }
            }
        })
    }

    /// Whether `--remove-signatures` means it.
    pub(crate) fn is_sigstore_signature(&self) -> bool {
        self.kind == EvidenceKind::SigstoreSignature
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.kind, self.digest, self.subject)
    }
}
