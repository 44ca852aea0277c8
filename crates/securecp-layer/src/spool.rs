use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use securecp_oci::Descriptor;

use crate::cores::Core;
use crate::{Chunks, FileChunks, Layer, LayerError, SourceError, Stage};

/// Bytes kept in a private unnamed file: nobody else can open it and it is gone with the process.
///
/// A spool can only be had from bytes that were read to their end and finished, so what it holds is verified.
#[derive(Debug, Clone)]
pub struct Spool {
    file: Arc<File>,
    descriptor: Descriptor,
}

impl Spool {
    /// Reads `layer` to its end into an unnamed file in `directory`.
    ///
    /// # Errors
    /// The layer is not what was promised, or the file cannot be written.
    pub fn fill(mut layer: Layer<'_>, directory: &Path) -> Result<Self, LayerError> {
        let mut writer = SpoolWriter::create(directory)?;
        while let Some(chunk) = layer.next()? {
            writer.write(&chunk)?;
        }
        let descriptor = layer.measured_descriptor(writer.size)?;
        Ok(Self { file: Arc::new(writer.file), descriptor })
    }

    /// What the bytes are.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The bytes again, from the start; as often as wanted, also at the same time.
    pub fn layer(&self) -> Layer<'static> {
        let reader = ReadAt { file: Arc::clone(&self.file), offset: 0 };
        Layer {
            known: Some(self.descriptor.clone()),
            body: Box::new(Replay {
                chunks: FileChunks::new(reader),
                descriptor: self.descriptor.clone(),
                left: self.descriptor.size,
                _spoken_for: Core::take(),
            }),
        }
    }
}

impl Layer<'_> {
    fn measured_descriptor(self, size: u64) -> Result<Descriptor, LayerError> {
        let descriptor = self.finish()?;
        if descriptor.size == size {
            return Ok(descriptor);
        }
        Err(LayerError::Short { digest: descriptor.digest, expected: descriptor.size, found: size })
    }
}

/// A private unnamed file being written.
#[derive(Debug)]
pub struct SpoolWriter {
    file: File,
    size: u64,
}

impl SpoolWriter {
    /// An empty unnamed file in `directory`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(directory: &Path) -> Result<Self, LayerError> {
        let file = tempfile::tempfile_in(directory).map_err(LayerError::Spool)?;
        Ok(Self { file, size: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.file.write_all(bytes).map_err(LayerError::Spool)?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// A reader with a position of its own, so that several can share one file.
struct ReadAt {
    file: Arc<File>,
    offset: u64,
}

impl Read for ReadAt {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(out, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

struct Replay {
    chunks: FileChunks<ReadAt>,
    descriptor: Descriptor,
    left: u64,
    _spoken_for: Core,
}

impl Replay {
    fn short(&self) -> LayerError {
        LayerError::Short {
            digest: self.descriptor.digest.clone(),
            expected: self.descriptor.size,
            found: self.descriptor.size - self.left,
        }
    }
}

impl Stage for Replay {
    fn next(&mut self) -> Result<Option<Bytes>, LayerError> {
        let broken = |source: SourceError| LayerError::Source {
            digest: self.descriptor.digest.clone(),
            source,
        };
        let next = self.chunks.next().map_err(broken)?;
        match &next {
            Some(chunk) => self.left = self.left.saturating_sub(chunk.len() as u64),
            None if self.left > 0 => return Err(self.short()),
            None => {}
        }
        Ok(next)
    }

    fn finish(self: Box<Self>) -> Result<Descriptor, LayerError> {
        if self.left > 0 { Err(LayerError::FinishedEarly) } else { Ok(self.descriptor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Once;
    use securecp_oci::{Algorithm, Digest, MediaType};

    fn source(promised: &[u8], sent: &'static [u8]) -> Layer<'static> {
        let digest = Digest::of(Algorithm::Sha256, promised);
        let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, promised.len() as u64);
        Layer::verified(descriptor, Once::new(Bytes::from_static(sent)))
    }

    fn read(spool: &Spool) -> Vec<u8> {
        let mut layer = spool.layer();
        let mut out = Vec::new();
        while let Some(chunk) = layer.next().unwrap() {
            out.extend_from_slice(&chunk);
        }
        layer.finish().unwrap();
        out
    }

    #[test]
    fn gives_the_bytes_back_as_often_as_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::fill(source(b"abc", b"abc"), directory.path()).unwrap();
        assert_eq!(read(&spool), b"abc");
        assert_eq!(read(&spool), b"abc");
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "it has no name");
    }

    #[test]
    fn holds_nothing_that_was_not_verified() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Spool::fill(source(b"abc", b"abd"), directory.path()).is_err());
        assert!(Spool::fill(source(b"abc", b"ab"), directory.path()).is_err());
        assert!(Spool::fill(source(b"abc", b"abcd"), directory.path()).is_err());
    }
}
