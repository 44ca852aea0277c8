//! `oci:PATH[:REF|:@N]`, the OCI image layout: many images in one folder, blobs shared.

mod delete;
mod destination;
mod index;
mod layout;
mod list;
mod lock;
mod name;
mod source;
mod writing;

pub(crate) use delete::delete;
pub(crate) use destination::OciDestination;
pub(crate) use index::LayoutIndex;
pub(crate) use list::list;
pub(crate) use name::{LayoutName, Selection};
pub(crate) use source::OciSource;
