//! What registries take and give when nothing is asked of the client: requests by hand over connections that stay open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use securecp_layer::CHUNK;
use securecp_oci::{Algorithm, Digest, Hasher};
use securecp_testkit::Blob;
use securecp_testkit::http::connect;

use crate::kernels::{in_parallel, thread_seconds};
use crate::lab::Named;

/// A connection to one registry.
struct Wire {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

/// The head of an answer; its body is still to be read.
struct Answer {
    status: u16,
    length: u64,
    location: String,
}

impl Wire {
    fn open(host: SocketAddr) -> Result<Self> {
        Ok(Self { stream: BufReader::new(connect(host)?), host })
    }

    /// Sends the head of a request; `length` bytes of body are to follow.
    fn begin(&mut self, method: &str, target: &str, length: u64) -> Result<()> {
        let kind = match method {
            "PUT" if target.contains("/manifests/") => "application/vnd.oci.image.manifest.v1+json",
            _ => "application/octet-stream",
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n\
             Accept: application/vnd.oci.image.manifest.v1+json, */*\r\nContent-Length: {length}\r\n\r\n",
            self.host
        );
        Ok(self.stream.get_mut().write_all(head.as_bytes())?)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer { status: 0, length: 0, location: String::new() };
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        answer.status = status.with_context(|| format!("no status in {line:?}"))?;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => answer.length = value.parse()?,
                "location" => answer.location = value.to_owned(),
                "transfer-encoding" => bail!("the registry sent a body of unknown length"),
                _ => {}
            }
        }
        Ok(answer)
    }

    fn expect(&mut self, status: u16) -> Result<Answer> {
        let answer = self.answer()?;
        ensure!(answer.status == status, "the registry answered {} for {status}", answer.status);
        Ok(answer)
    }

    /// Reads the body of an answer to its end.
    fn body(&mut self, length: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut left, mut buffer) = (length, vec![0; CHUNK]);
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left)?);
            let count = self.stream.read(&mut buffer[..most])?;
            ensure!(count > 0, "the registry sent {left} bytes too few");
            take(&buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    fn get(&mut self, target: &str) -> Result<()> {
        self.begin("GET", target, 0)?;
        let answer = self.expect(200)?;
        self.body(answer.length, |_| Ok(()))
    }

    /// Opens an upload session and begins the request that brings the blob.
    fn begin_blob(&mut self, repository: &str, blob: &Blob) -> Result<()> {
        self.begin("POST", &format!("/v2/{repository}/blobs/uploads/"), 0)?;
        let begun = self.expect(202)?;
        let path = begun.location.split_once("://").map_or(begun.location.as_str(), |(_, rest)| {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        });
        let joint = if path.contains('?') { '&' } else { '?' };
        self.begin("PUT", &format!("{path}{joint}digest={}", blob.digest), blob.size)
    }

    fn put_blob(&mut self, repository: &str, blob: &Blob) -> Result<()> {
        self.begin_blob(repository, blob)?;
        std::io::copy(&mut blob.open()?, self.stream.get_mut())?;
        self.expect(201).map(drop)
    }

    fn put_manifest(&mut self, (image, repository, tag): &Named) -> Result<()> {
        let size = image.root.bytes.len() as u64;
        self.begin("PUT", &format!("/v2/{repository}/manifests/{tag}"), size)?;
        self.stream.get_mut().write_all(&image.root.bytes)?;
        self.expect(201).map(drop)
    }
}

/// Wall seconds in which `threads` connections to each side bring images to `to`: every blob by `POST` and `PUT` from a file
/// in the cache, then the manifests; with `from`, everything is also read there once, and forgotten.
pub(crate) fn copy(
    from: Option<SocketAddr>,
    to: SocketAddr,
    images: &[Named],
    threads: usize,
) -> Result<f64> {
    let start = Instant::now();
    let blobs: Vec<(&Blob, &str)> = images
        .iter()
        .flat_map(|(image, repository, _)| {
            image.blobs.iter().map(move |b| (b, repository.as_str()))
        })
        .collect();
    let wires = || Ok((from.map(Wire::open).transpose()?, Wire::open(to)?));
    if from.is_some() {
        in_parallel(threads, images, wires, |(from, _), (_, repository, tag)| {
            let target = format!("/v2/{repository}/manifests/{tag}");
            from.as_mut().map_or(Ok(()), |from| from.get(&target))
        })?;
    }
    in_parallel(threads, &blobs, wires, |(from, to), (blob, repository)| {
        if let Some(from) = from {
            from.get(&format!("/v2/{repository}/blobs/{}", blob.digest))?;
        }
        to.put_blob(repository, blob)
    })?;
    in_parallel(threads, images, wires, |(_, to), image| to.put_manifest(image))?;
    Ok(start.elapsed().as_secs_f64())
}

/// CPU seconds of the plainest program that brings the blobs of an image from one registry to another and hashes them on
/// the way: a thread for each of so many connections, one buffer each, no manifest.
pub(crate) fn relay(
    from: (SocketAddr, &str),
    to: (SocketAddr, &str),
    blobs: &[Blob],
    threads: usize,
) -> Result<f64> {
    let seconds = std::sync::Mutex::new(0.0);
    let wires = || Ok((Wire::open(from.0)?, Wire::open(to.0)?));
    in_parallel(threads, blobs, wires, |(source, target), blob| {
        let before = thread_seconds();
        source.begin("GET", &format!("/v2/{}/blobs/{}", from.1, blob.digest), 0)?;
        let answer = source.expect(200)?;
        target.begin_blob(to.1, blob)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        source.body(answer.length, |bytes| {
            hasher.update(bytes);
            Ok(target.stream.get_mut().write_all(bytes)?)
        })?;
        let found: Digest = hasher.finish();
        ensure!(found == blob.digest, "the registry sent other bytes");
        target.expect(201)?;
        if let Ok(mut seconds) = seconds.lock() {
            *seconds += thread_seconds() - before;
        }
        Ok(())
    })?;
    seconds.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))
}
