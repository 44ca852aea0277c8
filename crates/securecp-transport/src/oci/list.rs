use securecp_layer::Scope;
use securecp_oci::ImageName;

use super::LayoutName;
use super::index::ref_name;
use super::source::read_layout;
use crate::archive::Container;
use crate::files::Files;
use crate::folder::Folder;
use crate::path::Resolved;
use crate::{ListedImage, SourceOptions, TransportError};

/// The layout in the folder that `name` is in.
pub(crate) fn layout(name: &ImageName) -> Result<Folder, TransportError> {
    Resolved::new(name, &LayoutName::parse(name)?.path)?.folder(name)
}

/// The layout in the archive that `name` is in.
pub(crate) fn archived_layout(
    name: &ImageName,
    options: &SourceOptions,
    scope: &Scope,
) -> Result<Container, TransportError> {
    let path = Resolved::new(name, &LayoutName::parse(name)?.path)?;
    let found = Container::new(path.as_path(), options.tmpdir.as_deref());
    found.prepare(scope)?;
    Ok(found)
}

/// The entries of a layout's `index.json`, in order.
pub(crate) fn list(layout: &dyn Files) -> Result<Vec<ListedImage>, TransportError> {
    let index = read_layout(layout)?;
    let entries = index.entries().iter().map(|entry| ListedImage {
        names: ref_name(entry).map(str::to_owned).into_iter().collect(),
        manifest: Some(entry.clone()),
    });
    Ok(entries.collect())
}
