use std::collections::{HashMap, HashSet};

use securecp_oci::{
    Attached, Descriptor, Digest, Escaped, RawManifest, is_evidence_name, referrers_tag,
};

use super::LayoutIndex;
use super::index::ref_name;
use crate::TransportError;

/// Reads the manifest that an entry describes.
pub(super) type ReadManifest<'a> = dyn Fn(&Descriptor) -> Result<RawManifest, TransportError> + 'a;

/// The evidence in a layout, from one look at its index: entries named as the fallback tags of registries, which is how
/// it is written here, and entries whose manifest has a subject, which is how oras and regctl write it.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    named: HashMap<String, Descriptor>,
    referring: HashMap<Digest, Vec<Descriptor>>,
}

impl Beside {
    /// Reads every manifest that `index` enters: one that cannot be read may be evidence of any image. What `read` leaves
    /// out counts as no evidence, and so does what bears the name of an image and is definitely not there: nothing of it
    /// could be carried. Without a name it may have been evidence, which must not be lost in silence.
    pub(super) fn read(
        index: &LayoutIndex,
        read: impl Fn(&Descriptor) -> Result<Option<RawManifest>, TransportError>,
    ) -> Result<Self, TransportError> {
        let mut found = Self::default();
        for (position, entry) in index.entries().iter().enumerate() {
            match ref_name(entry) {
                Some(name) if is_evidence_name(name) => {
                    found.named.entry(name.to_owned()).or_insert_with(|| entry.clone());
                }
                _ if entry.media_type.manifest_kind().is_none() => {}
                _ => {
                    let Some(manifest) = or_nothing((position, entry), read(entry))? else {
                        continue;
                    };
                    let Some(subject) = manifest.view().subject() else { continue };
                    let listed = found.referring.entry(subject.digest.clone()).or_default();
                    listed.push(manifest.as_referrer());
                }
            }
        }
        Ok(found)
    }

    /// The referrers of `subject`, each once.
    pub(super) fn referrers(
        &self,
        subject: &Digest,
        read: &ReadManifest<'_>,
    ) -> Result<Vec<Descriptor>, TransportError> {
        let mut all = match self.named.get(referrers_tag(subject).as_str()) {
            Some(entry) => list_of(&read(entry)?)?,
            None => Vec::new(),
        };
        all.extend(self.referring.get(subject).into_iter().flatten().cloned());
        let mut seen = HashSet::from([subject.clone()]);
        Ok(all.into_iter().filter(|entry| seen.insert(entry.digest.clone())).collect())
    }

    /// What is attached to `subject`.
    pub(super) fn attached(
        &self,
        subject: &Digest,
        what: Attached,
        read: &ReadManifest<'_>,
    ) -> Result<Option<RawManifest>, TransportError> {
        let entry = what.tag(subject).and_then(|tag| self.named.get(tag.as_str()));
        entry.map(read).transpose()
    }
}

/// What was read of an entry; nothing if it is an image that is gone.
fn or_nothing(
    (position, entry): (usize, &Descriptor),
    read: Result<Option<RawManifest>, TransportError>,
) -> Result<Option<RawManifest>, TransportError> {
    let name = ref_name(entry).map(|name| Escaped::new(name).limit(100).to_string());
    match (read, name) {
        (Err(error), Some(name)) if error.is_not_found() => {
            tracing::warn!(image = name, %error, "another image of the layout is not there");
            Ok(None)
        }
        (Err(error @ TransportError::Stopped(_)), _) => Err(error),
        (Err(error), name) => {
            let name = name.map(|name| format!(", called {name},")).unwrap_or_default();
            let entry = format!("@{position}{name} ({})", entry.digest);
            Err(TransportError::PossibleEvidence { entry, source: Box::new(error) })
        }
        (read, _) => read,
    }
}

/// The entries of a list of referrers.
pub(super) fn list_of(list: &RawManifest) -> Result<Vec<Descriptor>, TransportError> {
    match list.index() {
        Some(index) => Ok(index.manifests.clone()),
        None => Err(TransportError::Unsupported {
            name: list.digest().to_string(),
            problem: "expected an index of referrers, found an image".to_owned(),
        }),
    }
}
