use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use securecp_layer::{Chunks, Scope, SourceError};

use crate::TransportError;

/// Writes `chunks` into a file without a name in `folder`; it is gone with this process. `failed` says what it means
/// that the chunks broke off.
pub(crate) fn spool(
    mut chunks: impl Chunks,
    folder: &Path,
    scope: &Scope,
    failed: impl Fn(SourceError) -> TransportError,
) -> Result<File, TransportError> {
    let broken = |source| TransportError::Io {
        operation: "writing a temporary file in",
        path: folder.to_owned(),
        source,
    };
    let spool = tempfile::tempfile_in(folder).map_err(broken)?;
    let mut end = 0;
    loop {
        scope.check()?;
        let Some(chunk) = chunks.next().map_err(&failed)? else {
            spool.set_len(end).map_err(broken)?;
            return Ok(spool);
        };
        // Zeros become a hole, so that gigabytes of them take no place.
        if chunk.iter().any(|byte| *byte != 0) {
            spool.write_all_at(&chunk, end).map_err(broken)?;
        }
        end += chunk.len() as u64;
    }
}
