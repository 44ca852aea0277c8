use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use securecp_oci::{Algorithm, Digest, Hasher};
use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// An unfinished blob: a temporary file and the hash of what is in it.
#[derive(Debug)]
pub(crate) struct Upload {
    file: NamedTempFile,
    algorithm: Algorithm,
    hasher: Hasher,
    size: u64,
    limit: u64,
}

impl Upload {
    pub(crate) fn new(file: NamedTempFile, algorithm: Algorithm, limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self { file, algorithm, hasher: Hasher::new(algorithm), size: 0, limit }
    }

    /// The random name of its file, which serves as its identifier.
    pub(crate) fn id(&self) -> Option<String> {
        self.file.path().file_name()?.to_str().map(str::to_owned)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            return Err(Refusal::TooLarge(self.limit));
        }
        self.file.as_file_mut().write_all(bytes)?;
        self.hasher.update(bytes);
        self.size = size;
        Ok(())
    }

    /// The file, if it has the digest expected.
    fn finish(self, expected: &Digest) -> Result<NamedTempFile, Refusal> {
        let found = if self.algorithm == expected.algorithm() {
            self.hasher.finish()
        } else {
            rehash(&self.file, expected.algorithm())?
        };
        if found != *expected {
            return Err(Refusal::DigestMismatch { expected: expected.clone(), found });
        }
        Ok(self.file)
    }
}

fn rehash(file: &NamedTempFile, algorithm: Algorithm) -> io::Result<Digest> {
    let mut reader = file.reopen()?;
    let mut hasher = Hasher::new(algorithm);
    let mut piece = vec![0; 256 << 10];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// An upload shared between the request that feeds it and the threads that write.
///
/// A request may be dropped at any await when its client goes away; the upload then stays consistent here.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<Option<Upload>>>);

impl Shared {
    pub(crate) fn new(upload: Upload) -> Self {
        Self(Arc::new(Mutex::new(Some(upload))))
    }

    fn open(&self) -> MutexGuard<'_, Option<Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes stored so far. Blocks while a piece is being written.
    pub(crate) fn size(&self) -> Result<u64, Refusal> {
        self.open().as_ref().map(|upload| upload.size).ok_or(Refusal::UploadUnknown)
    }

    /// Ends the upload and hands out its file, if that has the digest expected.
    pub(crate) fn finish(&self, expected: &Digest) -> Result<NamedTempFile, Refusal> {
        let upload = self.open().take();
        upload.ok_or(Refusal::UploadUnknown)?.finish(expected)
    }

    /// Removes the temporary file.
    pub(crate) fn discard(&self) {
        self.open().take();
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Refusal> {
        self.open().as_mut().ok_or(Refusal::UploadUnknown)?.write(bytes)
    }

    /// Appends a request body; returns the number of bytes appended. One piece is written while the next is received.
    pub(crate) async fn receive(&self, mut body: Body, idle: Duration) -> Result<u64, Refusal> {
        let mut received = 0;
        let mut writing = None;
        loop {
            let piece = next_piece(&mut body, idle).await;
            settle(writing.take()).await?;
            let Some(piece) = piece? else { return Ok(received) };
            received += piece.len() as u64;
            let this = self.clone();
            writing = Some(spawn_blocking(move || this.write(&piece)));
        }
    }
}

async fn next_piece(body: &mut Body, idle: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout(idle, body.frame()).await.map_err(|_| Refusal::BodyBroken)?;
        let Some(frame) = frame else { return Ok(None) };
        // Trailers carry nothing that is used.
        if let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() {
            return Ok(Some(data));
        }
    }
}

async fn settle(writing: Option<JoinHandle<Result<(), Refusal>>>) -> Result<(), Refusal> {
    match writing {
        Some(writing) => writing.await.map_err(io::Error::other)?,
        None => Ok(()),
    }
}
