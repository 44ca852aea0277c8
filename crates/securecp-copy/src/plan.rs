use std::collections::HashMap;

use securecp_oci::{Descriptor, Digest, ManifestKind, RawManifest, Repository, Signature, Tag};
use securecp_transport::Place;
use securecp_trust::Admitted;

use crate::chain::Step;
use crate::job::{Edits, Written};
use crate::probe::There;
use crate::survey::{Found, FoundManifest};

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
    /// How it gets there.
    pub action: BlobAction,
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
    /// Which of the manifests found holds the signatures.
    pub found: usize,
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
    /// A layer's bytes change.
    #[error("layer {0} changes")]
    Layer(usize),
    /// A manifest that it names changes.
    #[error("entry {0} changes")]
    Entry(usize),
}

/// Why a request cannot be planned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The destination cannot hold an index with its manifests.
    #[error("{0}: destination transport does not support copying multiple images as a group")]
    NoIndexes(String),
    /// The destination does not take this manifest format.
    #[error("{name} does not take manifests of type {found}")]
    Format {
        /// The destination.
        name: String,
        /// The format.
        found: String,
    },
    /// The destination is a digest and the image has another one.
    #[error("destination {name} names digest {expected}, the image has {found}")]
    OtherDigest {
        /// The destination.
        name: String,
        /// The digest in its name.
        expected: Digest,
        /// The digest of what would be written.
        found: Digest,
    },
    /// Signatures would be lost.
    #[error(
        "{name} cannot hold the {count} signatures of {manifest}; use --remove-signatures to leave them behind"
    )]
    Signatures {
        /// The destination.
        name: String,
        /// How many signatures there are.
        count: usize,
        /// The manifest signed.
        manifest: Digest,
    },
    /// Signatures could not be looked up, so they cannot be carried.
    #[error("signatures of {manifest} could not be looked up: {why}")]
    SignaturesUnknown {
        /// The manifest.
        manifest: Digest,
        /// Why.
        why: String,
    },
    /// A digest would change although it was to be kept.
    #[error("Instructed to preserve digests, but {manifest} would change: {reasons}")]
    Preserve {
        /// The manifest.
        manifest: Digest,
        /// Why it would change.
        reasons: String,
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
        let mut builder = Builder {
            found: admitted.found().manifests(),
            edits,
            there: &there,
            nodes: Vec::new(),
            blobs: HashMap::new(),
            manifests: HashMap::new(),
        };
        let root = builder.manifest(0)?;
        builder.check_destination()?;
        let nodes = builder.nodes;
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
            sent_bytes: 0,
        }
    }
}

struct Builder<'a> {
    found: &'a [FoundManifest],
    edits: &'a Edits,
    there: &'a There,
    nodes: Vec<Node>,
    blobs: HashMap<Digest, NodeId>,
    manifests: HashMap<usize, NodeId>,
}

