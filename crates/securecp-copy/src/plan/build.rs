use std::collections::HashMap;

use securecp_oci::{Descriptor, Digest, Image, ManifestKind, MediaType, RawManifest};

use crate::chain::Step;
use crate::edits::{Edits, Recompression};
use crate::plan::layers::{LayerAt, chosen_for_encryption, diff_ids, step};
use crate::plan::signatures::SignatureDesk;
use crate::plan::{
    BlobAction, BlobWork, Change, ManifestWork, Node, NodeId, PlanError, Produced, Reason,
    SignatureWork, Work,
};
use crate::probe::There;
use crate::survey::{Found, FoundManifest};

/// The whole graph, and which node is the root manifest.
pub(super) fn graph(
    found: &Found,
    edits: &Edits,
    there: &There,
) -> Result<(Vec<Node>, NodeId), PlanError> {
    let mut builder = Builder {
        found: found.manifests(),
        edits,
        there,
        nodes: Vec::new(),
        blobs: HashMap::new(),
        manifests: HashMap::new(),
    };
    builder.check_kinds()?;
    let root = builder.manifest(0)?;
    builder.check_name(root)?;
    builder.check_effect()?;
    Ok((builder.nodes, root))
}

/// A blob stands once for each form that it gets.
type BlobKey = (Digest, Option<Digest>, Vec<Change>);

