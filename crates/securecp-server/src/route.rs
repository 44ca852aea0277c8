use axum::extract::Query;
use http::Uri;
use securecp_oci::Digest;

use crate::name::{Name, Target};
use crate::refusal::Refusal;

/// What a path of the protocol names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Catalog,
    Blob(Name, Digest),
    Uploads(Name),
    Upload(Name, String),
    Manifest(Name, Target),
    Tags(Name),
    Referrers(Name, Digest),
}

impl Route {
    /// Reads the path from its right end, because names may contain any of the fixed words.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Ping),
            Some(rest) => rest.strip_prefix('/').ok_or(Refusal::Path)?,
            None => return Err(Refusal::Path),
        };
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let parts: Vec<String> = rest
            .split('/')
            .map(|part| decode(part).ok_or(Refusal::Path))
            .collect::<Result<_, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(joined(name)?))
            }
            [name @ .., "blobs", "uploads", id] => {
                Ok(Self::Upload(joined(name)?, (*id).to_owned()))
            }
            [name @ .., "blobs", digest] => Ok(Self::Blob(joined(name)?, parse_digest(digest)?)),
            [name @ .., "manifests", target] => Ok(Self::Manifest(joined(name)?, target.parse()?)),
            [name @ .., "tags", "list"] => Ok(Self::Tags(joined(name)?)),
            [name @ .., "referrers", digest] => {
                Ok(Self::Referrers(joined(name)?, parse_digest(digest)?))
            }
            _ => Err(Refusal::Path),
        }
    }
}

/// The parameters behind `?`.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Refusal> {
        let Query(pairs) = Query::try_from_uri(uri).map_err(|_| Refusal::Parameter("query"))?;
        Ok(Self(pairs))
    }

    /// The first value of `key`.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub(crate) fn digest(&self, key: &str) -> Result<Option<Digest>, Refusal> {
        self.value(key).map(parse_digest).transpose()
    }

    pub(crate) fn number(&self, key: &'static str) -> Result<Option<usize>, Refusal> {
        let parse = |text: &str| text.parse().map_err(|_| Refusal::Parameter(key));
        self.value(key).map(parse).transpose()
    }
}

fn joined(parts: &[&str]) -> Result<Name, Refusal> {
    // A decoded slash would join two components that the path kept apart.
    if parts.iter().any(|part| part.contains('/')) {
        return Err(Refusal::NameInvalid);
    }
    parts.join("/").parse()
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(Refusal::DigestInvalid)
}

/// Undoes percent-encoding (RFC 3986, 2.1); `None` if it is malformed or not UTF-8.
fn decode(part: &str) -> Option<String> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let value = digit()? * 16 + digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn reads_every_endpoint() {
        let text = format!("sha256:{}", "a".repeat(64));
        let digest: Digest = text.parse().unwrap();
        for (path, expected) in [
            ("/v2".to_owned(), Route::Ping),
            ("/v2/".to_owned(), Route::Ping),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            (format!("/v2/a/b/blobs/{text}"), Route::Blob(name("a/b"), digest.clone())),
            (
                format!("/v2/a/blobs/{}", text.replace(':', "%3A")),
                Route::Blob(name("a"), digest.clone()),
            ),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/x".to_owned(), Route::Upload(name("a"), "x".to_owned())),
            ("/v2/a/manifests/v1".to_owned(), Route::Manifest(name("a"), "v1".parse().unwrap())),
            (
                "/v2/manifests/blobs/manifests/v1".to_owned(),
                Route::Manifest(name("manifests/blobs"), "v1".parse().unwrap()),
            ),
            ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
            (format!("/v2/a/referrers/{text}"), Route::Referrers(name("a"), digest)),
        ] {
            assert_eq!(Route::parse(&path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn refuses_paths_that_escape() {
        for bad in [
            "/",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/../etc/manifests/v1",
            "/v2/%2e%2e/manifests/v1",
            "/v2/..%2fx/manifests/v1",
            "/v2/a%2fb/manifests/v1",
            "/v2/a/manifests/..%2f..%2fx",
            "/v2/a/manifests/%zz",
            "/v2/a/manifests/%ff",
            "/v2/a/manifests/%",
            "/v2/a/manifests/",
            "/v2//manifests/v1",
            "/v2/a/blobs/sha256:..",
            "/v2/_tags/manifests/v1",
        ] {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }
}
