use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

use securecp_layer::{LayerError, Stopped};
use securecp_net::{NetError, StatusCode};
use securecp_oci::{ManifestError, Reference, WithCauses};

use crate::reply::{Code, Refusal};

/// Why something asked of a registry did not happen: what was asked, of whom, and what came of it.
#[derive(Debug)]
pub struct RegistryError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    operation: Operation,
    host: String,
    repository: Option<String>,
    credentials: Option<String>,
    /// What comes before the rest of the message when mirrors failed first.
    mirrors: String,
    /// What came of asking by plain HTTP as well.
    plain: Option<String>,
    problem: Problem,
}

/// What was asked of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Finding out how the registry is spoken to.
    Ping,
    /// Fetching a token.
    Token,
    /// Proving who we are, for `login`.
    Login,
    /// Reading a manifest, by tag or digest.
    ReadManifest(String),
    /// Writing a manifest under a tag or digest.
    WriteManifest(String),
    /// Deleting a manifest.
    DeleteManifest(String),
    /// Reading a blob.
    ReadBlob(String),
    /// Asking whether a blob is there.
    FindBlob(String),
    /// Writing a blob; the digest if it is known before.
    WriteBlob(Option<String>),
    /// Listing tags.
    ListTags,
    /// Listing the manifests that refer to a digest.
    ListReferrers(String),
    /// Recording a manifest that refers to a digest.
    WriteReferrer(String),
    /// Reading the signatures that the registry keeps of a digest.
    ReadSignatures(String),
    /// Adding one to them.
    WriteSignature(String),
    /// Reading configuration files.
    Configure,
}

impl Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("pinging container registry"),
            Self::Token => f.write_str("unable to retrieve auth token"),
            Self::Login => f.write_str("logging into"),
            Self::ReadManifest(name) => write!(f, "reading manifest {name}"),
            Self::WriteManifest(name) => write!(f, "writing manifest {name}"),
            Self::DeleteManifest(name) => write!(f, "Unable to delete manifest {name}"),
            Self::ReadBlob(digest) => write!(f, "reading blob {digest}"),
            Self::FindBlob(digest) => write!(f, "checking whether a blob {digest} exists"),
            Self::WriteBlob(Some(digest)) => write!(f, "writing blob {digest}"),
            Self::WriteBlob(None) => f.write_str("writing blob"),
            Self::ListTags => f.write_str("listing tags"),
            Self::ListReferrers(digest) => write!(f, "listing referrers of {digest}"),
            Self::WriteReferrer(digest) => write!(f, "recording a referrer of {digest}"),
            Self::ReadSignatures(digest) => write!(f, "reading signatures of {digest}"),
            Self::WriteSignature(digest) => write!(f, "writing a signature of {digest}"),
            Self::Configure => f.write_str("configuring access"),
        }
    }
}

/// What came of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The registry answered with another status than the operation needs.
    #[error("{0}")]
    Refused(Refusal),
    /// What answers is no registry: its front door `/v2/` gave this status.
    #[error("invalid status code from registry {0}: this host is no registry")]
    NoRegistry(StatusCode),
    /// There was no answer, or it broke off.
    #[error(transparent)]
    Net(NetError),
    /// The answer is not what the protocol asks for.
    #[error("{0}")]
    Protocol(String),
    /// The bytes are not what was promised of them.
    #[error("{0}")]
    Integrity(String),
    /// The manifest is not one.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The blob to be written could not be had.
    #[error(transparent)]
    Layer(LayerError),
    /// Credentials, certificates or configuration files cannot be used.
    #[error("{0}")]
    Settings(String),
    /// A name that cannot be made to stand for something else.
    #[error("{0}")]
    Immutable(String),
    /// The configuration forbids it.
    #[error("{0}")]
    Blocked(String),
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<NetError> for Problem {
    fn from(error: NetError) -> Self {
        match error {
            NetError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Net(other),
        }
    }
}

impl From<LayerError> for Problem {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Layer(other),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The kind of failure, for programs that must decide what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Credentials are missing, wrong, or not enough.
    Auth,
    /// The thing does not exist.
    NotFound,
    /// Too many requests.
    RateLimited,
    /// A quota is used up.
    Quota,
    /// The registry does not take this request.
    Invalid,
    /// The thing exists already and may not be changed.
    Conflict,
    /// The registry failed.
    Server,
    /// The network failed.
    Network,
    /// Bytes are not what was promised of them.
    Integrity,
    /// Our own side: settings, the source of a blob, a stopped job.
    Local,
}

impl RegistryError {
    pub(crate) fn new(
        operation: Operation,
        host: impl Into<String>,
        repository: Option<&str>,
        problem: impl Into<Problem>,
    ) -> Self {
        let repository = repository.map(str::to_owned);
        let inner = Inner {
            operation,
            host: host.into(),
            repository,
            credentials: None,
            mirrors: String::new(),
            plain: None,
            problem: problem.into(),
        };
        Self { inner: Box::new(inner) }
    }

    /// Names the place that the credentials came from; never their value.
    pub(crate) fn with_credentials(mut self, source: Option<String>) -> Self {
        self.inner.credentials = self.inner.credentials.or(source);
        self
    }

    /// The job ended while this failure was to be got over.
    pub(crate) fn stopped(mut self, stopped: Stopped) -> Self {
        self.inner.problem = Problem::Stopped(stopped);
        self
    }

