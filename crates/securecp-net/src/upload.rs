use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use securecp_layer::Scope;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};

use crate::client::{log_answer, log_request};
use crate::runtime::Patience;
use crate::track::Drive;
use crate::{NetError, Request, Response, TimeLimits, outcome};

/// Chunks between the writer and the connection, which holds another one or two.
const ROOM: usize = 1;

/// A request whose body comes piece by piece. The last chunk is held back until [`Upload::finish`], so that the server
/// cannot take the body for complete before the caller has found it right; dropped without `finish`, the body is cut.
pub struct Upload {
    parts: mpsc::Sender<Part>,
    answer: Answer,
    request: JoinHandle<()>,
    held: Option<Bytes>,
    /// Bytes of a body of known size that were not yet written.
    left: Option<u64>,
    host: String,
    limits: TimeLimits,
    /// Until there is an answer, which goes on with it.
    drive: Option<Drive>,
}

impl Upload {
    pub(crate) fn start(
        (made, drive): (reqwest::RequestBuilder, Drive),
        request: &Request,
        size: Option<u64>,
        limits: TimeLimits,
    ) -> Result<Self, NetError> {
        if size == Some(0) {
            let problem = "an empty body cannot be held back".to_owned();
            return Err(NetError::Request { problem });
        }
        let (parts, receiver) = mpsc::channel(ROOM);
        let (sender, answer) = oneshot::channel();
        let made =
            made.body(reqwest::Body::wrap(PartBody { parts: receiver, left: size, ended: false }));
        let host = request.host();
        log_request(request, &host, "upload");
        let request = drive.spawn({
            let (method, host) = (request.method.clone(), host.clone());
            let path = request.url.path().to_owned();
            async move {
                let answer = made.send().await;
                let answer = answer.map_err(|error| outcome::failure(error, &host));
                if let Ok(answer) = &answer {
                    log_answer((&method, &host, &path), answer.status());
                }
                // Nobody waits any more if the upload was dropped.
                let _ = sender.send(answer);
            }
        })?;
        let drive = Some(drive);
        Ok(Self { parts, answer, request, held: None, left: size, host, limits, drive })
    }

    /// Takes the next chunk and sends what need not be held back: waits for room, for an early answer, and for `scope`.
    /// An answer ends the upload: the server has decided before it had everything, and nothing more is to be written.
    ///
    /// # Errors
    /// The connection broke or stalled, or the scope ended.
    pub fn write(&mut self, chunk: Bytes, scope: &Scope) -> Result<Option<Response>, NetError> {
        let now = match self.may_pass(&chunk) {
            true => Some(chunk),
            false => self.held.replace(chunk),
        };
        now.map_or(Ok(None), |chunk| self.push(Part::Data(chunk), scope))
    }

    /// Whether more must follow this chunk, because the size that was stated is not reached with it.
    fn may_pass(&mut self, chunk: &Bytes) -> bool {
        let Some(left) = &mut self.left else { return false };
        *left = left.saturating_sub(chunk.len() as u64);
        *left > 0
    }

    /// Sends the last chunk, ends the body and waits for the answer.
    ///
    /// # Errors
    /// The connection broke or stalled, or the scope ended; whether the server has taken the body is then unknown.
    pub fn finish(mut self, scope: &Scope) -> Result<Response, NetError> {
        let last = self.held.take().map(Part::Data);
        for part in last.into_iter().chain([Part::End]) {
            if let Some(response) = self.push(part, scope)? {
                return Ok(response);
            }
        }
        let mut drive = self.drive.take().ok_or_else(over)?;
        let patience = Patience { host: &self.host, limit: self.limits.slow_answer };
        let answer = &mut self.answer;
        let inner =
            drive.wait(scope, async { patience.bound(answered(answer, &self.host)).await? })?;
        drive.set_reusable(true);
        Ok(Response::new(inner, self.host.clone(), self.limits, drive))
    }

    fn push(&mut self, part: Part, scope: &Scope) -> Result<Option<Response>, NetError> {
        // Put back only if there may be more to write.
        let drive = self.drive.take().ok_or_else(over)?;
        let patience = Patience { host: &self.host, limit: self.limits.stall };
        let (parts, answer) = (&self.parts, &mut self.answer);
        let early = drive.wait(scope, async {
            patience.bound(room_or_answer(parts, answer, part, &self.host)).await?
        })?;
        let Some(inner) = early else {
            self.drive = Some(drive);
            return Ok(None);
        };
        Ok(Some(Response::new(inner, self.host.clone(), self.limits, drive)))
    }
}

fn over() -> NetError {
    NetError::Request { problem: "written to after the end".to_owned() }
}

/// An upload that is not finished leaves a body that the server sees as cut.
impl Drop for Upload {
    fn drop(&mut self) {
        self.request.abort();
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("host", &self.host).finish_non_exhaustive()
    }
}

type Answer = oneshot::Receiver<Result<reqwest::Response, NetError>>;

async fn room_or_answer(
    parts: &mpsc::Sender<Part>,
    answer: &mut Answer,
    part: Part,
    host: &str,
) -> Result<Option<reqwest::Response>, NetError> {
    tokio::select! {
        biased;
        early = answered(answer, host) => return early.map(Some),
        room = parts.reserve() => {
            if let Ok(room) = room {
                room.send(part);
                // So that the connection takes it at once, also where nothing moves it later.
                yield_now().await;
                return Ok(None);
            }
        }
    }
    // The connection has let go of the body: the answer, or the reason, is about to come.
    answered(answer, host).await.map(Some)
}

async fn answered(answer: &mut Answer, host: &str) -> Result<reqwest::Response, NetError> {
    answer.await.unwrap_or_else(|_| {
        let source = Box::<dyn Error + Send + Sync>::from("the request ended without an answer");
        Err(NetError::Broken { host: host.to_owned(), source: source.into() })
    })
}

enum Part {
    Data(Bytes),
    End,
}

/// The receiving end as a body. A channel that closes without [`Part::End`] is a failure, never the end: otherwise a
/// dropped upload of unknown size would look complete.
struct PartBody {
    parts: mpsc::Receiver<Part>,
    left: Option<u64>,
    ended: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("upload given up")]
struct GivenUp;

impl http_body::Body for PartBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.parts.poll_recv(context)) {
            Some(Part::Data(data)) => Poll::Ready(Some(self.count(data))),
            Some(Part::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(GivenUp))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl PartBody {
    /// A body of stated size may not run over it.
    fn count(&mut self, data: Bytes) -> Result<Frame<Bytes>, GivenUp> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(GivenUp)?;
        }
        Ok(Frame::data(data))
    }
}
