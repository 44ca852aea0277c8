use std::fs::File;

use axum::body::Body;
use http::{HeaderName, Response, StatusCode, header};
use securecp_oci::{Algorithm, Digest};

use crate::body::FileBody;
use crate::name::Name;
use crate::range::{Wanted, chunk};
use crate::refusal::Refusal;
use crate::registry::{Answer, Call, DOCKER_DIGEST, Registry, bare, drained, set};
use crate::upload::{Shared, Upload};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl Registry {
    pub(crate) async fn read_blob(&self, call: Call, name: Name, digest: Digest) -> Answer {
        let wanted = digest.clone();
        let (file, size) = self.blocking(move |store| store.blob(&name, &wanted)).await??;
        let tag = format!("\"{digest}\"");
        // Ranges are defined for GET alone (RFC 9110, 14.2).
        let range = call.header(header::RANGE).filter(|_| {
            let unchanged = call.header(header::IF_RANGE).is_none_or(|wanted| wanted == tag);
            unchanged && !call.is_head()
        });
        let mut response = match range.map_or(Wanted::Whole, |range| Wanted::parse(range, size)) {
            Wanted::Outside => return Err(Refusal::RangeOutside(size)),
            Wanted::Whole => with_body(&call, StatusCode::OK, Some((file, 0..size)), size),
            Wanted::Part(part) => {
                let length = part.end - part.start;
                let span = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                let mut response =
                    with_body(&call, StatusCode::PARTIAL_CONTENT, Some((file, part)), length);
                set(&mut response, header::CONTENT_RANGE, span);
                response
            }
        };
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
        set(&mut response, header::ETAG, tag);
        set(&mut response, DOCKER_DIGEST, digest.to_string());
        Ok(response)
    }

    pub(crate) async fn delete_blob(&self, name: Name, digest: Digest) -> Answer {
        self.blocking(move |store| store.delete_blob(&name, &digest)).await??;
        Ok(bare(StatusCode::ACCEPTED))
    }

    /// `POST`: a mount, a whole blob, or a session.
    pub(crate) async fn begin_upload(&self, call: Call, name: Name) -> Answer {
        if let Some(digest) = call.parameters.digest("mount")?
            && let Some(from) = call.parameters.value("from")
            && self.mount(&name, from, digest.clone()).await?
        {
            return Ok(created(&name, &digest));
        }
        if let Some(digest) = call.parameters.digest("digest")? {
            let upload = Shared::new(self.new_upload(digest.algorithm()).await?);
            return self.take_whole(call, name, digest, upload).await;
        }
        let algorithm = match call.parameters.value("digest-algorithm") {
            Some(text) => text.parse().map_err(Refusal::DigestInvalid)?,
            None => Algorithm::Sha256,
        };
        let upload = self.new_upload(algorithm).await?;
        let id = self.uploads.begin(&name, upload)?;
        Ok(progress(StatusCode::ACCEPTED, &name, &id, 0))
    }

    pub(crate) async fn upload_status(&self, name: Name, id: &str) -> Answer {
        let turn = self.uploads.turn(&name, id).await?;
        let size = self.blocking(move |_| turn.upload.size()).await??;
        Ok(progress(StatusCode::NO_CONTENT, &name, id, size))
    }

    /// `PATCH`: a chunk with `Content-Range`, or a stream without.
    pub(crate) async fn append_upload(&self, call: Call, name: Name, id: &str) -> Answer {
        match self.append(call, &name, id).await {
            Ok(size) => Ok(progress(StatusCode::ACCEPTED, &name, id, size)),
            Err(Refusal::ChunkOrder(size)) => {
                let refused = Refusal::ChunkOrder(size).into_response();
                let told = progress(StatusCode::RANGE_NOT_SATISFIABLE, &name, id, size);
                Ok(with_headers_of(refused, &told))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// `PUT`: an optional last chunk, then the digest decides.
    pub(crate) async fn finish_upload(&self, call: Call, name: Name, id: &str) -> Answer {
        let digest = call.parameters.digest("digest")?.ok_or(Refusal::DigestMissing)?;
        self.append(call, &name, id).await?;
        let turn = self.uploads.turn(&name, id).await?;
        // Right or wrong, the session ends here.
        self.uploads.end(&name, id)?;
        self.keep(name, digest, turn.upload.clone()).await
    }

    pub(crate) fn cancel_upload(&self, name: &Name, id: &str) -> Answer {
        self.uploads.end(name, id)?;
        Ok(bare(StatusCode::NO_CONTENT))
    }

    async fn mount(&self, name: &Name, from: &str, digest: Digest) -> Result<bool, Refusal> {
        // A source that cannot exist is one that does not have the blob.
        let Ok(from) = from.parse::<Name>() else { return Ok(false) };
        let name = name.clone();
        Ok(self.blocking(move |store| store.mount(&name, &from, &digest)).await??)
    }

    async fn new_upload(&self, algorithm: Algorithm) -> Result<Upload, Refusal> {
        let file = self.blocking(|store| store.temporary()).await??;
        Ok(Upload::new(file, algorithm, self.options.max_blob_bytes))
    }

    async fn take_whole(&self, call: Call, name: Name, digest: Digest, upload: Shared) -> Answer {
        upload.receive(call.body, self.options.idle_timeout).await?;
        self.keep(name, digest, upload).await
    }

    async fn keep(&self, name: Name, digest: Digest, upload: Shared) -> Answer {
        let answer = created(&name, &digest);
        self.blocking(move |store| {
            let file = upload.finish(&digest)?;
            store.add_blob(&name, &digest, file).map_err(Refusal::Storage)
        })
        .await??;
        Ok(answer)
    }

    /// Appends the body to a session and returns the size reached.
    async fn append(&self, call: Call, name: &Name, id: &str) -> Result<u64, Refusal> {
        let turn = match self.uploads.turn(name, id).await {
            Ok(turn) => turn,
            Err(refusal) => return Err(drained(&call.parts, call.body, refusal).await),
        };
        let upload = turn.upload.clone();
        let offset = self.blocking(move |_| upload.size()).await??;
        let announced = match announced(&call, offset) {
            Ok(announced) => announced,
            Err(refusal) => return Err(drained(&call.parts, call.body, refusal).await),
        };
        let outcome = turn.upload.receive(call.body, self.options.idle_timeout).await;
        if matches!(outcome, Err(Refusal::TooLarge(_) | Refusal::Storage(_))) {
            // What is in the file can no longer be told, or must not grow: the client has to begin again.
            turn.upload.discard();
            self.uploads.end(name, id)?;
        }
        let received = outcome?;
        match announced {
            Some(expected) if expected != received => {
                Err(Refusal::ChunkLength { expected, found: received })
            }
            _ => Ok(offset + received),
        }
    }
}

/// The length that `Content-Range` announces, if there is one; it must begin at `offset` and fit the body.
fn announced(call: &Call, offset: u64) -> Result<Option<u64>, Refusal> {
    let Some(header) = call.header(header::CONTENT_RANGE) else { return Ok(None) };
    let range = chunk(header).ok_or(Refusal::ContentRange)?;
    if range.start != offset {
        return Err(Refusal::ChunkOrder(offset));
    }
    let expected = range.end - range.start;
    let length = call.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    match length {
        Some(found) if found != expected => Err(Refusal::ChunkLength { expected, found }),
        _ => Ok(Some(expected)),
    }
}

fn with_body(
    call: &Call,
    status: StatusCode,
    part: Option<(File, std::ops::Range<u64>)>,
    length: u64,
) -> Response<Body> {
    let mut response = bare(status);
    set(&mut response, header::CONTENT_LENGTH, length.to_string());
    if let Some((file, part)) = part.filter(|_| !call.is_head()) {
        *response.body_mut() = Body::new(FileBody::new(file, part));
    }
    response
}

fn created(name: &Name, digest: &Digest) -> Response<Body> {
    let mut response = bare(StatusCode::CREATED);
    set(&mut response, header::LOCATION, format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, DOCKER_DIGEST, digest.to_string());
    response
}

/// Where an upload stands; an empty one is `0-0`, as registries have always said.
fn progress(status: StatusCode, name: &Name, id: &str, size: u64) -> Response<Body> {
    let mut response = bare(status);
    set(&mut response, header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}"));
    set(&mut response, header::RANGE, format!("0-{}", size.saturating_sub(1)));
    set(&mut response, UPLOAD_ID, id);
    response
}

fn with_headers_of(mut response: Response<Body>, other: &Response<Body>) -> Response<Body> {
    for (name, value) in other.headers() {
        response.headers_mut().insert(name, value.clone());
    }
    response
}
