use std::time::Duration;

use bytes::{Bytes, BytesMut};
use securecp_layer::{CHUNK, Layer, LayerError, Scope};
use securecp_net::{Method, NetError, Request, Response, Url, header, resolve_location};
use securecp_oci::{Descriptor, Digest, Repository};

use crate::auth::{Grants, Pass};
use crate::host::{Call, bulk};
use crate::{Client, Operation, Problem, RegistryError};

/// A blob to be put into a repository.
pub struct BlobUpload<'a> {
    /// Digest and size of what will come, if the chain leaves the bytes unchanged.
    pub known: Option<&'a Descriptor>,
    /// Repositories that hold the blob; those of other registries are left out.
    pub mount_from: &'a [Repository],
    /// Opens the chain from its start; called again for each further attempt.
    pub open: &'a (dyn Fn() -> Result<Layer<'a>, LayerError> + Sync + 'a),
}

impl std::fmt::Debug for BlobUpload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobUpload").field("known", &self.known).finish_non_exhaustive()
    }
}

/// A blob that fits into one chunk is sent from memory.
const SMALL: u64 = CHUNK as u64;

/// The time given to a registry to drop a session that is not continued; the caller is about to end.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a registry did with a request to begin.
enum Begun {
    Mounted,
    Session(Url),
}

/// What became of the body of a streamed request.
struct Sent {
    /// What it was, if everything was sent and finished before the registry answered.
    whole: Option<Descriptor>,
    response: Response,
    pass: Option<Pass>,
}

impl Client {
    /// Puts a blob under its digest and says what was put: by mount if it may be had so, in one request if digest and
    /// size are known, as a stream otherwise. Nothing is left under the digest unless the chain's end was found right.
    ///
    /// # Errors
    /// The chain failed, or the registry did not take it.
    pub fn put_blob(
        &self,
        blob: &BlobUpload<'_>,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        let operation = Operation::WriteBlob(blob.known.map(|known| known.digest.to_string()));
        let put = Put { client: self, operation: &operation, blob };
        // A source has its own ways to go on; one that gave up is not asked as often again.
        let attempt = || match put.attempt(scope) {
            Err(error) if matches!(error.problem(), Problem::Layer(_)) => Ok(Err(error)),
            result => result.map(Ok),
        };
        self.host.retrying(scope, attempt)?
    }
}

struct Put<'a, 'b> {
    client: &'a Client,
    operation: &'a Operation,
    blob: &'a BlobUpload<'b>,
}

impl Put<'_, '_> {
    fn attempt(&self, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let session = match self.begin(scope)? {
            Begun::Session(session) => session,
            Begun::Mounted => match self.blob.known {
                Some(known) => return Ok(known.clone()),
                None => return Err(self.error(Problem::Protocol("mounted unasked".to_owned()))),
            },
        };
        let result = self.fill(&session, scope);
        if result.is_err() {
            self.cancel(session);
        }
        result
    }

    fn fill(&self, session: &Url, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let result = match self.blob.known {
            Some(known) if known.size <= SMALL => self.small(session, scope),
            Some(known) => self.monolithic(session, known, scope),
            None => self.streamed(session, scope),
        };
        match (result, self.blob.known) {
            // A connection that broke late leaves open whether the blob was taken: the registry knows.
            (Err(error), Some(known))
                if error.is_transient()
                    && self.source_is_well(&error)
                    && self.is_there(known, scope) =>
            {
                Ok(known.clone())
            }
            (result, _) => result,
        }
    }

    /// Opens a session, with a mount if the blob is known to lie elsewhere in this registry.
    fn begin(&self, scope: &Scope) -> Result<Begun, RegistryError> {
        let here = self.client.repository();
        let mut from = self.blob.mount_from.iter();
        let from = from.find(|other| other.host() == here.host() && other.path() != here.path());
        if let (Some(known), Some(from)) = (self.blob.known, from) {
            match self.mount(known, from, scope) {
                Ok(begun) => return Ok(begun),
                Err(error) if matches!(error.problem(), Problem::Stopped(_)) => return Err(error),
                // Whatever is wrong with the mount, the blob can still be sent.
                Err(error) => tracing::info!(%error, "not mounted"),
            }
        }
        let url = self.client.url("blobs/uploads/", scope)?;
        let response = self.post(url, Grants::push(here.path()), &[202], scope)?;
        self.session(&response).map(Begun::Session)
    }

    fn mount(
        &self,
        known: &Descriptor,
        from: &Repository,
        scope: &Scope,
    ) -> Result<Begun, RegistryError> {
        let mut url = self.client.url("blobs/uploads/", scope)?;
        url.query_pairs_mut()
            .append_pair("from", from.path())
            .append_pair("mount", &known.digest.to_string());
        let grants = Grants::push(self.client.path()).and(&Grants::pull(from.path()));
        let response = self.post(url, grants, &[201, 202], scope)?;
        if response.status() == 201 {
            return Ok(Begun::Mounted);
        }
        // Not mounted, but a session is open: it is used, not thrown away.
        self.session(&response).map(Begun::Session)
    }

    fn post(
        &self,
        url: Url,
        grants: Grants,
        wanted: &[u16],
        scope: &Scope,
    ) -> Result<Response, RegistryError> {
        let request = Ok(Request::new(Method::POST, url));
        let call = self.client.call(self.operation, grants, request)?;
        self.client.host.expect(&call, wanted, scope)
    }

    /// The URL at which the session goes on.
    fn session(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response.header(&header::LOCATION);
        let missing =
            || self.error(Problem::Protocol("upload session without location".to_owned()));
        let location = location.ok_or_else(missing)?;
        resolve_location(response.url(), location).map_err(|error| self.error(error.into()))
    }

