//! Who may sign: a key, or whoever an issuer vouches for.

use std::fmt::{self, Display};

use serde::Deserialize;

use super::{SignerFault, shown};
use crate::sigstore::certificate::CertificateFault;
use crate::sigstore::claims::{BUILD_TRIGGER, Claims, SOURCE_REF, SOURCE_REPOSITORY};

/// One who may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signer {
    /// Whoever holds this key.
    Key { path: String, without_log: bool },
    /// Whoever has such a certificate.
    Identity(Box<Identity>),
}

/// What a certificate must say; members that are absent do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    issuer: String,
    email: Option<String>,
    uri: Option<String>,
    repository: Option<Pattern>,
    workflow: Option<String>,
    source_ref: Option<Pattern>,
    trigger: Option<String>,
}

/// A text, or the beginning of one when `*` ended it. It always starts where the value starts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSigner {
    key: Option<String>,
    #[serde(default)]
    dangerous_no_log: bool,
    issuer: Option<String>,
    email: Option<String>,
    uri: Option<String>,
    repository: Option<String>,
    workflow: Option<String>,
    #[serde(rename = "ref")]
    source_ref: Option<String>,
    trigger: Option<String>,
}

impl Signer {
    pub(super) fn read(raw: RawSigner) -> Result<Self, SignerFault> {
        for (name, value) in raw.members() {
            if value.is_some_and(|value| value.trim().is_empty()) {
                return Err(SignerFault::Empty(name));
            }
        }
        match (raw.key.clone(), raw.issuer.clone()) {
            (None, None) => Err(SignerFault::Nothing),
            (Some(path), None) => raw.key(path),
            (None, Some(issuer)) => raw.identity(issuer),
            (Some(_), Some(_)) => Err(SignerFault::Both("key", "issuer")),
        }
    }

    /// Whether one signature would be one by both.
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key { path, .. }, Self::Key { path: other, .. }) => path == other,
            (one, other) => one == other,
        }
    }

    /// The path of its key.
    pub(super) fn file_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Key { path, .. } => Some(path),
            Self::Identity(_) => None,
        }
    }

    pub(super) fn is_key_without_log(&self) -> bool {
        matches!(self, Self::Key { without_log: true, .. })
    }
}

impl Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { path, without_log: false } => write!(f, "key {}", shown(path)),
            Self::Key { path, without_log: true } => {
                write!(f, "key {}, also without any log entry", shown(path))
            }
            Self::Identity(identity) => identity.fmt(f),
        }
    }
}

