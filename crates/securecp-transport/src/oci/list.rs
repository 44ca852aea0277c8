use securecp_oci::ImageName;

use super::LayoutName;
use super::index::ref_name;
use super::source::read_layout;
use crate::path::Resolved;
use crate::{ListedImage, TransportError};

/// The entries of a layout's `index.json`, in order.
pub(crate) fn list(name: &ImageName) -> Result<Vec<ListedImage>, TransportError> {
    let path = Resolved::new(name, &LayoutName::parse(name)?.path)?;
    let index = read_layout(&path.folder(name)?)?;
    let entries = index.entries().iter().map(|entry| ListedImage {
        names: ref_name(entry).map(str::to_owned).into_iter().collect(),
        manifest: Some(entry.clone()),
    });
    Ok(entries.collect())
}
