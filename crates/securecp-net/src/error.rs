use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use securecp_layer::Stopped;

/// Why an HTTP exchange did not come to an answer. A status code, whichever, is an answer and no error here.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The other side did nothing for too long.
    #[error("{host} stalled: nothing moved for {limit:?}")]
    Stalled {
        /// The other side.
        host: String,
        /// How long we waited.
        limit: Duration,
    },
    /// The caller runs inside an async task, where blocking would deadlock or panic.
    #[error("network call from inside an async runtime: call it from a thread of its own")]
    InsideRuntime,
    /// The private runtime could not be started.
    #[error("the network runtime cannot be started")]
    Runtime(#[source] Arc<std::io::Error>),
    /// TLS settings that cannot work.
    #[error("TLS settings: {problem}")]
    TlsSettings {
        /// What is wrong.
        problem: String,
    },
    /// A proxy of the environment that cannot be used.
    #[error("proxy settings: {variable}: {problem}")]
    ProxySettings {
        /// The variable of the environment; what it holds may be secret.
        variable: String,
        /// What is wrong.
        problem: String,
    },
    /// A server without TLS on a port where TLS was expected.
    #[error("http: server gave HTTP response to HTTPS client")]
    PlainHttp {
        /// The other side.
        host: String,
    },
    /// The TLS handshake failed: the certificate did not verify, or the other side refused ours.
    #[error("tls: failed to verify {host}")]
    Tls {
        /// The other side.
        host: String,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No connection.
    #[error("connecting to {host}")]
    Connect {
        /// The other side.
        host: String,
        /// Whether trying again may help; an unknown host name is not worth it.
        transient: bool,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The connection broke before the exchange was over, so that its outcome is unknown.
    #[error("connection to {host} broke")]
    Broken {
        /// The other side.
        host: String,
        /// Why.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// A redirect that is not followed.
    #[error("redirect from {host} refused: {problem}")]
    Redirect {
        /// Who sent it.
        host: String,
        /// Why it is refused.
        problem: String,
    },
    /// An answer larger than allowed.
    #[error("answer of {host} has more than {limit} bytes")]
    TooLarge {
        /// The other side.
        host: String,
        /// Bytes allowed.
        limit: usize,
    },
    /// A service refused, or answered what it must not.
    #[error("{host}: {problem}")]
    Service {
        /// The other side.
        host: String,
        /// What it said, or what is wrong with it.
        problem: String,
    },
    /// A request that cannot be sent at all.
    #[error("request cannot be made: {problem}")]
    Request {
        /// What is wrong.
        problem: String,
    },
}

impl NetError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Stalled { .. } | Self::Broken { .. } => true,
            Self::Connect { transient, .. } => *transient,
            _ => false,
        }
    }
}
