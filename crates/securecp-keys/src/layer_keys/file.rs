use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use securecp_crypt::Secret;

use crate::LayerKeyError;

/// Largest key file, in bytes.
const FILE_LIMIT: usize = 16 << 20;
/// Largest passphrase with what stands around it, in bytes.
const PASSPHRASE_LIMIT: usize = 64 << 10;

/// A whole key file.
pub(crate) fn read(path: &Path) -> Result<Secret, LayerKeyError> {
    read_to(path, FILE_LIMIT)
}

/// A passphrase that stands in a file.
pub(crate) fn read_passphrase(path: &Path) -> Result<Secret, LayerKeyError> {
    read_to(path, PASSPHRASE_LIMIT)
}

/// A passphrase that comes from an open descriptor.
pub(crate) fn read_descriptor(number: u32) -> Result<Secret, LayerKeyError> {
    read_to(Path::new(&format!("/dev/fd/{number}")), PASSPHRASE_LIMIT)
}

fn read_to(path: &Path, limit: usize) -> Result<Secret, LayerKeyError> {
    let failed = |source: io::Error| LayerKeyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::with_capacity(64 << 10);
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let secret = Secret::new(bytes);
    if secret.len() > limit {
        return Err(LayerKeyError::TooLarge { subject: path.display().to_string(), limit });
    }
    Ok(secret)
}
