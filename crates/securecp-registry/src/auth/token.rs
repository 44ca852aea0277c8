use std::time::{Duration, Instant};

use securecp_layer::Scope;
use securecp_net::{HttpClient, Method, Request, Url, header, is_private};
use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::auth::{Bearer, Credentials, Grants, basic};
use crate::reply::Refusal;
use crate::{Operation, Problem, RegistryError, RetryPolicy, Secret};

/// Largest answer of a token server, in bytes.
const ANSWER: usize = 1 << 20;

/// Life of a token whose server does not say.
const LIFE: Duration = Duration::from_secs(60);

/// A token and when to ask for a new one.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    made: Instant,
    refresh: Instant,
}

impl Token {
    /// Whether the token has life left and, if one taken at `since` was refused, is newer than that.
    pub(crate) fn is_fresh_since(&self, since: Option<Instant>) -> bool {
        Instant::now() < self.refresh && since.is_none_or(|since| self.made > since)
    }

    /// A token that lives for `life` from `start` on is used for nine tenths of it, and not in its last ten seconds
    /// unless it is so short-lived that these would be most of its life.
    fn new(value: Secret, start: Instant, life: Duration) -> Self {
        let margin = (life / 10).max(Duration::from_secs(10)).min(life / 4);
        Self { value, made: Instant::now(), refresh: start + (life - margin) }
    }
}

/// What is needed to ask for a token.
pub(crate) struct TokenRequest<'a> {
    pub(crate) http: &'a HttpClient,
    pub(crate) agent: &'a str,
    pub(crate) retry: RetryPolicy,
    /// The registry on whose behalf the token is fetched.
    pub(crate) registry: &'a Url,
    pub(crate) bearer: &'a Bearer,
    pub(crate) grants: &'a Grants,
    pub(crate) credentials: Option<&'a Credentials>,
}

impl TokenRequest<'_> {
    /// Fetches a token.
    pub(crate) fn fetch(&self, scope: &Scope) -> Result<Token, RegistryError> {
        self.check_realm().map_err(|problem| self.error(problem))?;
        let host = self.bearer.realm.authority().to_owned();
        let gate = self.http.net().gate();
        self.retry
            .run(&host, gate, scope, || self.attempt(scope).map_err(|problem| self.error(problem)))
    }

    /// Credentials go to the realm, which the registry names: it may not lead them down to http, nor from a public
    /// registry into a private network.
    fn check_realm(&self) -> Result<(), Problem> {
        let realm = &self.bearer.realm;
        let refuse = |why| Problem::Protocol(format!("token realm {realm} refused: {why}"));
        match realm.scheme() {
            "https" => {}
            "http" if self.registry.scheme() == "http" => {}
            "http" => return Err(refuse("it is http, the registry is https")),
            _ => return Err(refuse("it is neither http nor https")),
        }
        if is_private(realm) && !is_private(self.registry) {
            return Err(refuse("it leads from a public registry into a private network"));
        }
        Ok(())
    }

    fn attempt(&self, scope: &Scope) -> Result<Token, Problem> {
        let start = Instant::now();
        let mut response = match self.credentials {
            Some(Credentials::Identity { token, .. }) => self.post(token, scope)?,
            _ => self.ask(scope)?,
        };
        // A token server that does not know the refresh flow says so by the method.
        if matches!(response.status().as_u16(), 404 | 405)
            && matches!(self.credentials, Some(Credentials::Identity { .. }))
        {
            response = self.ask(scope)?;
        }
        if response.status() != 200 {
            return Err(Refusal::read(response, scope).into());
        }
        let media_type = response.header(&header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let body = response.bytes(ANSWER, scope)?;
        parse(&body, &media_type, start)
    }

    /// The token request of Docker's specification, with the credentials as Basic.
    fn ask(&self, scope: &Scope) -> Result<securecp_net::Response, Problem> {
        let mut url = self.bearer.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(Credentials::Password { user, .. }) = self.credentials {
                query.append_pair("account", user);
            }
            if let Some(service) = &self.bearer.service {
                query.append_pair("service", service);
            }
            for scope in self.grants.scopes() {
                query.append_pair("scope", &scope);
            }
        }
        let mut request = Request::get(url).header(header::USER_AGENT, self.agent)?;
        if let Some(Credentials::Password { user, password }) = self.credentials {
            request = request.authorization(&basic(user, password))?;
        }
        Ok(self.http.send(request, scope)?)
    }

    /// The OAuth2 refresh of Docker's specification, for identity tokens.
    fn post(&self, token: &Secret, scope: &Scope) -> Result<securecp_net::Response, Problem> {
        // Room for every escape: a buffer that grows leaves copies of the token behind.
        let scopes: Vec<String> = self.grants.scopes().collect();
        let scopes = scopes.join(" ");
        let service = self.bearer.service.as_deref().unwrap_or_default();
        let room = 3 * (token.expose().len() + scopes.len() + service.len()) + 200;
        let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(room));
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("client_id", "securecp");
        form.append_pair("refresh_token", token.expose());
        form.append_pair("service", service);
        form.append_pair("scope", &scopes);
        let request = Request::new(Method::POST, self.bearer.realm.clone())
            .header(header::USER_AGENT, self.agent)?
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")?
            .secret_body(Zeroizing::new(form.finish().into_bytes()));
        Ok(self.http.send(request, scope)?)
    }

    fn error(&self, problem: Problem) -> RegistryError {
        let host = self.registry.authority();
        RegistryError::new(Operation::Token, host, None, problem)
    }
}