impl Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issuer {}", shown(&self.issuer))?;
        let pattern = |pattern: &Option<Pattern>| pattern.as_ref().map(ToString::to_string);
        let members = [
            ("email", self.email.clone()),
            ("uri", self.uri.clone()),
            ("repository", pattern(&self.repository)),
            ("workflow", self.workflow.clone()),
            ("ref", pattern(&self.source_ref)),
            ("trigger", self.trigger.clone()),
        ];
        members.into_iter().try_for_each(|(name, value)| match value {
            Some(value) => write!(f, ", {name} {}", shown(&value)),
            None => Ok(()),
        })
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl RawSigner {
    fn members(&self) -> [(&'static str, Option<&String>); 8] {
        [
            ("key", self.key.as_ref()),
            ("issuer", self.issuer.as_ref()),
            ("email", self.email.as_ref()),
            ("uri", self.uri.as_ref()),
            ("repository", self.repository.as_ref()),
            ("workflow", self.workflow.as_ref()),
            ("ref", self.source_ref.as_ref()),
            ("trigger", self.trigger.as_ref()),
        ]
    }

    fn key(self, path: String) -> Result<Signer, SignerFault> {
        let other = self.members().into_iter().skip(1).find(|(_, value)| value.is_some());
        match other {
            Some((name, _)) => Err(SignerFault::Both("key", name)),
            None => Ok(Signer::Key { path, without_log: self.dangerous_no_log }),
        }
    }

    fn identity(self, issuer: String) -> Result<Signer, SignerFault> {
        if self.dangerous_no_log {
            return Err(SignerFault::Needs("dangerous-no-log", "key"));
        }
        if self.email.is_none() && self.uri.is_none() && self.repository.is_none() {
            return Err(SignerFault::Anybody);
        }
        let plain = [("issuer", Some(&issuer)), ("email", self.email.as_ref())];
        let plain = plain.into_iter().chain([
            ("uri", self.uri.as_ref()),
            ("workflow", self.workflow.as_ref()),
            ("trigger", self.trigger.as_ref()),
        ]);
        for (name, value) in plain {
            if value.is_some_and(|value| value.contains('*')) {
                return Err(SignerFault::Pattern(name, "may not have a *"));
            }
        }
        let repository = self.repository.map(repository).transpose()?;
        Ok(Signer::Identity(Box::new(Identity {
            workflow: self.workflow.map(|path| workflow(path, repository.as_ref())).transpose()?,
            repository,
            source_ref: self.source_ref.map(|text| Pattern::read("ref", text)).transpose()?,
            issuer,
            email: self.email,
            uri: self.uri,
            trigger: self.trigger,
        })))
    }
}

/// A repository, or all below a path: `https://host/owner/*`, and never half a name.
fn repository(text: String) -> Result<Pattern, SignerFault> {
    let found = Pattern::read("repository", text)?;
    match &found {
        Pattern::Prefix(prefix) if !prefix.ends_with('/') || prefix.ends_with("//") => {
            Err(SignerFault::Pattern("repository", "* may only follow the / behind a name"))
        }
        _ => Ok(found),
    }
}

/// A workflow as certificates name it: the repository, a slash, the path.
fn workflow(path: String, repository: Option<&Pattern>) -> Result<String, SignerFault> {
    if path.contains("://") {
        return Ok(path);
    }
    match repository {
        Some(Pattern::Exact(repository)) => {
            let repository = repository.trim_end_matches('/');
            Ok(format!("{repository}/{}", path.trim_start_matches('/')))
        }
        _ => Err(SignerFault::Needs("workflow", "one repository, or to be a whole URL")),
    }
}

impl Pattern {
    fn read(name: &'static str, text: String) -> Result<Self, SignerFault> {
        match text.split_once('*') {
            None => Ok(Self::Exact(text)),
            Some((prefix, "")) if !prefix.is_empty() => Ok(Self::Prefix(prefix.to_owned())),
            Some(_) => Err(SignerFault::Pattern(name, "* may only stand at the end")),
        }
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => value == text,
            Self::Prefix(prefix) => value.len() > prefix.len() && value.starts_with(prefix),
        }
    }
}

impl Identity {
    /// The first member that the certificate does not say, if there is one.
    pub(super) fn mismatch(
        &self,
        claims: &Claims,
    ) -> Result<Option<&'static str>, CertificateFault> {
        let issuer = claims.issuer()?;
        let has = |wanted: &Option<String>, found: &[String]| {
            wanted.as_ref().is_none_or(|wanted| found.contains(wanted))
        };
        let is = |wanted: &Option<Pattern>, found: Option<String>| match (wanted, found) {
            (None, _) => true,
            (Some(pattern), Some(found)) => pattern.matches(&found),
            (Some(_), None) => false,
        };
        let uris = claims.uris()?;
        let checks = [
            ("issuer", issuer == self.issuer),
            ("email", has(&self.email, &claims.emails()?)),
            ("uri", has(&self.uri, &uris)),
            ("repository", is(&self.repository, claims.text(SOURCE_REPOSITORY)?)),
            ("workflow", self.is_workflow(&uris)),
            ("ref", is(&self.source_ref, claims.text(SOURCE_REF)?)),
            ("trigger", has(&self.trigger, claims.text(BUILD_TRIGGER)?.as_slice())),
        ];
        Ok(checks.into_iter().find_map(|(name, same)| (!same).then_some(name)))
    }

    /// The certificate's URI is the workflow, `@`, and the ref that it was taken from.
    fn is_workflow(&self, uris: &[String]) -> bool {
        let path = |uri: &String| uri.rsplit_once('@').map(|(path, _)| path.to_owned());
        self.workflow.as_ref().is_none_or(|w| uris.iter().filter_map(path).any(|path| path == *w))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_start_where_values_start() {
        let tags = Pattern::read("ref", "refs/tags/v*".to_owned()).unwrap();
        for (value, expected) in [
            ("refs/tags/v1", true),
            ("refs/tags/v", false),
            ("refs/tags/x1", false),
            ("xrefs/tags/v1", false),
            ("refs/tags/V1", false),
        ] {
            assert_eq!(tags.matches(value), expected, "{value}");
        }
        for bad in ["*", "a*b", "a**", "*a"] {
            assert!(Pattern::read("ref", bad.to_owned()).is_err(), "{bad}");
        }
        assert!(repository("https://github.com/acme/*".to_owned()).is_ok());
        for bad in ["https://github.com/acme*", "https://*", "*"] {
            assert!(repository(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
