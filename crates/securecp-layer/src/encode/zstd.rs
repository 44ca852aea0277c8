use bytes::{Buf, Bytes};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, get_error_name};

use super::Encode;
use crate::cores::Core;
use crate::{CHUNK, CodecError, Workers, ZstdLevel};

/// One Zstandard frame (RFC 8878) written by the library's own worker threads.
///
/// The multi-threaded mode is used with one worker as well: it cuts the input into jobs of fixed size, so the bytes
/// do not depend on the number of workers, while the single-threaded mode gives other bytes. Workers beyond the first
/// are only had for cores that are idle when the frame begins: each takes memory to its end.
pub(super) struct ZstdFrame {
    context: CCtx<'static>,
    _spoken_for: Vec<Core>,
    out: Vec<u8>,
    ended: bool,
}

impl ZstdFrame {
    pub(super) fn new(level: ZstdLevel, workers: Workers) -> Result<Self, CodecError> {
        let spoken_for: Vec<Core> =
            (1..workers.count()).map_while(|_| Core::for_compressor()).collect();
        Self::with(level, Workers::new(1 + spoken_for.len()), spoken_for)
    }

    fn with(level: ZstdLevel, workers: Workers, spoken_for: Vec<Core>) -> Result<Self, CodecError> {
        let memory = || CodecError::Failed("out of memory".to_owned());
        let mut context = CCtx::try_create().ok_or_else(memory)?;
        let mut parameters = vec![
            CParameter::CompressionLevel(i32::from(level.number())),
            CParameter::NbWorkers(u32::try_from(workers.count()).unwrap_or(1)),
            CParameter::ChecksumFlag(true),
        ];
        match level.number() {
            ..FIRST_WIDE_LEVEL => parameters.extend(JOBS),
            FIRST_WIDE_LEVEL..FIRST_OPTIMAL_LEVEL => parameters.extend(WIDE_JOBS),
            FIRST_OPTIMAL_LEVEL.. => parameters.extend(OPTIMAL_JOBS),
        }
        if level.number() >= FIRST_ULTRA_LEVEL {
            parameters.extend(ULTRA);
        }
        for parameter in parameters {
            context.set_parameter(parameter).map_err(failure)?;
        }
        Ok(Self { context, _spoken_for: spoken_for, out: Vec::with_capacity(CHUNK), ended: false })
    }

    fn step(&mut self, plain: &[u8], directive: Directive) -> Result<(usize, usize), CodecError> {
        let mut source = InBuffer::around(plain);
        let start = self.out.len();
        let mut target = OutBuffer::around_pos(&mut self.out, start);
        let left = self.context.compress_stream2(&mut target, &mut source, directive);
        Ok((source.pos(), left.map_err(failure)?))
    }

    fn full(&mut self) -> Option<Bytes> {
        let full = self.out.len() == self.out.capacity();
        full.then(|| std::mem::replace(&mut self.out, Vec::with_capacity(CHUNK)).into())
    }
}

impl Encode for ZstdFrame {
    fn write(&mut self, plain: &mut Bytes) -> Result<Option<Bytes>, CodecError> {
        while !plain.is_empty() {
            let (used, _) = self.step(plain, Directive::ZSTD_e_continue)?;
            plain.advance(used);
            if let Some(out) = self.full() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }

    /// Never hands plain bytes over together with the end: a frame whose size is known at once is cut differently.
    fn end(&mut self) -> Result<Option<Bytes>, CodecError> {
        while !self.ended {
            let (_, left) = self.step(&[], Directive::ZSTD_e_end)?;
            self.ended = left == 0;
            if let Some(out) = self.full() {
                return Ok(Some(out));
            }
        }
        Ok(Some(std::mem::take(&mut self.out)).filter(|out| !out.is_empty()).map(Bytes::from))
    }
}

/// Parts of what decides the bytes: changing one changes every digest.
///
/// 1 MiB of input for each job, and the overlap of jobs that the library chooses (0).
const JOBS: [CParameter; 2] = [CParameter::JobSize(1 << 20), CParameter::OverlapSizeLog(0)];
/// From the default level on: a window of 4 MiB, an eighth of which a job takes over from the one before (6), and as much
/// input for each job. Measured on 75 MB of files at level 3: as small as with jobs of 2 MiB that take over half a window,
/// for 12 % less CPU and 12 MiB more; 2 % smaller than with [`JOBS`] and cheaper.
const FIRST_WIDE_LEVEL: u8 = 3;
const WIDE_JOBS: [CParameter; 3] =
    [CParameter::JobSize(4 << 20), CParameter::OverlapSizeLog(6), CParameter::WindowLog(22)];
/// From this level on the library lets jobs overlap by a whole window and makes them as long, 8 MiB. One took many seconds, in
/// which nothing can be cancelled; a quarter of that costs 1 % in size.
const FIRST_OPTIMAL_LEVEL: u8 = 16;
const OPTIMAL_JOBS: [CParameter; 2] = [CParameter::JobSize(2 << 20), CParameter::OverlapSizeLog(7)];
const FIRST_ULTRA_LEVEL: u8 = 20;
/// The window and tables of level 19: larger tables would only take memory.
const ULTRA: [CParameter; 3] =
    [CParameter::WindowLog(23), CParameter::ChainLog(24), CParameter::HashLog(23)];

fn failure(code: usize) -> CodecError {
    CodecError::Failed(get_error_name(code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;

    #[test]
    fn takes_no_more_memory_than_the_plan_reserves() {
        let mut plain = Vec::new();
        for n in 0..250_000_u32 {
            plain.extend_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            plain.extend_from_slice(b"some text that repeats itself");
        }
        for (level, workers) in [(1, 1), (3, 1), (3, 2), (6, 2), (9, 2), (12, 1), (16, 1), (22, 1)]
        {
            let level = ZstdLevel::new(level).unwrap();
            let reserved = Compression::Zstd(level).memory_bytes(Workers::new(workers));
            let mut frame = ZstdFrame::with(level, Workers::new(workers), Vec::new()).unwrap();
            let mut most = 0;
            for chunk in plain.chunks(CHUNK) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while !chunk.is_empty() {
                    frame.write(&mut chunk).unwrap();
                }
                most = most.max(frame.context.sizeof() as u64);
            }
            assert!(most <= reserved, "{level:?} {workers}: {most} {reserved}");
            assert!(reserved < 8 * most, "{level:?} {workers}: {most} {reserved}");
        }
    }
}
