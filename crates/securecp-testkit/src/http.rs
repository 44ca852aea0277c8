//! The smallest HTTP/1.1 client that tests need: one request per connection, bytes in, bytes out.
//!
//! It follows nothing, retries nothing and interprets nothing, so that a test sees exactly what a server said.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A request under construction.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<&'a [u8]>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values as sent.
    pub headers: Vec<(String, String)>,
    /// The body as far as it came; chunked bodies are joined.
    pub body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A request without headers or body.
    pub fn new(method: &'a str, target: &'a str) -> Self {
        Self { method, target, headers: Vec::new(), body: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the body; its length is announced.
    #[must_use]
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends it and reads the answer to its end.
    ///
    /// # Errors
    /// The connection breaks before a whole header section came.
    pub fn send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut stream = connect(address)?;
        stream.write_all(self.head(address).as_bytes())?;
        if let Some(body) = self.body {
            // A server may answer and close before it has read everything.
            let _ = stream.write_all(body);
        }
        Response::read(&mut stream)
    }

    fn head(&self, address: SocketAddr) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n",
            self.method, self.target
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head + "\r\n"
    }
}

impl Response {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, with foreign bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one answer from a connection that the server closes.
    ///
    /// # Errors
    /// The connection breaks before a whole header section came.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        let Some(end) = position(&bytes, b"\r\n\r\n") else {
            return Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> =
            headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        let mut body = bytes.split_off(end + 4);
        if headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked") {
            body = joined(&body);
        }
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { status, headers, body })
    }
}

/// Opens a connection that gives up after half a minute without news.
///
/// # Errors
/// The address does not accept connections.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Joins the chunks of a body (RFC 9112, 7.1) as far as they are there.
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = position(rest, b"\r\n") {
        let size =
            std::str::from_utf8(&rest[..end]).ok().and_then(|t| usize::from_str_radix(t, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        let start = end + 2;
        let stop = (start + size).min(rest.len());
        whole.extend_from_slice(&rest[start..stop]);
        rest = &rest[(stop + 2).min(rest.len())..];
    }
    whole
}
