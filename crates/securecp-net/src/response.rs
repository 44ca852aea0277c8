use std::fmt;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};
use securecp_layer::{CHUNK, Chunks, Scope, SourceError};
use url::Url;

use crate::runtime::Patience;
use crate::track::Drive;
use crate::{NetError, TimeLimits, outcome};

/// The most that is read of an answer that is of no interest, in bytes.
pub(crate) const DRAINED: usize = 16 << 10;

/// An answer; its body is still to be read.
pub struct Response {
    inner: reqwest::Response,
    host: String,
    limits: TimeLimits,
    /// Dropped after the body, so that the connection that comes back knows of its end.
    drive: Drive,
}

impl Response {
    pub(crate) fn new(
        inner: reqwest::Response,
        host: String,
        limits: TimeLimits,
        drive: Drive,
    ) -> Self {
        Self { inner, host, limits, drive }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// `Content-Length`, if stated. It stands for the body, also in answers to `HEAD`.
    pub fn length(&self) -> Option<u64> {
        self.header(&header::CONTENT_LENGTH).and_then(|text| text.parse().ok())
    }

    /// The URL that answered, after redirects.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Host and port that answered.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// It is larger, the connection broke or stalled, or the scope ended.
    pub fn bytes(mut self, limit: usize, scope: &Scope) -> Result<Bytes, NetError> {
        let too_large = || NetError::TooLarge { host: self.host.clone(), limit };
        if self.length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        self.drive.set_reusable(false);
        let mut frames = Frames { inner: &mut self.inner, host: &self.host, limits: self.limits };
        let all = self.drive.wait(scope, async {
            let mut all = BytesMut::new();
            while let Some(frame) = frames.next().await? {
                if frame.len() > limit - all.len() {
                    return Err(too_large());
                }
                all.extend_from_slice(&frame);
            }
            Ok(all.freeze())
        })?;
        self.drive.set_reusable(true);
        Ok(all)
    }

    /// The first bytes of the body, at most `limit`; whatever follows, or fails, is not looked at.
    pub fn beginning(mut self, limit: usize, scope: &Scope) -> Bytes {
        self.drive.set_reusable(false);
        let mut frames = Frames { inner: &mut self.inner, host: &self.host, limits: self.limits };
        let read = self.drive.wait(scope, async {
            let mut all = BytesMut::new();
            while all.len() < limit {
                match frames.next().await {
                    Ok(Some(frame)) => {
                        all.extend_from_slice(&frame[..frame.len().min(limit - all.len())]);
                    }
                    end => return Ok((all.freeze(), end.is_ok())),
                }
            }
            Ok((all.freeze(), false))
        });
        let (bytes, ended) = read.unwrap_or_default();
        self.drive.set_reusable(ended);
        bytes
    }

    /// The body as chunks of about [`CHUNK`] bytes; every later wait takes `scope`.
    pub fn body(mut self, scope: &Scope) -> Body {
        self.drive.set_reusable(false);
        Body {
            inner: self.inner,
            host: self.host,
            limits: self.limits,
            scope: scope.clone(),
            failure: None,
            drive: Some(self.drive),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("host", &self.host)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// A body on its way in. The time limit runs only inside [`Body::read`].
pub struct Body {
    inner: reqwest::Response,
    host: String,
    limits: TimeLimits,
    scope: Scope,
    failure: Option<NetError>,
    /// Until the body has ended.
    drive: Option<Drive>,
}

impl Body {
    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// The connection broke or stalled, or the scope ended. What came before was returned before.
    pub fn read(&mut self) -> Result<Option<Bytes>, NetError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Some(drive) = &self.drive else { return Ok(None) };
        let mut frames = Frames { inner: &mut self.inner, host: &self.host, limits: self.limits };
        let (chunk, end) = drive.wait(&self.scope, async { Ok(gather(&mut frames).await) })?;
        match end {
            Some(Ok(())) => self.let_go(),
            Some(Err(failure)) if chunk.is_empty() => return Err(failure),
            Some(Err(failure)) => self.failure = Some(failure),
            None => {}
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// The connection may serve others.
    fn let_go(&mut self) {
        if let Some(mut drive) = self.drive.take() {
            drive.set_reusable(true);
        }
    }
}

impl Chunks for Body {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.read().map_err(|error| SourceError {
            transient: error.is_transient(),
            source: Box::new(error),
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Frames until they make a chunk, and how the body has ended if it has. A large frame is passed on as it is, without a
/// copy.
async fn gather(frames: &mut Frames<'_>) -> (Bytes, Option<Result<(), NetError>>) {
    let mut chunk = BytesMut::new();
    while chunk.len() < CHUNK {
        match frames.next().await {
            Ok(Some(frame)) if chunk.is_empty() && frame.len() >= CHUNK / 2 => {
                return (frame, None);
            }
            Ok(Some(frame)) => chunk.extend_from_slice(&frame),
            Ok(None) => return (chunk.freeze(), Some(Ok(()))),
            Err(error) => return (chunk.freeze(), Some(Err(error))),
        }
    }
    (chunk.freeze(), None)
}

struct Frames<'a> {
    inner: &'a mut reqwest::Response,
    host: &'a str,
    limits: TimeLimits,
}

impl Frames<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, NetError> {
        let patience = Patience { host: self.host, limit: self.limits.stall };
        let frame = patience.bound(self.inner.chunk()).await?;
        frame.map_err(|error| outcome::failure(error, self.host))
    }
}
