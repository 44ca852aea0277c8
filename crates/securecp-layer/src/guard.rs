use crate::CodecError;

/// How much decompressed data may come out of compressed data before it is taken for a bomb.
///
/// Nothing here holds a layer in memory, so the guard only bounds time and the space at a destination: `total_bytes`
/// always, and beyond `free_bytes` also `ratio` times the compressed bytes read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// Decompressed bytes that are never asked about.
    pub free_bytes: u64,
    /// Decompressed bytes allowed for each compressed byte, beyond `free_bytes`.
    pub ratio: u64,
    /// Most decompressed bytes of one layer.
    pub total_bytes: u64,
}

impl Default for Guard {
    /// 1 GiB free, then 200 to 1, and never more than 1 TiB. Real layers reach 5 to 1, mostly empty ones 100 to 1.
    fn default() -> Self {
        Self { free_bytes: 1 << 30, ratio: 200, total_bytes: 1 << 40 }
    }
}

impl Guard {
    pub(crate) fn check(&self, read: u64, made: u64) -> Result<(), CodecError> {
        let earned = self.free_bytes.saturating_add(read.saturating_mul(self.ratio));
        let allowed = earned.min(self.total_bytes);
        if made > allowed {
            return Err(CodecError::Expands { read, allowed });
        }
        Ok(())
    }
}
