use flate2::{Decompress, FlushDecompress, Status};

use super::Decode;
use crate::CodecError;

/// gzip with any number of members (RFC 1952 section 2.2); checks each member's CRC and length.
pub(super) struct Gunzip {
    member: Decompress,
    inside: bool,
    members: u64,
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self { member: Decompress::new_gzip(WINDOW_BITS), inside: false, members: 0 }
    }

    fn begin(&mut self, first: u8) -> Result<(), CodecError> {
        if self.members > 0 {
            if first != MAGIC {
                return Err(CodecError::Trailing);
            }
            self.member = Decompress::new_gzip(WINDOW_BITS);
        }
        self.inside = true;
        Ok(())
    }
}

impl Decode for Gunzip {
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CodecError> {
        if !self.inside {
            let Some(first) = input.first() else { return Ok(0) };
            self.begin(*first)?;
        }
        let before = self.member.total_in();
        let status = self.member.decompress_vec(input, out, FlushDecompress::None);
        let status = status.map_err(|error| {
            let why = error.message().map_or_else(|| error.to_string(), str::to_owned);
            CodecError::Corrupt(why)
        })?;
        if status == Status::StreamEnd {
            self.inside = false;
            self.members += 1;
        }
        Ok(usize::try_from(self.member.total_in() - before).unwrap_or(usize::MAX))
    }

    fn end(&mut self) -> Result<(), CodecError> {
        if self.inside || self.members == 0 { Err(CodecError::Truncated) } else { Ok(()) }
    }
}

const WINDOW_BITS: u8 = 15;
const MAGIC: u8 = 0x1f;
