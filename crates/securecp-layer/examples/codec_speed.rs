//! How fast the codecs are on this machine, and what the pipeline costs beyond them.
//!
//! `cargo run --release -p securecp-layer --example codec_speed -- FILE_OR_FOLDER… [--megabytes N]` joins files up to N
//! MB (default 300), measures each kernel alone, then [`Recompress`] as a copy runs it (verify, decompress, diffID,
//! compress, measure), in CPU seconds of the whole process; best of three. `bench/run` measures whole copies beside other
//! tools in minutes; this is for trying the parameters of a codec in seconds.

#![expect(clippy::print_stdout, reason = "a benchmark reports to people")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first surprise")]

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use rustix::time::{ClockId, clock_gettime};
use securecp_layer::{
    CHUNK, Compression, FileChunks, GzipLevel, Layer, Recompress, Workers, ZstdLevel,
};
use securecp_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as Directive;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// A layer as a registry serves it, and what is known of it beforehand.
struct Source {
    gzip: Vec<u8>,
    descriptor: Descriptor,
    diff_id: Digest,
}

/// CPU and wall seconds.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn main() {
    let (data, cores) = (input(), Workers::available().count());
    let source = Source::of(&data);
    let gzip = &source.gzip;
    println!("{} MB plain, {} MB gzip -6, {cores} cores", mb(data.len()), mb(gzip.len()));
    let sha = kernel("sha256", data.len(), || hash(&data));
    let gunzip = kernel("gunzip", data.len(), || inflate(gzip));
    let zstd3 = kernel("zstd -3, 1 worker", data.len(), || zstandard(&data, 1));
    kernel("zstd -3, no worker", data.len(), || zstandard(&data, 0));
    let gzip6 = kernel("gzip -6, serial", data.len(), || deflate(&data));
    let per_byte = sha.cpu / data.len() as f64;
    for (name, to, compress) in [
        ("gzip -> zstd -3", Compression::Zstd(ZstdLevel::default()), zstd3.cpu),
        ("gzip -> gzip -6", Compression::Gzip(GzipLevel::default()), gzip6.cpu),
        ("gzip -> plain", Compression::None, 0.0),
    ] {
        for workers in [1, cores] {
            let mut size = 0;
            let cost = best(|| size = pipeline(&source, to, workers));
            let hashed = (gzip.len() + data.len() + size) as f64;
            let sum = gunzip.cpu + compress + hashed * per_byte;
            println!(
                "{name:<18} workers {workers}  {:>4} MB  cpu {:.2} s  wall {:.2} s  {:>5.0} MB/cpu-s  cpu/kernels {:.3}  \
                 wall/(kernels/cores) {:.2}",
                mb(size),
                cost.cpu,
                cost.wall,
                data.len() as f64 / 1e6 / cost.cpu,
                cost.cpu / sum,
                cost.wall / (sum / cores as f64),
            );
        }
    }
}

impl Source {
    fn of(data: &[u8]) -> Self {
        let gzip = pack(data, Compression::Gzip(GzipLevel::default()));
        let descriptor = descriptor(&gzip);
        Self { gzip, descriptor, diff_id: Digest::of(Algorithm::Sha256, data) }
    }
}

fn input() -> Vec<u8> {
    let mut limit = 300;
    let mut data = Vec::new();
    let mut arguments = std::env::args().skip(1);
    let mut paths = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--megabytes" => limit = arguments.next().unwrap().parse().unwrap(),
            path => paths.push(path.to_owned()),
        }
    }
    for path in &paths {
        add(Path::new(path), &mut data, limit * 1_000_000);
    }
    assert!(!data.is_empty(), "name files or folders to measure with");
    data
}

fn add(path: &Path, data: &mut Vec<u8>, limit: usize) {
    if data.len() >= limit || path.is_symlink() {
        return;
    }
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().for_each(|path| add(path, data, limit));
    } else if let Ok(bytes) = std::fs::read(path) {
        data.extend_from_slice(&bytes[..bytes.len().min(limit - data.len())]);
    }
}

