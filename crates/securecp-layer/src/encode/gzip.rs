use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::Encode;
use crate::{CHUNK, CodecError, GzipLevel, Workers};

/// One gzip member (RFC 1952) of blocks that are compressed at the same time.
///
/// Every block starts from the last 32 KiB of the one before, as one serial compressor would, and ends on a byte
/// boundary, so the compressed blocks can be put one behind another. Blocks are dealt to the threads in turn and
/// collected in the same order.
pub(super) struct GzipBlocks {
    level: GzipLevel,
    workers: Workers,
    threads: Vec<Thread>,
    block: Vec<u8>,
    dictionary: Bytes,
    dealt: usize,
    collected: usize,
    crc: Crc,
    size: u64,
    out: Pieces,
    ended: bool,
}

impl GzipBlocks {
    pub(super) fn new(level: GzipLevel, workers: Workers) -> Self {
        let mut out = Pieces::default();
        out.push(&header(level));
        Self {
            level,
            workers,
            threads: Vec::new(),
            block: Vec::new(),
            dictionary: Bytes::new(),
            dealt: 0,
            collected: 0,
            crc: Crc::new(),
            size: 0,
            out,
            ended: false,
        }
    }

    fn fill(&mut self, plain: &mut Bytes) {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK);
        }
        let count = plain.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&plain[..count]);
        plain.advance(count);
    }

    fn take_job(&mut self, last: bool) -> Job {
        let plain = Bytes::from(std::mem::take(&mut self.block));
        let tail = plain.slice(plain.len().saturating_sub(DICTIONARY)..);
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        Job { plain, dictionary, level: self.level, last }
    }

    fn deal(&mut self) -> Result<(), CodecError> {
        if self.threads.is_empty() {
            let count = self.workers.count();
            let threads = (1..=count).map(|n| Thread::start(format!("gzip-{n}-of-{count}")));
            self.threads = threads.collect::<io::Result<_>>().map_err(CodecError::Thread)?;
        }
        if self.dealt - self.collected >= self.threads.len() * IN_FLIGHT {
            self.collect()?;
        }
        let job = self.take_job(false);
        let thread = &self.threads[self.dealt % self.threads.len()];
        thread.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(lost)?;
        self.dealt += 1;
        Ok(())
    }

    fn collect(&mut self) -> Result<(), CodecError> {
        let thread = &self.threads[self.collected % self.threads.len()];
        let done = thread.done.recv().map_err(|_| lost())??;
        self.collected += 1;
        self.add(&done);
        Ok(())
    }

    fn add(&mut self, done: &Done) {
        self.crc.combine(&done.crc);
        self.size += done.size;
        self.out.push(&done.compressed);
    }

    /// The last block, possibly empty, is compressed here: a small layer needs no thread at all.
    fn close(&mut self) -> Result<(), CodecError> {
        let last = self.take_job(true);
        while self.collected < self.dealt {
            self.collect()?;
        }
        self.add(&compress(&last)?);
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.sum().to_le_bytes());
        // The format keeps the size modulo 2^32.
        trailer[4..].copy_from_slice(&self.size.to_le_bytes()[..4]);
        self.out.push(&trailer);
        self.ended = true;
        Ok(())
    }
}

impl Encode for GzipBlocks {
    fn write(&mut self, plain: &mut Bytes) -> Result<Option<Bytes>, CodecError> {
        while self.out.full.is_empty() && !plain.is_empty() {
            self.fill(plain);
            if self.block.len() == BLOCK {
                self.deal()?;
            }
        }
        Ok(self.out.full.pop_front())
    }

    fn end(&mut self) -> Result<Option<Bytes>, CodecError> {
        if !self.ended {
            self.close()?;
        }
        Ok(self.out.full.pop_front().or_else(|| self.out.rest()))
    }
}

/// Parts of what decides the bytes: changing one changes every digest.
const BLOCK: usize = 1 << 20;
const DICTIONARY: usize = 32 << 10;
/// Blocks per thread between dealing and collecting: one in work, one waiting.
const IN_FLIGHT: usize = 2;

/// RFC 1952 section 2.3 without time and name; the system is "unknown", as Go and zlib's in-memory mode write it.
fn header(level: GzipLevel) -> [u8; 10] {
    let effort = match level.number() {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 255]
}

fn lost() -> CodecError {
    CodecError::Failed("a compressing thread ended".to_owned())
}

struct Job {
    plain: Bytes,
    dictionary: Bytes,
    level: GzipLevel,
    last: bool,
}

struct Done {
    compressed: Vec<u8>,
    crc: Crc,
    size: u64,
}

/// Compresses one block with a compressor of its own: a reset one keeps traces of its past when a dictionary is set
/// (seen with zlib-rs 0.6 and zlib-ng), and the bytes would then depend on which thread got which block.
fn compress(job: &Job) -> Result<Done, CodecError> {
    let failed = |error: flate2::CompressError| CodecError::Failed(error.to_string());
    let mut compressor = Compress::new(Compression::new(u32::from(job.level.number())), false);
    if !job.dictionary.is_empty() {
        compressor.set_dictionary(&job.dictionary).map_err(failed)?;
    }
    let mut compressed = Vec::with_capacity(job.plain.len() + job.plain.len() / 8 + 1024);
    let flush = if job.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut used = 0;
    loop {
        let status = compressor.compress_vec(&job.plain[used..], &mut compressed, flush);
        let status = status.map_err(failed)?;
        used = usize::try_from(compressor.total_in()).unwrap_or(used).min(job.plain.len());
        let room = compressed.len() < compressed.capacity();
        if status == Status::StreamEnd || (!job.last && room && used == job.plain.len()) {
            break;
        }
        compressed.reserve(CHUNK);
    }
    let mut crc = Crc::new();
    crc.update(&job.plain);
    Ok(Done { compressed, crc, size: job.plain.len() as u64 })
}

/// A thread that ends when its jobs end or nobody wants its results.
struct Thread {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Result<Done, CodecError>>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(name: String) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(IN_FLIGHT);
        let (results, done) = sync_channel(IN_FLIGHT);
        let work = move || {
            for job in queue {
                if results.send(compress(&job)).is_err() {
                    return;
                }
            }
        };
        let handle = Builder::new().name(name).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, handle: Some(handle) })
    }
}

impl Drop for Thread {
    /// Waits for the block in work, some 10 ms, so that no thread outlives its layer.
    fn drop(&mut self) {
        self.jobs = None;
        let (_, nobody) = sync_channel(1);
        self.done = nobody;
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// Cuts output into chunks of [`CHUNK`] bytes.
#[derive(Default)]
struct Pieces {
    open: Vec<u8>,
    full: VecDeque<Bytes>,
}

impl Pieces {
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.open.capacity() == 0 {
                self.open.reserve_exact(CHUNK);
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = later;
            if self.open.len() == CHUNK {
                self.full.push_back(std::mem::take(&mut self.open).into());
            }
        }
    }

    fn rest(&mut self) -> Option<Bytes> {
        Some(std::mem::take(&mut self.open)).filter(|open| !open.is_empty()).map(Bytes::from)
    }
}
