use std::collections::HashSet;

use securecp_layer::Scope;
use securecp_oci::{Descriptor, Digest, Escaped, ImageName, LayerType, RawManifest, View};

use super::layout::{BLOBS, INDEX, blob_name};
use super::lock::Lock;
use super::source::read_layout;
use super::{LayoutIndex, LayoutName};
use crate::files::{self, Files};
use crate::folder::Folder;
use crate::path::Resolved;
use crate::{Deleted, SourceOptions, TransportError};

/// Takes one image out of a layout, with the blobs that no other image there needs.
///
/// A folder of shared blobs is never deleted from, since nobody knows who else refers to it.
pub(crate) fn delete(
    name: &ImageName,
    options: &SourceOptions,
    scope: &Scope,
) -> Result<Deleted, TransportError> {
    let LayoutName { path, selection } = LayoutName::parse(name)?;
    let layout = Resolved::new(name, &path)?.folder(name)?;
    let index = read_layout(&layout)?;
    let own = layout.make(BLOBS)?;
    let shared = options.shared_blob_dir.as_deref().map(Folder::open).transpose()?;
    let stored = shared.as_ref().unwrap_or(&own);
    let manifest =
        |entry: &Descriptor| files::read_manifest(stored, &blob_name(&entry.digest), entry.into());
    index.select(&selection, &layout, &manifest)?;
    // In this order, as writers do: nobody who found a blob here is left without it.
    let _blobs = Lock::exclusive(&own, scope)?;
    let _index = Lock::exclusive(&layout, scope)?;
    let index = read_layout(&layout)?;
    let entry = index.select(&selection, &layout, &manifest)?.clone();
    let position = index.entries().iter().position(|other| *other == entry).unwrap_or_default();
    let after = index.without(position, layout.path())?;
    let unneeded = match &shared {
        Some(_) => Vec::new(),
        None => unneeded(&own, &entry, &after, scope)?,
    };
    // The reference ends the line when it deletes, and not when it writes.
    layout.write(INDEX, &[after.bytes().as_ref(), b"\n"].concat())?;
    layout.sync()?;
    for digest in &unneeded {
        own.remove_file(&blob_name(digest))?;
    }
    Ok(Deleted { manifest: entry.digest, blobs: unneeded })
}

/// The blobs that are there, that `gone` needs and no entry of `kept` does.
fn unneeded(
    blobs: &Folder,
    gone: &Descriptor,
    kept: &LayoutIndex,
    scope: &Scope,
) -> Result<Vec<Digest>, TransportError> {
    let needed = needed_by(kept.entries(), blobs, scope)?;
    let candidates = needed_by(std::slice::from_ref(gone), blobs, scope)?;
    let mut found = Vec::new();
    for digest in candidates.difference(&needed) {
        if blobs.size_of(&blob_name(digest))?.is_some() {
            found.push(digest.clone());
        }
    }
    found.sort();
    Ok(found)
}

/// The digests of everything that `entries` need. A manifest that is not there needs nothing; one that cannot be read, or
/// is of an unknown type, is an error, because what it needs cannot be told.
fn needed_by(
    entries: &[Descriptor],
    blobs: &Folder,
    scope: &Scope,
) -> Result<HashSet<Digest>, TransportError> {
    let mut open = entries.to_vec();
    // A manifest may be some image's layer too, so what was read is kept apart from what is needed.
    let (mut was_read, mut leaves) = (HashSet::new(), HashSet::new());
    while let Some(next) = open.pop() {
        scope.check()?;
        if !was_read.insert(next.digest.clone()) {
            continue;
        }
        if let Some(manifest) = read(blobs, &next)? {
            match manifest.view() {
                View::Index(index) => open.extend(index.manifests.iter().cloned()),
                View::Image(image) => {
                    let blobs = image.layers.iter().chain([&image.config]);
                    leaves.extend(blobs.map(|leaf| leaf.digest.clone()));
                }
                View::Schema1(schema1) => leaves.extend(schema1.layers().cloned()),
            }
        }
    }
    leaves.extend(was_read);
    Ok(leaves)
}

fn read(blobs: &Folder, entry: &Descriptor) -> Result<Option<RawManifest>, TransportError> {
    let name = blob_name(&entry.digest);
    let known = entry.media_type.manifest_kind().is_some();
    let is_leaf = LayerType::of(&entry.media_type).is_some() || entry.media_type.is_image_config();
    match blobs.open(&name)? {
        None => Ok(None),
        Some(_) if is_leaf => Ok(None),
        Some(_) if known || entry.media_type.as_str().is_empty() => {
            files::read_manifest(blobs, &name, entry.into()).map(Some)
        }
        Some(_) => Err(TransportError::Place {
            path: blobs.path().join(name),
            problem: format!(
                "which blobs it needs cannot be told: expected a manifest, found media type {}",
                Escaped::new(entry.media_type.as_str()).limit(100)
            ),
        }),
    }
}
