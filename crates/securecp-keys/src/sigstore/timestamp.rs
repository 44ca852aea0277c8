use ring::digest::{SHA256, digest};
use securecp_layer::Scope;
use securecp_net::{HttpClient, Method, Request, header};

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

    /// Has the authority say that `message` exists now; gives its answer as it came (TimeStampResp, DER).
    ///
    /// # Errors
    /// It does not.
    pub fn stamp(&self, message: &[u8], scope: &Scope) -> Result<Vec<u8>, KeylessError> {
        let query = query(message, random()?);
        let request = Request::new(Method::POST, self.service.base().clone())
            .body(query.into())
            .header(header::CONTENT_TYPE, "application/timestamp-query");
        let answer = self.service.send(request, scope)?;
        Ok(self.service.accepted(answer, &[])?.to_vec())
    }
}

/// TimeStampReq in DER: version 1, the SHA-256 of the message, a nonce, and the wish for certificates.
fn query(message: &[u8], nonce: [u8; 8]) -> Vec<u8> {
    const HEAD: [u8; 5] = [0x30, 0x43, 0x02, 0x01, 0x01];
    const IMPRINT: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    const CERTIFICATES: [u8; 3] = [0x01, 0x01, 0xff];
    let mut nonce = nonce;
    // Positive, and eight bytes long.
    nonce[0] = (nonce[0] & 0x7f) | 0x40;
    let message = digest(&SHA256, message);
    [&HEAD[..], &IMPRINT, message.as_ref(), &[0x02, 0x08], &nonce, &CERTIFICATES].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_reads_the_query() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("query");
        std::fs::write(&file, query(b"message", [0xff; 8])).unwrap();
        let mut openssl = std::process::Command::new("openssl");
        let output = openssl.args(["ts", "-query", "-text", "-in"]).arg(&file).output();
        let output = output.expect("openssl is needed for this test");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for says in ["Version: 1", "Hash Algorithm: sha256", "Nonce: 0x7FFFFFFFFFFFFFFF", "yes"] {
            assert!(text.contains(says), "{says}: {text}");
        }
        assert!(text.contains("ab 53 0a 13 e4 59 14 98-2b 79 f9 b7 e3 fb a9 94"), "{text}");
    }
}
