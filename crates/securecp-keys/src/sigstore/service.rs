use std::time::Duration;

use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{HttpClient, NetError, Request, Url, header, is_private};
use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde::Serialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::{KeylessError, SecretText};

/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 4 << 20;
/// Room for what is sent, in bytes: a buffer that grows leaves copies of secrets behind.
const BODY: usize = 64 << 10;
/// Characters of an answer that refuses which are shown.
const SAID_LIMIT: usize = 300;
/// Attempts where the next one may succeed.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// One of the services, met at its address.
#[derive(Debug, Clone)]
pub(super) struct Service {
    http: HttpClient,
    base: Url,
    name: &'static str,
}

/// What a service answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Bytes,
    host: String,
}

impl Service {
    /// A service at an address: https, or http on this machine or a private network, since tokens go there.
    pub(super) fn new(
        http: &HttpClient,
        name: &'static str,
        address: &str,
    ) -> Result<Self, KeylessError> {
        Ok(Self { http: http.clone(), base: address_of(name, address)?, name })
    }

    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The address of the service with a path behind its own.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// The address that the service gave for something of its own.
    pub(super) fn own(&self, location: &str) -> Option<Url> {
        let url = self.base.join(location).ok()?;
        securecp_net::same_origin(&url, &self.base).then_some(url)
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// `POST` of a JSON document, which may be secret.
    pub(super) fn post_json(
        &self,
        url: Url,
        document: &impl Serialize,
        scope: &Scope,
    ) -> Result<Answer, KeylessError> {
        let mut body = Zeroizing::new(Vec::with_capacity(BODY));
        serde_json::to_writer(&mut *body, document).map_err(|error| {
            let source = NetError::Request { problem: error.to_string() };
            KeylessError::Net { service: self.name, source }
        })?;
        let request = Request::new(securecp_net::Method::POST, url)
            .secret_body(body)
            .header(header::CONTENT_TYPE, "application/json");
        self.send(request, scope)
    }

    /// `POST` of a form, which may be secret.
    pub(super) fn post_form(
        &self,
        url: Url,
        members: &[(&str, &str)],
        scope: &Scope,
    ) -> Result<Answer, KeylessError> {
        let mut form = Serializer::new(String::with_capacity(BODY));
        let body = Zeroizing::new(form.extend_pairs(members).finish().into_bytes());
        let request = Request::new(securecp_net::Method::POST, url)
            .secret_body(body)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, scope)
    }

    /// Sends a request, again if the next attempt may succeed.
    pub(super) fn send(
        &self,
        request: Result<Request, NetError>,
        scope: &Scope,
    ) -> Result<Answer, KeylessError> {
        let failed = |source| KeylessError::Net { service: self.name, source };
        let request = request.map_err(failed)?;
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(&request, scope) {
                Ok(answer) if !passes(answer.status) => return Ok(answer),
                Err(error) if !error.is_transient() => return Err(failed(error)),
                _ => {}
            }
            scope.sleep(pause)?;
            pause *= 2;
        }
        self.attempt(&request, scope).map_err(failed)
    }

    fn attempt(&self, request: &Request, scope: &Scope) -> Result<Answer, NetError> {
        let request = request.clone().header(header::ACCEPT, "*/*")?;
        let response = self.http.send(request, scope)?;
        Ok(Answer {
            status: response.status().as_u16(),
            location: response.header(&header::LOCATION).map(str::to_owned),
            host: response.host().to_owned(),
            body: response.bytes(ANSWER_LIMIT, scope)?,
        })
    }

    /// The answer, if it is a yes. What a refusal says is shown unless one of `secrets` is in it.
    pub(super) fn accepted(
        &self,
        answer: Answer,
        secrets: &[&SecretText],
    ) -> Result<Bytes, KeylessError> {
        match answer.status {
            200 | 201 => Ok(answer.body),
            status => Err(KeylessError::Refused {
                service: self.name,
                status,
                said: said(&answer.body, secrets),
                host: answer.host,
            }),
        }
    }

    /// The answer as a JSON object.
    pub(super) fn object(&self, body: &[u8]) -> Result<Value, KeylessError> {
        let value = json::parse(body, Limits::bytes(ANSWER_LIMIT)).ok();
        value.filter(Value::is_object).ok_or_else(|| self.odd("a JSON object"))
    }

    pub(super) fn odd(&self, expected: &'static str) -> KeylessError {
        KeylessError::Answer { service: self.name, expected }
    }
}

/// Parses an address of a service.
pub(super) fn address_of(service: &'static str, address: &str) -> Result<Url, KeylessError> {
    let problem = |text: &str| KeylessError::Address { service, problem: text.to_owned() };
    let mut url: Url = address.parse().map_err(|_| problem("expected https://HOST"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(problem("it has credentials in it"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_private(&url) => {}
        "http" => return Err(problem("expected https://, tokens would be sent in the clear")),
        _ => return Err(problem("expected https://HOST")),
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn passes(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

fn said(body: &[u8], secrets: &[&SecretText]) -> String {
    let text = String::from_utf8_lossy(body);
    let holds =
        |secret: &&&SecretText| !secret.expose().is_empty() && text.contains(secret.expose());
    match secrets.iter().find(holds) {
        Some(_) => "(an answer that repeats a secret is not shown)".to_owned(),
        None => Escaped::new(text.trim()).limit(SAID_LIMIT).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_go_in_the_clear() {
        for good in ["https://fulcio.example", "http://127.0.0.1:1/x", "http://localhost"] {
            assert!(address_of("Fulcio", good).is_ok(), "{good}");
        }
        for bad in
            ["http://fulcio.example", "ftp://x", "fulcio.example", "", "https://u:p@x.example"]
        {
            let error = address_of("Fulcio", bad).unwrap_err().to_string();
            assert!(error.starts_with("address of Fulcio: ") && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn an_answer_that_repeats_a_secret_is_not_shown() {
        let secret = SecretText::new("geheim".to_owned());
        assert!(!said(b"no: geheim", &[&secret]).contains("geheim"));
        assert_eq!(said(b"no\n", &[&secret]), "no");
    }
}
