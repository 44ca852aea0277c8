//! Files that the command line names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::anyhow;

use crate::failure::Failure;

/// Reads a file, one byte more than `limit` at most: whoever takes the bytes sees that they are too many.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Looks before a copy whether its digests can be written to `file` after it.
pub(crate) fn check_writable(file: &Path) -> Result<(), Failure> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let problem = match parent {
        Some(parent) if !parent.is_dir() => format!("{} is not a directory", parent.display()),
        _ if file.is_dir() => "it is a directory".to_owned(),
        _ => return Ok(()),
    };
    Err(anyhow!("{problem}").context(format!("--digestfile {}", file.display())).into())
}
