use securecp_layer::Scope;
use securecp_net::{HttpClient, Method, NetError, Request, header};
use securecp_oci::base64;
use securecp_trust::{SigstoreKey, SigstoreSigner};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::service::{Answer, Service};
use super::token::IdentityToken;
use super::{KeylessError, SecretText};

/// An authority that certifies new keys of those who show an identity token.
#[derive(Debug, Clone)]
pub(super) struct Fulcio {
    service: Service,
}

impl Fulcio {
    pub(super) fn new(http: &HttpClient, address: &str) -> Result<Self, KeylessError> {
        Ok(Self { service: Service::new(http, "Fulcio", address)? })
    }

    pub(super) fn host(&self) -> String {
        self.service.host()
    }

    /// A signer with a new key and a certificate for it. The first version of the interface is asked, as the reference
    /// does; where it is gone, the second.
    pub(super) fn signer(
        &self,
        identity: &IdentityToken,
        token: &SecretText,
        scope: &Scope,
    ) -> Result<SigstoreSigner, KeylessError> {
        let key = SigstoreSigner::new(SigstoreKey::generate()?);
        // The holder of the key proves to be it: by a signature over whom the token is about.
        let proof = base64::encode(&key.sign_bytes(identity.subject.as_bytes())?);
        let answer = self.first(&key, &proof, token, scope)?;
        let chain = match answer.status {
            404 | 405 | 410 | 501 => self.second(&key, &proof, token, scope)?,
            _ => self.service.accepted(answer, &[token])?.to_vec(),
        };
        Ok(key.with_certificate(&chain)?)
    }

    fn first(
        &self,
        key: &SigstoreSigner,
        proof: &str,
        token: &SecretText,
        scope: &Scope,
    ) -> Result<Answer, KeylessError> {
        let document = json!({
            "publicKey": {"content": base64::encode(key.public_der()), "algorithm": "ecdsa"},
            "signedEmailAddress": proof,
            "certificateSigningRequest": null,
        });
        let authorized = |request: Request| -> Result<Request, NetError> {
            request.authorization(&Zeroizing::new(format!("Bearer {}", token.expose())))
        };
        let request = Request::new(Method::POST, self.service.at("/api/v1/signingCert"))
            .body(document.to_string().into())
            .header(header::CONTENT_TYPE, "application/json")
            .and_then(authorized);
        self.service.send(request, scope)
    }

    fn second(
        &self,
        key: &SigstoreSigner,
        proof: &str,
        token: &SecretText,
        scope: &Scope,
    ) -> Result<Vec<u8>, KeylessError> {
        let document = SecondRequest {
            credentials: Credentials { oidc_identity_token: token.expose() },
            public_key_request: json!({
                "publicKey": {"algorithm": "ECDSA", "content": key.public_pem()},
                "proofOfPossession": proof,
            }),
        };
        let url = self.service.at("/api/v2/signingCert");
        let answer = self.service.post_json(url, &document, scope)?;
        let answer = self.service.object(&self.service.accepted(answer, &[token])?)?;
        let list = ["signedCertificateEmbeddedSct", "signedCertificateDetachedSct"]
            .iter()
            .find_map(|form| answer.get(form)?.pointer("/chain/certificates")?.as_array());
        let texts: Option<Vec<&str>> =
            list.and_then(|list| list.iter().map(Value::as_str).collect());
        let texts = texts.ok_or_else(|| self.service.odd("a list of certificates"))?;
        Ok(texts.join("\n").into_bytes())
    }
}

/// What the second version of the interface is asked; the token is borrowed so that no copy of it stays behind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecondRequest<'a> {
    credentials: Credentials<'a>,
    public_key_request: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    oidc_identity_token: &'a str,
}
