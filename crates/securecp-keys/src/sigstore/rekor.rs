use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{HttpClient, Request};
use serde_json::Value;

use super::KeylessError;
use super::service::Service;

/// A transparency log.
#[derive(Debug, Clone)]
pub struct Rekor {
    service: Service,
}

impl Rekor {
    /// The log at an address.
    ///
    /// # Errors
    /// It is none that may be used.
    pub fn new(http: &HttpClient, address: &str) -> Result<Self, KeylessError> {
        Ok(Self { service: Service::new(http, "Rekor", address)? })
    }

    /// Has a log of the first version record an entry; gives its answer as it came. An entry that is there already is
    /// fetched.
    ///
    /// # Errors
    /// It does not take it.
    pub fn record(&self, proposal: &Value, scope: &Scope) -> Result<Bytes, KeylessError> {
        let url = self.service.at("/api/v1/log/entries");
        let answer = self.service.post_json(url, proposal, scope)?;
        if answer.status != 409 {
            return self.service.accepted(answer, &[]);
        }
        let location = answer.location.as_deref().and_then(|text| self.service.own(text));
        let entry = location.ok_or_else(|| self.service.odd("one that says where the entry is"))?;
        let answer = self.service.send(Ok(Request::get(entry)), scope)?;
        self.service.accepted(answer, &[])
    }

    /// Has a log of the second version record an entry; gives its answer as it came.
    ///
    /// # Errors
    /// It does not take it.
    pub fn record_v2(&self, proposal: &Value, scope: &Scope) -> Result<Bytes, KeylessError> {
        let url = self.service.at("/api/v2/log/entries");
        let answer = self.service.post_json(url, proposal, scope)?;
        self.service.accepted(answer, &[])
    }
}
