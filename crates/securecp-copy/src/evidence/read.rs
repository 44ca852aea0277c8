use std::collections::HashSet;

use securecp_layer::Scope;
use securecp_oci::{Attached, Descriptor, Digest, Image, LayerType, MediaType, RawManifest, View};
use securecp_transport::Source;

use super::limits;
use super::{EvidenceBody, EvidenceError};
use crate::budget::Budget;
use crate::error::Cause;

/// Reads pieces of evidence and refuses what only looks like one.
pub(super) struct Reader<'a> {
    pub(super) from: &'a dyn Source,
    /// Artifact types that are carried whatever they are.
    pub(super) types: &'a [String],
    pub(super) scope: &'a Scope,
    pub(super) budget: Budget,
}

impl Reader<'_> {
    /// A referrer, as it is listed under `subject`.
    pub(super) fn referrer(
        &self,
        listed: &Descriptor,
        subject: &Digest,
    ) -> Result<EvidenceBody, Cause> {
        let manifest = self.keep(self.from.manifest(listed, self.scope)?)?;
        let digest = || manifest.digest().clone();
        let of = manifest.view().subject().map(|found| &found.digest);
        if of != Some(subject) {
            let found = of.map_or_else(|| "nothing".to_owned(), Digest::to_string);
            let listed = subject.clone();
            return Err(EvidenceError::OtherSubject { digest: digest(), listed, found }.into());
        }
        let named = self.is_named(&manifest);
        if let (Some(what), false) = (poses_as(&manifest), named) {
            let artifact_type = artifact_type(&manifest);
            let (digest, subject) = (digest(), subject.clone());
            let error = EvidenceError::PosesAsEvidence { digest, subject, what, artifact_type };
            return Err(error.into());
        }
        let parts = self.parts(&manifest)?;
        let body = EvidenceBody { manifest, parts, config: None };
        if !named {
            body.manifests().try_for_each(check_size)?;
        }
        Ok(body)
    }

    /// Evidence is bounded piece by piece, and the memory that all of it takes.
    fn keep(&self, manifest: RawManifest) -> Result<RawManifest, Cause> {
        let kept = self.budget.take(manifest.bytes_kept() as u64);
        kept.map_err(|exceeded| EvidenceError::TooMuch {
            digest: manifest.digest().clone(),
            limit: exceeded.limit,
        })?;
        Ok(manifest)
    }

    /// What cosign attached. A tag is no list: what stands there is evidence because of its name, so it must not be
    /// anything that could be run.
    pub(super) fn attached(
        &self,
        manifest: RawManifest,
        (subject, what): (&Digest, Attached),
    ) -> Result<EvidenceBody, Cause> {
        let Some(image) = manifest.image() else {
            let (subject, suffix) = (subject.clone(), what.suffix());
            return Err(EvidenceError::AttachedIndex { subject, suffix }.into());
        };
        let runnable = |layer: &Descriptor| LayerType::of(&layer.media_type).is_some();
        if image.layers.iter().any(runnable) {
            return Err(EvidenceError::PosesAsEvidence {
                digest: manifest.digest().clone(),
                subject: subject.clone(),
                what: "an image with file system layers",
                artifact_type: String::new(),
            }
            .into());
        }
        check_size(&manifest)?;
        let manifest = self.keep(manifest)?;
        Ok(EvidenceBody { manifest, parts: Vec::new(), config: None })
    }

    fn is_named(&self, manifest: &RawManifest) -> bool {
        let artifact_type = artifact_type(manifest);
        self.types.contains(&artifact_type)
    }

    /// The manifests that an index names, and those that they name, deepest first, each once.
    fn parts(&self, root: &RawManifest) -> Result<Vec<RawManifest>, Cause> {
        let mut found: Vec<RawManifest> = Vec::new();
        let mut seen = HashSet::from([root.digest().clone()]);
        let mut open = vec![root.clone()];
        while let Some(next) = open.pop() {
            for entry in next.index().map(|index| index.manifests.as_slice()).unwrap_or_default() {
                if !seen.insert(entry.digest.clone()) {
                    continue;
                }
                if found.len() == limits::PARTS {
                    let (digest, limit) = (root.digest().clone(), limits::PARTS as u64);
                    let what = "more manifests below it".to_owned();
                    return Err(EvidenceError::TooLarge { digest, what, limit }.into());
                }
                let part = self.keep(self.from.manifest(entry, self.scope)?)?;
                found.push(part.clone());
                open.push(part);
            }
        }
        found.reverse();
        Ok(found)
    }
}

/// What a manifest is that could be run, or hides what could.
fn poses_as(manifest: &RawManifest) -> Option<&'static str> {
    match manifest.view() {
        View::Index(_) => Some("an index"),
        View::Schema1(_) => Some("a Docker image"),
        View::Image(_) if *manifest.media_type() != MediaType::OCI_MANIFEST => {
            Some("a Docker image")
        }
        View::Image(Image { config, .. }) if config.media_type.is_image_config() => {
            Some("an image")
        }
        View::Image(Image { config, .. }) if config.media_type.as_str().is_empty() => {
            Some("of no known type")
        }
        View::Image(_) => None,
    }
}

/// The type that an artifact has in lists.
pub(super) fn artifact_type(manifest: &RawManifest) -> String {
    manifest.as_referrer().artifact_type.unwrap_or_default()
}

fn check_size(manifest: &RawManifest) -> Result<(), Cause> {
    let Some(image) = manifest.image() else { return Ok(()) };
    let too_large = |what: String, limit: u64| EvidenceError::TooLarge {
        digest: manifest.digest().clone(),
        what,
        limit,
    };
    if image.layers.len() > limits::LAYERS {
        let what = format!("{} layers", image.layers.len());
        return Err(too_large(what, limits::LAYERS as u64).into());
    }
    let blobs = std::iter::once(&image.config).chain(&image.layers);
    match blobs.into_iter().find(|blob| blob.size > limits::BLOB) {
        None => Ok(()),
        Some(blob) => {
            let what = format!("a blob of {} bytes", blob.size);
            Err(too_large(what, limits::BLOB).into())
        }
    }
}
