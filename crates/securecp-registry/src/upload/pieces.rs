use bytes::{Bytes, BytesMut};
use securecp_layer::{Layer, Scope};
use securecp_net::{Method, Request, Response, Url, header};
use securecp_oci::Descriptor;

use crate::host::bulk;
use crate::upload::session::{LARGEST_PIECE, Session, held};
use crate::upload::{OCTETS, Put};
use crate::{Problem, RegistryError};

/// An upload in pieces, each kept until the registry has it.
struct Progress {
    url: Url,
    /// Bytes that the registry has.
    held: u64,
}

impl Put<'_, '_> {
    /// The blob in pieces of `size` bytes, for registries or proxies that refuse larger requests. A piece that fails is
    /// sent again from where the registry stands.
    pub(super) fn in_pieces(
        &self,
        session: &Session,
        size: u64,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        let size = size.max(session.smallest);
        if size > LARGEST_PIECE {
            let problem = format!("the registry wants pieces of {size} bytes");
            return Err(self.error(Problem::Protocol(problem)));
        }
        let mut layer = self.open()?;
        let mut progress = Progress { url: session.url.clone(), held: 0 };
        let mut rest = Bytes::new();
        loop {
            let piece = self.gather(&mut layer, &mut rest, size)?;
            if piece.is_empty() {
                break;
            }
            self.deliver(&mut progress, &piece, scope)?;
        }
        let descriptor = layer.finish().map_err(|error| self.error(error.into()))?;
        self.commit(&progress.url, &descriptor, Bytes::new(), scope)?;
        Ok(descriptor)
    }

    /// The next `size` bytes, or what is left. `rest` keeps what a chunk had too much.
    fn gather(
        &self,
        layer: &mut Layer<'_>,
        rest: &mut Bytes,
        size: u64,
    ) -> Result<Bytes, RegistryError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut piece = BytesMut::from(rest.split_to(rest.len().min(size)).as_ref());
        while piece.len() < size {
            let Some(mut chunk) = layer.next().map_err(|error| self.error(error.into()))? else {
                break;
            };
            let taken = chunk.split_to(chunk.len().min(size - piece.len()));
            piece.extend_from_slice(&taken);
            *rest = chunk;
        }
        Ok(piece.freeze())
    }

    fn deliver(
        &self,
        progress: &mut Progress,
        piece: &Bytes,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let start = progress.held;
        let end = start + piece.len() as u64;
        let mut failed = false;
        self.client.host.retrying(scope, || {
            if failed {
                self.ask(progress, end, scope)?;
            }
            failed = true;
            while progress.held < end {
                // The registry's own count may not go back behind this piece: what was before it is gone.
                let done = progress.held.checked_sub(start).ok_or_else(|| self.went_back())?;
                let left = piece.slice(usize::try_from(done).unwrap_or(usize::MAX)..);
                self.send_piece(progress, left, scope)?;
            }
            Ok(())
        })
    }

    fn send_piece(
        &self,
        progress: &mut Progress,
        piece: Bytes,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let end = progress.held + piece.len() as u64;
        let range = format!("{}-{}", progress.held, end - 1);
        let request = bulk(Request::new(Method::PATCH, progress.url.clone()))
            .body(piece)
            .body_may_travel()
            .slow_answer()
            .header(header::CONTENT_TYPE, OCTETS)
            .and_then(|request| request.header(header::CONTENT_RANGE, &range));
        let call = self.client.call(self.operation, self.grants(), request)?;
        let response = self.client.host.expect(&call, &[202, 201, 204], scope)?;
        let held = self.count(&response, end)?;
        if held <= progress.held {
            let problem = "the registry takes pieces without keeping them".to_owned();
            return Err(self.error(Problem::Protocol(problem)));
        }
        progress.url = self.location_or(&response, &progress.url)?;
        progress.held = held;
        Ok(())
    }

    /// Asks how far the upload has come. A registry that cannot say so must be given all of it again.
    fn ask(&self, progress: &mut Progress, end: u64, scope: &Scope) -> Result<(), RegistryError> {
        let request = Ok(Request::get(progress.url.clone()));
        let call = self.client.call(self.operation, self.grants(), request)?;
        let response = self.client.host.expect(&call, &[204, 202, 200], scope)?;
        progress.held = held(&response, end).map_err(|problem| self.error(problem))?;
        progress.url = self.location_or(&response, &progress.url)?;
        Ok(())
    }

    /// How much the registry says it has, as far as it can be believed.
    fn count(&self, response: &Response, sent: u64) -> Result<u64, RegistryError> {
        if !self.client.host.profile().range_is_true() || response.header(&header::RANGE).is_none()
        {
            return Ok(sent);
        }
        held(response, sent).map_err(|problem| self.error(problem))
    }

    fn went_back(&self) -> RegistryError {
        let problem = "the registry has lost a piece that it had taken".to_owned();
        self.error(Problem::Protocol(problem))
    }
}
