use std::collections::HashMap;

use bytes::Bytes;
use securecp_oci::{
    Algorithm, Annotations, ConvertError, Descriptor, Digest, Image, ManifestFormat, ManifestKind,
    MediaType, RawManifest, convert_image,
};

use crate::chain::Step;
use crate::edits::{Edits, Recompression};
use crate::plan::layers::{
    LayerAt, Planned, chosen_for_encryption, diff_ids, further_recipients, step,
};
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
    signatures_required: bool,
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
    check_cache(edits, signatures_required)?;
    builder.check_sizes()?;
    let root = builder.manifest(0)?;
    builder.check_name(root)?;
    builder.check_effect()?;
    Ok((builder.nodes, root))
}

/// A blob stands once for each form that it gets.
type BlobKey = (Digest, Option<Digest>, Vec<Change>, Option<(MediaType, Annotations)>, bool);

/// Which node stands at which position of a manifest's list.
type Positions = Vec<(usize, NodeId)>;

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
        let (mut layers, mut described) = (Vec::new(), Vec::new());
        let convert = self.conversion(manifest);
        if let Some(image) = manifest.image() {
            let (config, planned) = self.image(found, image, convert)?;
            needs.push(config);
            layers = planned;
            described = further_recipients(manifest, image, self.edits)?;
        }
        let mut entries = Vec::new();
        for (position, child) in &found.entries {
            entries.push((*position, self.manifest(*child)?));
        }
        needs.extend(layers.iter().chain(&entries).map(|(_, id)| *id));
        let mut reasons = self.reasons(found, &layers, &entries);
        reasons.extend(convert.map(Reason::Converted));
        reasons.extend(described.iter().map(|(layer, _)| Reason::Recipients(*layer)));
        let keep = found.keep.clone();
        let produced = self.produced(index, reasons)?;
        let there = self.there.manifests.get(manifest.digest()).copied().unwrap_or(false)
            && matches!(produced, Produced::Kept(_))
            // Putting it again is what makes sure that it is listed among its subject's referrers.
            && manifest.view().subject().is_none();
        let work = ManifestWork {
            found: index,
            layers,
            entries,
            convert,
            described,
            keep,
            produced,
            there,
        };
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

    /// The format that a manifest is to get, if it has another one: the one asked for, or one that the destination takes.
    fn conversion(&self, manifest: &RawManifest) -> Option<ManifestFormat> {
        let kind = manifest.media_type().manifest_kind()?;
        let found = ManifestFormat::of(manifest.media_type())?;
        let other = match found {
            ManifestFormat::Oci => ManifestFormat::Docker,
            ManifestFormat::Docker => ManifestFormat::Oci,
        };
        let taken = takes(self.there.accepts.manifests, kind);
        let wanted = self.edits.format.unwrap_or(if taken { found } else { other });
        (wanted != found).then_some(wanted)
    }

    /// The configuration and the layers of an image.
    fn image(
        &mut self,
        found: &FoundManifest,
        image: &Image,
        convert: Option<ManifestFormat>,
    ) -> Result<(NodeId, Positions), PlanError> {
        let manifest = &found.subject.manifest;
        let (layers, planned) = self.layers(found, image, convert)?;
        let made = match (convert, &found.config) {
            (Some(to), Some(config)) => {
                let converted = convert_image(manifest, &planned, config, to);
                converted.map_err(|source| unconvertible(manifest, source))?.config
            }
            (Some(_), None) => {
                let source = ConvertError::Artifact(image.config.media_type.clone());
                return Err(unconvertible(manifest, source));
            }
            (None, _) => None,
        };
        let config = match made {
            Some(bytes) => self.made(bytes),
            None => self.verbatim(&image.config),
        };
        Ok((config, layers))
    }

    /// The layers as nodes, and as they will be described but for digests and sizes that are not known yet.
    fn layers(
        &mut self,
        found: &FoundManifest,
        image: &Image,
        convert: Option<ManifestFormat>,
    ) -> Result<(Positions, Vec<Descriptor>), PlanError> {
        let manifest = &found.subject.manifest;
        let diff_ids = match &found.config {
            Some(config) => diff_ids(manifest, image, config)?,
            None => Vec::new(),
        };
        let chosen = chosen_for_encryption(manifest, image, self.edits)?;
        let format = convert.or_else(|| ManifestFormat::of(manifest.media_type()));
        if !chosen.is_empty() && format != Some(ManifestFormat::Oci) {
            return Err(PlanError::NotOci {
                manifest: manifest.digest().clone(),
                found: manifest.media_type().clone(),
            });
        }
        let (mut nodes, mut planned) = (Vec::new(), Vec::new());
        for (position, layer) in image.layers.iter().enumerate() {
            let descriptor = relabelled(manifest, layer, convert)?;
            let diff_id = diff_ids.get(position);
            let encrypt = chosen.contains(&position);
            let at = LayerAt {
                manifest: manifest.digest(),
                position,
                descriptor: &descriptor,
                diff_id,
                encrypt,
            };
            let plan = step(&at, self.edits)?;
            planned.push(Descriptor { media_type: plan.media_type.clone(), ..descriptor.clone() });
            nodes.push((position, self.layer(&descriptor, plan, diff_id)));
        }
        Ok((nodes, planned))
    }

    /// A blob whose bytes are at hand.
    fn made(&mut self, bytes: Bytes) -> NodeId {
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let source = Descriptor::new(MediaType::OCI_CONFIG, digest, bytes.len() as u64);
        let action = BlobAction::Copy { mount_from: Vec::new() };
        let (step, changes, remembered) = (Step::default(), Vec::new(), None);
        self.push(
            Work::Blob(BlobWork { source, step, changes, action, remembered, made: Some(bytes) }),
            Vec::new(),
        )
    }

    /// A blob whose bytes stay as they are.
    fn verbatim(&mut self, source: &Descriptor) -> NodeId {
        let plan = Planned {
            step: Step::default(),
            changes: Vec::new(),
            media_type: source.media_type.clone(),
            remembered: None,
        };
        self.layer(source, plan, None)
    }

    fn layer(&mut self, source: &Descriptor, plan: Planned, diff_id: Option<&Digest>) -> NodeId {
        let Planned { step, changes, remembered, .. } = plan;
        let told_apart = diff_id.filter(|_| !changes.is_empty()).cloned();
        let label = (source.media_type.clone(), source.annotations.clone());
        let label = Some(label).filter(|_| !changes.is_empty());
        let action = if changes.is_empty() {
            self.action(source)
        } else {
            BlobAction::Copy { mount_from: Vec::new() }
        };
        let elsewhere = action == BlobAction::Elsewhere;
        let key = (source.digest.clone(), told_apart, changes.clone(), label, elsewhere);
        if let Some(id) = self.blobs.get(&key) {
            return *id;
        }
        let source = source.clone();
        let work = BlobWork { source, step, changes, action, remembered, made: None };
        let id = self.push(Work::Blob(work), Vec::new());
        self.blobs.insert(key, id);
        id
    }

    /// Only layers that must not be distributed stay where their `urls` point to; anybody could write `urls` beside
    /// any blob, and the copy would be hollow.
    fn action(&self, source: &Descriptor) -> BlobAction {
        let foreign = securecp_oci::LayerType::of(&source.media_type).is_some_and(|t| t.foreign);
        if self.there.blobs.get(&source.digest).copied().unwrap_or(false) {
            BlobAction::There
        } else if foreign && !source.urls.is_empty() && self.there.accepts.keeps_urls {
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
        for manifest in self.found.iter().map(|m| &m.subject.manifest) {
            let index = manifest.index().is_some();
            if index && !accepts.indexes {
                return Err(PlanError::NoIndexes(name()));
            }
            let format = self.conversion(manifest);
            let format = format.or_else(|| ManifestFormat::of(manifest.media_type()));
            let media_type = format.map(|f| if index { f.index() } else { f.manifest() });
            let kind = media_type.as_ref().and_then(MediaType::manifest_kind);
            if !kind.is_some_and(|kind| takes(accepts.manifests, kind)) {
                let found = manifest.media_type().to_string();
                return Err(PlanError::Format { name: name(), found });
            }
        }
        Ok(())
    }

    /// One blob has one size, whoever describes it.
    fn check_sizes(&self) -> Result<(), PlanError> {
        let mut sizes: HashMap<&Digest, u64> = HashMap::new();
        let images = self.found.iter().filter_map(|m| m.subject.manifest.image());
        for blob in images.flat_map(|image| std::iter::once(&image.config).chain(&image.layers)) {
            let known = *sizes.entry(&blob.digest).or_insert(blob.size);
            if known != blob.size {
                let digest = blob.digest.clone();
                return Err(PlanError::Sizes { digest, one: known, other: blob.size });
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

fn check_cache(edits: &Edits, signatures_required: bool) -> Result<(), PlanError> {
    let trusted = edits.cache.as_ref().is_some_and(|used| used.dangerous_trust);
    let signed = signatures_required || !edits.signing.signers.is_empty();
    if trusted && signed { Err(PlanError::TrustedCache) } else { Ok(()) }
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

/// A layer under the media type that it will have in an OCI manifest. Towards Docker the label is changed last, because
/// only what comes out has to have a Docker form.
fn relabelled(
    manifest: &RawManifest,
    layer: &Descriptor,
    convert: Option<ManifestFormat>,
) -> Result<Descriptor, PlanError> {
    match convert {
        Some(ManifestFormat::Oci) => {
            ManifestFormat::Oci.layer(layer).map_err(|source| unconvertible(manifest, source))
        }
        _ => Ok(layer.clone()),
    }
}

fn unconvertible(manifest: &RawManifest, source: ConvertError) -> PlanError {
    PlanError::Convert { manifest: manifest.digest().clone(), source }
}
