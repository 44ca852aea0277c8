use std::collections::BTreeSet;

use bytes::Bytes;
use securecp_layer::TransformKey;
use securecp_oci::{Descriptor, Digest, ManifestFormat, Reference, Repository, Signature};
use securecp_transport::Place;
use securecp_trust::{Admitted, RequirementKind, Verdict};

use crate::chain::Step;
use crate::evidence::{Carried, Evidence};
use crate::job::{Job, Written};
use crate::probe::{Name, There};
use crate::protection::Protection;
use crate::survey::{Found, FoundManifest};
use crate::written;

mod build;
mod cost;
mod error;
mod evidence;
mod layers;
mod records;
mod signatures;

use cost::Costs;

pub use cost::CompressionMemory;
pub use error::PlanError;
pub(crate) use error::shown;
pub use evidence::{EvidenceFate, EvidenceWork, PlannedAttestation, PlannedEvidence};

/// Names a node of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Names a manifest that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FoundId {
    /// The route that it was found on.
    pub route: usize,
    /// Its position in what was found there; the root is the first.
    pub manifest: usize,
}

impl FoundId {
    /// The manifest that the name of a route's source stands for.
    pub fn root(route: usize) -> Self {
        Self { route, manifest: 0 }
    }
}

/// Everything that will be done, as data: one flat graph in which each blob and manifest stands once for each storage,
/// and the names that move when all of it is done.
#[derive(Debug)]
pub struct Plan {
    admitted: Vec<Admitted<Found>>,
    carried: Vec<Carried>,
    there: Vec<There>,
    nodes: Vec<Node>,
    names: Vec<PlannedName>,
    evidence: Vec<PlannedEvidence>,
    attestations: Vec<PlannedAttestation>,
    without_effect: BTreeSet<String>,
    costs: Costs,
}

/// One piece of work and what has to be done before it.
#[derive(Debug)]
pub struct Node {
    /// What is to be done.
    pub work: Work,
    /// In which storage.
    pub storage: usize,
    /// What it waits for.
    pub needs: Vec<NodeId>,
}

/// A name that will stand for a manifest.
#[derive(Debug)]
pub struct PlannedName {
    /// The name, and what it stands for now.
    pub name: Name,
    /// The storage that it is in.
    pub storage: usize,
    /// The manifest.
    pub root: NodeId,
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
    /// Store evidence of a manifest that is there.
    Evidence(EvidenceWork),
    /// Store a record of how a manifest that is there was changed.
    Record(RecordWork),
}

