use bytes::Bytes;
use securecp_layer::TransformKey;
use securecp_oci::{Descriptor, Digest, ManifestFormat, Reference, Repository, Tag};
use securecp_transport::Place;
use securecp_trust::{Admitted, RequirementKind, Verdict};

use crate::chain::Step;
use crate::edits::Edits;
use crate::job::Written;
use crate::probe::There;
use crate::survey::{Found, FoundManifest};

mod build;
mod error;
mod layers;
mod signatures;

pub use error::PlanError;

/// Names a node of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Everything that will be done, as data: one flat graph in which each blob stands once.
#[derive(Debug)]
pub struct Plan {
    admitted: Admitted<Found>,
    there: There,
    nodes: Vec<Node>,
    root: NodeId,
}

/// One piece of work and what has to be done before it.
#[derive(Debug)]
pub struct Node {
    /// What is to be done.
    pub work: Work,
    /// What it waits for.
    pub needs: Vec<NodeId>,
}

/// A kind of work.
#[expect(clippy::large_enum_variant, reason = "a node each, built once")]
#[derive(Debug)]
pub enum Work {
    /// Bring a blob.
    Blob(BlobWork),
    /// Put a manifest under its digest.
    Manifest(ManifestWork),
    /// Store the signatures of a manifest that is there.
    Signatures(SignatureWork),
}

/// A blob to bring.
#[derive(Debug)]
pub struct BlobWork {
    /// What the source has.
    pub source: Descriptor,
    /// What is done to it.
    pub step: Step,
    /// Why its bytes change; empty if they do not.
    pub changes: Vec<Change>,
    /// How it gets there.
    pub action: BlobAction,
    /// How it may be known from an earlier copy what the blob becomes.
    pub remembered: Option<Remembered>,
    /// Its bytes, where they were made here: a converted configuration.
    pub made: Option<Bytes>,
}

/// A recompression that an earlier copy may have done.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Names the recompression.
    pub key: TransformKey,
    /// The digest that the plain bytes must have, from the configuration.
    pub diff_id: Digest,
    /// What the result is called; digest and size are those of the source.
    pub described: Descriptor,
}

/// What happens to the bytes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Decrypted.
    Decrypted,
    /// Compressed in another way; the name of the new form.
    Recompressed(&'static str),
    /// Encrypted.
    Encrypted,
}

/// How a blob gets to the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobAction {
    /// It is there already.
    There,
    /// It stays where its `urls` point to.
    Elsewhere,
    /// It is copied, or mounted from one of these repositories if the registry agrees.
    Copy {
        /// Repositories of the same registry that have it.
        mount_from: Vec<Repository>,
    },
}

/// A manifest to put.
#[derive(Debug)]
pub struct ManifestWork {
    /// Which of the manifests found.
    pub found: usize,
    /// Its layers, by position, and the blobs that they become.
    pub layers: Vec<(usize, NodeId)>,
    /// Its copied entries, by position, and the manifests that they become.
    pub entries: Vec<(usize, NodeId)>,
    /// The format that it gets, if it has another one.
    pub convert: Option<ManifestFormat>,
    /// Layers whose bytes stay while their description changes: those that get further recipients.
    pub described: Vec<(usize, Descriptor)>,
    /// The positions of the entries that stay, if some are taken out.
    pub keep: Option<Vec<usize>>,
    /// What it will be.
    pub produced: Produced,
    /// Whether these bytes are there already.
    pub there: bool,
}

/// Signatures to store.
#[derive(Debug)]
pub struct SignatureWork {
    /// The manifest signed.
    pub manifest: NodeId,
    /// Which of the manifests found it comes from.
    pub found: usize,
    /// How many signatures of the source travel with it.
    pub carried: usize,
    /// The names for which new signatures are made, by every signer.
    pub identities: Vec<Reference>,
}

/// What a manifest will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Produced {
    /// The same bytes.
    Kept(Digest),
    /// Other bytes, for these reasons.
    Made(Vec<Reason>),
}