    /// Gives a stop that happened while waiting for others the place where it mattered.
    pub(crate) fn placed(self, operation: &Operation, host: &str, repository: &str) -> Self {
        match self.inner.problem {
            Problem::Stopped(stopped) => {
                Self::new(operation.clone(), host, Some(repository), stopped)
            }
            _ => self,
        }
    }

    /// Puts the failures of mirrors, asked before, in front.
    pub(crate) fn after_mirrors(mut self, place: &Reference, failed: Vec<String>) -> Self {
        if !failed.is_empty() {
            self.inner.mirrors = format!("(Mirrors also failed: {}): {place}: ", failed.join(", "));
        }
        self
    }

    /// Adds how plain HTTP failed, which was tried as well.
    pub(crate) fn and_plain(mut self, error: &NetError) -> Self {
        self.inner.plain = Some(WithCauses(error).to_string());
        self
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.inner.problem, Problem::Stopped(_))
    }

    /// What was asked.
    pub fn operation(&self) -> &Operation {
        &self.inner.operation
    }

    /// The registry as the user named it.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// The repository, without host.
    pub fn repository(&self) -> Option<&str> {
        self.inner.repository.as_deref()
    }

    /// What came of it.
    pub fn problem(&self) -> &Problem {
        &self.inner.problem
    }

    /// What came of it, to be judged by somebody else.
    pub fn into_problem(self) -> Problem {
        self.inner.problem
    }

    /// Where the credentials came from, for example a file name; never their value.
    pub fn credentials(&self) -> Option<&str> {
        self.inner.credentials.as_deref()
    }

    /// The registry's answer, if there was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.inner.problem {
            Problem::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The status of the registry's answer.
    pub fn status(&self) -> Option<StatusCode> {
        self.refusal().map(Refusal::status)
    }

    /// The codes of the registry's answer.
    pub fn codes(&self) -> &[Code] {
        self.refusal().map(Refusal::codes).unwrap_or_default()
    }

    /// What the registry calls this request in its own logs.
    pub fn request_id(&self) -> Option<&str> {
        self.refusal().and_then(Refusal::request_id)
    }

    /// The kind of failure.
    pub fn class(&self) -> Class {
        match &self.inner.problem {
            Problem::Refused(refusal) => refusal.class(),
            Problem::Net(NetError::TlsSettings { .. } | NetError::InsideRuntime) => Class::Local,
            Problem::Net(_) => Class::Network,
            Problem::Protocol(_) | Problem::NoRegistry(_) => Class::Invalid,
            Problem::Immutable(_) => Class::Conflict,
            Problem::Integrity(_) | Problem::Manifest(_) => Class::Integrity,
            _ => Class::Local,
        }
    }

    /// Whether the thing asked for definitely does not exist.
    pub fn is_not_found(&self) -> bool {
        self.class() == Class::NotFound
    }

    /// Whether the registry does not know the repository. Where something was just read from there, this answers nothing.
    pub fn is_unknown_repository(&self) -> bool {
        self.is_not_found() && self.codes().iter().any(|code| code.code == "NAME_UNKNOWN")
    }

    /// Whether the thing asked for definitely does not exist in a repository that does.
    pub fn is_absence(&self) -> bool {
        self.is_not_found() && !self.is_unknown_repository()
    }

    /// Whether the registry said of a manifest, in the words of the specification, that it does not have it.
    pub fn is_unknown_manifest(&self) -> bool {
        self.is_not_found() && self.codes().iter().any(|code| code.code == "MANIFEST_UNKNOWN")
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match &self.inner.problem {
            Problem::Refused(refusal) => refusal.is_transient(),
            Problem::Net(error) => error.is_transient(),
            Problem::Layer(error) => error.is_transient(),
            _ => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.refusal().and_then(Refusal::retry_after)
    }

    fn proves_identity(&self) -> bool {
        matches!(self.inner.operation, Operation::Token | Operation::Login)
    }

    /// A connection that never came about is said in the words that scripts look for.
    fn never_connected(&self) -> bool {
        let net = match &self.inner.problem {
            Problem::Net(error) => error,
            _ => return false,
        };
        let first = matches!(
            net,
            NetError::Connect { .. } | NetError::PlainHttp { .. } | NetError::Tls { .. }
        );
        first && self.inner.operation != Operation::Ping
    }
}

impl Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.inner.mirrors, self.inner.operation)?;
        match self.inner.repository.as_deref().filter(|repository| !repository.is_empty()) {
            Some(repository) => write!(f, " in {}/{repository}", self.inner.host)?,
            None => write!(f, " {}", self.inner.host)?,
        }
        if self.never_connected() {
            write!(f, ": pinging container registry {}", self.inner.host)?;
        }
        if let Some(plain) = &self.inner.plain {
            write!(f, " (by plain HTTP as well: {plain})")?;
        }
        match &self.inner.problem {
            Problem::Net(_) | Problem::Manifest(_) | Problem::Layer(_) | Problem::Stopped(_) => {
                Ok(())
            }
            Problem::Refused(refusal) if self.proves_identity() => {
                let wrong = refusal.status() == StatusCode::UNAUTHORIZED;
                let prefix = if wrong { "invalid username/password: " } else { "" };
                write!(f, ": {prefix}{refusal}")
            }
            problem => write!(f, ": {problem}"),
        }
    }
}

impl Error for RegistryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.inner.problem {
            Problem::Net(error) => Some(error),
            Problem::Manifest(error) => Some(error),
            Problem::Layer(error) => Some(error),
            Problem::Stopped(error) => Some(error),
            _ => None,
        }
    }
}
