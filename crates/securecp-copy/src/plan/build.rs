use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use securecp_oci::{
    Algorithm, Annotations, Attached, ConvertError, Descriptor, Digest, Image, LayerType,
    ManifestFormat, ManifestKind, MediaType, RawManifest, Signature, convert_image,
};

use crate::chain::Step;
use crate::edits::{Edits, Recompression};
use crate::evidence::{Carried, EvidenceChoice, EvidenceForm, EvidenceOf};
use crate::plan::evidence::EvidenceDesk;
use crate::plan::layers::{
    LayerAt, Planned, chosen_for_encryption, diff_ids, further_recipients, step,
};
use crate::plan::signatures::SignatureDesk;
use crate::plan::{
    BlobAction, BlobWork, Building, Change, FoundId, ManifestWork, Node, NodeId, PlanError,
    PlannedName, Produced, Reason, SignatureWork, Work,
};
use crate::probe::{Name, There};
use crate::survey::{Found, FoundManifest};

/// What can be refused without looking at any image.
pub(super) fn check(
    edits: &Edits,
    there: &[There],
    signatures_required: bool,
) -> Result<(), PlanError> {
    check_cache(edits, signatures_required)?;
    there.iter().try_for_each(check_names)
}

/// Adds everything that goes to one storage to the plan.
pub(super) fn extend(
    plan: &mut Building,
    storage: usize,
    (found, carried): (&[&Found], &[Carried]),
    edits: &Edits,
    there: &[There],
) -> Result<(), PlanError> {
    let names = there.iter().map(|there| there.names.len()).sum();
    let there = &there[storage];
    let mut builder = Builder {
        found,
        carried,
        edits,
        there,
        storage,
        nodes: &mut plan.nodes,
        blobs: HashMap::new(),
        manifests: HashMap::new(),
        planned: HashMap::new(),
        bearers: BTreeMap::new(),
    };
    builder.check_kinds()?;
    builder.check_sizes()?;
    for route in &there.routes {
        builder.manifest(FoundId::root(*route))?;
    }
    builder.all_signatures(names)?;
    let desk = EvidenceDesk { builder: &mut builder };
    plan.attestations.extend(desk.attestations()?);
    plan.evidence.extend(desk.plan()?);
    builder.records()?;
    match builder.check_effect() {
        Err(error @ PlanError::NoEffect { .. }) if edits.lenient => {
            plan.without_effect.insert(error.to_string());
        }
        checked => checked?,
    }
    plan.names.extend(builder.names()?);
    Ok(())
}

/// A blob stands once for each form that it gets.
type BlobKey = (Digest, Option<Digest>, Vec<Change>, Option<(MediaType, Annotations)>, bool);

/// A manifest stands once for each form that it gets: the same edits apply to all.
type ManifestKey = (Digest, Option<Vec<usize>>);

/// Which node stands at which position of a manifest's list.
type Positions = Vec<(usize, NodeId)>;

pub(super) struct Builder<'a> {
    found: &'a [&'a Found],
    pub(super) carried: &'a [Carried],
    pub(super) edits: &'a Edits,
    pub(super) there: &'a There,
    pub(super) storage: usize,
    pub(super) nodes: &'a mut Vec<Node>,
    blobs: HashMap<BlobKey, NodeId>,
    manifests: HashMap<ManifestKey, NodeId>,
    pub(super) planned: HashMap<FoundId, NodeId>,
    /// The manifests found that became one node.
    bearers: BTreeMap<NodeId, Vec<FoundId>>,
}