fn parse(body: &[u8], media_type: &str, start: Instant) -> Result<Token, Problem> {
    // Of the answer itself nothing is shown: it may be the token.
    let unreadable = |_| {
        let (size, media_type) = (body.len(), Escaped::new(media_type).limit(80));
        let found = format!("found {size} bytes of media type \"{media_type}\"");
        Problem::Protocol(format!("decoding bearer token: expected JSON, {found}"))
    };
    let value = json::parse(body, Limits::bytes(ANSWER)).map_err(unreadable)?;
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = text("token").or_else(|| text("access_token"));
    let token = token.ok_or_else(|| Problem::Protocol("the answer has no token".to_owned()))?;
    let life = value.get("expires_in").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
    // A day is more than any copy needs and keeps the arithmetic of instants in range.
    let life = life.map_or(LIFE, |seconds| Duration::from_secs(seconds.min(86_400)));
    Ok(Token::new(token.to_owned().into(), start, life))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_names_and_the_life() {
        let start = Instant::now();
        for (body, seconds) in [
            (r#"{"token":"t","expires_in":100}"#, 90),
            (r#"{"access_token":"t","expires_in":1000}"#, 900),
            (r#"{"token":"t","access_token":"u"}"#, 50),
            (r#"{"token":"t","expires_in":4}"#, 3),
            (r#"{"token":"t","expires_in":99999999999999}"#, 77_760),
        ] {
            let token = parse(body.as_bytes(), "", start).ok().unwrap();
            assert_eq!(token.value.expose(), "t");
            assert_eq!(token.refresh, start + Duration::from_secs(seconds), "{body}");
        }
    }

    #[test]
    fn an_answer_without_token_is_an_error_that_shows_no_secret() {
        for body in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"geheim""#,
            r#"{"token":null}"#,
            "<html>",
            "geheim-0123456789abcdef",
            "geheim\n",
            "geheim.a.b",
        ] {
            let parsed = parse(body.as_bytes(), "text/html", Instant::now());
            let Err(error) = parsed else { panic!("{body}") };
            assert!(!error.to_string().contains("geheim"), "{error}");
            let unreadable = !body.starts_with('{') || body.ends_with("geheim\"");
            assert_eq!(error.to_string().contains("text/html"), unreadable, "{error}");
        }
    }
}
