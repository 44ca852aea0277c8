use std::io::{self, ErrorKind};

use lzma_rust2::{Action, Status, XzStream};

use super::Decode;
use crate::CodecError;

/// xz with any number of streams and stream padding.
pub(super) struct Unxz {
    stream: XzStream,
    scratch: Vec<u8>,
}

impl Unxz {
    pub(super) fn new() -> Self {
        let stream = XzStream::new_mem_limit(true, MEMORY_KIB);
        Self { stream, scratch: vec![0; SCRATCH] }
    }
}

impl Decode for Unxz {
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CodecError> {
        let space = self.scratch.len().min(out.capacity() - out.len());
        let target = &mut self.scratch[..space];
        let result = self.stream.process(input, target, Action::Run).map_err(failure)?;
        out.extend_from_slice(&target[..result.bytes_produced.min(space)]);
        Ok(result.bytes_consumed)
    }

    fn end(&mut self) -> Result<(), CodecError> {
        let result = self.stream.process(&[], &mut [], Action::Finish).map_err(failure)?;
        if result.status == Status::StreamEnd { Ok(()) } else { Err(CodecError::Truncated) }
    }
}

/// Enough for a 128 MiB dictionary, twice what `xz -9` writes.
const MEMORY_KIB: u32 = 129 << 10;
const SCRATCH: usize = 64 << 10;

fn failure(error: io::Error) -> CodecError {
    match error.kind() {
        ErrorKind::OutOfMemory => CodecError::Window { limit_bytes: u64::from(MEMORY_KIB) << 10 },
        ErrorKind::UnexpectedEof => CodecError::Truncated,
        _ => CodecError::Corrupt(error.to_string()),
    }
}