/// A blob to bring.
#[derive(Debug)]
pub struct BlobWork {
    /// The route whose source it is read from.
    pub route: usize,
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

impl BlobWork {
    /// Whether the source's own bytes go to the destination, and nothing looks into them on the way.
    pub fn is_verbatim(&self) -> bool {
        let Step { decrypt, recompress, encrypt } = &self.step;
        let steps = [decrypt, recompress, encrypt];
        self.changes.is_empty() && self.made.is_none() && steps.iter().all(|step| step.is_none())
    }
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
    pub found: FoundId,
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
    /// The signatures of the sources that travel with it.
    pub carried: Vec<Signature>,
    /// The names for which new signatures are made, by every signer.
    pub identities: Vec<Reference>,
    /// Who of [`crate::Signing::bundlers`] has to make a bundle, by position.
    pub bundlers: Vec<usize>,
}

/// A record to be made, by everybody who signs records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordWork {
    /// The manifest that changes.
    pub manifest: NodeId,
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
    /// An attestation of a manifest that changes is taken out of it.
    #[error("entry {0}, an attestation of what changes, is left out")]
    Orphaned(usize),
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
        (admitted, carried): (Vec<Admitted<Found>>, Vec<Carried>),
        job: &Job<'_>,
        there: Vec<There>,
    ) -> Result<Self, PlanError> {
        let edits = job.edits;
        let signatures_required = admitted.iter().any(|one| asks_for_signatures(one.verdict()));
        build::check(edits, &there, signatures_required)?;
        let found: Vec<&Found> = admitted.iter().map(Admitted::found).collect();
        let mut plan = Building::default();
        for storage in 0..there.len() {
            build::extend(&mut plan, storage, (&found, &carried), edits, &there)?;
        }
        let Building { nodes, names, evidence, attestations, without_effect } = plan;
        let plan = Self {
            admitted,
            carried,
            there,
            nodes,
            names,
            evidence,
            attestations,
            without_effect,
            costs: Costs::of(edits),
        };
        plan.check_names(job.protection)?;
        Ok(plan)
    }

    /// What was asked for and no layer can follow, where that is no failure.
    pub fn without_effect(&self) -> impl Iterator<Item = &str> {
        self.without_effect.iter().map(String::as_str)
    }

    /// A name that must not be moved is told before anything is sent, where it is known what it would stand for.
    fn check_names(&self, protection: &Protection) -> Result<(), PlanError> {
        let held = |name: &&PlannedName| {
            self.digest_of(name)
                .is_some_and(|wanted| !protection.allows(name.name.now.as_ref(), wanted))
        };
        self.names.iter().find(held).map_or(Ok(()), |name| {
            Err(PlanError::Protected {
                name: self.shown(name),
                expected: protection.clone(),
                found: name.name.now.clone(),
            })
        })
    }

    /// The nodes; what a node needs stands before it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The names, each with the manifest that it will stand for.
    pub fn names(&self) -> &[PlannedName] {
        &self.names
    }

    /// The manifests whose changes are recorded, and why they change.
    pub fn records(&self) -> impl Iterator<Item = &ManifestWork> {
        self.nodes.iter().filter_map(|node| match &node.work {
            Work::Record(record) => match &self.nodes[record.manifest.0].work {
                Work::Manifest(work) => Some(work),
                _ => None,
            },
            _ => None,
        })
    }

    /// What was admitted, one for each route.
    pub fn admitted(&self) -> &[Admitted<Found>] {
        &self.admitted
    }

    /// The evidence beside what was admitted, one for each route.
    pub fn carried(&self) -> &[Carried] {
        &self.carried
    }

    /// What becomes of each piece of evidence, in each storage.
    pub fn evidence(&self) -> &[PlannedEvidence] {
        &self.evidence
    }

    /// What becomes of the attestations that indexes name, in each storage.
    pub fn attestations(&self) -> &[PlannedAttestation] {
        &self.attestations
    }

    /// A piece of evidence.
    pub fn piece(&self, work: EvidenceWork) -> &Evidence {
        &self.carried[work.route].pieces()[work.piece]
    }

    /// What the storages have.
    pub fn there(&self) -> &[There] {
        &self.there
    }

    /// A manifest as it was found.
    pub fn found(&self, id: FoundId) -> &FoundManifest {
        &self.admitted[id.route].found().manifests()[id.manifest]
    }

    /// The route whose source a node may read.
    pub(crate) fn route_of(&self, node: &Node) -> usize {
        match &node.work {
            Work::Blob(work) => work.route,
            Work::Manifest(work) => work.found.route,
            Work::Signatures(work) => self.route_of(&self.nodes[work.manifest.0]),
            Work::Evidence(work) => work.route,
            Work::Record(work) => self.route_of(&self.nodes[work.manifest.0]),
        }
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

    /// The digest that a name will stand for, if it is known before the run.
    pub fn digest_of(&self, name: &PlannedName) -> Option<&Digest> {
        match &self.nodes[name.root.0].work {
            Work::Manifest(ManifestWork { produced: Produced::Kept(digest), .. }) => Some(digest),
            _ => None,
        }
    }

    /// A name in full, for messages: the destination as the user gave it, or its further tag.
    pub fn shown(&self, name: &PlannedName) -> String {
        let Name { destination, tag, reference, .. } = &name.name;
        match (tag, reference) {
            (None, _) => destination.clone(),
            (Some(_), Some(reference)) => format!("docker://{reference}"),
            (Some(tag), None) => format!("tag {tag} beside {destination}"),
        }
    }

    /// Whether everything is at the destinations already.
    pub fn is_done(&self) -> bool {
        (0..self.there.len()).all(|storage| self.is_done_in(storage))
    }

    /// Whether a storage has everything already, and its names stand.
    pub(crate) fn is_done_in(&self, storage: usize) -> bool {
        let mut nodes = self.nodes.iter().filter(|node| node.storage == storage);
        let mut names = self.names.iter().filter(|name| name.storage == storage);
        nodes.all(|node| node.is_idle()) && names.all(|name| self.stands(name))
    }

    /// Whether a name stands already for what it is to stand for.
    pub fn stands(&self, name: &PlannedName) -> bool {
        self.digest_of(name).is_some_and(|root| name.name.now.as_ref() == Some(root))
    }

    /// What is at the destinations if the plan is done already.
    pub(crate) fn as_written(&self) -> Written {
        let kept = |node: &Node| match &node.work {
            Work::Manifest(work) => Some(self.found(work.found).subject.manifest.clone()),
            _ => None,
        };
        let manifests: Vec<_> = self.nodes.iter().map(kept).collect();
        written::written(self, (&manifests, &[]), 0)
    }
}

/// A plan as far as it is made.
#[derive(Default)]
struct Building {
    nodes: Vec<Node>,
    names: Vec<PlannedName>,
    evidence: Vec<PlannedEvidence>,
    attestations: Vec<PlannedAttestation>,
    without_effect: BTreeSet<String>,
}

/// Whether a requirement that looks at signatures was evaluated for any manifest.
fn asks_for_signatures(verdict: &Verdict) -> bool {
    let requirements = verdict.subjects.iter().flat_map(|subject| &subject.requirements);
    requirements.into_iter().any(|found| found.kind != RequirementKind::InsecureAcceptAnything)
}

impl Node {
    /// Whether nothing has to be done.
    fn is_idle(&self) -> bool {
        match &self.work {
            Work::Blob(blob) => !matches!(blob.action, BlobAction::Copy { .. }),
            Work::Manifest(manifest) => manifest.there,
            Work::Signatures(_) | Work::Evidence(_) | Work::Record(_) => false,
        }
    }

    /// Whether what comes out differs from what was found.
    pub(crate) fn changes(&self) -> bool {
        match &self.work {
            Work::Blob(blob) => !blob.changes.is_empty(),
            Work::Manifest(manifest) => matches!(manifest.produced, Produced::Made(_)),
            Work::Signatures(_) | Work::Evidence(_) | Work::Record(_) => false,
        }
    }
}

/// Where the manifest of `work` stands.
pub(crate) fn place(plan: &Plan, work: &ManifestWork) -> Place {
    plan.found(work.found).place
}
