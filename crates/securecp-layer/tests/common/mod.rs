//! What the tests of this crate share: layers made of bytes, and the tools that read what comes out.

use std::io::Write;
use std::process::{Command, Stdio};

use bytes::Bytes;
use securecp_layer::{
    Chunks, Compression, GzipLevel, Layer, LayerError, Recompress, SourceError, Transform, Workers,
    ZstdLevel,
};
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};

/// Bytes that come in chunks of the given sizes, over and over.
pub(crate) struct Cut {
    pub(crate) rest: Bytes,
    pub(crate) sizes: Vec<usize>,
    pub(crate) turn: usize,
}

impl Chunks for Cut {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let size = self.sizes[self.turn % self.sizes.len()].clamp(1, self.rest.len().max(1));
        self.turn += 1;
        let chunk = self.rest.split_to(size.min(self.rest.len()));
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::new(media_type), sha256(bytes), bytes.len() as u64)
}

/// A verified layer of `bytes` that arrives in chunks of `sizes`.
pub(crate) fn layer(media_type: &str, bytes: &[u8], sizes: &[usize]) -> Layer<'static> {
    let source = Cut { rest: Bytes::copy_from_slice(bytes), sizes: sizes.to_vec(), turn: 0 };
    Layer::verified(descriptor(media_type, bytes), source)
}

pub(crate) fn drain(mut layer: Layer<'_>) -> Result<(Vec<u8>, Descriptor), LayerError> {
    let mut out = Vec::new();
    while let Some(chunk) = layer.next()? {
        assert!(!chunk.is_empty(), "no chunk is empty");
        out.extend_from_slice(&chunk);
    }
    Ok((out, layer.finish()?))
}

/// Runs `bytes`, labelled as OCI gzip, through `transform`.
pub(crate) fn run(
    transform: &dyn Transform,
    bytes: &[u8],
) -> Result<(Vec<u8>, Descriptor), LayerError> {
    drain(layer(OCI_GZIP, bytes, &[100_000]).pipe(Some(transform))?.measured())
}

pub(crate) fn gzip(level: i64) -> Compression {
    Compression::Gzip(GzipLevel::new(level).unwrap())
}

pub(crate) fn zstd(level: i64) -> Compression {
    Compression::Zstd(ZstdLevel::new(level).unwrap())
}

pub(crate) fn to(compression: Compression, workers: usize) -> Recompress {
    Recompress::new(compression).with_workers(Workers::new(workers))
}

pub(crate) fn plain() -> Recompress {
    Recompress::new(Compression::None)
}

/// Text that compresses about as well as real layers do; different for every seed.
pub(crate) fn text(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(size + 16);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state.is_multiple_of(5) {
            out.extend_from_slice(&state.to_le_bytes());
        } else {
            let word = format!("file{:03}/lib{} ", state % 311, state % 7);
            out.extend_from_slice(word.as_bytes());
        }
    }
    out.truncate(size);
    out
}

/// Sends `input` through a tool of the system; `None` if the tool fails.
pub(crate) fn tool(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} is needed by this test: {error}", command[0]));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.status.success().then_some(output.stdout)
}

pub(crate) const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
