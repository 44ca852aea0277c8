mod long;
mod pieces;
mod session;

use std::cell::RefCell;
use std::thread::Builder;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use securecp_layer::{Journal, Layer, LayerError, Scope};
use securecp_net::{Method, NetError, Request, Response, StatusCode, Url, header};
use securecp_oci::{Descriptor, Repository};

use crate::auth::{Grants, Pass};
use crate::host::{Call, SMALL, bulk};
use crate::upload::session::{Begun, Session, with_digest};
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

/// How blobs are sent.
#[derive(Debug, Clone)]
pub struct Uploads {
    /// Where uploads under way are noted for the next run. Without it nothing is continued, and every blob is sent whole.
    pub journal: Option<Journal>,
    /// Of how many bytes the pieces are in which blobs of twice this size and more are sent, so that they can be
    /// continued.
    pub piece_bytes: u64,
}

impl Default for Uploads {
    /// Pieces of 64 MiB: an interruption costs seconds, and the pause between two of them (one round trip) is small
    /// beside each.
    fn default() -> Self {
        Self { journal: None, piece_bytes: 64 << 20 }
    }
}

/// The time given to a registry to drop a session that is not continued; the caller is about to end.
const FAREWELL: Duration = Duration::from_millis(500);

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
        let put = Put { client: self, operation: &operation, blob, ahead: RefCell::default() };
        let in_pieces = blob.known.map(|known| put.in_long_pieces(known, scope)).transpose()?;
        if let Some(descriptor) = in_pieces.flatten() {
            return Ok(descriptor);
        }
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
    /// The chain that was opened while the session was, until it is used.
    ahead: RefCell<Option<Result<Layer<'b>, LayerError>>>,
}

impl<'b> Put<'_, 'b> {
    fn attempt(&self, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let result = self.once(scope);
        let too_large = |error: &RegistryError| {
            error.status().is_some_and(|status| status == StatusCode::PAYLOAD_TOO_LARGE)
        };
        match result {
            // Some proxy on the way has a limit: pieces may fit through it.
            Err(error) if too_large(&error) && self.client.host.profile().learn_pieces() => {
                tracing::info!(%error, "sending blobs in pieces");
                self.once(scope)
            }
            result => result,
        }
    }

    fn once(&self, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let session = match self.begin_and_open(scope)? {
            Begun::Session(session) => session,
            Begun::Mounted => match self.blob.known {
                Some(known) => return Ok(known.clone()),
                None => return Err(self.error(Problem::Protocol("mounted unasked".to_owned()))),
            },
        };
        let result = self.fill(&session, scope);
        if result.is_err() {
            self.cancel(session.url);
        }
        result
    }

    /// Opens the chain while the session is being opened: both wait for somebody far away. A blob that may be mounted
    /// is not opened before that has failed.
    fn begin_and_open(&self, scope: &Scope) -> Result<Begun, RegistryError> {
        let open = self.blob.open;
        if !self.blob.mount_from.is_empty() {
            return self.begin(scope);
        }
        std::thread::scope(|threads| {
            let opening = Builder::new().spawn_scoped(threads, open);
            let begun = self.begin(scope)?;
            // Without that thread the chain is opened when it is needed.
            let opened = opening.ok().and_then(|thread| thread.join().ok());
            self.ahead.replace(opened);
            Ok(begun)
        })
    }

    fn fill(&self, session: &Session, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let pieces = self.client.host.profile().pieces();
        match (self.blob.known, pieces) {
            (Some(known), _) if known.size <= SMALL => self.small(&session.url, scope),
            (_, Some(size)) => self.in_pieces(session, size, scope),
            (Some(known), None) => match self.monolithic(&session.url, known, scope) {
                Err(error) => self.settle(error, known, scope).map(|()| known.clone()),
                sent => sent,
            },
            (None, None) => self.streamed(&session.url, scope),
        }
    }

    /// The whole blob from memory.
    fn small(&self, session: &Url, scope: &Scope) -> Result<Descriptor, RegistryError> {
        let mut layer = self.open()?;
        let mut bytes = BytesMut::new();
        while let Some(chunk) = layer.next().map_err(|error| self.error(error.into()))? {
            bytes.extend_from_slice(&chunk);
        }
        let descriptor = layer.finish().map_err(|error| self.error(error.into()))?;
        self.commit(session, &descriptor, bytes.freeze(), scope)?;
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
        let next = self.location_or(&response, session)?;
        self.commit(&next, &descriptor, Bytes::new(), scope)?;
        Ok(descriptor)
    }

    fn commit(
        &self,
        session: &Url,
        descriptor: &Descriptor,
        bytes: Bytes,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let request = Request::new(Method::PUT, with_digest(session, &descriptor.digest))
            .body(bytes)
            .body_may_travel()
            .slow_answer()
            .header(header::CONTENT_TYPE, OCTETS);
        let call = self.client.call(self.operation, self.grants(), request)?;
        match self.client.host.expect(&call, &[201, 204], scope) {
            Ok(_) => Ok(()),
            Err(error) => self.settle(error, descriptor, scope),
        }
    }

    /// A connection that broke leaves open whether the blob was taken: the registry knows. A question that fails
    /// leaves the failure standing.
    fn settle(
        &self,
        error: RegistryError,
        descriptor: &Descriptor,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let ours = matches!(error.problem(), Problem::Layer(_));
        let open = error.is_transient() && !ours;
        if open && self.client.has_blob(descriptor, scope).unwrap_or(false) {
            return Ok(());
        }
        Err(error)
    }

    /// Sends the chain as the body of `call`. A 401 that better credentials can answer, or a redirect, begins it once
    /// more.
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
            307 | 308 => {
                // The host shows nothing of ours to another one, see `Host::pass`.
                let url = self.location(&first.response)?;
                let moved = self.body_call(call.request.method().clone(), url)?;
                self.stream(&moved, size, scope)?
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

    fn open(&self) -> Result<Layer<'b>, RegistryError> {
        let ahead = self.ahead.take();
        ahead.unwrap_or_else(self.blob.open).map_err(|error| self.error(error.into()))
    }

    fn error(&self, problem: Problem) -> RegistryError {
        self.client.error(self.operation, problem)
    }
}

const OCTETS: &str = "application/octet-stream";
