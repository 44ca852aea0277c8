use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::Decode;
use crate::CodecError;

/// Zstandard with any number of frames, skippable ones passed over (RFC 8878 section 3.1).
pub(super) struct Unzstd {
    context: DCtx<'static>,
    inside: bool,
    frames: u64,
}

impl Unzstd {
    pub(super) fn new() -> Result<Self, CodecError> {
        let memory = || CodecError::Failed("out of memory".to_owned());
        let mut context = DCtx::try_create().ok_or_else(memory)?;
        let limit = DParameter::WindowLogMax(WINDOW_LOG);
        context.set_parameter(limit).map_err(|code| failure(code, false))?;
        Ok(Self { context, inside: false, frames: 0 })
    }
}

impl Decode for Unzstd {
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, CodecError> {
        if input.is_empty() && !self.inside {
            return Ok(0);
        }
        let mut source = InBuffer::around(input);
        let start = out.len();
        let mut target = OutBuffer::around_pos(out, start);
        let between = self.frames > 0 && !self.inside;
        let hint = self.context.decompress_stream(&mut target, &mut source);
        let left = hint.map_err(|code| failure(code, between))?;
        let used = source.pos();
        if left == 0 {
            self.frames += 1;
            self.inside = false;
        } else if used > 0 {
            self.inside = true;
        }
        Ok(used)
    }

    fn end(&mut self) -> Result<(), CodecError> {
        if self.inside || self.frames == 0 { Err(CodecError::Truncated) } else { Ok(()) }
    }
}

/// zstd's own command refuses more without being asked: 128 MiB.
const WINDOW_LOG: u32 = 27;

fn failure(code: usize, between_frames: bool) -> CodecError {
    match get_error_name(code) {
        "Frame requires too much memory for decoding" => {
            CodecError::Window { limit_bytes: 1 << WINDOW_LOG }
        }
        "Unknown frame descriptor" if between_frames => CodecError::Trailing,
        name => CodecError::Corrupt(name.to_owned()),
    }
}
