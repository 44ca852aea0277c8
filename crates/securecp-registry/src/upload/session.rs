use securecp_layer::Scope;
use securecp_net::{Method, Request, Response, Url, header, is_private, resolve_location};
use securecp_oci::{Descriptor, Digest, Escaped, Repository};

use crate::auth::Grants;
use crate::upload::Put;
use crate::{Problem, RegistryError};

/// What a registry did with a request to begin.
pub(super) enum Begun {
    Mounted,
    Session(Session),
}

/// An upload that the registry has opened.
pub(super) struct Session {
    pub(super) url: Url,
    /// The smallest piece that the registry wants, in bytes.
    pub(super) smallest: u64,
}

/// Registries that want larger pieces than this get whole blobs only.
pub(super) const LARGEST_PIECE: u64 = 64 << 20;

impl Put<'_, '_> {
    /// Opens a session, with a mount if the blob is known to lie elsewhere in this registry.
    pub(super) fn begin(&self, scope: &Scope) -> Result<Begun, RegistryError> {
        let here = self.client.repository();
        let mut from = self.blob.mount_from.iter();
        let from = from.find(|other| other.host() == here.host() && other.path() != here.path());
        if let (Some(known), Some(from)) = (self.blob.known, from) {
            match self.mount(known, from, scope) {
                Ok(begun) => return Ok(begun),
                Err(error) if matches!(error.problem(), Problem::Stopped(_)) => return Err(error),
                // Whatever is wrong with the mount, the blob can still be sent.
                Err(error) => tracing::info!(%error, "not mounted"),
            }
        }
        let url = self.client.url("blobs/uploads/", scope)?;
        let response = self.post(url, Grants::push(here.path()), &[202], scope)?;
        self.session(&response).map(Begun::Session)
    }

    fn mount(
        &self,
        known: &Descriptor,
        from: &Repository,
        scope: &Scope,
    ) -> Result<Begun, RegistryError> {
        let mut url = self.client.url("blobs/uploads/", scope)?;
        url.query_pairs_mut()
            .append_pair("from", from.path())
            .append_pair("mount", &known.digest.to_string());
        let grants = Grants::push(self.client.path()).and(&Grants::pull(from.path()));
        let response = self.post(url, grants, &[201, 202], scope)?;
        if response.status() == 201 {
            return Ok(Begun::Mounted);
        }
        // Not mounted, but a session is open: it is used, not thrown away.
        self.session(&response).map(Begun::Session)
    }

    fn post(
        &self,
        url: Url,
        grants: Grants,
        wanted: &[u16],
        scope: &Scope,
    ) -> Result<Response, RegistryError> {
        let request = Ok(Request::new(Method::POST, url));
        let call = self.client.call(self.operation, grants, request)?;
        self.client.host.expect(&call, wanted, scope)
    }

    fn session(&self, response: &Response) -> Result<Session, RegistryError> {
        let smallest = response.headers().get("oci-chunk-min-length");
        let smallest = smallest.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Session { url: self.location(response)?, smallest: smallest.unwrap_or(0) })
    }

    /// The URL at which the session goes on.
    pub(super) fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response.header(&header::LOCATION);
        let missing =
            || self.error(Problem::Protocol("upload session without location".to_owned()));
        let location = location.ok_or_else(missing)?;
        let url = resolve_location(response.url(), location);
        let url = url.map_err(|error| self.error(error.into()))?;
        if is_private(&url) && !is_private(response.url()) {
            let problem = "upload location leads from a public registry into a private network";
            return Err(self.error(Problem::Protocol(problem.to_owned())));
        }
        Ok(url)
    }

    /// Like [`Put::location`], for answers that need not name one.
    pub(super) fn location_or(
        &self,
        response: &Response,
        before: &Url,
    ) -> Result<Url, RegistryError> {
        match response.header(&header::LOCATION) {
            Some(_) => self.location(response),
            None => Ok(before.clone()),
        }
    }
}

/// The session's URL, whose own query stays as it is, with the digest behind it.
pub(super) fn with_digest(session: &Url, digest: &Digest) -> Url {
    let mut url = session.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    url
}

/// How many bytes a session holds, by its `Range: 0-LAST`. One byte and none look alike there; `sent` tells them apart.
pub(super) fn held(response: &Response, sent: u64) -> Result<u64, Problem> {
    let range = response.header(&header::RANGE).unwrap_or_default();
    let bare = range.strip_prefix("bytes=").unwrap_or(range);
    match bare.strip_prefix("0-").and_then(|last| last.parse::<u64>().ok()) {
        Some(0) if sent != 1 => Ok(0),
        Some(last) if last < sent => Ok(last + 1),
        _ => {
            let shown = Escaped::new(range).limit(60).to_string();
            Err(Problem::Protocol(format!("upload holds {shown:?}, but {sent} bytes were sent")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_keeps_its_query_when_the_digest_is_added() {
        let digest = Digest::of(securecp_oci::Algorithm::Sha256, b"");
        let url = "https://r.example/up?_state=a%2Fb%3D&x".parse().unwrap();
        let text = with_digest(&url, &digest).to_string();
        assert!(
            text.starts_with("https://r.example/up?_state=a%2Fb%3D&x&digest=sha256%3Ae3b0"),
            "{text}"
        );
    }
}
