//! The trust file (`--trust`), and the gate that policy and trust file make together.

use std::path::Path;

use anyhow::Context;
use securecp_trust::{Gate, IndexSignature, TRUST_FILE_LIMIT, TrustFile};

use crate::failure::Failure;
use crate::files::read_bounded;
use crate::policy;
use crate::request::Globals;

/// Loads the file, if one is named; paths in it are taken from where it stands.
pub(crate) fn load(path: Option<&Path>) -> Result<Option<TrustFile>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let name = || format!("loading trust file {}", path.display());
    let bytes = read_bounded(path, TRUST_FILE_LIMIT).with_context(name)?;
    let file = TrustFile::parse(&bytes).with_context(name)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Some(file.relative_to(folder)))
}

/// How a run judges images, whichever command asks.
pub(crate) fn gate<'a>(
    globals: &Globals,
    index_signature: IndexSignature,
    trust: Option<&'a TrustFile>,
) -> Gate<'a> {
    Gate::new(&policy::read_key)
        .require_signed(globals.require_signed)
        .index_signature(index_signature)
        .trust(trust)
}
