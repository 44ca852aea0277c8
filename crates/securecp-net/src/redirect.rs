use http::header::{AUTHORIZATION, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::request::host_of;
use crate::{NetError, Request, is_private, same_origin};

/// Redirects followed for one request.
pub(crate) const HOPS: usize = 10;

/// The URL that a `Location` header means, seen from the URL that answered (RFC 3986 section 5). Registries behind a
/// proxy that ends TLS call themselves `http`; on the same host and port that is read as `https`.
///
/// # Errors
/// Not a URL, not http or https, or a step from https down to http on another host or port.
pub fn resolve_location(base: &Url, location: &str) -> Result<Url, NetError> {
    let refuse =
        |problem: &str| NetError::Redirect { host: host_of(base), problem: problem.to_owned() };
    let mut next = base.join(location).map_err(|_| refuse("its location is not a URL"))?;
    if !matches!(next.scheme(), "http" | "https") || next.host().is_none() {
        return Err(refuse("its location is neither http nor https"));
    }
    if base.scheme() == "https" && next.scheme() == "http" {
        let same_port = next.port().is_none() || next.port() == base.port();
        if next.host() != base.host() || !same_port || next.set_scheme("https").is_err() {
            return Err(refuse("it leads from https to http"));
        }
        let _ = next.set_port(base.port());
    }
    let _ = next.set_username("");
    let _ = next.set_password(None);
    Ok(next)
}

/// The request that follows from an answer, if the answer is a redirect that this method may follow. `first` is the URL
/// that the user's configuration named.
pub(crate) fn follow(
    request: &Request,
    status: StatusCode,
    headers: &HeaderMap,
    first: &Url,
) -> Result<Option<Request>, NetError> {
    let Some(location) = headers.get(LOCATION).filter(|_| may_follow(&request.method, status))
    else {
        return Ok(None);
    };
    let refuse = |problem: &str| NetError::Redirect {
        host: host_of(&request.url),
        problem: problem.to_owned(),
    };
    let location = location.to_str().map_err(|_| refuse("its location is not text"))?;
    let url = resolve_location(&request.url, location)?;
    if is_private(&url) && !is_private(first) {
        return Err(refuse("it leads from a public host into a private network"));
    }
    let mut next = Request { url, ..request.clone() };
    if !same_origin(&next.url, &request.url) {
        if !request.body.is_empty() && !request.body_may_travel {
            return Err(refuse("it would take what is sent to another host"));
        }
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            next.headers.remove(name);
        }
    }
    Ok(Some(next))
}

/// A redirect that would turn a request with effect into a `GET` is no success of that request: it is left to the
/// caller, who expects another status.
fn may_follow(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(
        from: &str,
        method: Method,
        status: u16,
        to: &str,
    ) -> Result<Option<Request>, NetError> {
        let request =
            Request::new(method, from.parse().unwrap()).authorization("Basic c2VjcmV0").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, to.parse().unwrap());
        let first = request.url.clone();
        follow(&request, StatusCode::from_u16(status).unwrap(), &headers, &first)
    }

    #[test]
    fn credentials_stay_with_scheme_host_and_port() {
        let from = "https://r.example/v2/a";
        for (to, kept) in [
            ("/v2/b", true),
            ("https://r.example:443/v2/b", true),
            ("https://r.example:444/v2/b", false),
            ("https://cdn.example/x?sig=1", false),
        ] {
            let next = redirected(from, Method::GET, 307, to).unwrap().unwrap();
            assert_eq!(next.headers.contains_key(AUTHORIZATION), kept, "{to}");
        }
        let up = redirected("http://r.example/v2/a", Method::GET, 307, "https://r.example/v2/a");
        assert!(!up.unwrap().unwrap().headers.contains_key(AUTHORIZATION));
    }

    #[test]
    fn never_down_to_http_nor_into_private_networks() {
        for to in [
            "http://cdn.example/x",
            "http://r.example:80/",
            "ftp://r.example/",
            "http://r.example:8080/",
        ] {
            let found = redirected("https://r.example/v2/a", Method::GET, 302, to);
            let upgraded = found
                .as_ref()
                .is_ok_and(|n| n.as_ref().is_some_and(|n| n.url.as_str() == "https://r.example/"));
            assert!(upgraded || matches!(found, Err(NetError::Redirect { .. })), "{to}");
        }
        for to in ["https://169.254.169.254/", "https://localhost/", "https://[::1]/"] {
            let found = redirected("https://r.example/v2/a", Method::GET, 302, to);
            assert!(matches!(found, Err(NetError::Redirect { .. })), "{to}");
        }
        assert!(redirected("http://127.0.0.1:1/", Method::GET, 302, "http://127.0.0.1:2/").is_ok());
    }

    #[test]
    fn a_request_with_effect_never_becomes_a_get() {
        let from = "https://r.example/v2/a";
        for status in [301, 302, 303] {
            assert!(redirected(from, Method::PUT, status, "/b").unwrap().is_none());
        }
        let kept = redirected(from, Method::PUT, 308, "/b").unwrap().unwrap();
        assert_eq!(kept.method, Method::PUT);
    }

    #[test]
    fn a_body_stays_with_its_host_unless_it_may_travel() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "https://other.example/".parse().unwrap());
        let url: Url = "https://r.example/token".parse().unwrap();
        let post = Request::new(Method::POST, url.clone()).body("refresh_token=x".into());
        let status = StatusCode::TEMPORARY_REDIRECT;
        let refused = follow(&post, status, &headers, &url);
        assert!(matches!(refused, Err(NetError::Redirect { .. })));
        assert!(follow(&post.body_may_travel(), status, &headers, &url).unwrap().is_some());
    }

    #[test]
    fn resolves_locations_without_touching_their_encoding() {
        let base = "https://r.example/v2/a/blobs/uploads/".parse().unwrap();
        let relative = resolve_location(&base, "/v2/a%2Fb/up?_state=x%3D%3D").unwrap();
        assert_eq!(relative.as_str(), "https://r.example/v2/a%2Fb/up?_state=x%3D%3D");
        let proxied = resolve_location(&base, "http://r.example/v2/a/up").unwrap();
        assert_eq!(proxied.as_str(), "https://r.example/v2/a/up");
        let named = resolve_location(&base, "https://user:pw@r.example/x").unwrap();
        assert_eq!(named.as_str(), "https://r.example/x");
        assert!(resolve_location(&base, "http://[").is_err());
    }
}
