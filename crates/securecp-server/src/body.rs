use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::log::Tally;

const PIECE: u64 = 256 << 10;

/// A part of a file as a response body: one piece is read ahead, and no thread waits for a slow receiver.
#[derive(Debug)]
pub(crate) struct FileBody {
    reading: Option<JoinHandle<io::Result<(File, Bytes)>>>,
    /// Bytes not yet handed out.
    remaining: u64,
}

impl FileBody {
    /// Begins to read `part` of `file`.
    pub(crate) fn new(mut file: File, part: Range<u64>) -> Self {
        let remaining = part.end.saturating_sub(part.start);
        let reading = (remaining > 0).then(|| {
            spawn_blocking(move || {
                file.seek(SeekFrom::Start(part.start))?;
                piece(file, remaining)
            })
        });
        Self { reading, remaining }
    }
}

fn piece(file: File, remaining: u64) -> io::Result<(File, Bytes)> {
    let length = remaining.min(PIECE);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    (&file).take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, bytes.into()))
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(reading).poll(context)).map_err(io::Error::other).flatten();
        self.reading = None;
        let (file, bytes) = match outcome {
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.remaining -= bytes.len() as u64;
        let remaining = self.remaining;
        if remaining > 0 {
            self.reading = Some(spawn_blocking(move || piece(file, remaining)));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// A body whose bytes are counted as they pass.
#[derive(Debug)]
pub(crate) struct Counted {
    body: Body,
    tally: Arc<Tally>,
    side: fn(&Tally) -> &AtomicU64,
}

impl Counted {
    pub(crate) fn received(body: Body, tally: Arc<Tally>) -> Body {
        Body::new(Self { body, tally, side: |tally| &tally.bytes_in })
    }

    pub(crate) fn sent(body: Body, tally: Arc<Tally>) -> Body {
        Body::new(Self { body, tally, side: |tally| &tally.bytes_out })
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            (self.side)(&self.tally).fetch_add(data.remaining() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
