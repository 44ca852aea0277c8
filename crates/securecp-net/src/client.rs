use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode, header};
use rustls::{ClientConfig, RootCertStore};
use securecp_layer::Scope;
use url::Url;

use crate::proxies::Proxies;
use crate::redirect::{HOPS, follow};
use crate::request::host_of;
use crate::response::DRAINED;
use crate::runtime::{self, Patience};
use crate::track::{Drive, Names, Tracks};
use crate::{
    Gate, Lane, NetError, Request, Response, TlsOptions, Upload, outcome, same_origin, tls,
};

/// How long single steps of the other side may take. There is no limit for a whole transfer: that is the scope's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// From the first packet to the end of the TLS handshake.
    pub connect: Duration,
    /// Without a byte moving, or without an answer to a small request.
    pub stall: Duration,
    /// Without an answer to a request that makes the server work, such as the commit of a large upload.
    pub slow_answer: Duration,
    /// How long an unused connection is kept; shorter than the 60 s after which load balancers drop it silently.
    pub keep: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            slow_answer: Duration::from_secs(300),
            keep: Duration::from_secs(45),
        }
    }
}

/// The network of one process: connections, TLS configurations and the gate. Clones share everything.
#[derive(Clone, Default)]
pub struct Net {
    inner: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    limits: TimeLimits,
    roots: OnceLock<RootCertStore>,
    clients: Mutex<HashMap<TlsOptions, Lanes>>,
    gate: Gate,
}

/// The clients of one TLS configuration.
#[derive(Clone)]
struct Lanes {
    control: reqwest::Client,
    bulk: Arc<Tracks>,
}

/// A request that is ready to go, with what moves it.
type Ready = (reqwest::RequestBuilder, Drive);

impl Net {
    /// A network with other time limits than the default ones.
    pub fn new(limits: TimeLimits) -> Self {
        Self { inner: Arc::new(Shared { limits, ..Shared::default() }) }
    }

    /// The client for hosts that are met with `options`.
    ///
    /// # Errors
    /// The options cannot work.
    pub fn client(&self, options: &TlsOptions) -> Result<HttpClient, NetError> {
        let own = self.lanes(options)?;
        let foreign = self.lanes(&options.without_identity())?;
        Ok(HttpClient { net: self.clone(), own, foreign, home: None })
    }

    /// The client for a server that listens on the unix socket at `path`: it takes no proxy, and the host in its URLs
    /// is only a name for messages.
    ///
    /// # Errors
    /// The client cannot be made; whether somebody listens is seen with the first request.
    pub fn unix_socket(&self, path: &Path) -> Result<HttpClient, NetError> {
        let made = self.build_lanes(&TlsOptions::default(), Some(path))?;
        Ok(HttpClient { net: self.clone(), own: made.clone(), foreign: made, home: None })
    }

    /// The gate that every request of this network passes.
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn limits(&self) -> TimeLimits {
        self.inner.limits
    }

    fn lanes(&self, options: &TlsOptions) -> Result<Lanes, NetError> {
        let mut clients = self.inner.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = clients.get(options) {
            return Ok(found.clone());
        }
        let made = self.build_lanes(options, None)?;
        clients.insert(options.clone(), made.clone());
        Ok(made)
    }

    fn build_lanes(&self, options: &TlsOptions, socket: Option<&Path>) -> Result<Lanes, NetError> {
        runtime::begin()?;
        let config = options.config(|| self.inner.roots.get_or_init(tls::system_roots))?;
        let proxies = Proxies::of_environment()?;
        let (limits, socket) = (self.limits(), socket.map(Path::to_owned));
        let build = move |lane| {
            let builder = builder(config.clone(), lane, limits);
            let builder = match &socket {
                Some(path) => builder.unix_socket(path.as_path()),
                None => proxied(builder, &proxies),
            };
            let problem = |error: reqwest::Error| error.without_url().to_string();
            builder.build().map_err(|error| NetError::TlsSettings { problem: problem(error) })
        };
        let control = build(Lane::Control)?;
        let bulk = Tracks::new(Box::new(move || build(Lane::Bulk)), limits.keep);
        Ok(Lanes { control, bulk: Arc::new(bulk) })
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}

/// Sends requests under one set of TLS options.
#[derive(Clone)]
pub struct HttpClient {
    net: Net,
    own: Lanes,
    foreign: Lanes,
    /// The one origin that client certificates are for; without one, that of each first request.
    home: Option<Url>,
}

impl HttpClient {
    /// The same, showing client certificates to the origin of `home` only, whatever host a request begins at.
    #[must_use]
    pub fn at_home(self, home: Url) -> Self {
        Self { home: Some(home), ..self }
    }

