use std::sync::Arc;

use securecp_layer::Stopped;
use securecp_net::NetError;
use securecp_trust::{
    BundleFault, CertificateFault, SigstoreKeyError, SigstoreSignError, TimestampFault,
};

/// Why something could not be signed with the services of sigstore. No token and no secret is ever part of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeylessError {
    /// The address of a service is none, or would carry tokens in the clear.
    #[error("address of {service}: {problem}")]
    Address {
        /// Which service.
        service: &'static str,
        /// What is wrong and what is expected.
        problem: String,
    },
    /// There was no answer.
    #[error("asking {service}")]
    Net {
        /// Which service.
        service: &'static str,
        /// Why.
        source: NetError,
    },
    /// The service refused.
    #[error("{service} at {host} answered {status}: {said}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
        /// The beginning of what it said, escaped.
        said: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of {service} is not {expected}")]
    Answer {
        /// Which service.
        service: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The timestamp is none of what was asked for.
    #[error("the answer of the timestamp authority")]
    Timestamp(#[from] TimestampFault),
    /// The identity token cannot be used.
    #[error("identity token: {0}")]
    Token(String),
    /// Nobody logged in.
    #[error("logging in: {0}")]
    Login(String),
    /// There is no certificate, for this signature and for others.
    #[error(transparent)]
    Shared(Arc<KeylessError>),
    /// A key could not be made.
    #[error("making a key")]
    Key(#[from] SigstoreKeyError),
    /// The certificate is not what was asked for.
    #[error("certificate of Fulcio")]
    Certificate(#[from] CertificateFault),
    /// The signature could not be made, or does not verify.
    #[error(transparent)]
    Sign(#[from] SigstoreSignError),
    /// The new bundle would not be accepted.
    #[error("the new bundle would not be accepted")]
    Bundle(#[from] BundleFault),
    /// Nobody would witness a bundle.
    #[error("a bundle needs a log: neither rekorURL nor rekorV2URL is known")]
    NoLog,
    /// The system has no randomness.
    #[error("random number generation failed")]
    Random,
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
