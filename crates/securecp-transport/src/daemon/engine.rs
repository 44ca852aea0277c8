use std::fs;
use std::path::Path;

use securecp_layer::Scope;
use securecp_net::{
    ClientIdentity, HttpClient, Lane, NetError, Request, Response, TlsOptions, Url,
};
use securecp_oci::{Escaped, WithCauses, json};
use serde_json::Value;

use super::{DaemonAccess, DaemonName};
use crate::TransportError;

/// Where an engine listens unless told otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
const MESSAGE_LIMIT: usize = 64 << 10;
/// Largest of the three PEM files, in bytes.
const PEM_LIMIT: u64 = 1 << 20;

/// A running engine, reached over its HTTP API.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) client: HttpClient,
    base: Url,
    /// What the user calls it.
    pub(super) host: String,
}

impl Engine {
    /// Reads how it is reached; nothing is sent yet.
    pub(super) fn new(access: &DaemonAccess) -> Result<Self, TransportError> {
        let host = access.host.as_deref().unwrap_or(DEFAULT_HOST).to_owned();
        let shown = Escaped::new(&host).to_string();
        let bad =
            |problem: &str| TransportError::Name { name: shown.clone(), problem: problem.into() };
        let (scheme, rest) = host.split_once("://").ok_or_else(|| bad(HOST_GRAMMAR))?;
        let (client, base) = match scheme {
            // The host of the URL is only a name: the connection goes to the socket.
            "unix" => {
                (access.net.unix_socket(Path::new(rest))?, "http://docker.engine/".to_owned())
            }
            "http" => (access.net.client(&TlsOptions::default())?, format!("http://{rest}/")),
            "tcp" | "https" => (access.net.client(&tls(access)?)?, format!("https://{rest}/")),
            _ => return Err(bad(HOST_GRAMMAR)),
        };
        let base: Url = base.parse().map_err(|_| bad("the address is malformed"))?;
        Ok(Self { client, base, host: shown })
    }

    /// The URL of a call; `query` is escaped.
    pub(super) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Looks whether somebody answers.
    pub(super) fn ping(&self, scope: &Scope) -> Result<(), TransportError> {
        let response = self.send(Request::get(self.url("/_ping", &[])), scope)?;
        self.expect_success(response, scope).map(|_| ())
    }

    /// What `docker save` gives of one image.
    pub(super) fn save(
        &self,
        image: &DaemonName,
        scope: &Scope,
    ) -> Result<Response, TransportError> {
        let url = self.url("/images/get", &[("names", &image.to_string())]);
        // The engine may gather layers before it answers.
        let request = Request::get(url).lane(Lane::Bulk).slow_answer();
        let response = self.send(request, scope)?;
        if response.status().as_u16() == 404 {
            let subject = format!("image {image}");
            return Err(TransportError::NotFound { subject, place: self.host.clone() });
        }
        self.expect_success(response, scope)
    }

    fn send(&self, request: Request, scope: &Scope) -> Result<Response, TransportError> {
        self.client.send(request, scope).map_err(|error| self.broken(error))
    }

    /// A failure of the network, under the name that the user gave the engine.
    pub(super) fn broken(&self, error: NetError) -> TransportError {
        let message = WithCauses(&error).to_string();
        match error {
            NetError::Stopped(stopped) => stopped.into(),
            NetError::Connect { .. } => TransportError::NoEngine {
                host: self.host.clone(),
                message: Escaped::new(&message).to_string(),
            },
            _ => self.failure(&message),
        }
    }

    /// Turns anything but success into an error with the engine's own words.
    pub(super) fn expect_success(
        &self,
        response: Response,
        scope: &Scope,
    ) -> Result<Response, TransportError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.beginning(MESSAGE_LIMIT, scope);
        scope.check()?;
        let document = json::parse(&body, json::Limits::bytes(MESSAGE_LIMIT)).unwrap_or_default();
        let message = document.get("message").and_then(Value::as_str).unwrap_or("no reason given");
        Err(self.failure(&format!("status {}: {message}", status.as_u16())))
    }

    pub(super) fn failure(&self, message: &str) -> TransportError {
        let message = Escaped::new(message.trim()).to_string();
        TransportError::Engine { host: self.host.clone(), message }
    }
}

const HOST_GRAMMAR: &str =
    "expected unix://PATH, tcp://HOST:PORT, https://HOST:PORT or http://HOST:PORT";

fn tls(access: &DaemonAccess) -> Result<TlsOptions, TransportError> {
    let mut options = access.tls.clone();
    if let Some(folder) = &access.cert_dir {
        let ca = folder.join("ca.pem");
        options = options.root_pem(&pem(&ca)?, &ca.display().to_string())?;
        let (chain, key) = (pem(&folder.join("cert.pem"))?, pem(&folder.join("key.pem"))?);
        let subject = folder.display().to_string();
        options = options.identity(ClientIdentity::from_pem(&chain, &key, &subject)?);
    }
    match access.dangerously_accept_any_certificate {
        true => Ok(options.dangerously_accept_any_certificate()),
        false => Ok(options),
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, TransportError> {
    let read = || {
        let mut bytes = Vec::new();
        let mut file = std::io::Read::take(fs::File::open(path)?, PEM_LIMIT);
        std::io::Read::read_to_end(&mut file, &mut bytes).map(|_| bytes)
    };
    read().map_err(|source| TransportError::Io { operation: "reading", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use securecp_net::TlsVersion;

    use super::*;

    #[test]
    fn restrictions_of_tls_hold_for_engines_too() {
        let restricted = TlsOptions::default().oldest(TlsVersion::V1_3);
        let access = DaemonAccess { tls: restricted.clone(), ..DaemonAccess::default() };
        assert_eq!(tls(&access).unwrap(), restricted);
        let trusting = DaemonAccess { dangerously_accept_any_certificate: true, ..access };
        assert_eq!(tls(&trusting).unwrap(), restricted.dangerously_accept_any_certificate());
    }
}
