//! Reading files of configuration.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file, one byte more than `limit` at most: whoever takes the bytes sees that they are too many.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
