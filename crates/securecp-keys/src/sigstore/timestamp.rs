use securecp_layer::Scope;
use securecp_net::{HttpClient, Method, Request, header};
use securecp_trust::TimestampQuery;

use super::service::Service;
use super::{KeylessError, random};

/// A timestamp authority (RFC 3161).
#[derive(Debug, Clone)]
pub struct TimestampAuthority {
    service: Service,
}

impl TimestampAuthority {
    /// The authority at an address.
    ///
    /// # Errors
    /// It is none that may be used.
    pub fn new(http: &HttpClient, address: &str) -> Result<Self, KeylessError> {
        Ok(Self { service: Service::new(http, "the timestamp authority", address)? })
    }

    /// Has the authority say that `message` exists now; gives its answer as it came (TimeStampResp, DER). The answer is one
    /// to this question (RFC 3161 section 2.4.2); who signed it is judged with the bundle.
    ///
    /// # Errors
    /// It does not, or says it of something else.
    pub fn stamp(&self, message: &[u8], scope: &Scope) -> Result<Vec<u8>, KeylessError> {
        let query = TimestampQuery::new(message, random()?);
        let request = Request::new(Method::POST, self.service.base().clone())
            .body(query.to_der().into())
            .header(header::CONTENT_TYPE, "application/timestamp-query");
        let answer = self.service.send(request, scope)?;
        let answer = self.service.accepted(answer, &[])?;
        query.check(&answer)?;
        Ok(answer.to_vec())
    }
}
