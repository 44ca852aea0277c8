//! Putting fixtures where images live.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use securecp_oci::Digest;
use serde_json::{Value, json};

use crate::error::{Result, TestkitError, Tried};
use crate::fixture::{Fixture, Manifest};
use crate::http::{Request, Response, connect};
use crate::layer::Blob;

impl Fixture {
    /// Writes or extends an OCI layout at `folder` in which the root has the name `name`, or none.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_layout(&self, folder: &Path, name: Option<&str>) -> Result<()> {
        write_layout(self, folder, name).tried("writing an OCI layout")
    }

    /// Pushes everything to a registry over plain HTTP, the tag last; without a tag the root goes by its digest.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub fn push(&self, registry: SocketAddr, repository: &str, tag: Option<&str>) -> Result<()> {
        self.push_as(registry, repository, tag, None)
    }

    /// As [`Fixture::push`], with an `Authorization` header.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses.
    pub fn push_as(
        &self,
        registry: SocketAddr,
        repository: &str,
        tag: Option<&str>,
        authorization: Option<&str>,
    ) -> Result<()> {
        let push = Push { registry, repository, authorization };
        self.blobs.iter().try_for_each(|blob| push.blob(blob))?;
        for child in &self.children {
            push.manifest(child, &child.digest.to_string())?;
        }
        push.manifest(&self.root, tag.unwrap_or(&self.root.digest.to_string()))
    }

    /// Writes everything into the storage of the embedded registry, without any check: sizes and digests may lie.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn plant(&self, root: &Path, repository: &str, tag: Option<&str>) -> Result<()> {
        plant(self, root, repository, tag).tried("planting an image in a registry's storage")
    }
}

/// Makes the content that the embedded registry keeps under `digest` something else.
///
/// # Errors
/// The registry does not have it, or it cannot be written.
pub fn tamper(root: &Path, digest: &Digest, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
    let path = root.join("blobs").join(digest.algorithm().name()).join(digest.hex());
    let mut bytes = fs::read(&path).tried("reading content")?;
    change(&mut bytes);
    fs::write(&path, bytes).tried("altering content")
}

fn write_layout(fixture: &Fixture, folder: &Path, name: Option<&str>) -> io::Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    for blob in &fixture.blobs {
        blob.save(&blobs.join(blob.digest.hex()))?;
    }
    for manifest in fixture.manifests() {
        fs::write(blobs.join(manifest.digest.hex()), &manifest.bytes)?;
    }
    let mut entry = fixture.root.descriptor();
    if let Some(name) = name {
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    }
    let path = folder.join("index.json");
    let mut index = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => json!({"schemaVersion": 2, "manifests": []}),
    };
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
    entries.ok_or(io::ErrorKind::InvalidData)?.push(entry);
    fs::write(path, index.to_string())?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}

fn plant(fixture: &Fixture, root: &Path, repository: &str, tag: Option<&str>) -> io::Result<()> {
    let content = root.join("blobs/sha256");
    let home = root.join("repositories").join(repository);
    let (blobs, manifests) = (home.join("_blobs/sha256"), home.join("_manifests/sha256"));
    for folder in [&content, &blobs, &manifests, &home.join("_tags")] {
        fs::create_dir_all(folder)?;
    }
    for blob in &fixture.blobs {
        blob.save(&content.join(blob.digest.hex()))?;
        fs::write(blobs.join(blob.digest.hex()), [])?;
    }
    for manifest in fixture.manifests() {
        fs::write(content.join(manifest.digest.hex()), &manifest.bytes)?;
        fs::write(manifests.join(manifest.digest.hex()), manifest.media_type.as_str())?;
    }
    match tag {
        Some(tag) => fs::write(home.join("_tags").join(tag), fixture.digest().to_string()),
        None => Ok(()),
    }
}

struct Push<'a> {
    registry: SocketAddr,
    repository: &'a str,
    authorization: Option<&'a str>,
}

impl Push<'_> {
    fn blob(&self, blob: &Blob) -> Result<()> {
        let target = format!("/v2/{}/blobs/{}", self.repository, blob.digest);
        if self.send(self.request("HEAD", &target))?.status == 200 {
            return Ok(());
        }
        let target = format!("/v2/{}/blobs/uploads/", self.repository);
        let begun = self.send(self.request("POST", &target).body(b""))?;
        expect(202, &begun, &target)?;
        let target = blob_target(begun.header("location").unwrap_or_default(), &blob.digest);
        let closed = self.upload(blob, &target).tried("uploading a blob")?;
        expect(201, &closed, &target)
    }

    fn manifest(&self, manifest: &Manifest, name: &str) -> Result<()> {
        let target = format!("/v2/{}/manifests/{name}", self.repository);
        let request = self.request("PUT", &target);
        let request = request.header("Content-Type", manifest.media_type.as_str());
        expect(201, &self.send(request.body(&manifest.bytes))?, &target)
    }

    fn request<'a>(&'a self, method: &'a str, target: &'a str) -> Request<'a> {
        let request = Request::new(method, target);
        match self.authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        }
    }

    fn send(&self, request: Request<'_>) -> Result<Response> {
        request.send(self.registry).tried("sending a request to a registry")
    }

    fn upload(&self, blob: &Blob, target: &str) -> io::Result<Response> {
        let mut stream = connect(self.registry)?;
        let authorization = self
            .authorization
            .map(|value| format!("Authorization: {value}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            self.registry, blob.size
        );
        stream.write_all(head.as_bytes())?;
        let mut content = blob.open().map_err(io::Error::other)?;
        io::copy(&mut content, &mut stream)?;
        Response::read(&mut stream)
    }
}

/// Path and query of an upload location, with the digest.
fn blob_target(location: &str, digest: &Digest) -> String {
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}digest={digest}")
}

fn expect(expected: u16, response: &Response, what: &str) -> Result<()> {
    if response.status == expected {
        return Ok(());
    }
    Err(TestkitError::Refused {
        what: what.to_owned(),
        expected,
        found: response.status,
        body: response.text().chars().take(300).collect(),
    })
}
