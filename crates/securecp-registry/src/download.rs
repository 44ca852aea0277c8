use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use securecp_layer::{Chunks, Scope, SourceError};
use securecp_net::{Body, Request, Response, header};
use securecp_oci::Descriptor;

use crate::auth::Grants;
use crate::host::{SMALL, bulk};
use crate::{Client, Operation, Problem, RegistryError};

/// A blob on its way in. A connection that breaks is followed by a request for the rest, as long as there is progress.
pub struct Download {
    client: Client,
    descriptor: Descriptor,
    scope: Scope,
    operation: Operation,
    body: Body,
    ahead: Bytes,
    offset: u64,
    budget: Budget,
}

/// Resumes that brought less than this do not count as progress, unless they lasted long.
const PROGRESS: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(60);

/// The most that is read and thrown away when a server ignores that only the rest is wanted.
const SKIPPED: u64 = 64 << 20;

/// How many resumes without progress are left.
#[derive(Debug)]
struct Budget {
    left: u32,
    full: u32,
    since: Instant,
    from: u64,
}

impl Budget {
    fn new(times: u32) -> Self {
        Self { left: times, full: times, since: Instant::now(), from: 0 }
    }

    /// Whether another resume at `offset` is worth it.
    fn allows(&mut self, offset: u64) -> bool {
        if offset.saturating_sub(self.from) >= PROGRESS || self.since.elapsed() >= LONG {
            self.left = self.full;
        }
        self.since = Instant::now();
        self.from = offset;
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

impl Download {
    pub(crate) fn open(
        client: Client,
        descriptor: Descriptor,
        scope: &Scope,
    ) -> Result<Self, RegistryError> {
        let operation = Operation::ReadBlob(descriptor.digest.to_string());
        let request =
            Rest { client: &client, descriptor: &descriptor, operation: &operation, offset: 0 };
        let response = client.host.retrying(scope, || request.send(scope))?;
        Ok(Self::begun(client, descriptor, response, 0, scope))
    }

    /// The blob from `offset` on; `None` if the registry sends no parts of blobs.
    pub(crate) fn open_at(
        client: Client,
        descriptor: Descriptor,
        offset: u64,
        scope: &Scope,
    ) -> Result<Option<Self>, RegistryError> {
        let operation = Operation::ReadBlob(descriptor.digest.to_string());
        let request =
            Rest { client: &client, descriptor: &descriptor, operation: &operation, offset };
        let response = client.host.retrying(scope, || request.send(scope))?;
        let part = response.status() == 206;
        Ok(part.then(|| Self::begun(client, descriptor, response, offset, scope)))
    }

    fn begun(
        client: Client,
        descriptor: Descriptor,
        response: Response,
        offset: u64,
        scope: &Scope,
    ) -> Self {
        let operation = Operation::ReadBlob(descriptor.digest.to_string());
        let budget = Budget::new(client.host.retry().times);
        Self {
            client,
            descriptor,
            scope: scope.clone(),
            operation,
            body: response.body(scope),
            ahead: Bytes::new(),
            offset,
            budget,
        }
    }

    /// The next chunk, or `None` after as many bytes as the descriptor promises. More than that is passed on: whoever
    /// verifies the blob refuses it.
    ///
    /// # Errors
    /// The connection broke too often without progress, or the registry refused to send the rest.
    pub fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if !self.ahead.is_empty() {
            self.offset += self.ahead.len() as u64;
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
        loop {
            let broken = match self.body.read() {
                Ok(Some(chunk)) => {
                    self.offset += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(None) if self.offset >= self.descriptor.size => return Ok(None),
                Ok(None) => self.short(),
                Err(error) if self.offset >= self.descriptor.size && error.is_transient() => {
                    return Ok(None);
                }
                Err(error) => self.error(error),
            };
            if !broken.is_transient() || !self.budget.allows(self.offset) {
                return Err(broken);
            }
            tracing::info!(offset = self.offset, error = %broken, "resuming");
            self.resume()?;
            if !self.ahead.is_empty() {
                return self.read();
            }
        }
    }

    fn resume(&mut self) -> Result<(), RegistryError> {
        let request = Rest {
            client: &self.client,
            descriptor: &self.descriptor,
            operation: &self.operation,
            offset: self.offset,
        };
        let scope = self.scope.clone();
        let (body, ahead) = self.client.host.retrying(&scope, || {
            let response = request.send(&scope)?;
            let whole = response.status() == 200;
            let mut body = response.body(&scope);
            let ahead = if whole { request.skip(&mut body)? } else { Bytes::new() };
            Ok((body, ahead))
        })?;
        (self.body, self.ahead) = (body, ahead);
        Ok(())
    }

    /// A body without stated length that ends early looks complete to HTTP.
    fn short(&self) -> RegistryError {
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let host = self.client.host.name().to_owned();
        self.error(securecp_net::NetError::Broken { host, source: std::sync::Arc::new(source) })
    }

    fn error(&self, problem: impl Into<Problem>) -> RegistryError {
        self.client.error(&self.operation, problem)
    }
}

impl Chunks for Download {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.read().map_err(|error| SourceError {
            transient: error.is_transient(),
            source: Box::new(error),
        })
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("digest", &self.descriptor.digest)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// The request for a blob from `offset` on.
struct Rest<'a> {
    client: &'a Client,
    descriptor: &'a Descriptor,
    operation: &'a Operation,
    offset: u64,
}

impl Rest<'_> {
    fn send(&self, scope: &Scope) -> Result<Response, RegistryError> {
        // Always the registry's own URL: a storage URL that it redirected to may have expired since.
        let url = self.client.url(&format!("blobs/{}", self.descriptor.digest), scope)?;
        let get = Request::get(url);
        let get = if self.descriptor.size > SMALL { bulk(get) } else { get };
        let mut request = get.header(header::ACCEPT_ENCODING, "identity");
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            request = request.and_then(|request| request.header(header::RANGE, &range));
        }
        let call = self.client.call(self.operation, Grants::pull(self.client.path()), request)?;
        let wanted: &[u16] = if self.offset > 0 { &[206, 200] } else { &[200] };
        let response = self.client.host.expect(&call, wanted, scope)?;
        self.check(&response).map_err(|problem| self.client.error(self.operation, problem))?;
        Ok(response)
    }

    /// Holds the answer's headers to what was asked, before a byte of it is used.
    fn check(&self, response: &Response) -> Result<(), Problem> {
        if let Some(encoding) = response.header(&header::CONTENT_ENCODING)
            && !encoding.eq_ignore_ascii_case("identity")
        {
            let shown = securecp_oci::Escaped::new(encoding).limit(40).to_string();
            return Err(Problem::Protocol(format!("blob with content encoding {shown:?}")));
        }
        let (start, size) = (self.offset, self.descriptor.size);
        if response.status() == 206 {
            let found = response.header(&header::CONTENT_RANGE).unwrap_or_default();
            if found != format!("bytes {start}-{}/{size}", size - 1) {
                let shown = securecp_oci::Escaped::new(found).limit(80).to_string();
                let problem = format!("asked for bytes from {start} of {size}, offered {shown:?}");
                return Err(Problem::Protocol(problem));
            }
            return Ok(());
        }
        match response.length().filter(|length| *length != size) {
            Some(length) => Err(Problem::Integrity(format!(
                "blob size does not match: expected {size} bytes, the registry offers {length}"
            ))),
            None => Ok(()),
        }
    }

    /// Reads past what we already have from a server that sends all of it again; returns what was read too far.
    fn skip(&self, body: &mut Body) -> Result<Bytes, RegistryError> {
        let error = |problem: Problem| self.client.error(self.operation, problem);
        if self.offset > SKIPPED {
            let problem = "the registry cannot send a part of a blob".to_owned();
            return Err(error(Problem::Protocol(problem)));
        }
        let mut left = self.offset;
        while let Some(mut chunk) = body.read().map_err(|failure| error(failure.into()))? {
            if chunk.len() as u64 > left {
                // At most one chunk long, so it fits.
                return Ok(chunk.split_off(left as usize));
            }
            left -= chunk.len() as u64;
        }
        Ok(Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_progress_renews_the_budget() {
        let mut budget = Budget::new(2);
        assert!(budget.allows(10) && budget.allows(20) && !budget.allows(30));
        let mut budget = Budget::new(1);
        for step in 1..50 {
            assert!(budget.allows(step * PROGRESS));
        }
        assert!(!budget.allows(50 * PROGRESS - 1) && !Budget::new(0).allows(5 * PROGRESS));
    }
}