impl Builder<'_> {
    /// Plans manifest `index` after everything that it needs; each once.
    fn manifest(&mut self, index: usize) -> Result<NodeId, PlanError> {
        if let Some(id) = self.manifests.get(&index) {
            return Ok(*id);
        }
        let found = &self.found[index];
        let manifest = &found.subject.manifest;
        let mut needs = Vec::new();
        let mut layers = Vec::new();
        if let Some(image) = manifest.image() {
            needs.push(self.blob(&image.config));
            for (position, layer) in image.layers.iter().enumerate() {
                layers.push((position, self.blob(layer)));
            }
        }
        let mut entries = Vec::new();
        for (position, child) in &found.entries {
            entries.push((*position, self.manifest(*child)?));
        }
        needs.extend(layers.iter().chain(&entries).map(|(_, id)| *id));
        let produced = self.produced(manifest, &layers, &entries)?;
        let there = self.there.manifests.get(manifest.digest()).copied().unwrap_or(false)
            && matches!(produced, Produced::Kept(_));
        let work = ManifestWork { found: index, layers, entries, produced, there };
        let id = self.push(Work::Manifest(work), needs);
        self.manifests.insert(index, id);
        self.signatures(index, id)?;
        Ok(id)
    }

    fn push(&mut self, work: Work, mut needs: Vec<NodeId>) -> NodeId {
        needs.sort_unstable();
        needs.dedup();
        self.nodes.push(Node { work, needs });
        NodeId(self.nodes.len() - 1)
    }

    fn blob(&mut self, source: &Descriptor) -> NodeId {
        if let Some(id) = self.blobs.get(&source.digest) {
            return *id;
        }
        let work =
            BlobWork { source: source.clone(), step: Step::default(), action: self.action(source) };
        let id = self.push(Work::Blob(work), Vec::new());
        self.blobs.insert(source.digest.clone(), id);
        id
    }

    fn action(&self, source: &Descriptor) -> BlobAction {
        if self.there.blobs.get(&source.digest).copied().unwrap_or(false) {
            BlobAction::There
        } else if !source.urls.is_empty() && self.there.accepts.keeps_urls {
            BlobAction::Elsewhere
        } else {
            BlobAction::Copy { mount_from: self.there.mount_from.clone() }
        }
    }

    /// A manifest changes if one of its layers or entries does.
    fn produced(
        &self,
        manifest: &RawManifest,
        layers: &[(usize, NodeId)],
        entries: &[(usize, NodeId)],
    ) -> Result<Produced, PlanError> {
        let changed = |id: &NodeId| match &self.nodes[id.0].work {
            Work::Blob(blob) => !blob.step.is_verbatim(),
            Work::Manifest(work) => matches!(work.produced, Produced::Made(_)),
            Work::Signatures(_) => false,
        };
        let pick = |items: &[(usize, NodeId)], reason: fn(usize) -> Reason| {
            let hit = items.iter().filter(|(_, id)| changed(id));
            hit.map(|(position, _)| reason(*position)).collect::<Vec<_>>()
        };
        let reasons = [pick(layers, Reason::Layer), pick(entries, Reason::Entry)].concat();
        if reasons.is_empty() {
            return Ok(Produced::Kept(manifest.digest().clone()));
        }
        if self.edits.preserve_digests {
            let texts: Vec<String> = reasons.iter().map(Reason::to_string).collect();
            return Err(PlanError::Preserve {
                manifest: manifest.digest().clone(),
                reasons: texts.join(", "),
            });
        }
        Ok(Produced::Made(reasons))
    }

    /// Signatures travel with a manifest whose bytes are kept; nothing is lost without being asked for.
    fn signatures(&mut self, index: usize, manifest: NodeId) -> Result<(), PlanError> {
        if self.edits.remove_signatures {
            return Ok(());
        }
        let subject = &self.found[index].subject;
        let digest = || subject.manifest.digest().clone();
        let signatures = subject.signatures.as_ref().map_err(|failure| {
            PlanError::SignaturesUnknown { manifest: digest(), why: failure.to_string() }
        })?;
        if signatures.is_empty() {
            return Ok(());
        }
        let takes = |simple: bool| match simple {
            true => self.there.accepts.simple_signatures,
            false => self.there.accepts.sigstore_signatures,
        };
        if !signatures.iter().all(|s| takes(matches!(s, Signature::Simple(_)))) {
            return Err(PlanError::Signatures {
                name: self.there.name.clone(),
                count: signatures.len(),
                manifest: digest(),
            });
        }
        self.push(Work::Signatures(SignatureWork { manifest, found: index }), vec![manifest]);
        Ok(())
    }

    fn check_destination(&self) -> Result<(), PlanError> {
        let accepts = &self.there.accepts;
        let kinds =
            self.found.iter().filter_map(|m| m.subject.manifest.media_type().manifest_kind());
        for kind in kinds {
            self.check_kind(kind, accepts.manifests, accepts.indexes)?;
        }
        let root = self.found[0].subject.manifest.digest();
        match self.there.reference.as_ref().and_then(|r| r.digest()) {
            Some(expected) if expected != root => Err(PlanError::OtherDigest {
                name: self.there.name.clone(),
                expected: expected.clone(),
                found: root.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn check_kind(
        &self,
        kind: ManifestKind,
        taken: &[ManifestKind],
        indexes: bool,
    ) -> Result<(), PlanError> {
        if kind.is_index() && !indexes {
            return Err(PlanError::NoIndexes(self.there.name.clone()));
        }
        if !taken.is_empty() && !taken.contains(&kind) {
            return Err(PlanError::Format {
                name: self.there.name.clone(),
                found: format!("{kind:?}"),
            });
        }
        Ok(())
    }
}

/// Where the manifest of `work` stands.
pub(crate) fn place(plan: &Plan, work: &ManifestWork) -> Place {
    plan.found(work.found).place
}