    /// The whole blob from memory.
    fn small(&self, session: &Url, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let mut layer = self.open()?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = layer.next().map_err(|error| self.error(error.into()))? {
            bytes.extend_from_slice(&chunk);
        }
        let descriptor = layer.finish().map_err(|error| self.error(error.into()))?;
        self.commit(session, &descriptor.digest, bytes.freeze(), scope)?;
        Ok(descriptor)
    }

    /// One request that states digest and size before the first byte.
    fn monolithic(
        &self,
        session: &Url,
        known: &Descriptor,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        let url = with_digest(session, &known.digest);
        let call = self.body_call(Method::PUT, url)?;
        let (descriptor, response) = self.send(&call, Some(known.size), scope)?;
        match response.status().as_u16() {
            201 | 204 => Ok(descriptor),
            _ => Err(self.client.host.refused(&call, response, scope)),
        }
    }

    /// One stream, then the digest that it turned out to have.
    fn streamed(&self, session: &Url, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let call = self.body_call(Method::PATCH, session.clone())?;
        let (descriptor, response) = self.send(&call, None, scope)?;
        if !matches!(response.status().as_u16(), 201 | 202 | 204) {
            return Err(self.client.host.refused(&call, response, scope));
        }
        let next = match response.header(&header::LOCATION) {
            Some(_) => self.session(&response)?,
            None => session.clone(),
        };
        self.commit(&next, &descriptor.digest, Bytes::new(), scope)?;
        Ok(descriptor)
    }

    fn commit(
        &self,
        session: &Url,
        digest: &Digest,
        bytes: Bytes,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let request = Request::new(Method::PUT, with_digest(session, digest))
            .body(bytes)
            .slow_answer()
            .header(header::CONTENT_TYPE, OCTETS);
        let call = self.client.call(self.operation, self.grants(), request)?;
        self.client.host.expect(&call, &[201, 204], scope).map(drop)
    }

    /// Sends the chain as the body of `call`; a 401 that better credentials can answer begins it once more.
    fn send(
        &self,
        call: &Call<'_>,
        size: Option<u64>,
        scope: &Scope,
    ) -> Result<(Descriptor, Response), RegistryError> {
        let first = self.stream(call, size, scope)?;
        let sent = match first.response.status().as_u16() {
            401 => {
                match self.client.host.answer(call, &first.response, first.pass.as_ref(), scope)? {
                    Some(_) => self.stream(call, size, scope)?,
                    None => first,
                }
            }
            _ => first,
        };
        match sent.whole {
            Some(descriptor) => Ok((descriptor, sent.response)),
            None => Err(self.refused_early(call, sent.response, scope)),
        }
    }

    fn stream(
        &self,
        call: &Call<'_>,
        size: Option<u64>,
        scope: &Scope,
    ) -> Result<Sent, RegistryError> {
        let mut layer = self.open()?;
        let (mut upload, pass) = self.client.host.upload(call, size, scope)?;
        let failed = |error: NetError| self.client.host.failed(call, error);
        while let Some(chunk) = layer.next().map_err(|error| self.error(error.into()))? {
            if let Some(response) = upload.write(chunk, scope).map_err(failed)? {
                return Ok(Sent { whole: None, response, pass });
            }
        }
        let descriptor = layer.finish().map_err(|error| self.error(error.into()))?;
        let response = upload.finish(scope).map_err(failed)?;
        Ok(Sent { whole: Some(descriptor), response, pass })
    }

    /// An answer before the end refuses, whatever its status says.
    fn refused_early(&self, call: &Call<'_>, response: Response, scope: &Scope) -> RegistryError {
        if response.status().is_success() {
            let problem = format!("answered {} before the blob was sent", response.status());
            return self.error(Problem::Protocol(problem));
        }
        self.client.host.refused(call, response, scope)
    }

    fn body_call(&self, method: Method, url: Url) -> Result<Call<'_>, RegistryError> {
        let request = bulk(Request::new(method, url)).header(header::CONTENT_TYPE, OCTETS);
        self.client.call(self.operation, self.grants(), request)
    }

    /// Asks whether the blob was taken after all; a question that fails leaves the first failure standing.
    fn is_there(&self, known: &Descriptor, scope: &Scope) -> bool {
        self.client.has_blob(known, scope).unwrap_or(false)
    }

    /// Whether it is not the blob's own source that failed.
    fn source_is_well(&self, error: &RegistryError) -> bool {
        !matches!(error.problem(), Problem::Layer(_))
    }

    /// Lets the registry forget what was sent, as far as it listens.
    fn cancel(&self, session: Url) {
        let scope = Scope::lasting(FAREWELL);
        let request = Ok(Request::new(Method::DELETE, session));
        if let Ok(call) = self.client.call(self.operation, self.grants(), request) {
            let _ = self.client.host.attempt(&call, &scope);
        }
    }

    fn grants(&self) -> Grants {
        Grants::push(self.client.path())
    }

    fn open(&self) -> Result<Layer<'_>, RegistryError> {
        (self.blob.open)().map_err(|error| self.error(error.into()))
    }

    fn error(&self, problem: Problem) -> RegistryError {
        self.client.error(self.operation, problem)
    }
}

const OCTETS: &str = "application/octet-stream";

/// The session's URL, whose own query stays as it is, with the digest behind it.
fn with_digest(session: &Url, digest: &Digest) -> Url {
    let mut url = session.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_query_when_the_digest_is_added() {
        let digest = Digest::of(securecp_oci::Algorithm::Sha256, b"");
        let url = "https://r.example/up?_state=a%2Fb%3D&x".parse().unwrap();
        let text = with_digest(&url, &digest).to_string();
        assert!(
            text.starts_with("https://r.example/up?_state=a%2Fb%3D&x&digest=sha256%3Ae3b0"),
            "{text}"
        );
    }
}
