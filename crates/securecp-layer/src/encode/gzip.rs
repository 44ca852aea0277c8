use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::Encode;
use crate::cores::Core;
use crate::{CHUNK, CodecError, GzipLevel, Workers};

/// One gzip member (RFC 1952) of blocks that are compressed apart.
///
/// Every block starts from the last 32 KiB of the one before, as one serial compressor would, and ends on a byte
/// boundary, so the compressed blocks can be put one behind another. A block is compressed on the thread that brings
/// it, or by a helper while a core is idle; the results are collected in the order of the blocks.
pub(super) struct GzipBlocks {
    level: GzipLevel,
    helpers: Helpers,
    block: Vec<u8>,
    dictionary: Bytes,
    /// Blocks that were begun and not given out, in order.
    begun: VecDeque<Begun>,
    crc: Crc,
    size: u64,
    out: Pieces,
    ended: bool,
}

enum Begun {
    Here(Done),
    There(Receiver<Result<Done, CodecError>>),
}

impl GzipBlocks {
    pub(super) fn new(level: GzipLevel, workers: Workers) -> Self {
        let mut out = Pieces::default();
        out.push(&header(level));
        Self {
            level,
            helpers: Helpers { most: workers.count() - 1, threads: Vec::new() },
            block: Vec::new(),
            dictionary: Bytes::new(),
            begun: VecDeque::new(),
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

    fn take_block(&mut self, last: bool) -> Block {
        let plain = Bytes::from(std::mem::take(&mut self.block));
        let tail = plain.slice(plain.len().saturating_sub(DICTIONARY)..);
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        Block { plain, dictionary, level: self.level, last }
    }

    fn begin(&mut self) -> Result<(), CodecError> {
        let block = self.take_block(false);
        let begun = match self.helpers.begin(block) {
            Ok(result) => Begun::There(result),
            Err(block) => Begun::Here(compress(&block)?),
        };
        self.begun.push_back(begun);
        self.collect(AHEAD)
    }

    /// Takes the results that are there, and waits for them until no more than `left` are to come.
    fn collect(&mut self, left: usize) -> Result<(), CodecError> {
        while let Some(next) = self.begun.pop_front() {
            let done = match next {
                Begun::Here(done) => done,
                Begun::There(result) if self.begun.len() >= left => {
                    result.recv().map_err(|_| lost())??
                }
                Begun::There(result) => match result.try_recv() {
                    Ok(done) => done?,
                    Err(_) => {
                        self.begun.push_front(Begun::There(result));
                        return Ok(());
                    }
                },
            };
            self.add(&done);
        }
        Ok(())
    }

    fn add(&mut self, done: &Done) {
        self.crc.combine(&done.crc);
        self.size += done.size;
        self.out.push(&done.compressed);
    }

    /// The last block, possibly empty, is compressed here: a small layer needs no thread at all.
    fn close(&mut self) -> Result<(), CodecError> {
        let last = self.take_block(true);
        self.collect(0)?;
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
                self.begin()?;
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
/// Blocks that wait for a helper beside the one in work.
const WAITING: usize = 1;
/// Blocks that may be done behind one that a helper still has: they take memory.
const AHEAD: usize = 4;

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

struct Block {
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
fn compress(block: &Block) -> Result<Done, CodecError> {
    let failed = |error: flate2::CompressError| CodecError::Failed(error.to_string());
    let mut compressor = Compress::new(Compression::new(u32::from(block.level.number())), false);
    if !block.dictionary.is_empty() {
        compressor.set_dictionary(&block.dictionary).map_err(failed)?;
    }
    let mut compressed = Vec::with_capacity(block.plain.len() + block.plain.len() / 8 + 1024);
    let flush = if block.last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut used = 0;
    loop {
        let status = compressor.compress_vec(&block.plain[used..], &mut compressed, flush);
        let status = status.map_err(failed)?;
        used = usize::try_from(compressor.total_in()).unwrap_or(used).min(block.plain.len());
        let room = compressed.len() < compressed.capacity();
        if status == Status::StreamEnd || (!block.last && room && used == block.plain.len()) {
            break;
        }
        compressed.reserve(CHUNK);
    }
    let mut crc = Crc::new();
    crc.update(&block.plain);
    Ok(Done { compressed, crc, size: block.plain.len() as u64 })
}

/// Threads that come and go with idle cores.
struct Helpers {
    most: usize,
    threads: Vec<Thread>,
}

impl Helpers {
    /// Hands `block` to a helper that has room, or back.
    fn begin(&mut self, block: Block) -> Result<Receiver<Result<Done, CodecError>>, Block> {
        self.come_and_go();
        let (sender, result) = sync_channel(1);
        let mut task = Task { block, result: sender };
        for thread in &self.threads {
            match thread.offer(task) {
                Ok(()) => return Ok(result),
                Err(back) => task = back,
            }
        }
        Err(task.block)
    }

    fn come_and_go(&mut self) {
        if Core::are_scarce() {
            self.threads.iter_mut().for_each(|thread| thread.tasks = None);
        }
        self.threads.retain(|thread| !thread.has_ended());
        if self.threads.len() < self.most
            && let Some(core) = Core::for_compressor()
        {
            // A thread more or less must not decide whether a layer can be compressed.
            self.threads.extend(Thread::start(core));
        }
    }
}

struct Task {
    block: Block,
    result: SyncSender<Result<Done, CodecError>>,
}

/// A thread that ends when its tasks end.
struct Thread {
    tasks: Option<SyncSender<Task>>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(core: Core) -> std::io::Result<Self> {
        let (tasks, queue) = sync_channel::<Task>(WAITING);
        let work = move || {
            let _spoken_for = core;
            for task in queue {
                // Nobody waits any more if the layer was dropped.
                let _ = task.result.send(compress(&task.block));
            }
        };
        let handle = Builder::new().name("gzip".to_owned()).spawn(work)?;
        Ok(Self { tasks: Some(tasks), handle: Some(handle) })
    }

    fn offer(&self, task: Task) -> Result<(), Task> {
        let Some(tasks) = &self.tasks else { return Err(task) };
        tasks.try_send(task).map_err(|refused| match refused {
            TrySendError::Full(task) | TrySendError::Disconnected(task) => task,
        })
    }

    fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Thread {
    /// Waits for the blocks that it has, some 20 ms each, so that no thread outlives its layer.
    fn drop(&mut self) {
        self.tasks = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Vec<u8> {
        (0..900_000_u32).flat_map(|n| (n / 7).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    fn packed(threads: usize) -> Vec<u8> {
        let mut blocks = GzipBlocks::new(GzipLevel::default(), Workers::new(1));
        let start = |_| Thread::start(Core::take()).unwrap();
        blocks.helpers.threads = (0..threads).map(start).collect();
        let (mut plain, mut all) = (Bytes::from(plain()), Vec::new());
        while let Some(out) = blocks.write(&mut plain).unwrap() {
            all.extend_from_slice(&out);
        }
        while let Some(out) = blocks.end().unwrap() {
            all.extend_from_slice(&out);
        }
        all
    }

    #[test]
    fn who_compresses_does_not_change_the_bytes() {
        let alone = packed(0);
        let mut read = flate2::bufread::GzDecoder::new(alone.as_slice());
        let mut back = Vec::new();
        std::io::Read::read_to_end(&mut read, &mut back).unwrap();
        assert!(back == plain(), "one member that any reader takes");
        for threads in [1, 2, 3] {
            assert!(packed(threads) == alone, "{threads}");
        }
    }

    fn block() -> Block {
        let (plain, dictionary) = (Bytes::from(plain()).slice(..BLOCK), Bytes::new());
        Block { plain, dictionary, level: GzipLevel::default(), last: false }
    }

    #[test]
    fn a_helper_does_not_outlive_its_layer() {
        let mut helpers = Helpers { most: 0, threads: vec![Thread::start(Core::take()).unwrap()] };
        let result = helpers.threads[0].offer(Task { block: block(), result: sync_channel(1).0 });
        assert!(result.is_ok(), "an idle helper has room");
        let (sender, result) = sync_channel(1);
        let _ = helpers.threads[0].offer(Task { block: block(), result: sender });
        drop(helpers.threads.pop());
        // Nothing is in work any more: the result, or the refusal of a helper without room, is here already.
        assert!(!matches!(result.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)));
    }

    #[test]
    fn helpers_go_when_cores_are_scarce_and_none_comes() {
        let cores = std::thread::available_parallelism().unwrap().get();
        let chains: Vec<Core> = (0..=cores).map(|_| Core::take()).collect();
        let (threads, most) = (vec![Thread::start(Core::take()).unwrap()], Workers::MOST);
        let mut helpers = Helpers { most, threads };
        assert!(helpers.begin(block()).is_err(), "a helper works beside more chains than cores");
        assert!(helpers.threads.iter().all(|thread| thread.tasks.is_none()));
        drop(chains);
    }
}
