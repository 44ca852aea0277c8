use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::body::Counted;
use crate::log::RequestLog;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::route::{Parameters, Route};
use crate::store::Store;
use crate::uploads::Uploads;

pub(crate) const DOCKER_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What old Docker clients look for in the answer to a ping.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The registry behind the listener.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) options: Options,
    pub(crate) store: Arc<Store>,
    pub(crate) uploads: Uploads,
    pub(crate) log: RequestLog,
}

/// One request, taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) parts: Parts,
    pub(crate) parameters: Parameters,
    pub(crate) body: Body,
}

impl Call {
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }
}

pub(crate) type Answer = Result<Response<Body>, Refusal>;

impl Registry {
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        let store = Arc::new(Store::open(&options)?);
        let log = RequestLog::new(options.log_requests);
        Ok(Self { options, store, uploads: Uploads::default(), log })
    }

    /// Answers one request; every refusal is the specification's JSON.
    pub(crate) async fn answer(&self, request: Request) -> Response<Body> {
        let tally = self.log.begin(request.method(), request.uri());
        let (parts, body) = request.into_parts();
        let body = Counted::received(body, tally.clone());
        let mut response = self.dispatch(parts, body).await.unwrap_or_else(Refusal::into_response);
        set(&mut response, API_VERSION, "registry/2.0");
        tally.answer(response.status());
        response.map(|body| Counted::sent(body, tally))
    }

    /// Runs file work on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.store.clone();
        Ok(spawn_blocking(move || work(&store)).await.map_err(io::Error::other)?)
    }

    async fn dispatch(&self, parts: Parts, body: Body) -> Answer {
        let early = self.prepare(&parts);
        let (route, parameters) = match early {
            Ok(found) => found,
            Err(refusal) => return Err(drained(&parts, body, refusal).await),
        };
        self.route(route, Call { parts, parameters, body }).await
    }

    fn prepare(&self, parts: &Parts) -> Result<(Route, Parameters), Refusal> {
        let route = match Route::parse(parts.uri.path()) {
            // What cannot exist is not there; only a write is told why.
            Err(Refusal::TagInvalid) if parts.method != Method::PUT => {
                return Err(Refusal::ManifestUnknown);
            }
            parsed => parsed?,
        };
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        if self.store.read_only() && !reads {
            return Err(Refusal::ReadOnly);
        }
        Ok((route, Parameters::parse(&parts.uri)?))
    }

    async fn route(&self, route: Route, call: Call) -> Answer {
        match (call.parts.method.as_str(), route) {
            ("GET" | "HEAD", Route::Ping) => Ok(json_response(&json!({}))),
            ("GET", Route::Catalog) => self.catalog(&call.parameters).await,
            ("GET" | "HEAD", Route::Blob(name, digest)) => self.read_blob(call, name, digest).await,
            ("DELETE", Route::Blob(name, digest)) => self.delete_blob(name, digest).await,
            ("POST", Route::Uploads(name)) => self.begin_upload(call, name).await,
            ("GET", Route::Upload(name, id)) => self.upload_status(name, &id).await,
            ("PATCH", Route::Upload(name, id)) => self.append_upload(call, name, &id).await,
            ("PUT", Route::Upload(name, id)) => self.finish_upload(call, name, &id).await,
            ("DELETE", Route::Upload(name, id)) => self.cancel_upload(&name, &id),
            ("GET" | "HEAD", Route::Manifest(name, target)) => {
                self.read_manifest(call, name, target).await
            }
            ("PUT", Route::Manifest(name, target)) => self.put_manifest(call, name, target).await,
            ("DELETE", Route::Manifest(name, target)) => self.delete_manifest(name, target).await,
            ("GET", Route::Tags(name)) => self.tags(&call.parameters, name).await,
            ("GET", Route::Referrers(name, subject)) => {
                self.referrers(&call.parameters, name, subject).await
            }
            _ => Err(drained(&call.parts, call.body, Refusal::Method).await),
        }
    }
}

/// Reads the little that is left of a body, so that the client sees the answer and not a reset connection.
pub(crate) async fn drained(parts: &Parts, body: Body, refusal: Refusal) -> Refusal {
    const LEFT: usize = 256 << 10;
    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
    // A client that asked before sending is told at once.
    if !parts.headers.contains_key(header::EXPECT) {
        // Whatever happens to the body, the refusal stands.
        let _ = tokio::time::timeout(PATIENCE, Limited::new(body, LEFT).collect()).await;
    }
    refusal
}

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn json_response(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

/// Sets a header; a value that is not one is left out.
pub(crate) fn set(response: &mut Response<Body>, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
}
