use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use securecp_layer::{Chunks, FileChunks, Layer, LayerError, Prefix, Scope};
use securecp_oci::{Declared, Descriptor, MANIFEST_LIMIT, RawManifest};

use crate::TransportError;

/// Named byte strings that an image is read from: the files of a folder, or the members of an archive.
pub(crate) trait Files: Send + Sync {
    /// Where they are, for messages.
    fn place(&self) -> &Path;

    /// Does what has to be done once before anything is opened, and may take long.
    fn prepare(&self, scope: &Scope) -> Result<(), TransportError> {
        scope.check()?;
        Ok(())
    }

    /// Opens `name` (relative, with `/`); `None` is a definite "it does not exist".
    fn open(&self, name: &str) -> Result<Option<Opened>, TransportError>;

    /// The regular file that `name` is; `None` if it does not exist or is none by itself.
    fn open_file(&self, _name: &str) -> Result<Option<File>, TransportError> {
        Ok(None)
    }
}

/// One of [`Files`], from its start.
pub(crate) struct Opened {
    pub(crate) size: u64,
    pub(crate) chunks: Box<dyn Chunks>,
}

/// Reads `name` whole, but never more than `limit` bytes.
pub(crate) fn read(
    files: &dyn Files,
    name: &str,
    limit: usize,
) -> Result<Option<Bytes>, TransportError> {
    let Some(mut opened) = files.open(name)? else { return Ok(None) };
    let too_large = || TransportError::Place {
        path: files.place().join(name),
        problem: format!("has more than {limit} bytes"),
    };
    if opened.size > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    loop {
        let next = opened.chunks.next().map_err(|source| TransportError::Io {
            operation: "reading",
            path: files.place().join(name),
            source: std::io::Error::other(source),
        })?;
        match next {
            Some(chunk) if bytes.len() + chunk.len() > limit => return Err(too_large()),
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Ok(Some(bytes.freeze())),
        }
    }
}

/// As [`read`], but a missing file is an error.
pub(crate) fn read_expected(
    files: &dyn Files,
    name: &str,
    limit: usize,
) -> Result<Bytes, TransportError> {
    read(files, name, limit)?.ok_or_else(|| not_found(files, name))
}

/// Reads the manifest in `name`, held to what was declared of it.
pub(crate) fn read_manifest(
    files: &dyn Files,
    name: &str,
    declared: Declared<'_>,
) -> Result<RawManifest, TransportError> {
    let bytes = read_expected(files, name, MANIFEST_LIMIT)?;
    RawManifest::read(bytes, declared).map_err(|source| TransportError::Manifest {
        subject: files.place().join(name).display().to_string(),
        source,
    })
}

/// The blob in `name`, held to `descriptor` and ending with `scope`.
pub(crate) fn open_blob(
    files: &dyn Files,
    name: &str,
    descriptor: &Descriptor,
    scope: &Scope,
) -> Result<Layer<'static>, TransportError> {
    scope.check()?;
    let opened = files.open(name)?.ok_or_else(|| missing_blob(files, name, descriptor))?;
    let mismatch = |found| LayerError::Short {
        digest: descriptor.digest.clone(),
        expected: descriptor.size,
        found,
    };
    if opened.size < descriptor.size {
        return Err(mismatch(opened.size).into());
    }
    Ok(Layer::verified(descriptor.clone(), opened.chunks))
}

/// As [`open_blob`], with the first bytes given; `None` if they cannot be left out.
pub(crate) fn open_blob_after(
    files: &dyn Files,
    name: &str,
    descriptor: &Descriptor,
    prefix: Prefix,
) -> Result<Option<Layer<'static>>, TransportError> {
    let Some(mut rest) = files.open_file(name)? else { return Ok(None) };
    let sought = rest.seek(SeekFrom::Start(prefix.size_bytes()));
    sought.map_err(|source| TransportError::Io {
        operation: "reading",
        path: files.place().join(name),
        source,
    })?;
    Ok(Some(Layer::verified_after(descriptor.clone(), prefix, FileChunks::new(rest))))
}

fn missing_blob(files: &dyn Files, name: &str, descriptor: &Descriptor) -> TransportError {
    if descriptor.urls.is_empty() {
        return not_found(files, name);
    }
    TransportError::Unsupported {
        name: format!("blob {}", descriptor.digest),
        problem: "it is only named by URL there, and is not fetched from elsewhere".to_owned(),
    }
}

pub(crate) fn not_found(files: &dyn Files, subject: &str) -> TransportError {
    TransportError::NotFound {
        subject: subject.to_owned(),
        place: files.place().display().to_string(),
    }
}
