//! What single kernels cost on this machine, now: the floor under every job.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use openssl::symm::{Cipher, Crypter, Mode};
use rustix::time::{ClockId, clock_gettime};
use securecp_layer::{CHUNK, GzipLevel};
use securecp_oci::{Algorithm, Digest, Hasher};
use securecp_testkit::http::{Request, connect};

/// CPU seconds for each byte that goes in (for `gunzip`: that comes out).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    pub(crate) sha256: f64,
    pub(crate) hmac: f64,
    pub(crate) ctr: f64,
    pub(crate) gunzip: f64,
    pub(crate) gzip: f64,
    pub(crate) zstd: f64,
    pub(crate) read: f64,
    pub(crate) write: f64,
    pub(crate) get: f64,
    pub(crate) put: f64,
}

impl Kernels {
    /// Measures with a decompressed layer, in `folder`, and a blob at a registry.
    pub(crate) fn measure(sample: &Path, folder: &Path, registry: SocketAddr) -> Result<Self> {
        let mut data = fs::read(sample).context("sample")?;
        data.truncate(MOST);
        let packed = deflate(&data)?;
        let size = data.len();
        let scratch = folder.join("kernel");
        let digest = Digest::of(Algorithm::Sha256, &data);
        let put = cost(size, || put(registry, "kernel", &digest, &data))?;
        let target = format!("/v2/kernel/blobs/{digest}");
        let kernels = Self {
            sha256: cost(size, || hash(&data))?,
            hmac: cost(size, || hmac(&data))?,
            ctr: cost(size, || ctr(&data))?,
            gunzip: cost(size, || inflate(&packed))?,
            gzip: cost(size, || deflate(&data).map(drop))?,
            zstd: cost(size, || zstandard(&data))?,
            write: cost(size, || write(&scratch, &data))?,
            read: cost(size, || read(&mut File::open(&scratch)?))?,
            get: cost(size, || get(registry, &target))?,
            put,
        };
        fs::remove_file(scratch)?;
        Ok(kernels)
    }

    pub(crate) fn named(&self) -> [(&'static str, f64); 10] {
        [
            ("SHA-256", self.sha256),
            ("HMAC-SHA-256", self.hmac),
            ("AES-256-CTR", self.ctr),
            ("gunzip (zlib-rs)", self.gunzip),
            ("gzip, level 5 (zlib-rs)", self.gzip),
            ("zstd -3, one thread", self.zstd),
            ("file read", self.read),
            ("file write", self.write),
            ("HTTP GET", self.get),
            ("HTTP PUT", self.put),
        ]
    }
}

/// Enough to forget how a kernel begins.
const MOST: usize = 96 << 20;

/// CPU seconds of this thread for each byte, best of three.
fn cost(bytes: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let before = thread_seconds();
        work()?;
        best = best.min(thread_seconds() - before);
    }
    Ok(best / bytes as f64)
}

pub(crate) fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn hash(data: &[u8]) -> Result<()> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    data.chunks(CHUNK).for_each(|chunk| hasher.update(chunk));
    std::hint::black_box(hasher.finish());
    Ok(())
}

fn hmac(data: &[u8]) -> Result<()> {
    let key = openssl::pkey::PKey::hmac(&[7; 32])?;
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key)?;
    data.chunks(CHUNK).try_for_each(|chunk| signer.update(chunk))?;
    std::hint::black_box(signer.sign_to_vec()?);
    Ok(())
}

fn ctr(data: &[u8]) -> Result<()> {
    let mut crypter = Crypter::new(Cipher::aes_256_ctr(), Mode::Encrypt, &[7; 32], Some(&[9; 16]))?;
    let mut out = vec![0; CHUNK + 32];
    for chunk in data.chunks(CHUNK) {
        crypter.update(chunk, &mut out)?;
    }
    std::hint::black_box(&out);
    Ok(())
}

fn inflate(packed: &[u8]) -> Result<()> {
    let mut out = Vec::with_capacity(CHUNK);
    let mut member = Decompress::new_gzip(15);
    let mut status = Status::Ok;
    while status != Status::StreamEnd {
        out.clear();
        let used = usize::try_from(member.total_in())?;
        let input = &packed[used..packed.len().min(used + CHUNK)];
        status = member.decompress_vec(input, &mut out, FlushDecompress::None)?;
    }
    Ok(())
}

fn deflate(data: &[u8]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut out = Vec::with_capacity(CHUNK);
    let mut member =
        Compress::new_gzip(Compression::new(u32::from(GzipLevel::default().number())), 15);
    let mut status = Status::Ok;
    while status != Status::StreamEnd {
        out.clear();
        let used = usize::try_from(member.total_in())?;
        status = member.compress_vec(&data[used..], &mut out, FlushCompress::Finish)?;
        all.extend_from_slice(&out);
    }
    Ok(all)
}

fn zstandard(data: &[u8]) -> Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(std::io::sink(), 3)?;
    data.chunks(CHUNK).try_for_each(|chunk| encoder.write_all(chunk))?;
    encoder.finish()?;
    Ok(())
}

fn write(path: &Path, data: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    data.chunks(CHUNK).try_for_each(|chunk| file.write_all(chunk))?;
    Ok(())
}

fn read(from: &mut impl Read) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    while from.read(&mut buffer)? > 0 {}
    std::hint::black_box(&buffer);
    Ok(())
}

fn get(registry: SocketAddr, target: &str) -> Result<()> {
    let mut stream = connect(registry)?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\n\r\n")?;
    read(&mut stream)
}

/// One blob, by `POST` and `PUT`, with nothing in between.
fn put(registry: SocketAddr, repository: &str, digest: &Digest, data: &[u8]) -> Result<()> {
    let mut stream = begin(registry, repository, digest, data.len() as u64)?;
    data.chunks(CHUNK).try_for_each(|chunk| stream.write_all(chunk))?;
    created(&mut stream)
}

fn begin(
    registry: SocketAddr,
    repository: &str,
    digest: &Digest,
    size: u64,
) -> Result<std::net::TcpStream> {
    let target = format!("/v2/{repository}/blobs/uploads/");
    let begun = Request::new("POST", &target).body(b"").send(registry)?;
    ensure!(begun.status == 202, "the registry answered {} to POST {target}", begun.status);
    let location = begun.header("location").unwrap_or_default();
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut stream = connect(registry)?;
    write!(
        stream,
        "PUT {path}{joint}digest={digest} HTTP/1.1\r\nHost: {registry}\r\nConnection: close\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
    )?;
    Ok(stream)
}

fn created(stream: &mut impl Read) -> Result<()> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "the registry did not take the blob: {answer}");
    Ok(())
}

/// Calls `work` on every item from so many threads, each with something of its own.
pub(crate) fn in_parallel<T: Sync, O>(
    threads: usize,
    items: &[T],
    own: impl Fn() -> Result<O> + Sync,
    work: impl Fn(&mut O, &T) -> Result<()> + Sync,
) -> Result<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let worker = || {
        let mut own = own()?;
        while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            work(&mut own, item)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut ended = threads.into_iter().map(|thread| thread.join());
        ended.try_for_each(|result| result.unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })
}