    /// Sends `request` and follows redirects; the answer's body is still to be read. Credentials are dropped as soon
    /// as scheme, host or port change.
    ///
    /// # Errors
    /// There was no answer, or a redirect that is not followed.
    pub fn send(&self, request: Request, scope: &Scope) -> Result<Response, NetError> {
        let first = request.url.clone();
        let mut request = request;
        for _ in 0..=HOPS {
            let response = self.exchange(&request, self.is_own(&request.url, &first), scope)?;
            match follow(&request, response.status(), response.headers(), &first)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
            // A short body read to its end leaves the connection usable.
            let _ = response.bytes(DRAINED, scope);
        }
        let problem = format!("more than {HOPS} redirects");
        Err(NetError::Redirect { host: host_of(&first), problem })
    }

    /// Begins a request whose body comes piece by piece; `size` must not be zero. Redirects are not followed.
    ///
    /// # Errors
    /// The request cannot be made.
    pub fn upload(
        &self,
        request: Request,
        size: Option<u64>,
        scope: &Scope,
    ) -> Result<Upload, NetError> {
        self.net.gate().pass(&request.host(), scope)?;
        let ready = self.prepare(&request, self.is_own(&request.url, &request.url))?;
        Upload::start(ready, &request, size, self.net.limits())
    }

    /// The network that this client belongs to.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Whether our own client certificates may be shown to `url` on the way from `first`.
    fn is_own(&self, url: &Url, first: &Url) -> bool {
        same_origin(self.home.as_ref().unwrap_or(first), url)
    }

    fn exchange(&self, request: &Request, own: bool, scope: &Scope) -> Result<Response, NetError> {
        let host = request.host();
        self.net.gate().pass(&host, scope)?;
        let limits = self.net.limits();
        let limit = if request.slow_answer { limits.slow_answer } else { limits.stall };
        let (mut made, mut drive) = self.prepare(request, own)?;
        if !request.body.is_empty() || takes_body(&request.method) {
            made = made.header(header::CONTENT_LENGTH, request.body.len());
            made = made.body(request.body.clone());
        }
        log_request(request, &host, "request");
        let answer = drive.wait(scope, async {
            let patience = Patience { host: &host, limit };
            patience.bound(made.send()).await?.map_err(|error| outcome::failure(error, &host))
        })?;
        log_answer((&request.method, &host, request.url.path()), answer.status());
        drive.set_reusable(true);
        Ok(Response::new(answer, host.clone(), limits, drive))
    }

    fn prepare(&self, request: &Request, own: bool) -> Result<Ready, NetError> {
        let lanes = if own { &self.own } else { &self.foreign };
        let drive = match request.lane {
            Lane::Control => Drive::Shared,
            Lane::Bulk => Drive::Own(Box::new(lanes.bulk.take(request.origin())?)),
        };
        let client = match &drive {
            Drive::Shared => &lanes.control,
            Drive::Own(ride) => ride.client(),
        };
        let made = client.request(request.method.clone(), request.url.clone());
        Ok((made.headers(request.headers.clone()), drive))
    }
}

/// Nothing of a URL but scheme and path: its query may be a signature.
pub(crate) fn log_request(request: &Request, host: &str, what: &str) {
    let (method, scheme) = (&request.method, request.url.scheme());
    tracing::debug!(%method, scheme, host, path = request.url.path(), "{what}");
}

/// Names the request: answers of many come in any order.
pub(crate) fn log_answer((method, host, path): (&Method, &str, &str), status: StatusCode) {
    tracing::debug!(%method, host, path, status = status.as_u16(), "answer");
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

/// The library's own reading of the environment would take what is meant for this machine to the proxy.
fn proxied(builder: reqwest::ClientBuilder, proxies: &Proxies) -> reqwest::ClientBuilder {
    if *proxies == Proxies::default() {
        return builder.no_proxy();
    }
    let proxies = proxies.clone();
    builder.proxy(reqwest::Proxy::custom(move |url| proxies.proxy_for(url).cloned()))
}

/// Whether a server may answer 411 if an empty body is not announced.
fn takes_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Windows of 4 MiB: the library's default throttles HTTP/2 over long distances.
const WINDOW: u32 = 4 << 20;

/// Large enough for registries that answer with many and long headers.
const HEADERS: usize = 256;

fn builder(mut tls: ClientConfig, lane: Lane, limits: TimeLimits) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(limits.connect)
        .pool_idle_timeout(limits.keep)
        .tcp_nodelay(true)
        .http1_max_headers(HEADERS);
    let builder = match lane {
        Lane::Control => {
            tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            builder
                .http2_initial_stream_window_size(WINDOW)
                .http2_initial_connection_window_size(WINDOW)
        }
        Lane::Bulk => {
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            builder.http1_only().dns_resolver(Names)
        }
    };
    builder.tls_backend_preconfigured(tls)
}
