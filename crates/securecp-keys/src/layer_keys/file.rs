use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use securecp_crypt::Secret;
use zeroize::Zeroizing;

use crate::LayerKeyError;

/// Largest key file, in bytes.
const FILE_LIMIT: usize = 16 << 20;
/// Largest passphrase with what stands around it, in bytes.
const PASSPHRASE_LIMIT: usize = 64 << 10;
/// What is read at once, in bytes.
const CHUNK: usize = 16 << 10;

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
    let expected = file.metadata().map_err(failed)?.len().min(limit as u64) as usize;
    let mut whole = read_wiped(file.take(limit as u64 + 1), expected).map_err(failed)?;
    if whole.len() > limit {
        return Err(LayerKeyError::TooLarge { subject: path.display().to_string(), limit });
    }
    Ok(Secret::new(std::mem::take(&mut *whole)))
}

/// Everything, `expected` bytes or more. A buffer that grows by itself leaves its old bytes behind in memory; here they
/// are wiped.
fn read_wiped(mut from: impl Read, expected: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(expected.max(CHUNK) + 1));
    let mut chunk = Zeroizing::new([0; CHUNK]);
    loop {
        let count = match from.read(&mut chunk[..]) {
            Ok(0) => return Ok(whole),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if whole.capacity() - whole.len() < count {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * whole.capacity() + count));
            larger.extend_from_slice(&whole);
            whole = larger;
        }
        whole.extend_from_slice(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Like a pipe: nobody knows its length, and it comes in pieces.
    struct Pieces<'a>(&'a [u8]);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(700);
            (&mut self.0).read(&mut buffer[..count])
        }
    }

    #[test]
    fn reads_whole_whatever_length_was_expected() {
        let data: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        for expected in [0, 99_999, 100_000, 200_000] {
            let found = read_wiped(Pieces(&data), expected).unwrap();
            assert!(found.as_slice() == data, "{expected}");
            // Room for all of it from the start: nothing was copied.
            assert!(expected < data.len() || found.capacity() == expected + 1, "{expected}");
        }
    }

    #[test]
    fn refuses_what_is_longer_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, [7; 101]).unwrap();
        assert!(matches!(read_to(&path, 100), Err(LayerKeyError::TooLarge { limit: 100, .. })));
        assert_eq!(&*read_to(&path, 101).unwrap(), [7; 101]);
        assert!(matches!(read_to(&folder.path().join("none"), 9), Err(LayerKeyError::Read { .. })));
    }
}
