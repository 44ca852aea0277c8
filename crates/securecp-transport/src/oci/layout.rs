use securecp_oci::json::{self, Limits};
use securecp_oci::{Digest, Escaped};

use crate::TransportError;
use crate::files::{self, Files};

pub(crate) const OCI_LAYOUT: &str = "oci-layout";
pub(super) const INDEX: &str = "index.json";
pub(super) const BLOBS: &str = "blobs";

/// The whole `oci-layout` file, as the reference writes it.
pub(super) const OCI_LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

const OCI_LAYOUT_LIMIT: usize = 4 << 10;
const VERSION: &str = "1.0.0";

/// Whether there is an `oci-layout` file; one of another version is an error.
pub(super) fn check_layout(files: &dyn Files) -> Result<bool, TransportError> {
    let Some(bytes) = files::read(files, OCI_LAYOUT, OCI_LAYOUT_LIMIT)? else { return Ok(false) };
    let path = files.place().join(OCI_LAYOUT);
    let value = json::parse(&bytes, Limits::bytes(OCI_LAYOUT_LIMIT));
    let value = value.map_err(|source| TransportError::Document { path: path.clone(), source })?;
    let version = value.get("imageLayoutVersion").and_then(serde_json::Value::as_str);
    if version == Some(VERSION) {
        return Ok(true);
    }
    let found = Escaped::new(version.unwrap_or("none")).limit(40).to_string();
    let problem = format!("expected imageLayoutVersion {VERSION}, found {found}");
    Err(TransportError::Place { path, problem })
}

/// The path of a blob below the layout's `blobs`.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}
