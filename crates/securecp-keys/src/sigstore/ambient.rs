use securecp_layer::Scope;
use securecp_net::{HttpClient, Request, Url};
use serde_json::Value;

use super::service::{Service, address_of};
use super::{KeylessError, SecretText};

const NAME: &str = "GitHub's token service";

/// What the environment of a build says about its identity.
#[derive(Debug, Clone, Default)]
pub struct Ambient {
    /// A token that is there already, as GitLab gives it to a job (`SIGSTORE_ID_TOKEN`).
    pub token: Option<SecretText>,
    /// Where GitHub gives tokens to a workflow (`ACTIONS_ID_TOKEN_REQUEST_URL`).
    pub request_url: Option<String>,
    /// What it has to show there (`ACTIONS_ID_TOKEN_REQUEST_TOKEN`).
    pub request_token: Option<SecretText>,
}

impl Ambient {
    /// Whether there is any.
    pub(super) fn check(&self) -> Result<(), KeylessError> {
        let complete = self.request_url.is_some() && self.request_token.is_some();
        if self.token.is_some() || complete {
            return Ok(());
        }
        Err(KeylessError::Token(
            "the environment has none: expected SIGSTORE_ID_TOKEN, or ACTIONS_ID_TOKEN_REQUEST_URL with \
             ACTIONS_ID_TOKEN_REQUEST_TOKEN (in GitHub's workflows: permissions: id-token: write)"
                .to_owned(),
        ))
    }

    /// A token for `audience`.
    pub(super) fn token(
        &self,
        http: &HttpClient,
        audience: &str,
        scope: &Scope,
    ) -> Result<SecretText, KeylessError> {
        self.check()?;
        match (&self.token, &self.request_url, &self.request_token) {
            (Some(token), ..) => Ok(token.clone()),
            (None, Some(url), Some(shown)) => requested(http, (url, audience), shown, scope),
            // Seen above.
            _ => Err(KeylessError::Token("the environment has none".to_owned())),
        }
    }
}

fn requested(
    http: &HttpClient,
    (address, audience): (&str, &str),
    shown: &SecretText,
    scope: &Scope,
) -> Result<SecretText, KeylessError> {
    address_of(NAME, address)?;
    let service = Service::new(http, NAME, address)?;
    // The query of the address belongs to it.
    let malformed =
        |_| KeylessError::Address { service: NAME, problem: "expected https://".to_owned() };
    let mut url: Url = address.parse().map_err(malformed)?;
    url.query_pairs_mut().append_pair("audience", audience);
    let request = Request::get(url).authorization(&format!("Bearer {}", shown.expose()));
    let answer = service.send(request, scope)?;
    let answer = service.object(&service.accepted(answer, &[shown])?)?;
    let value = answer.get("value").and_then(Value::as_str);
    value.map(|text| SecretText::new(text.to_owned())).ok_or_else(|| service.odd("a token"))
}
