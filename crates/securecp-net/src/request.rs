use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;
use zeroize::Zeroizing;

use crate::NetError;

/// Which of the two clients of a host carries a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Small exchanges; HTTP/2 where the server offers it.
    Control,
    /// Blob bytes: HTTP/1.1, one connection per transfer, because one HTTP/2 connection throttles parallel transfers. It
    /// is moved by the thread that waits for it, and by no other.
    Bulk,
}

/// One request whose body, if any, is in memory.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) lane: Lane,
    pub(crate) slow_answer: bool,
    pub(crate) body_may_travel: bool,
}

impl Request {
    /// A request without body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            lane: Lane::Control,
            slow_answer: false,
            body_may_travel: false,
        }
    }

    /// `GET url`.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds a header.
    ///
    /// # Errors
    /// The value has bytes that no header may have.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, NetError> {
        let problem = || NetError::Request { problem: format!("header {name} has a bad value") };
        let value = HeaderValue::from_str(value).map_err(|_| problem())?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// Sets the `Authorization` header; it is marked so that no layer below prints it.
    ///
    /// # Errors
    /// The value has bytes that no header may have.
    pub fn authorization(mut self, value: &str) -> Result<Self, NetError> {
        let problem = || NetError::Request { problem: "bad credentials for a header".to_owned() };
        let mut value = HeaderValue::from_str(value).map_err(|_| problem())?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// Sets a body that is wiped when it is no longer needed.
    #[must_use]
    pub fn secret_body(self, body: Zeroizing<Vec<u8>>) -> Self {
        Self { body: Bytes::from_owner(body), ..self }
    }

    /// Chooses the lane; [`Lane::Control`] unless chosen.
    #[must_use]
    pub fn lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// Says that the server may think for long before it answers, as when it commits a large upload.
    #[must_use]
    pub fn slow_answer(self) -> Self {
        Self { slow_answer: true, ..self }
    }

    /// Lets a redirect take the body to another host. Bodies may hold secrets, as a token request's does; a blob's
    /// bytes are none.
    #[must_use]
    pub fn body_may_travel(self) -> Self {
        Self { body_may_travel: true, ..self }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host, and port if it is not the scheme's own: what messages and the gate call the other side.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// Neither header values nor the query are shown: both may carry secrets.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.host())
            .field("path", &self.url.path())
            .finish_non_exhaustive()
    }
}

pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
