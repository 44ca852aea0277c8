//! `oci:PATH[:REF|:@N]`, the OCI image layout: many images in one folder, blobs shared.

mod archive;
mod beside;
mod delete;
mod destination;
mod edit;
mod evidence;
mod index;
mod kept;
mod layout;
mod list;
mod lock;
mod name;
mod partial;
mod source;
mod writing;

pub(crate) use archive::OciArchiveDestination;
pub(crate) use beside::Beside;
pub(crate) use delete::delete;
pub(crate) use destination::OciDestination;
pub(crate) use index::LayoutIndex;
pub(crate) use layout::OCI_LAYOUT;
pub(crate) use list::{archived_layout, layout, list};
pub(crate) use name::{LayoutName, Selection};
pub(crate) use source::OciSource;

use securecp_layer::Scope;
use securecp_oci::Signature;

use crate::TransportError;

/// A layout has no place for signatures; none at all are no problem.
fn refuse_signatures(
    name: String,
    signatures: &[Signature],
    scope: &Scope,
) -> Result<(), TransportError> {
    scope.check()?;
    if signatures.is_empty() {
        return Ok(());
    }
    let problem = "Pushing signatures for OCI images is not supported".to_owned();
    Err(TransportError::Unsupported { name, problem })
}
