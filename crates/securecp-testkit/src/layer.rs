use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use securecp_oci::{Algorithm, Descriptor, Digest, Hasher, MediaType};

use crate::error::{Result, Tried};

/// Where the bytes of a blob are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file that outlives the fixture.
    File(PathBuf),
}

/// A blob with what a descriptor says of it.
#[derive(Debug, Clone)]
pub struct Blob {
    /// What it is.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its bytes.
    pub content: Content,
}

impl Blob {
    /// A blob of these bytes.
    pub fn new(media_type: MediaType, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type,
            digest: Digest::of(Algorithm::Sha256, &bytes),
            size: bytes.len() as u64,
            content: Content::Memory(bytes),
        }
    }

    /// A descriptor of it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.size)
    }

    /// Opens the bytes.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match &self.content {
            Content::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Content::File(path) => Box::new(File::open(path).tried("opening a layer")?),
        })
    }

    /// Writes the bytes to a file.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        match &self.content {
            Content::Memory(bytes) => std::fs::write(path, bytes),
            Content::File(from) => std::fs::copy(from, path).map(drop),
        }
    }
}

/// A layer: a blob and the digest of the tar archive in it.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The blob.
    pub blob: Blob,
    /// The digest of the archive before compression.
    pub diff_id: Digest,
}

impl Layer {
    /// A gzip layer of files (path, content); equal files give equal bytes.
    ///
    /// # Errors
    /// A path does not fit an archive.
    pub fn gzip(files: &[(&str, &[u8])]) -> Result<Self> {
        let archive = archive(files).tried("making an archive")?;
        let mut encoder = encoder(Vec::new(), Compression::new(6));
        encoder.write_all(&archive).tried("compressing")?;
        let bytes = encoder.finish().tried("compressing")?;
        let diff_id = Digest::of(Algorithm::Sha256, &archive);
        Ok(Self { blob: Blob::new(MediaType::OCI_LAYER_GZIP, bytes), diff_id })
    }

    /// An uncompressed layer of files (path, content).
    ///
    /// # Errors
    /// A path does not fit an archive.
    pub fn plain(files: &[(&str, &[u8])]) -> Result<Self> {
        let archive = archive(files).tried("making an archive")?;
        let blob = Blob::new(MediaType::OCI_LAYER, archive);
        Ok(Self { diff_id: blob.digest.clone(), blob })
    }

    /// A gzip layer with one file of `mebibytes` that do not compress, streamed to a file in `folder`.
    ///
    /// Equal seeds and sizes give equal bytes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn incompressible(folder: &Path, seed: u64, mebibytes: u64) -> Result<Self> {
        let path = folder.join(format!("layer-{seed}-{mebibytes}.tar.gz"));
        let (diff_id, digest, size) =
            write_big(&path, seed, mebibytes << 20).tried("writing a layer")?;
        let content = Content::File(path);
        let blob = Blob { media_type: MediaType::OCI_LAYER_GZIP, digest, size, content };
        Ok(Self { blob, diff_id })
    }
}

/// Bytes that look random and depend on the seed alone (xorshift64*).
#[derive(Debug, Clone)]
pub struct Noise {
    state: u64,
    left: u64,
    /// The current word and how much of it was read.
    word: [u8; 8],
    used: usize,
}

impl Noise {
    /// `length` bytes.
    pub fn new(seed: u64, length: u64) -> Self {
        // The generator stays at zero if it begins there.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, left: length, word: [0; 8], used: 8 }
    }

    fn advance(&mut self) -> [u8; 8] {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    }

    /// Copies what is left of the current word, or begins a new one.
    fn copy_part(&mut self, target: &mut [u8]) -> usize {
        if self.used == 8 {
            self.word = self.advance();
            self.used = 0;
        }
        let count = target.len().min(8 - self.used);
        target[..count].copy_from_slice(&self.word[self.used..self.used + count]);
        self.used += count;
        count
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| buffer.len().min(left));
        let mut target = &mut buffer[..length];
        while !target.is_empty() {
            let whole = if self.used == 8 { target.len() & !7 } else { 0 };
            let (words, rest) = target.split_at_mut(whole);
            for word in words.chunks_exact_mut(8) {
                word.copy_from_slice(&self.advance());
            }
            let count = if rest.is_empty() { 0 } else { self.copy_part(rest) };
            target = &mut rest[count..];
        }
        self.left -= length as u64;
        Ok(length)
    }
}

fn encoder<W: Write>(writer: W, level: Compression) -> GzEncoder<W> {
    GzBuilder::new().mtime(0).operating_system(255).write(writer, level)
}

fn archive(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        builder.append_data(&mut header(content.len() as u64), path, *content)?;
    }
    builder.into_inner()
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}

/// Returns diffID, digest and size.
fn write_big(path: &Path, seed: u64, length: u64) -> io::Result<(Digest, Digest, u64)> {
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let encoder = encoder(Digesting::new(file), Compression::none());
    let mut builder = tar::Builder::new(Digesting::new(encoder));
    builder.append_data(&mut header(length), "noise", Noise::new(seed, length))?;
    let archive = builder.into_inner()?;
    let diff_id = archive.hasher.finish();
    let mut blob = archive.writer.finish()?;
    blob.flush()?;
    Ok((diff_id, blob.hasher.finish(), blob.size))
}

/// Hashes and counts what is written through it.
struct Digesting<W> {
    writer: W,
    hasher: Hasher,
    size: u64,
}

impl<W> Digesting<W> {
    fn new(writer: W) -> Self {
        Self { writer, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(blob: &Blob) -> Vec<u8> {
        let mut bytes = Vec::new();
        blob.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn unpacked(layer: &Layer) -> Vec<u8> {
        let mut bytes = Vec::new();
        let compressed = whole(&layer.blob);
        flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn layers_are_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let big = || Layer::incompressible(folder.path(), 7, 3).unwrap();
        let small = || Layer::gzip(&[("a/b", b"content".as_slice())]).unwrap();
        assert_eq!(big().blob.digest, big().blob.digest);
        assert_eq!(small().blob.digest, small().blob.digest);
        for layer in [big(), small()] {
            let bytes = whole(&layer.blob);
            assert_eq!(Digest::of(Algorithm::Sha256, &bytes), layer.blob.digest);
            assert_eq!(bytes.len() as u64, layer.blob.size);
            assert_eq!(Digest::of(Algorithm::Sha256, &unpacked(&layer)), layer.diff_id);
        }
        assert!(big().blob.size > 3 << 20);
        let other = Layer::incompressible(folder.path(), 8, 3).unwrap();
        assert_ne!(other.blob.digest, big().blob.digest);
    }

    #[test]
    fn noise_does_not_depend_on_how_it_is_read() {
        let read = |sizes: usize| {
            let mut noise = Noise::new(1, 1003);
            let mut all = Vec::new();
            let mut buffer = vec![0; sizes];
            loop {
                match noise.read(&mut buffer).unwrap() {
                    0 => return all,
                    n => all.extend_from_slice(&buffer[..n]),
                }
            }
        };
        assert_eq!(read(8).len(), 1003);
        assert_eq!(read(8), read(4096));
        assert_eq!(read(13), read(64));
        assert_eq!(read(3), read(1));
        assert_eq!(read(8), read(3));
    }
}
