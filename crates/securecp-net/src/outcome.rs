//! What a failed exchange of the HTTP library means.

use std::error::Error;
use std::sync::Arc;

use crate::NetError;

/// Classifies `error`; URLs are cut from it because they may carry signatures.
pub(crate) fn failure(error: reqwest::Error, host: &str) -> NetError {
    let error = error.without_url();
    let host = host.to_owned();
    match handshake_failure(&error) {
        Some(rustls::Error::InvalidMessage(_)) => return NetError::PlainHttp { host },
        Some(found) => return NetError::Tls { host, source: Arc::new(found.clone()) },
        None => {}
    }
    if error.is_builder() {
        return NetError::Request { problem: innermost(&error) };
    }
    if error.is_connect() {
        let transient = !chain(&error).any(is_name_failure);
        return NetError::Connect { host, transient, source: root(&error) };
    }
    NetError::Broken { host, source: root(&error) }
}

fn handshake_failure(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())
}

/// The resolver's error type is private to the HTTP library; its text is all there is.
fn is_name_failure(cause: &(dyn Error + 'static)) -> bool {
    cause.to_string().starts_with("dns error")
}

/// The cause that says most, the innermost one, as an owned error.
fn root(error: &reqwest::Error) -> Arc<dyn Error + Send + Sync> {
    Arc::from(Box::<dyn Error + Send + Sync>::from(innermost(error)))
}

fn innermost(error: &reqwest::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An error with its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| inner(*cause))
}

/// An `io::Error` hides what it wraps from `source`, so it is opened here.
fn inner<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => cause.source(),
    }
}