/// Why a manifest gets another digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A layer is decrypted.
    #[error("layer {0} is decrypted")]
    Decrypted(usize),
    /// A layer gets another compression.
    #[error("layer {layer} becomes {to}")]
    Recompressed {
        /// Which layer.
        layer: usize,
        /// The new form.
        to: &'static str,
    },
    /// A layer is encrypted.
    #[error("layer {0} is encrypted")]
    Encrypted(usize),
    /// An encrypted layer gets further recipients.
    #[error("layer {0} gets further recipients")]
    Recipients(usize),
    /// The manifest gets another format.
    #[error("it is converted to {0}")]
    Converted(ManifestFormat),
    /// A manifest that it names changes.
    #[error("entry {0} changes")]
    Entry(usize),
    /// Entries of other platforms are taken out of it.
    #[error("{removed} of {of} entries are left out")]
    Subset {
        /// How many entries go.
        removed: usize,
        /// How many there were.
        of: usize,
    },
}

impl Plan {
    /// Plans the copy of what was admitted to what is there. Pure: equal inputs give equal plans.
    ///
    /// # Errors
    /// The request cannot be fulfilled; see [`PlanError`].
    pub(crate) fn new(
        admitted: Admitted<Found>,
        edits: &Edits,
        there: There,
    ) -> Result<Self, PlanError> {
        let (nodes, root) =
            build::graph(admitted.found(), edits, &there, asks_for_signatures(admitted.verdict()))?;
        Ok(Self { admitted, there, nodes, root })
    }

    /// The nodes; what a node needs stands before it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The manifest that the name will stand for.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// What was admitted.
    pub fn admitted(&self) -> &Admitted<Found> {
        &self.admitted
    }

    /// What the destination has.
    pub fn there(&self) -> &There {
        &self.there
    }

    /// The manifest that `work` puts, as it was found.
    pub fn found(&self, index: usize) -> &FoundManifest {
        &self.admitted.found().manifests()[index]
    }

    /// Bytes of blobs that will move, as far as known.
    pub fn bytes_to_move(&self) -> u64 {
        let blobs = self.nodes.iter().filter_map(|node| match &node.work {
            Work::Blob(BlobWork { action: BlobAction::Copy { .. }, source, .. }) => {
                Some(source.size)
            }
            _ => None,
        });
        blobs.fold(0, u64::saturating_add)
    }

    /// The digest of the root, if it is known before the run.
    pub fn root_digest(&self) -> Option<&Digest> {
        match &self.nodes[self.root.0].work {
            Work::Manifest(ManifestWork { produced: Produced::Kept(digest), .. }) => Some(digest),
            _ => None,
        }
    }

    /// The further tags that do not stand for the root yet.
    pub fn tags_to_move(&self) -> impl Iterator<Item = &Tag> {
        let root = self.root_digest();
        self.there
            .names
            .iter()
            .filter(move |(_, now)| root.is_none() || now.as_ref() != root)
            .filter_map(|(tag, _)| tag.as_ref())
    }

    /// Whether everything is at the destination already.
    pub fn is_done(&self) -> bool {
        let idle = self.nodes.iter().all(|node| match &node.work {
            Work::Blob(blob) => !matches!(blob.action, BlobAction::Copy { .. }),
            Work::Manifest(manifest) => manifest.there,
            Work::Signatures(_) => false,
        });
        let root = self.root_digest();
        idle && root.is_some() && self.there.names.iter().all(|(_, now)| now.as_ref() == root)
    }

    /// What is at the destination if the plan is done already.
    pub(crate) fn as_written(&self) -> Written {
        let manifests = self.admitted.found().manifests();
        Written {
            root: manifests[0].subject.manifest.clone(),
            manifests: manifests
                .iter()
                .rev()
                .map(|m| m.subject.manifest.digest().clone())
                .collect(),
            changed: Vec::new(),
            sent_bytes: 0,
        }
    }
}

/// Whether a requirement that looks at signatures was evaluated for any manifest.
fn asks_for_signatures(verdict: &Verdict) -> bool {
    let requirements = verdict.subjects.iter().flat_map(|subject| &subject.requirements);
    requirements.into_iter().any(|found| found.kind != RequirementKind::InsecureAcceptAnything)
}

impl Node {
    /// Whether what comes out differs from what was found.
    pub(crate) fn changes(&self) -> bool {
        match &self.work {
            Work::Blob(blob) => !blob.changes.is_empty(),
            Work::Manifest(manifest) => matches!(manifest.produced, Produced::Made(_)),
            Work::Signatures(_) => false,
        }
    }
}

/// Where the manifest of `work` stands.
pub(crate) fn place(plan: &Plan, work: &ManifestWork) -> Place {
    plan.found(work.found).place
}
