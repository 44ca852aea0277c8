use std::fmt::{self, Display};
use std::str::FromStr;

use securecp_oci::{Digest, Escaped, Repository};

/// The place below which a lookaside server or directory keeps signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct LookasideBase(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// An absolute path.
    File(String),
    /// What stands before the path's end, and the query behind it.
    Http { url: String, query: String },
}

/// Where one signature is, or would be.
#[derive(Clone, PartialEq, Eq)]
pub enum SignaturePlace {
    /// A file, by absolute path.
    File(String),
    /// An address to fetch; nothing can be written there.
    Http(String),
}

/// Why a text is not the base of a lookaside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookasideError {
    /// Neither `file:`, `http:` nor `https:`.
    #[error("lookaside base {0:?} starts with neither file://, http:// nor https://")]
    Scheme(String),
    /// A file base that is not one absolute path of this machine.
    #[error("lookaside base {0:?} is not file:// and an absolute path")]
    Path(String),
    /// A server without a name.
    #[error("lookaside base {0:?} names no server")]
    Host(String),
}

impl LookasideBase {
    /// The directory of a file base.
    pub fn directory(&self) -> Option<&str> {
        match &self.0 {
            Kind::File(path) => Some(path),
            Kind::Http { .. } => None,
        }
    }

    /// The place of the signature number `position`, from 1, of the manifest with this digest.
    ///
    /// The registry's host is not part of it: two registries need two bases.
    pub fn signature(
        &self,
        repository: &Repository,
        digest: &Digest,
        position: usize,
    ) -> SignaturePlace {
        let (path, algorithm, hex) = (repository.path(), digest.algorithm(), digest.hex());
        let below = format!("{path}@{algorithm}={hex}/signature-{position}");
        match &self.0 {
            Kind::File(base) => SignaturePlace::File(format!("{base}/{below}")),
            Kind::Http { url, query } => SignaturePlace::Http(format!("{url}/{below}{query}")),
        }
    }
}

impl FromStr for LookasideBase {
    type Err = LookasideError;

    fn from_str(text: &str) -> Result<Self, LookasideError> {
        if let Some(path) = text.strip_prefix("file://") {
            return file_base(path)
                .map(|path| Self(Kind::File(path)))
                .ok_or_else(|| LookasideError::Path(shown(text)));
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| LookasideError::Scheme(shown(text)))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || text.contains(|c: char| c.is_control() || c == ' ') {
            return Err(LookasideError::Host(shown(text)));
        }
        let whole = text.split('#').next().unwrap_or_default();
        let (url, query) = whole.split_at(whole.find('?').unwrap_or(whole.len()));
        Ok(Self(Kind::Http { url: url.to_owned(), query: query.to_owned() }))
    }
}

/// An absolute path with its percent escapes undone.
fn file_base(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return None;
    }
    let mut parts = path.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(part.get(..2).filter(|hex| !hex.contains('+'))?, 16).ok()?);
        decoded.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(decoded).ok().filter(|path| !path.contains('\0'))
}

/// The text without the user name and password that may stand in it.
fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return escaped(text) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => escaped(&format!("{scheme}://***@{host}{path}")),
        None => escaped(text),
    }
}

fn escaped(text: &str) -> String {
    Escaped::new(text).limit(300).to_string()
}

impl Display for LookasideBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) => write!(f, "file://{}", escaped(path)),
            Kind::Http { url, .. } => f.write_str(&shown(url)),
        }
    }
}

impl fmt::Debug for LookasideBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookasideBase({self})")
    }
}

impl Display for SignaturePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(&escaped(path)),
            Self::Http(url) => f.write_str(&shown(url.split('?').next().unwrap_or_default())),
        }
    }
}

impl fmt::Debug for SignaturePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignaturePlace({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::Algorithm;

    fn place(base: &str) -> SignaturePlace {
        let repository: Repository = "r.test:5000/ns/a".parse().unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"");
        base.parse::<LookasideBase>().unwrap().signature(&repository, &digest, 1)
    }

    const BELOW: &str =
        "ns/a@sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/signature-1";

    #[test]
    fn places_have_no_host_and_an_equals_sign() {
        let file = |path: &str| SignaturePlace::File(format!("{path}/{BELOW}"));
        assert_eq!(place("file:///var/lib/sigs"), file("/var/lib/sigs"));
        assert_eq!(place("file:///with%20space"), file("/with space"));
        let http = |url: &str| SignaturePlace::Http(format!("{url}/{BELOW}"));
        assert_eq!(place("https://h.test/sigs"), http("https://h.test/sigs"));
        assert_eq!(place("http://h.test"), http("http://h.test"));
        let with_query = SignaturePlace::Http(format!("https://h.test/{BELOW}?x=1"));
        assert_eq!(place("https://h.test?x=1"), with_query);
    }

    #[test]
    fn refuses_other_bases() {
        for bad in [
            "",
            "/var/lib",
            "ftp://h.test",
            "file:relative",
            "file://host/path",
            "file://",
            "https://",
            "https:///path",
            "http://user@",
            "file:///a?x",
            "file:///%zz",
            "file:///%0",
            "file:///%00",
            "https://h.test/a b",
            "https://h.test/\n",
            "HTTPS://h.test",
        ] {
            assert!(bad.parse::<LookasideBase>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let base: LookasideBase = "https://user:secret@h.test/p?token=secret".parse().unwrap();
        let place = place("https://user:secret@h.test/p?token=secret");
        let error = "ftp://user:secret@h.test".parse::<LookasideBase>().unwrap_err();
        for text in
            [format!("{base:?}{base}"), format!("{place:?}{place}"), format!("{error}{error:?}")]
        {
            assert!(text.contains("h.test") && !text.contains("secret"), "{text}");
        }
    }
}
