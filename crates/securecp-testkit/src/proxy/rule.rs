use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::error::Result;

/// A direction of a message body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client to the registry.
    Request,
    /// From the registry to the client.
    Response,
}

/// A place in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// After so many bytes.
    Bytes(u64),
    /// After so many hundredths of the length announced; at the start if none is announced.
    Percent(u8),
}

/// What happens at a [`Point`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The client's connection is reset.
    Reset,
    /// The client's connection is closed in order, before the length announced.
    Close,
    /// Nothing moves any more, until the client gives up.
    Stall,
    /// The byte at the point is altered; the rest passes.
    Flip,
}

/// An answer that the proxy gives by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// An empty answer.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// An answer as a web page that knows nothing of registries.
    pub fn html(status: u16) -> Self {
        let page = format!("<html><body><h1>{status}</h1>please log in</body></html>");
        Self::new(status).header("content-type", "text/html; charset=utf-8").body(page)
    }

    /// An answer in the error format of registries.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let text = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status).header("content-type", "application/json").body(text.to_string())
    }
}

/// What a [`Handler`] sees of a request.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The path, without query.
    pub path: String,
    /// The query, without question mark.
    pub query: String,
    /// Headers, names in lower case, secrets included.
    pub headers: Vec<(String, String)>,
    /// The body, if the path is not below `/v2/` and the body at most 64 KiB long.
    pub body: Vec<u8>,
    /// The registry behind the proxy.
    pub upstream: SocketAddr,
    /// Where the proxy listens.
    pub proxy: SocketAddr,
}

impl Call {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Path and query as they are sent.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        format!("{}?{}", self.path, self.query)
    }
}

type Answering = dyn Fn(&Call) -> Option<Reply> + Send + Sync;

/// Answers a request itself, or lets it pass.
#[derive(Clone)]
pub struct Handler(pub(super) Arc<Answering>);

impl Handler {
    /// Wraps a function; `None` lets the request pass.
    pub fn new(answer: impl Fn(&Call) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

/// Is called, and changes nothing.
#[derive(Clone)]
pub struct Hook(pub(super) Arc<dyn Fn(&Call) + Send + Sync>);

impl Hook {
    /// Wraps a function.
    pub fn new(call: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// One thing that a [`Rule`] does to a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The request body is read to its end, then the proxy answers; the registry hears nothing.
    Answer(Reply),
    /// The proxy answers before the request body was read, and keeps the connection without reading on.
    AnswerEarly(Reply),
    /// A function decides.
    Handle(Handler),
    /// A function is called when the registry has done its work, before the client hears of it.
    Answered(Hook),
    /// The connection is reset as soon as the head was read.
    Reset,
    /// The registry does its work, then the connection is reset instead of the answer.
    LoseAnswer,
    /// A body breaks at a point.
    Break(Side, Point, How),
    /// The request waits.
    Delay(Duration),
    /// Bodies move at most so many bytes per second.
    Throttle(u64),
    /// After the answer the connection is closed without notice, so long after it.
    CloseAfter(Duration),
    /// A header (lower case) does not reach the registry; `range` makes it ignore ranges.
    DropRequestHeader(&'static str),
    /// A header (lower case) does not reach the client.
    DropResponseHeader(&'static str),
    /// A header (lower case) of the answer is set.
    SetResponseHeader(&'static str, String),
    /// The status of the answer is replaced.
    Status(u16),
    /// So many bytes are missing at the end of the answer, and its length is announced accordingly.
    Shorten(u64),
    /// Bytes are added at the end of the answer, and its length is announced accordingly.
    Lengthen(Vec<u8>),
    /// The answer does not announce its length.
    HideLength,
}

/// Which requests meet which faults. All rules that match apply, in the order in which they were added.
#[derive(Debug, Clone)]
pub struct Rule {
    method: Option<&'static str>,
    pattern: Regex,
    turns: RangeInclusive<u64>,
    seen: u64,
    faults: Vec<Fault>,
}

impl Rule {
    /// Requests of `method` (`*` for any) whose path and query match the regular expression.
    ///
    /// # Errors
    /// The pattern is malformed.
    pub fn new(method: &'static str, pattern: &str) -> Result<Self> {
        Ok(Self {
            method: (method != "*").then_some(method),
            pattern: Regex::new(pattern)?,
            turns: 1..=u64::MAX,
            seen: 0,
            faults: Vec::new(),
        })
    }

    /// Only the `n`th match, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        Self { turns: n..=n, ..self }
    }

    /// Only the first `n` matches.
    #[must_use]
    pub fn first(self, n: u64) -> Self {
        Self { turns: 1..=n, ..self }
    }

    /// Only from the `n`th match on, counted from 1.
    #[must_use]
    pub fn from(self, n: u64) -> Self {
        Self { turns: n..=u64::MAX, ..self }
    }

    /// Adds a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The faults for this request; counts it if it matches.
    pub(super) fn apply(&mut self, method: &str, target: &str) -> &[Fault] {
        let matches =
            self.method.is_none_or(|wanted| wanted == method) && self.pattern.is_match(target);
        if !matches {
            return &[];
        }
        self.seen += 1;
        if self.turns.contains(&self.seen) { &self.faults } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(mut rule: Rule) -> Vec<usize> {
        (0..4).map(|_| rule.apply("GET", "/v2/a/blobs/x?y").len()).collect()
    }

    #[test]
    fn counts_turns() {
        let rule = || Rule::new("GET", "/blobs/.*y$").unwrap().with(Fault::Reset);
        assert_eq!(hits(rule()), [1, 1, 1, 1]);
        assert_eq!(hits(rule().nth(2)), [0, 1, 0, 0]);
        assert_eq!(hits(rule().first(2)), [1, 1, 0, 0]);
        assert_eq!(hits(rule().from(3)), [0, 0, 1, 1]);
        assert_eq!(hits(Rule::new("PUT", "").unwrap().with(Fault::Reset)), [0, 0, 0, 0]);
        assert_eq!(hits(Rule::new("*", "").unwrap().with(Fault::Reset)), [1, 1, 1, 1]);
        assert!(Rule::new("GET", "(").is_err());
    }
}