fn mb(bytes: usize) -> usize {
    bytes / 1_000_000
}

fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn best(mut work: impl FnMut()) -> Cost {
    let mut best = Cost { cpu: f64::MAX, wall: f64::MAX };
    for _ in 0..3 {
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        work();
        best.cpu = best.cpu.min(cpu_seconds() - cpu);
        best.wall = best.wall.min(wall.elapsed().as_secs_f64());
    }
    best
}

fn kernel(name: &str, bytes: usize, work: impl FnMut()) -> Cost {
    let cost = best(work);
    println!("{name:<18} {:>6.0} MB/cpu-s", bytes as f64 / 1e6 / cost.cpu);
    cost
}

fn hash(data: &[u8]) {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    data.chunks(CHUNK).for_each(|chunk| hasher.update(chunk));
    std::hint::black_box(hasher.finish());
}

fn inflate(gzip: &[u8]) {
    let mut out = Vec::with_capacity(CHUNK);
    let mut member = Decompress::new_gzip(15);
    let mut status = flate2::Status::Ok;
    while status != flate2::Status::StreamEnd {
        out.clear();
        let used = usize::try_from(member.total_in()).unwrap();
        let input = &gzip[used..gzip.len().min(used + CHUNK)];
        status = member.decompress_vec(input, &mut out, FlushDecompress::None).unwrap();
    }
}

fn deflate(data: &[u8]) {
    let mut out = Vec::with_capacity(CHUNK);
    let mut member = Compress::new_gzip(flate2::Compression::new(6), 15);
    let mut status = flate2::Status::Ok;
    while status != flate2::Status::StreamEnd {
        out.clear();
        let used = usize::try_from(member.total_in()).unwrap();
        status = member.compress_vec(&data[used..], &mut out, FlushCompress::Finish).unwrap();
    }
}

fn zstandard(data: &[u8], workers: u32) {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(3)).unwrap();
    context.set_parameter(CParameter::NbWorkers(workers)).unwrap();
    if workers > 0 {
        context.set_parameter(CParameter::JobSize(1 << 20)).unwrap();
    }
    let mut out = Vec::with_capacity(CHUNK);
    for chunk in data.chunks(CHUNK).chain([&[][..]]) {
        let mut source = InBuffer::around(chunk);
        let end = if chunk.is_empty() { Directive::ZSTD_e_end } else { Directive::ZSTD_e_continue };
        loop {
            let mut target = OutBuffer::around(&mut out);
            let left = context.compress_stream2(&mut target, &mut source, end).unwrap();
            if source.pos() == chunk.len() && (!chunk.is_empty() || left == 0) {
                break;
            }
        }
    }
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, bytes);
    Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, bytes.len() as u64)
}

fn pack(data: &[u8], to: Compression) -> Vec<u8> {
    let recompress = Recompress::new(to);
    let layer = Layer::verified(descriptor(data), FileChunks::new(data));
    let mut layer = layer.pipe(Some(&recompress)).unwrap();
    let mut out = Vec::new();
    while let Some(chunk) = layer.next().unwrap() {
        out.extend_from_slice(&chunk);
    }
    layer.finish().unwrap();
    out
}

/// What a copy does with one layer.
fn pipeline(source: &Source, to: Compression, workers: usize) -> usize {
    let recompress = Recompress::new(to).with_workers(Workers::new(workers));
    let recompress = recompress.expect(source.diff_id.clone());
    let chunks = FileChunks::new(source.gzip.as_slice());
    let layer = Layer::verified(source.descriptor.clone(), chunks).pipe(Some(&recompress));
    let mut layer = layer.unwrap().measured();
    let mut size = 0;
    while let Some(chunk) = layer.next().unwrap() {
        size += Bytes::len(&chunk);
    }
    layer.finish().unwrap();
    size
}