impl<'a> Builder<'a> {
    pub(super) fn at(&self, id: FoundId) -> &'a FoundManifest {
        &self.found[id.route].manifests()[id.manifest]
    }

    /// What was found on a route.
    pub(super) fn manifests_of(&self, route: usize) -> &'a [FoundManifest] {
        self.found[route].manifests()
    }

    /// Every manifest that comes here.
    fn coming(&self) -> impl Iterator<Item = &'a FoundManifest> {
        let found = self.found;
        self.there.routes.iter().flat_map(move |route| found[*route].manifests())
    }

    /// Plans a manifest after everything that it needs; one that other routes bring too stands once.
    fn manifest(&mut self, id: FoundId) -> Result<NodeId, PlanError> {
        if let Some(node) = self.planned.get(&id) {
            return Ok(*node);
        }
        let found = self.at(id);
        let (entries, orphaned) = self.entries(id)?;
        let key = (found.subject.manifest.digest().clone(), found.keep.clone());
        let node = match self.manifests.get(&key) {
            Some(node) => *node,
            None => self.new_manifest(id, entries, &orphaned)?,
        };
        self.check_signed(found, node)?;
        self.manifests.insert(key, node);
        self.planned.insert(id, node);
        self.bearers.entry(node).or_default().push(id);
        Ok(node)
    }

    /// What an index names, as planned; and the positions of attestations that attest what is no more.
    fn entries(&mut self, id: FoundId) -> Result<(Positions, Vec<usize>), PlanError> {
        let found = self.at(id);
        let (mut entries, mut orphaned) = (Positions::new(), Vec::new());
        // Attestations come last: what becomes of them depends on what they attest.
        let (attestations, images): (Vec<_>, Vec<_>) =
            found.entries.iter().copied().partition(|(at, _)| found.attests(*at).is_some());
        for (position, child) in images.into_iter().chain(attestations) {
            let child = FoundId { manifest: child, ..id };
            match self.drops(found, position, &entries) {
                true => orphaned.push(position),
                false => entries.push((position, self.manifest(child)?)),
            }
        }
        entries.sort_unstable();
        Ok((entries, orphaned))
    }

    /// Whether an entry attests a manifest that changes, and is to stay behind for that.
    fn drops(&self, found: &FoundManifest, position: usize, entries: &Positions) -> bool {
        let evidence = &self.edits.evidence;
        let looked_for = evidence.which != EvidenceChoice::None;
        let changed = found.attests(position).is_some_and(|subject| {
            let of = |(at, node): &&(usize, NodeId)| {
                found.entry_digest(*at) == Some(subject) && self.nodes[node.0].changes()
            };
            entries.iter().find(of).is_some()
        });
        looked_for && changed
    }

    fn new_manifest(
        &mut self,
        id: FoundId,
        entries: Positions,
        orphaned: &[usize],
    ) -> Result<NodeId, PlanError> {
        let found = self.at(id);
        let manifest = found.content();
        let mut needs = Vec::new();
        let (mut layers, mut described) = (Vec::new(), Vec::new());
        let convert = self.conversion(manifest);
        if let Some(image) = manifest.image() {
            let (config, planned) = self.image(id, image, convert)?;
            needs.push(config);
            layers = planned;
            described = further_recipients(manifest, image, self.edits)?;
        }
        needs.extend(layers.iter().chain(&entries).map(|(_, id)| *id));
        let mut reasons = self.reasons(found, &layers, &entries);
        let restated = found.made_config().map(|_| ManifestFormat::Docker);
        reasons.extend(convert.or(restated).map(Reason::Converted));
        reasons.extend(described.iter().map(|(layer, _)| Reason::Recipients(*layer)));
        reasons.extend(orphaned.iter().map(|position| Reason::Orphaned(*position)));
        let keep = kept(found, orphaned);
        let produced = self.produced(&found.subject.manifest, reasons)?;
        let there = self.there.manifests.get(manifest.digest()).copied().unwrap_or(false)
            && matches!(produced, Produced::Kept(_))
            // Putting it again is what makes sure that it is listed among its subject's referrers.
            && manifest.view().subject().is_none();
        let work =
            ManifestWork { found: id, layers, entries, convert, described, keep, produced, there };
        Ok(self.push(Work::Manifest(work), needs))
    }

    pub(super) fn push(&mut self, work: Work, mut needs: Vec<NodeId>) -> NodeId {
        needs.sort_unstable();
        needs.dedup();
        self.nodes.push(Node { work, storage: self.storage, needs });
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
        id: FoundId,
        image: &Image,
        convert: Option<ManifestFormat>,
    ) -> Result<(NodeId, Positions), PlanError> {
        let found = self.at(id);
        let manifest = found.content();
        let (layers, planned) = self.layers(id, image, convert)?;
        self.check_holdable(manifest, &image.config, &planned)?;
        let made = match (convert, found.configuration()) {
            (Some(to), Some(config)) => {
                let converted = convert_image(manifest, &planned, config, to);
                converted.map_err(|source| unconvertible(manifest, source))?.config
            }
            (Some(_), None) => {
                let source = ConvertError::Artifact(image.config.media_type.clone());
                return Err(unconvertible(manifest, source));
            }
            (None, _) => found.made_config().cloned(),
        };
        let config = match made {
            Some(bytes) => self.made(id.route, bytes),
            None => self.verbatim(id.route, &image.config),
        };
        Ok((config, layers))
    }

    /// The layers as nodes, and as they will be described but for digests and sizes that are not known yet.
    fn layers(
        &mut self,
        id: FoundId,
        image: &Image,
        convert: Option<ManifestFormat>,
    ) -> Result<(Positions, Vec<Descriptor>), PlanError> {
        let found = self.at(id);
        let manifest = found.content();
        let diff_ids = match found.configuration() {
            Some(config) => diff_ids(manifest, image, config)?,
            None => Vec::new(),
        };
        let chosen = chosen_for_encryption(manifest, image, self.edits)?;
        let format = convert.or_else(|| ManifestFormat::of(manifest.media_type()));
        if !chosen.is_empty() && format != Some(ManifestFormat::Oci) {
            return Err(PlanError::NotOci {
                manifest: manifest.digest().clone(),
                found: format
                    .map_or_else(|| manifest.media_type().clone(), |format| format.manifest()),
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
            nodes.push((position, self.layer(id.route, &descriptor, plan, diff_id)));
        }
        Ok((nodes, planned))
    }

    /// A blob whose bytes are at hand.
    pub(super) fn made(&mut self, route: usize, bytes: Bytes) -> NodeId {
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let source = Descriptor::new(MediaType::OCI_CONFIG, digest, bytes.len() as u64);
        let action = BlobAction::Copy { mount_from: Vec::new() };
        let (step, changes, remembered) = (Step::default(), Vec::new(), None);
        let made = Some(bytes);
        let work = BlobWork { route, source, step, changes, action, remembered, made };
        self.push(Work::Blob(work), Vec::new())
    }

    /// A blob whose bytes stay as they are.
    pub(super) fn verbatim(&mut self, route: usize, source: &Descriptor) -> NodeId {
        let plan = Planned {
            step: Step::default(),
            changes: Vec::new(),
            media_type: source.media_type.clone(),
            remembered: None,
        };
        self.layer(route, source, plan, None)
    }

    fn layer(
        &mut self,
        route: usize,
        source: &Descriptor,
        plan: Planned,
        diff_id: Option<&Digest>,
    ) -> NodeId {
        let Planned { step, changes, remembered, .. } = plan;
        let told_apart = diff_id.filter(|_| !changes.is_empty()).cloned();
        let label = (source.media_type.clone(), source.annotations.clone());
        let label = Some(label).filter(|_| !changes.is_empty());
        let action = if changes.is_empty() {
            self.action(route, source)
        } else {
            BlobAction::Copy { mount_from: Vec::new() }
        };
        let elsewhere = action == BlobAction::Elsewhere;
        let key = (source.digest.clone(), told_apart, changes.clone(), label, elsewhere);
        if let Some(id) = self.blobs.get(&key) {
            return *id;
        }
        let source = source.clone();
        let work = BlobWork { route, source, step, changes, action, remembered, made: None };
        let id = self.push(Work::Blob(work), Vec::new());
        self.blobs.insert(key, id);
        id
    }

    /// Only layers that must not be distributed stay where their `urls` point to; anybody could write `urls` beside
    /// any blob, and the copy would be hollow.
    fn action(&self, route: usize, source: &Descriptor) -> BlobAction {
        let foreign = LayerType::of(&source.media_type).is_some_and(|t| t.foreign);
        if self.there.blobs.get(&source.digest).copied().unwrap_or(false) {
            BlobAction::There
        } else if foreign && !source.urls.is_empty() && self.there.accepts.keeps_urls {
            BlobAction::Elsewhere
        } else {
            let mount_from = self.there.mount_from.get(&route);
            BlobAction::Copy { mount_from: mount_from.into_iter().cloned().collect() }
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

    /// What becomes of a manifest; one whose digest is to be kept must not change.
    fn produced(
        &self,
        manifest: &RawManifest,
        reasons: Vec<Reason>,
    ) -> Result<Produced, PlanError> {
        let manifest = manifest.digest().clone();
        if reasons.is_empty() {
            return Ok(Produced::Kept(manifest));
        }
        if self.edits.preserve_digests {
            return Err(PlanError::Preserve { manifest, reasons: listed(&reasons) });
        }
        Ok(Produced::Made(reasons))
    }

    /// A manifest that is signed must not change.
    fn check_signed(&self, found: &FoundManifest, node: NodeId) -> Result<(), PlanError> {
        let Work::Manifest(ManifestWork { produced: Produced::Made(reasons), .. }) =
            &self.nodes[node.0].work
        else {
            return Ok(());
        };
        let signatures = found.subject.signatures.as_deref().unwrap_or_default();
        if signatures.is_empty() || self.edits.remove_signatures {
            return Ok(());
        }
        let (manifest, count) = (found.subject.manifest.digest().clone(), signatures.len());
        Err(PlanError::Invalidates { manifest, count, reasons: listed(reasons) })
    }

    /// Signatures travel with a manifest whose bytes are kept, and new ones are made; nothing is lost without being
    /// asked for.
    fn all_signatures(&mut self, names: usize) -> Result<(), PlanError> {
        let desk = SignatureDesk { edits: self.edits, there: self.there, names };
        for (manifest, bearers) in std::mem::take(&mut self.bearers) {
            let mut carried: Vec<Signature> = Vec::new();
            for id in &bearers {
                let carried_by = &self.carried[id.route];
                let lets = |signature: usize| carried_by.lets(id.manifest, signature);
                let as_evidence = self.has_attached_signatures(*id);
                let new = desk.carried(self.at(*id), as_evidence, &lets)?;
                carried.extend(
                    new.into_iter().filter(|one| !carried.contains(one)).collect::<Vec<_>>(),
                );
            }
            let routes: Vec<usize> = bearers.iter().map(|id| id.route).collect();
            let identities = desk.identities(self.at(bearers[0]), &routes)?;
            let produced = match &self.nodes[manifest.0].work {
                Work::Manifest(work) => Some(&work.produced),
                _ => None,
            };
            let bundlers = desk.bundlers(self.at(bearers[0]), produced)?;
            if !carried.is_empty() || !identities.is_empty() || !bundlers.is_empty() {
                let work = SignatureWork { manifest, carried, identities, bundlers };
                self.push(Work::Signatures(work), vec![manifest]);
            }
        }
        Ok(())
    }

    /// Whether sigstore signatures of a manifest travel as what cosign attached, so that they need not be written again.
    fn has_attached_signatures(&self, id: FoundId) -> bool {
        let attached = EvidenceForm::Attached(Attached::Signatures);
        let of = EvidenceOf::Manifest(id.manifest);
        let mut pieces = self.carried[id.route].pieces().iter();
        self.there.accepts.evidence && pieces.any(|piece| piece.of == of && piece.form == attached)
    }

    /// The names of this storage; one that is a digest takes only the manifest that has it.
    fn names(&self) -> Result<Vec<PlannedName>, PlanError> {
        let planned = |name: &Name| {
            let root = self.planned[&FoundId::root(name.route)];
            self.check_name(name, root)?;
            Ok(PlannedName { name: name.clone(), storage: self.storage, root })
        };
        self.there.names.iter().map(planned).collect()
    }

    fn check_kinds(&self) -> Result<(), PlanError> {
        let accepts = &self.there.accepts;
        let name = || self.there.name.clone();
        for manifest in self.coming().map(FoundManifest::content) {
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

    /// Some places hold nothing but images whose layers they can unpack.
    fn check_holdable(
        &self,
        manifest: &RawManifest,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<(), PlanError> {
        let plain = |layer: &&Descriptor| {
            LayerType::of(&layer.media_type).is_some_and(|layer| !layer.encrypted)
        };
        let odd = layers.iter().find(|layer| !plain(layer));
        let found = match (config.media_type.is_image_config(), odd) {
            _ if !self.there.accepts.only_images => return Ok(()),
            (true, None) => return Ok(()),
            (false, _) => format!("a configuration of type {}", config.media_type),
            (true, Some(layer)) => format!("a layer of type {}", layer.media_type),
        };
        let (name, manifest) = (self.there.name.clone(), manifest.digest().clone());
        Err(PlanError::OnlyImages { name, manifest, found })
    }

    /// One blob has one size, whoever describes it.
    fn check_sizes(&self) -> Result<(), PlanError> {
        let mut sizes: HashMap<&Digest, u64> = HashMap::new();
        let images = self.coming().map(FoundManifest::content);
        let routes = self.there.routes.iter().filter(|_| self.there.accepts.evidence);
        let evidence = routes.flat_map(|route| self.carried[*route].manifests());
        let images = images.chain(evidence).filter_map(RawManifest::image);
        for blob in images.flat_map(|image| std::iter::once(&image.config).chain(&image.layers)) {
            let known = *sizes.entry(&blob.digest).or_insert(blob.size);
            if known != blob.size {
                let digest = blob.digest.clone();
                return Err(PlanError::Sizes { digest, one: known, other: blob.size });
            }
        }
        Ok(())
    }

    fn check_name(&self, name: &Name, root: NodeId) -> Result<(), PlanError> {
        let named = name.reference.as_ref().filter(|_| name.tag.is_none());
        let Some(expected) = named.and_then(|reference| reference.digest()) else {
            return Ok(());
        };
        let found = match &self.nodes[root.0].work {
            Work::Manifest(ManifestWork { produced: Produced::Kept(digest), .. }) => Some(digest),
            _ => None,
        };
        if found == Some(expected) {
            return Ok(());
        }
        let found = found.map_or("one that is not known yet".to_owned(), Digest::to_string);
        let name = name.destination.clone();
        Err(PlanError::OtherDigest { name, expected: expected.clone(), found })
    }

    /// An option that no layer can follow is an error, not a silence.
    fn check_effect(&self) -> Result<(), PlanError> {
        let layers = || {
            let images = self.coming().filter_map(|m| m.content().image());
            images.flat_map(|image| &image.layers)
        };
        let decrypts =
            self.edits.decrypt.is_some() && !self.edits.encrypt.as_ref().is_some_and(|e| e.add);
        let recompressible = |d: &Descriptor| {
            LayerType::of(&d.media_type).is_some_and(|layer| !layer.encrypted || decrypts)
        };
        let asked = self.edits.recompression != Recompression::Keep;
        if asked && layers().next().is_some() && !layers().any(recompressible) {
            return Err(PlanError::NoEffect {
                option: "the compression asked for",
                why: "none of the layers is a file system layer in the clear".to_owned(),
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

/// A name cannot stand for two images.
fn check_names(there: &There) -> Result<(), PlanError> {
    for (position, name) in there.names.iter().enumerate() {
        let by_digest = |name: &Name| {
            let reference = name.reference.as_ref();
            name.entry.is_none() && reference.is_some_and(|r| r.digest().is_some())
        };
        let same = |other: &&Name| other.entry == name.entry && !by_digest(other);
        if let Some(other) = there.names[..position].iter().find(same).filter(|_| !by_digest(name))
        {
            let (name, other) = (name.destination.clone(), other.destination.clone());
            return Err(PlanError::NamedTwice { name, other });
        }
    }
    Ok(())
}

/// The positions of the entries that stay, if some are taken out.
fn kept(found: &FoundManifest, orphaned: &[usize]) -> Option<Vec<usize>> {
    if orphaned.is_empty() {
        return found.keep.clone();
    }
    let all = found.subject.manifest.index().map_or(0, |index| index.manifests.len());
    let mut kept = found.keep.clone().unwrap_or_else(|| (0..all).collect());
    kept.retain(|position| !orphaned.contains(position));
    Some(kept)
}

pub(super) fn listed(reasons: &[Reason]) -> String {
    let texts: Vec<String> = reasons.iter().map(Reason::to_string).collect();
    texts.join(", ")
}

fn check_cache(edits: &Edits, signatures_required: bool) -> Result<(), PlanError> {
    let trusted = edits.cache.as_ref().is_some_and(|used| used.dangerous_trust);
    let signed = signatures_required || !edits.signing.is_empty();
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