struct Builder<'a> {
    found: &'a [FoundManifest],
    edits: &'a Edits,
    there: &'a There,
    nodes: Vec<Node>,
    blobs: HashMap<BlobKey, NodeId>,
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
            needs.push(self.blob(&image.config, Step::default(), Vec::new(), None));
            layers = self.layers(manifest, image, found)?;
        }
        let mut entries = Vec::new();
        for (position, child) in &found.entries {
            entries.push((*position, self.manifest(*child)?));
        }
        needs.extend(layers.iter().chain(&entries).map(|(_, id)| *id));
        let reasons = self.reasons(found, &layers, &entries);
        let keep = found.keep.clone();
        let produced = self.produced(index, reasons)?;
        let there = self.there.manifests.get(manifest.digest()).copied().unwrap_or(false)
            && matches!(produced, Produced::Kept(_));
        let work = ManifestWork { found: index, layers, entries, keep, produced, there };
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

    fn layers(
        &mut self,
        manifest: &RawManifest,
        image: &Image,
        found: &FoundManifest,
    ) -> Result<Vec<(usize, NodeId)>, PlanError> {
        let diff_ids = match &found.config {
            Some(config) => diff_ids(manifest, image, config)?,
            None => Vec::new(),
        };
        let chosen = chosen_for_encryption(manifest, image, self.edits)?;
        if !chosen.is_empty() && *manifest.media_type() != MediaType::OCI_MANIFEST {
            return Err(PlanError::NotOci {
                manifest: manifest.digest().clone(),
                found: manifest.media_type().clone(),
            });
        }
        let mut layers = Vec::new();
        for (position, descriptor) in image.layers.iter().enumerate() {
            let diff_id = diff_ids.get(position);
            let encrypt = chosen.contains(&position);
            let at =
                LayerAt { manifest: manifest.digest(), position, descriptor, diff_id, encrypt };
            let (step, changes) = step(&at, self.edits, self.there.accepts.private_staging)?;
            layers.push((position, self.blob(descriptor, step, changes, diff_id)));
        }
        Ok(layers)
    }

    fn blob(
        &mut self,
        source: &Descriptor,
        step: Step,
        changes: Vec<Change>,
        diff_id: Option<&Digest>,
    ) -> NodeId {
        let told_apart = diff_id.filter(|_| !changes.is_empty()).cloned();
        let key = (source.digest.clone(), told_apart, changes.clone());
        if let Some(id) = self.blobs.get(&key) {
            return *id;
        }
        let action = if changes.is_empty() {
            self.action(source)
        } else {
            BlobAction::Copy { mount_from: Vec::new() }
        };
        let work = BlobWork { source: source.clone(), step, changes, action };
        let id = self.push(Work::Blob(work), Vec::new());
        self.blobs.insert(key, id);
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

    /// A manifest changes if one of its layers or entries does, or entries are left out.
    fn reasons(
        &self,
        found: &FoundManifest,
        layers: &[(usize, NodeId)],
        entries: &[(usize, NodeId)],
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for (position, id) in layers {
            if let Work::Blob(blob) = &self.nodes[id.0].work {
                reasons.extend(blob.changes.iter().map(|change| reason(*position, *change)));
            }
        }
        let changed = entries.iter().filter(|(_, id)| self.nodes[id.0].changes());
        reasons.extend(changed.map(|(position, _)| Reason::Entry(*position)));
        if let (Some(keep), Some(index)) = (&found.keep, found.subject.manifest.index()) {
            let of = index.manifests.len();
            reasons.push(Reason::Subset { removed: of - keep.len(), of });
        }
        reasons
    }

    /// What becomes of a manifest; one that is signed, or whose digest is to be kept, must not change.
    fn produced(&self, index: usize, reasons: Vec<Reason>) -> Result<Produced, PlanError> {
        let subject = &self.found[index].subject;
        let manifest = subject.manifest.digest().clone();
        if reasons.is_empty() {
            return Ok(Produced::Kept(manifest));
        }
        let texts: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        let reasons_text = texts.join(", ");
        if self.edits.preserve_digests {
            return Err(PlanError::Preserve { manifest, reasons: reasons_text });
        }
        let signatures = subject.signatures.as_deref().unwrap_or_default();
        if !signatures.is_empty() && !self.edits.remove_signatures {
            let count = signatures.len();
            return Err(PlanError::Invalidates { manifest, count, reasons: reasons_text });
        }
        Ok(Produced::Made(reasons))
    }

    /// Signatures travel with a manifest whose bytes are kept, and new ones are made; nothing is lost without being
    /// asked for.
    fn signatures(&mut self, index: usize, manifest: NodeId) -> Result<(), PlanError> {
        let desk = SignatureDesk { edits: self.edits, there: self.there, found: self.found };
        let carried = desk.carried(index)?;
        let identities = desk.identities(index)?;
        if carried > 0 || !identities.is_empty() {
            let work = SignatureWork { manifest, found: index, carried, identities };
            self.push(Work::Signatures(work), vec![manifest]);
        }
        Ok(())
    }

    fn check_kinds(&self) -> Result<(), PlanError> {
        let accepts = &self.there.accepts;
        let name = || self.there.name.clone();
        let types = self.found.iter().map(|m| m.subject.manifest.media_type());
        for kind in types.filter_map(|media_type| media_type.manifest_kind()) {
            if kind.is_index() && !accepts.indexes {
                return Err(PlanError::NoIndexes(name()));
            }
            if !takes(accepts.manifests, kind) {
                return Err(PlanError::Format { name: name(), found: format!("{kind:?}") });
            }
        }
        Ok(())
    }

    /// A destination that names a digest takes only the manifest that has it.
    fn check_name(&self, root: NodeId) -> Result<(), PlanError> {
        let Some(expected) = self.there.reference.as_ref().and_then(|r| r.digest()) else {
            return Ok(());
        };
        let found = match &self.nodes[root.0].work {
            Work::Manifest(ManifestWork { produced: Produced::Kept(digest), .. }) => digest,
            _ => return Err(self.other_digest(expected, "one that is not known yet")),
        };
        if found == expected {
            Ok(())
        } else {
            Err(self.other_digest(expected, &found.to_string()))
        }
    }

    fn other_digest(&self, expected: &Digest, found: &str) -> PlanError {
        PlanError::OtherDigest {
            name: self.there.name.clone(),
            expected: expected.clone(),
            found: found.to_owned(),
        }
    }

    /// An option that no layer can follow is an error, not a silence.
    fn check_effect(&self) -> Result<(), PlanError> {
        let layers = || {
            let images = self.found.iter().filter_map(|m| m.subject.manifest.image());
            images.flat_map(|image| &image.layers)
        };
        let recompressible = |d: &Descriptor| securecp_oci::LayerType::of(&d.media_type).is_some();
        let asked = self.edits.recompression != Recompression::Keep;
        if asked && layers().next().is_some() && !layers().any(recompressible) {
            return Err(PlanError::NoEffect {
                option: "the compression asked for",
                why: "none of the layers is a file system layer".to_owned(),
            });
        }
        let encrypted = |d: &Descriptor| d.media_type.is_encrypted();
        if self.edits.decrypt.is_some() && !layers().any(encrypted) {
            return Err(PlanError::NoEffect {
                option: "--decryption-key",
                why: "no layer is encrypted".to_owned(),
            });
        }
        Ok(())
    }
}

fn takes(taken: &[ManifestKind], kind: ManifestKind) -> bool {
    taken.is_empty() || taken.contains(&kind)
}

fn reason(layer: usize, change: Change) -> Reason {
    match change {
        Change::Decrypted => Reason::Decrypted(layer),
        Change::Recompressed(to) => Reason::Recompressed { layer, to },
        Change::Encrypted => Reason::Encrypted(layer),
    }
}
