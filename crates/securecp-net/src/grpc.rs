//! Unary calls of gRPC services on this machine: HTTP/2 without TLS, one message there, one back.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode, header};
use securecp_layer::Scope;
use securecp_oci::Escaped;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

use crate::NetError;
use crate::runtime::wait;

/// Where a gRPC service listens, as gRPC itself writes addresses: `HOST:PORT`, `dns:///HOST:PORT`, `unix:PATH`,
/// `unix:///PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrpcAddress {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A port. Only this machine's own are connected to, because nothing protects what is said there.
    Tcp(String),
}

/// A gRPC service.
#[derive(Debug, Clone)]
pub struct GrpcService {
    address: GrpcAddress,
    time: Duration,
    answer_limit: usize,
}

impl FromStr for GrpcAddress {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let problem = |problem: &str| NetError::Request {
            problem: format!("gRPC address {}: {problem}", Escaped::new(text).limit(200)),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() || path.contains('\0') {
                Err(problem("expected the path of a socket"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let named = ["dns:///", "passthrough:///", "dns:"];
        let rest = named.into_iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| problem("expected HOST:PORT"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = !host.is_empty() && !host.contains([':', '/']);
        let known: Option<IpAddr> = bare.unwrap_or(host).parse().ok();
        if known.is_some_and(|address| !address.is_loopback()) {
            return Err(problem(FOREIGN));
        }
        match port.parse::<u16>() {
            Ok(_) if plain || bare.and(known).is_some() => Ok(Self::Tcp(rest.to_owned())),
            _ => Err(problem("expected HOST:PORT or unix:PATH")),
        }
    }
}

impl Display for GrpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => f.write_str(host),
        }
    }
}

impl GrpcService {
    /// A service that may take `time` for one call and answer with `answer_limit` bytes.
    pub fn new(address: GrpcAddress, time: Duration, answer_limit: usize) -> Self {
        Self { address, time, answer_limit }
    }

    /// Sends one message to the method at `path` (`/PACKAGE.SERVICE/METHOD`) and returns the one message that comes.
    ///
    /// # Errors
    /// The service is not on this machine, cannot be reached, takes too long, refuses, or does not answer with exactly
    /// one message.
    pub fn call(&self, path: &str, message: &[u8]) -> Result<Bytes, NetError> {
        let host = self.address.to_string();
        let call = Call { host: &host, path, limit: self.answer_limit };
        let late = |_| NetError::Stalled { host: host.clone(), limit: self.time };
        wait(&Scope::new(), async {
            let talk = async {
                match &self.address {
                    GrpcAddress::Unix(path) => {
                        let stream = UnixStream::connect(path).await;
                        call.over(stream.map_err(|e| call.unreachable(e))?, message).await
                    }
                    GrpcAddress::Tcp(address) => {
                        call.over(call.connect(address).await?, message).await
                    }
                }
            };
            tokio::time::timeout(self.time, talk).await.map_err(late)?
        })
    }
}

/// One call on its way.
struct Call<'a> {
    host: &'a str,
    path: &'a str,
    limit: usize,
}

