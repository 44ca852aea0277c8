use std::fmt::{self, Display};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use securecp_oci::LayerCompression;

/// A compression format, as told from the first bytes of a blob; its media type is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed, or in a format not known here.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// bzip2; read, never written.
    Bzip2,
    /// xz; read, never written.
    Xz,
}

impl Codec {
    /// Number of bytes that [`Codec::detect`] wants to see, if the blob has so many.
    pub const PREFIX: usize = 10;

    /// Tells the format from the first [`Codec::PREFIX`] bytes of a blob.
    ///
    /// bzip2 needs its block mark as well as its three letters, so that a tar archive whose first file is called
    /// `BZh…` stays one; a skippable Zstandard frame counts as Zstandard.
    pub fn detect(prefix: &[u8]) -> Self {
        let skippable = matches!(prefix, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
        if prefix.starts_with(&[0x1f, 0x8b, 0x08]) {
            Self::Gzip
        } else if prefix.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || skippable {
            Self::Zstd
        } else if prefix.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
            Self::Xz
        } else if is_bzip2(prefix) {
            Self::Bzip2
        } else {
            Self::Plain
        }
    }

    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }
}

impl Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn is_bzip2(prefix: &[u8]) -> bool {
    const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    matches!(prefix, [b'B', b'Z', b'h', b'1'..=b'9', mark @ ..] if mark.starts_with(&BLOCK) || mark.starts_with(&END))
}

/// A number that is not a level of its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{codec} level {found} is out of range, expected {lowest} to {highest}")]
pub struct LevelError {
    /// The format.
    pub codec: Codec,
    /// Its lowest level.
    pub lowest: i64,
    /// Its highest level.
    pub highest: i64,
    /// The number given.
    pub found: i64,
}

fn in_range(codec: Codec, lowest: i64, highest: i64, found: i64) -> Result<u8, LevelError> {
    let error = LevelError { codec, lowest, highest, found };
    if found < lowest || found > highest {
        return Err(error);
    }
    u8::try_from(found).map_err(|_| error)
}

/// A gzip level: 0 (stored) to 9.
///
/// Unless told otherwise it is 5: of a GB of files zlib-rs makes as much as at its level 6 (395.0 and 394.1 MB) in 17 % less
/// time, and 3 % less than the reference's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GzipLevel(u8);

impl GzipLevel {
    /// Checks a level.
    ///
    /// # Errors
    /// The number is not one of 0 to 9.
    pub fn new(level: i64) -> Result<Self, LevelError> {
        in_range(Codec::Gzip, 0, 9, level).map(Self)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for GzipLevel {
    fn default() -> Self {
        Self(5)
    }
}

/// A Zstandard level: 1 to 22; 3 unless told otherwise.
///
/// Levels 20 to 22 keep the window of level 19 (8 MiB): RFC 8878 asks no more of a reader, and common ones refuse more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZstdLevel(u8);

impl ZstdLevel {
    /// Checks a level.
    ///
    /// # Errors
    /// The number is not one of 1 to 22.
    pub fn new(level: i64) -> Result<Self, LevelError> {
        in_range(Codec::Zstd, 1, 22, level).map(Self)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for ZstdLevel {
    fn default() -> Self {
        Self(3)
    }
}

/// What a layer is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A tar archive as it is.
    None,
    /// gzip at a level.
    Gzip(GzipLevel),
    /// Zstandard at a level.
    Zstd(ZstdLevel),
}

impl Compression {
    /// The format.
    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::Plain,
            Self::Gzip(_) => Codec::Gzip,
            Self::Zstd(_) => Codec::Zstd,
        }
    }

    /// The part of a layer's media type that says so.
    pub fn layer_compression(self) -> LayerCompression {
        match self {
            Self::None => LayerCompression::None,
            Self::Gzip(_) => LayerCompression::Gzip,
            Self::Zstd(_) => LayerCompression::Zstd,
        }
    }
}

impl Compression {
    /// Most memory that compressing one layer takes, in bytes: for a plan that bounds how many are in work.
    pub fn memory_bytes(self, workers: Workers) -> u64 {
        let per_worker_mib: u64 = match self {
            Self::None => 0,
            // Blocks of 1 MiB before and after, in work and waiting, and the compressor.
            Self::Gzip(_) => 5,
            Self::Zstd(level) => {
                let measured = ZSTD_MIB.get(usize::from(level.0) - 1);
                measured.copied().unwrap_or(ZSTD_MIB[ZSTD_MIB.len() - 1])
            }
        };
        // The chunks on their way and a decompressor with an ordinary window.
        (per_worker_mib * workers.count() as u64 + 2) << 20
    }
}

/// Memory of one worker at levels 1 to 22, measured with zstd 1.5.7 and the jobs that we give it, rounded up.
const ZSTD_MIB: [u64; 22] =
    [6, 6, 25, 25, 25, 25, 27, 27, 31, 41, 41, 62, 62, 69, 85, 69, 69, 69, 115, 150, 150, 150];

/// How many threads compress one layer; the bytes that come out do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers(NonZeroUsize);

impl Workers {
    /// Most threads for one layer; a serial gunzip cannot feed more.
    pub const MOST: usize = 16;

    /// `count` threads, at least one and at most [`Workers::MOST`].
    pub fn new(count: usize) -> Self {
        Self(NonZeroUsize::MIN.saturating_add(count.clamp(1, Self::MOST) - 1))
    }

    /// One for each core that this process may use.
    pub fn available() -> Self {
        Self::new(available_parallelism().map_or(1, NonZeroUsize::get))
    }

    /// The number.
    pub fn count(self) -> usize {
        self.0.get()
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::available()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_formats_by_their_first_bytes() {
        for (prefix, codec) in [
            (b"\x1f\x8b\x08\0\0\0\0\0\0\xff".as_slice(), Codec::Gzip),
            (b"\x1f\x8b", Codec::Plain),
            (b"\x28\xb5\x2f\xfd", Codec::Zstd),
            (b"\x5a\x2a\x4d\x18\0\0\0\0", Codec::Zstd),
            (b"\xfd7zXZ\0", Codec::Xz),
            (b"BZh91AY&SY", Codec::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Codec::Bzip2),
            (b"BZh9.txt\0\0", Codec::Plain),
            (b"etc/passwd", Codec::Plain),
            (b"", Codec::Plain),
        ] {
            assert_eq!(Codec::detect(prefix), codec, "{prefix:?}");
        }
    }

    #[test]
    fn holds_levels_to_their_range() {
        assert!(GzipLevel::new(0).is_ok() && GzipLevel::new(9).is_ok());
        assert!(ZstdLevel::new(1).is_ok() && ZstdLevel::new(22).is_ok());
        for bad in [-1, 10, i64::MIN, i64::MAX] {
            assert!(GzipLevel::new(bad).is_err(), "{bad}");
        }
        for bad in [-7, 0, 23, 256, i64::MAX] {
            assert!(ZstdLevel::new(bad).is_err(), "{bad}");
        }
        let error = ZstdLevel::new(23).unwrap_err().to_string();
        assert_eq!(error, "zstd level 23 is out of range, expected 1 to 22");
    }

    #[test]
    fn bounds_the_number_of_threads() {
        for (asked, given) in [(0, 1), (1, 1), (4, 4), (usize::MAX, Workers::MOST)] {
            assert_eq!(Workers::new(asked).count(), given);
        }
    }
}
