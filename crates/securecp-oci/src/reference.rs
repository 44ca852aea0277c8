use std::fmt::{self, Display};
use std::str::FromStr;

use crate::{Digest, DigestError, Escaped};

const DOCKER_HUB: &str = "docker.io";
const NAME_LIMIT: usize = 255;

/// A tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}` (OCI distribution-spec, "Pulling manifests").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A tag whose parts are known to fit.
    pub(crate) fn known(text: String) -> Self {
        Self(text.into())
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        valid.then(|| Self(text.into())).ok_or_else(|| ReferenceError::Tag(shown(text)))
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository: registry host (with port) and path, fully expanded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: Box<str>,
    path: Box<str>,
}

impl Repository {
    /// The registry as it is named, with port if one was given; `docker.io` for Docker Hub.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host without its port.
    pub fn hostname(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// The path below the registry, without leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same host with another path.
    ///
    /// # Errors
    /// The path is not a valid repository path.
    pub fn with_path(&self, path: &str) -> Result<Self, ReferenceError> {
        format!("{}/{path}", self.host).parse()
    }

    /// This repository with a tag.
    #[must_use]
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag), digest: None }
    }

    /// This repository with a digest.
    #[must_use]
    pub fn digested(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Parses a repository name with Docker's normalisation; tags and digests are refused.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (host, path) = split_host(text);
        if !valid_host(&host) {
            return Err(ReferenceError::Host(shown(text)));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(shown(text)));
        }
        if path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ReferenceError::HexName(shown(text)));
        }
        if !path.split('/').all(valid_component) {
            return Err(ReferenceError::Path(shown(text)));
        }
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path
        };
        if path.len() > NAME_LIMIT {
            return Err(ReferenceError::TooLong(shown(text)));
        }
        Ok(Self { host: host.into(), path: path.into() })
    }
}

impl Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// An image reference, normalised as Docker does: `docker.io` and `library/` are added, a missing tag is `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses without adding `latest`: the result may name only a repository, or carry both tag and digest.
    ///
    /// # Errors
    /// A part does not follow the grammar.
    pub fn parse_any(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        Ok(Self { repository: name.parse()?, tag, digest })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether it names only a repository.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Parses a reference to one image: `latest` is added, tag and digest together are refused.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let found = Self::parse_any(text)?;
        match (&found.tag, &found.digest) {
            (Some(_), Some(_)) => Err(ReferenceError::TagAndDigest(shown(text))),
            (None, None) => Ok(found.repository.tagged("latest".parse()?)),
            _ => Ok(found),
        }
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The registry host is malformed.
    #[error("invalid reference format: bad registry host in {0:?}")]
    Host(String),
    /// A path component does not follow the grammar.
    #[error("invalid reference format: {0:?}")]
    Path(String),
    /// The path has upper-case letters.
    #[error("invalid reference format: repository name {0:?} must be lowercase")]
    UpperCase(String),
    /// The name could be mistaken for an image ID.
    #[error("invalid repository name {0:?}, cannot specify 64-byte hexadecimal strings")]
    HexName(String),
    /// The name is longer than 255 characters.
    #[error("repository name must not be more than 255 characters: {0:?}")]
    TooLong(String),
    /// The tag does not follow the grammar.
    #[error("invalid tag {0:?}")]
    Tag(String),
    /// Both tag and digest are given.
    #[error("Docker references with both a tag and digest are currently not supported: {0:?}")]
    TagAndDigest(String),
    /// The digest is malformed.
    #[error("invalid digest in reference")]
    Digest(#[from] DigestError),
}

/// The first component is a host only if it looks like one; Docker Hub is implied otherwise.
fn split_host(text: &str) -> (String, String) {
    let (host, path) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || has_upper_case(first) =>
        {
            (first, rest)
        }
        _ => (DOCKER_HUB, text),
    };
    let host = if host == "index.docker.io" { DOCKER_HUB } else { host };
    (host.to_owned(), path.to_owned())
}

fn has_upper_case(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_uppercase())
}

fn valid_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let name_ok = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(label),
    };
    name_ok && port.is_none_or(|p| p.parse::<u16>().is_ok_and(|n| n > 0) && !p.starts_with('+'))
}

/// `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn valid_component(component: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = component.split(|c: char| c.is_ascii() && alnum(c as u8));
    let edges = |f: fn(&str) -> Option<u8>| f(component).is_some_and(alnum);
    edges(|c| c.bytes().next())
        && edges(|c| c.bytes().last())
        && separators
            .filter(|s| !s.is_empty())
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn shown(text: &str) -> String {
    Escaped::new(text).limit(300).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn normalises_as_docker_does() {
        for (given, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1", "docker.io/library/busybox:1"),
            ("ns/busybox", "docker.io/ns/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("notlocalhost/x", "docker.io/notlocalhost/x:latest"),
            ("localhost:5000/x/y:v1", "localhost:5000/x/y:v1"),
            ("[::1]:5000/x:v1", "[::1]:5000/x:v1"),
            ("a.b/c__d/e-----f.g_h", "a.b/c__d/e-----f.g_h:latest"),
        ] {
            assert_eq!(full(given), expected);
            assert_eq!(full(&full(given)), expected);
        }
    }

    #[test]
    fn keeps_digests_and_refuses_tag_with_digest() {
        let digest = Digest::of(crate::Algorithm::Sha256, b"");
        assert_eq!(full(&format!("x@{digest}")), format!("docker.io/library/x@{digest}"));
        let both = format!("x:t@{digest}");
        assert!(matches!(both.parse::<Reference>(), Err(ReferenceError::TagAndDigest(_))));
        assert!(Reference::parse_any(&both).unwrap().digest().is_some());
        assert!(Reference::parse_any("x").unwrap().is_name_only());
    }

    #[test]
    fn refuses_what_the_grammar_excludes() {
        let hex = "a".repeat(64);
        let long = format!("a.b/{}", "x".repeat(256));
        for bad in [
            "",
            "/",
            "x/",
            "/x",
            "a//b",
            "UPPER",
            "a/Upper",
            "x:",
            "x:-t",
            "x@",
            "x@sha256:00",
            "x ",
            " x",
            "x\n",
            "a___b",
            "a..b",
            "-a",
            "a-",
            "a._b",
            "é",
            "a.b:0/x",
            "a.b:99999/x",
            "a.b:+1/x",
            "-a.b/x",
            "a..b/x",
            "[::1/x",
            "[zz]:1/x",
            &hex,
            &long,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tells_host_from_port() {
        let repository: Repository = "[::1]:5000/x".parse().unwrap();
        assert_eq!(repository.hostname(), "[::1]");
        let repository: Repository = "h.example:5000/x".parse().unwrap();
        assert_eq!((repository.hostname(), repository.host()), ("h.example", "h.example:5000"));
    }
}
