//! Signatures that a registry keeps itself: the extension of OpenShift's registry, told by the header
//! `X-Registry-Supports-Signatures: 1` of its front door.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use securecp_layer::Scope;
use securecp_net::{HeaderName, Method, Request, Response, Url, header};
use securecp_oci::json::{self, Limits};
use securecp_oci::{Algorithm, Digest, SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT};
use serde_json::{Value, json};

use crate::auth::Grants;
use crate::{Client, Operation, Problem, RegistryError};

const SUPPORTED: HeaderName = HeaderName::from_static("x-registry-supports-signatures");

/// Largest list that is read, in bytes: 4 MiB.
const LIST_LIMIT: usize = 4 << 20;

/// Whether an answer of the front door says that the registry keeps signatures.
pub(crate) fn says_so(response: &Response) -> bool {
    response.header(&SUPPORTED) == Some("1")
}

impl Client {
    /// Whether the registry keeps signatures itself. Asked once for each registry.
    ///
    /// # Errors
    /// The front door gave no answer that would settle it.
    pub fn keeps_signatures(&self, scope: &Scope) -> Result<bool, RegistryError> {
        self.host.keeps_signatures(scope)
    }

    /// The simple signatures that the registry keeps of a manifest. Entries of other kinds are passed over.
    ///
    /// # Errors
    /// The list cannot be had whole. A registry that keeps signatures has a list, even if it is empty: a "not found"
    /// is an error too.
    pub fn kept_signatures(
        &self,
        digest: &Digest,
        scope: &Scope,
    ) -> Result<Vec<Bytes>, RegistryError> {
        let operation = Operation::ReadSignatures(digest.to_string());
        self.host.retrying(scope, || {
            let request = Ok(Request::get(self.signatures_url(&operation, digest, scope)?));
            let call = self.call(&operation, Grants::pull(self.path()), request)?;
            let response = self.host.expect(&call, &[200], scope)?;
            let body = response.bytes(LIST_LIMIT, scope).map_err(|e| self.host.failed(&call, e))?;
            read_list(&body).map_err(|problem| self.host.failed(&call, Problem::Protocol(problem)))
        })
    }

    /// Adds a signature to those that the registry keeps of a manifest. Its name follows from its content, so that
    /// one that is there already is not added twice.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn keep_signature(
        &self,
        digest: &Digest,
        signature: &Bytes,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        let operation = Operation::WriteSignature(digest.to_string());
        let body: Bytes = entry(digest, signature).to_string().into();
        self.host.retrying(scope, || {
            let url = self.signatures_url(&operation, digest, scope)?;
            let request = Request::new(Method::PUT, url).body(body.clone());
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let call = self.call(&operation, Grants::push(self.path()), request)?;
            // 409: this very name is there.
            let response = self.host.expect(&call, &[201, 409], scope)?;
            response.bytes(LIST_LIMIT, scope).map(drop).map_err(|e| self.host.failed(&call, e))
        })
    }

    fn signatures_url(
        &self,
        operation: &Operation,
        digest: &Digest,
        scope: &Scope,
    ) -> Result<Url, RegistryError> {
        let path = format!("/extensions/v2/{}/signatures/{digest}", self.path());
        let url = self.url("", scope)?.join(&path);
        url.map_err(|_| self.error(operation, Problem::Protocol(format!("bad path {path}"))))
    }
}

fn entry(digest: &Digest, signature: &[u8]) -> Value {
    let own = Digest::of(Algorithm::Sha256, signature);
    json!({
        "schemaVersion": 2,
        "name": format!("{digest}@{}", &own.hex()[..32]),
        "type": "atomic",
        "content": STANDARD.encode(signature),
    })
}

fn read_list(body: &[u8]) -> Result<Vec<Bytes>, String> {
    let value = json::parse(body, Limits::bytes(LIST_LIMIT)).map_err(|e| e.to_string())?;
    let entries = match value.get("signatures") {
        None | Some(Value::Null) if value.is_object() => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        _ => return Err("expected a list of signatures".to_owned()),
    };
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let known = entries.iter().filter(|entry| {
        let version = entry.get("schemaVersion").and_then(Value::as_u64);
        version == Some(2) && text(entry, "type").as_deref() == Some("atomic")
    });
    let found = known.map(|entry| {
        let content = text(entry, "content").and_then(|text| STANDARD.decode(text).ok());
        let content = content.ok_or("a signature is not base64")?;
        if content.len() > SIGNATURE_LIMIT {
            return Err(format!("a signature has more than {SIGNATURE_LIMIT} bytes"));
        }
        Ok(Bytes::from(content))
    });
    let found: Vec<Bytes> = found.collect::<Result<_, String>>()?;
    if found.len() > SIGNATURE_COUNT_LIMIT {
        let count = found.len();
        return Err(format!("expected at most {SIGNATURE_COUNT_LIMIT} signatures, found {count}"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows_and_refuses_what_is_broken() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let own = entry(&digest, b"abc");
        let name = own["name"].as_str().unwrap();
        assert_eq!(name.len(), digest.to_string().len() + 33);
        let other = json!({"schemaVersion": 2, "type": "other", "content": "!"});
        let later = json!({"schemaVersion": 3, "type": "atomic", "content": "!"});
        let list = json!({"signatures": [other, own, later]}).to_string();
        assert_eq!(read_list(list.as_bytes()).unwrap(), ["abc"]);
        for none in ["{}", r#"{"signatures":null}"#, r#"{"signatures":[]}"#] {
            assert!(read_list(none.as_bytes()).unwrap().is_empty(), "{none}");
        }
        let broken = json!({"schemaVersion": 2, "type": "atomic", "content": "!"});
        let bare = json!({"schemaVersion": 2, "type": "atomic"});
        let many = vec![own.clone(); SIGNATURE_COUNT_LIMIT + 1];
        let large = entry(&digest, &vec![0; SIGNATURE_LIMIT + 1]);
        for bad in [
            String::new(),
            "[]".to_owned(),
            json!({"signatures": {}}).to_string(),
            json!({"signatures": [broken]}).to_string(),
            json!({"signatures": [bare]}).to_string(),
            json!({"signatures": many}).to_string(),
            json!({"signatures": [large]}).to_string(),
            r#"{"signatures":[],"signatures":[]}"#.to_owned(),
        ] {
            assert!(read_list(bad.as_bytes()).is_err(), "{:.80}", bad);
        }
    }
}
