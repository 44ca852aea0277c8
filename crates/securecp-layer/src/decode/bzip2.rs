use bzip2::{Decompress, Status};

use super::Decode;
use crate::CodecError;

/// bzip2 with any number of streams.
pub(super) struct Bunzip2 {
    stream: Decompress,
    inside: bool,
    streams: u64,
}

impl Bunzip2 {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), inside: false, streams: 0 }
    }

    fn begin(&mut self, first: u8) -> Result<(), CodecError> {
        if self.streams > 0 {
            if first != b'B' {
                return Err(CodecError::Trailing);
            }
            self.stream = Decompress::new(false);
        }
        self.inside = true;
        Ok(())
    }
}

impl Decode for Bunzip2 {
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CodecError> {
        if !self.inside {
            let Some(first) = input.first() else { return Ok(0) };
            self.begin(*first)?;
        }
        let before = self.stream.total_in();
        let status = self.stream.decompress_vec(input, out);
        match status.map_err(|error| CodecError::Corrupt(error.to_string()))? {
            Status::StreamEnd => {
                self.inside = false;
                self.streams += 1;
            }
            Status::MemNeeded => return Err(CodecError::Failed("out of memory".to_owned())),
            _ => {}
        }
        Ok(usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX))
    }

    fn end(&mut self) -> Result<(), CodecError> {
        if self.inside || self.streams == 0 { Err(CodecError::Truncated) } else { Ok(()) }
    }
}
