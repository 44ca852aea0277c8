/// How many requests the parts of a copy cost at a destination where nothing goes wrong; nothing where no network is.
/// Tokens and what a registry asks for beyond the protocol are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// A blob whose digest and size are known before.
    pub blob: u64,
    /// A blob that has its digest only when it is sent.
    pub made_blob: u64,
    /// A mount in place of a blob.
    pub mount: u64,
    /// Large blobs that are known before go in pieces of so many bytes, each a request of its own.
    pub piece_bytes: Option<u64>,
    /// A manifest.
    pub manifest: u64,
    /// Looking whether a manifest is there.
    pub read_back: u64,
    /// A name.
    pub name: u64,
    /// Simple signatures of one manifest.
    pub simple: OfSignatures,
    /// Sigstore signatures of one manifest.
    pub sigstore: OfSignatures,
}

/// What signatures cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfSignatures {
    /// All of a manifest together, if there are any.
    pub together: u64,
    /// Each of them besides.
    pub each: u64,
}

impl Requests {
    /// A blob of known digest and so many bytes.
    pub fn of_blob(&self, size_bytes: u64) -> u64 {
        let piece = self.piece_bytes.map(|piece| piece.max(1));
        let pieces = piece.filter(|piece| size_bytes / 2 >= *piece);
        self.blob + pieces.map_or(0, |piece| size_bytes.div_ceil(piece))
    }
}

impl OfSignatures {
    /// So many of one manifest.
    pub fn of(&self, count: usize) -> u64 {
        if count == 0 { 0 } else { self.together + self.each * count as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_for_large_blobs() {
        let requests = Requests { blob: 2, piece_bytes: Some(10), ..Requests::default() };
        let counted = [1, 19, 20, 21, 100].map(|size| requests.of_blob(size));
        assert_eq!(counted, [2, 2, 4, 5, 12]);
        assert_eq!(Requests { piece_bytes: None, ..requests }.of_blob(100), 2);
        assert_eq!(
            (OfSignatures { together: 3, each: 2 }.of(0), OfSignatures::default().of(4)),
            (0, 0)
        );
    }
}