impl Call<'_> {
    /// Connects to a port of this machine; every address that the name stands for has to be one of its own.
    async fn connect(&self, address: &str) -> Result<TcpStream, NetError> {
        let found = tokio::net::lookup_host(address).await.map_err(|e| self.unreachable(e))?;
        let found: Vec<_> = found.collect();
        if let Some(foreign) = found.iter().find(|address| !address.ip().is_loopback()) {
            let ip = foreign.ip();
            let problem = format!("gRPC address {}: {FOREIGN}, but at {ip}", self.host);
            return Err(NetError::Request { problem });
        }
        TcpStream::connect(&*found).await.map_err(|e| self.unreachable(e))
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        message: &[u8],
    ) -> Result<Bytes, NetError> {
        let (sender, connection) =
            h2::client::handshake(stream).await.map_err(|e| self.broken(e))?;
        let _driver = Driver(tokio::spawn(connection));
        let sender = sender.ready().await.map_err(|e| self.broken(e))?;
        self.exchange(sender, message).await
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Bytes>,
        message: &[u8],
    ) -> Result<Bytes, NetError> {
        let request = self.request()?;
        let (response, mut body) =
            sender.send_request(request, false).map_err(|e| self.broken(e))?;
        let framed = framed(message).ok_or_else(|| self.odd("the message is too large"))?;
        body.send_data(framed, true).map_err(|e| self.broken(e))?;
        let (head, mut body) = response.await.map_err(|e| self.broken(e))?.into_parts();
        if head.status != StatusCode::OK || !is_grpc(&head.headers) {
            return Err(self.odd(&format!("it is no gRPC service (status {})", head.status)));
        }
        // A service that refuses at once says so in the head.
        self.check(&head.headers)?;
        let bytes = self.body(&mut body).await?;
        let trailers = body.trailers().await.map_err(|e| self.broken(e))?;
        let state = trailers.as_ref().unwrap_or(&head.headers);
        if !state.contains_key(STATUS) {
            return Err(self.odd("it ended without a status"));
        }
        self.check(state)?;
        unframed(bytes).ok_or_else(|| self.odd("expected exactly one message without compression"))
    }

    fn request(&self) -> Result<Request<()>, NetError> {
        let made = Request::post(format!("http://localhost{}", self.path))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("securecp/", env!("CARGO_PKG_VERSION")))
            .body(());
        made.map_err(|error| NetError::Request { problem: error.to_string() })
    }

    async fn body(&self, body: &mut RecvStream) -> Result<Bytes, NetError> {
        // Taken at once: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.limit + HEAD));
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|e| self.broken(e))?;
            if bytes.len() + chunk.len() > self.limit + HEAD {
                return Err(NetError::TooLarge { host: self.host.to_owned(), limit: self.limit });
            }
            bytes.extend_from_slice(&chunk);
            let released = body.flow_control().release_capacity(chunk.len());
            released.map_err(|e| self.broken(e))?;
        }
        Ok(Bytes::from_owner(bytes))
    }

    /// A status other than zero is a refusal.
    fn check(&self, headers: &HeaderMap) -> Result<(), NetError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(status) = text(STATUS).filter(|status| *status != "0") else { return Ok(()) };
        let said = text("grpc-message").unwrap_or_default();
        let said = Escaped::new(said).limit(300);
        Err(self.odd(&format!("gRPC status {}: {said}", Escaped::new(status).limit(20))))
    }

    fn odd(&self, problem: &str) -> NetError {
        NetError::Service { host: self.host.to_owned(), problem: problem.to_owned() }
    }

    fn unreachable(&self, source: std::io::Error) -> NetError {
        let source = Arc::new(source);
        NetError::Connect { host: self.host.to_owned(), transient: false, source }
    }

    fn broken(&self, source: h2::Error) -> NetError {
        NetError::Broken { host: self.host.to_owned(), source: Arc::new(source) }
    }
}

/// The connection's own work; it ends with the call.
struct Driver(tokio::task::JoinHandle<Result<(), h2::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Nothing protects what is said on the way.
const FOREIGN: &str = "a service without TLS must be on this machine";

const STATUS: &str = "grpc-status";

/// Before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Messages hold the keys of layers: both ways they lie in memory that is wiped.
fn framed(message: &[u8]) -> Option<Bytes> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + message.len()));
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(message.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(message);
    Some(Bytes::from_owner(bytes))
}

fn unframed(bytes: Bytes) -> Option<Bytes> {
    let head: [u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let whole = usize::try_from(length).ok()? == bytes.len() - HEAD;
    (head[0] == 0 && whole).then(|| bytes.slice(HEAD..))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let found = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    found.is_some_and(|text| text.starts_with("application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_as_grpc_writes_them() {
        let tcp = |text: &str| GrpcAddress::Tcp(text.to_owned());
        for (text, expected) in [
            ("localhost:50000", tcp("localhost:50000")),
            ("127.0.0.1:1", tcp("127.0.0.1:1")),
            ("[::1]:1", tcp("[::1]:1")),
            ("dns:///localhost:1", tcp("localhost:1")),
            ("dns:localhost:1", tcp("localhost:1")),
            ("passthrough:///127.0.0.1:1", tcp("127.0.0.1:1")),
            ("unix:run/s", GrpcAddress::Unix("run/s".into())),
            ("unix:/run/s", GrpcAddress::Unix("/run/s".into())),
            ("unix:///run/s", GrpcAddress::Unix("/run/s".into())),
        ] {
            assert_eq!(text.parse::<GrpcAddress>().unwrap(), expected, "{text}");
        }
        for bad in ["", "host", "unix:", "::1:1", "host:port", "host:70000", "xds:///a/b:1", ":1"] {
            assert!(bad.parse::<GrpcAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_frame_holds_one_whole_message() {
        assert_eq!(unframed(framed(b"abc").unwrap()).unwrap(), "abc");
        assert_eq!(unframed(framed(b"").unwrap()).unwrap(), "");
        let two = [framed(b"a").unwrap(), framed(b"b").unwrap()].concat();
        let compressed = [1, 0, 0, 0, 1, 9];
        for bad in [&two[..], &compressed, &two[..5], &two[..3], &[]] {
            assert!(unframed(Bytes::copy_from_slice(bad)).is_none(), "{bad:?}");
        }
    }
}
