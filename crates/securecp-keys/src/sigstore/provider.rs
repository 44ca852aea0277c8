//! An identity provider (OpenID Connect): where it is met, and what it answers.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use securecp_layer::Scope;
use securecp_net::{HttpClient, Request, Url, is_private};
use securecp_oci::Escaped;
use serde_json::Value;
use zeroize::Zeroizing;

use super::service::{Answer, Service, address_of};
use super::token::encode;
use super::{KeylessError, SecretText, random};

const PROVIDER: &str = "the identity provider";

/// Whom to log in with.
#[derive(Debug, Clone)]
pub struct ProviderParameters {
    /// The address of the provider.
    pub issuer: String,
    /// Who asks it.
    pub client_id: String,
    /// How the asking program proves to be it; most providers give none to programs.
    pub client_secret: Option<SecretText>,
}

/// A provider whose document has been read.
pub(super) struct Provider<'a> {
    pub(super) service: Service,
    pub(super) client_id: &'a str,
    client_secret: Option<&'a SecretText>,
    document: Value,
}

/// What binds the answer to a question to the one who asked (RFC 7636).
pub(super) struct Challenge {
    verifier: Zeroizing<String>,
    pub(super) challenge: String,
}

impl Challenge {
    pub(super) fn new() -> Result<Self, KeylessError> {
        let verifier = Zeroizing::new(encode(&random::<32>()?));
        let challenge = encode(digest(&SHA256, verifier.as_bytes()).as_ref());
        Ok(Self { verifier, challenge })
    }
}

/// What the token endpoint answered.
pub(super) enum Granted {
    Token(SecretText),
    /// Not yet; wait so much longer between questions.
    Pending {
        slower: Duration,
    },
}

impl<'a> Provider<'a> {
    /// Reads the provider's document (OpenID Connect Discovery 1.0).
    pub(super) fn discover(
        http: &HttpClient,
        parameters: &'a ProviderParameters,
        scope: &Scope,
    ) -> Result<Self, KeylessError> {
        let service = Service::new(http, PROVIDER, &parameters.issuer)?;
        let url = service.at("/.well-known/openid-configuration");
        let answer = service.send(Ok(Request::get(url)), scope)?;
        let document = service.object(&service.accepted(answer, &[])?)?;
        let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named.trim_end_matches('/') != parameters.issuer.trim_end_matches('/') {
            return Err(service.odd("the document of the issuer that was asked"));
        }
        let client_secret = parameters.client_secret.as_ref();
        Ok(Self { service, client_id: &parameters.client_id, client_secret, document })
    }

    /// An address that the document gives. Tokens and secrets go there, so it may lead neither from https down to http nor
    /// from a public provider into a private network.
    pub(super) fn endpoint(&self, member: &'static str) -> Result<Url, KeylessError> {
        let text = self.document.get(member).and_then(Value::as_str);
        let text = text
            .ok_or_else(|| KeylessError::Login(format!("the identity provider has no {member}")))?;
        let (named, own) = (address_of(PROVIDER, text)?, self.service.base());
        let problem = |text: &str| KeylessError::Address {
            service: PROVIDER,
            problem: format!("{member}: {text}"),
        };
        if named.scheme() != "https" && own.scheme() == "https" {
            return Err(problem("it is http, the issuer is https"));
        }
        if is_private(&named) && !is_private(own) {
            return Err(problem("it leads from a public issuer into a private network"));
        }
        // What stands behind the question mark belongs to it.
        text.parse().map_err(|_| self.service.odd("one with addresses"))
    }

    /// Asks the token endpoint.
    pub(super) fn grant(
        &self,
        members: &[(&str, &str)],
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<Granted, KeylessError> {
        let mut all = members.to_vec();
        all.push(("client_id", self.client_id));
        all.push(("code_verifier", &challenge.verifier));
        if let Some(secret) = self.client_secret {
            all.push(("client_secret", secret.expose()));
        }
        let answer = self.service.post_form(self.endpoint("token_endpoint")?, &all, scope)?;
        self.read_grant(answer)
    }

    fn read_grant(&self, answer: Answer) -> Result<Granted, KeylessError> {
        let status = answer.status;
        let found = self.service.object(&answer.body)?;
        let text = |key| found.get(key).and_then(Value::as_str);
        match (status, text("id_token"), text("error")) {
            (200, Some(token), _) => Ok(Granted::Token(SecretText::new(token.to_owned()))),
            (_, _, Some("authorization_pending")) => {
                Ok(Granted::Pending { slower: Duration::ZERO })
            }
            (_, _, Some("slow_down")) => Ok(Granted::Pending { slower: Duration::from_secs(5) }),
            (_, _, Some(error)) => {
                let error = Escaped::new(error).limit(80).to_string();
                Err(KeylessError::Login(format!("the identity provider says {error}")))
            }
            _ => Err(self.service.odd("an identity token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use securecp_net::{Net, TlsOptions};

    use super::*;

    fn endpoint(issuer: &str, endpoint: &str) -> Result<Url, KeylessError> {
        let http = Net::default().client(&TlsOptions::default()).unwrap();
        let service = Service::new(&http, PROVIDER, issuer)?;
        let document = serde_json::json!({ "token_endpoint": endpoint });
        Provider { service, client_id: "c", client_secret: None, document }
            .endpoint("token_endpoint")
    }

    #[test]
    fn an_endpoint_is_as_well_placed_as_the_issuer() {
        for (issuer, good) in [
            ("https://id.example", "https://login.example/token?tenant=a"),
            ("https://10.0.0.1", "https://127.0.0.1/token"),
            ("https://10.0.0.1", "https://id.example/token"),
            ("http://127.0.0.1:1", "http://127.0.0.1:2/token"),
            ("http://127.0.0.1:1", "https://id.example/token"),
        ] {
            assert_eq!(endpoint(issuer, good).unwrap().as_str(), good, "{issuer}");
        }
        for (issuer, bad) in [
            ("https://id.example", "http://127.0.0.1/token"),
            ("https://id.example", "http://10.0.0.1/token"),
            ("https://id.example", "https://10.0.0.1/token"),
            ("https://id.example", "https://localhost/token"),
            ("https://id.example", "http://login.example/token"),
            ("https://10.0.0.1", "http://10.0.0.1/token"),
            ("http://127.0.0.1:1", "http://id.example/token"),
        ] {
            let error = endpoint(issuer, bad).unwrap_err().to_string();
            assert!(error.starts_with("address of the identity provider: "), "{bad}: {error}");
        }
    }
}
