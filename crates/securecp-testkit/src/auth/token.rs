use std::collections::HashMap;
use std::time::Instant;

use serde_json::json;

use super::grant::{Access, parse, scopes};
use super::{AuthSettings, User, basic, unauthorized};
use crate::proxy::{Call, Reply};

/// A request to the token server, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// Who asked, if it was somebody known.
    pub user: Option<String>,
    /// The scopes asked for, as given.
    pub scopes: Vec<String>,
    /// The scopes granted.
    pub granted: String,
    /// The status of the answer.
    pub status: u16,
}

/// Tokens issued, and how they were asked for.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) requests: Vec<TokenRequest>,
    issued: HashMap<String, Token>,
    count: u64,
}

#[derive(Debug)]
struct Token {
    grants: Vec<Access>,
    ends: Instant,
}

/// What a request says of itself.
struct Asked<'a> {
    user: Result<Option<&'a User>, ()>,
    scopes: Vec<String>,
    wants_refresh_token: bool,
}

impl Tokens {
    /// Answers a request for a token.
    pub(super) fn issue(&mut self, settings: &AuthSettings, call: &Call) -> Reply {
        let asked = match call.method.as_str() {
            "GET" => asked_by_get(settings, call),
            "POST" if settings.oauth2 => asked_by_post(settings, call),
            _ => return Reply::error(405, "UNSUPPORTED", "method is not supported here"),
        };
        let (reply, granted) = match asked.user {
            Ok(user) => self.grant(settings, user, &asked),
            Err(()) => (unauthorized(), String::new()),
        };
        self.requests.push(TokenRequest {
            method: call.method.clone(),
            user: asked.user.ok().flatten().map(|user| user.name.clone()),
            scopes: asked.scopes,
            granted,
            status: reply.status,
        });
        reply
    }

    /// Whether a token allows everything wanted; otherwise the `error` of the challenge (RFC 6750, 3.1).
    pub(super) fn check(&self, token: &str, wanted: &[Access]) -> Result<(), &'static str> {
        let token = self.issued.get(token).filter(|token| Instant::now() < token.ends);
        let token = token.ok_or("invalid_token")?;
        let covered = |access: &Access| token.grants.iter().any(|grant| grant.covers(access));
        if wanted.iter().all(covered) { Ok(()) } else { Err("insufficient_scope") }
    }

    pub(super) fn revoke(&mut self) {
        self.issued.clear();
    }

    fn grant(
        &mut self,
        settings: &AuthSettings,
        user: Option<&User>,
        asked: &Asked<'_>,
    ) -> (Reply, String) {
        let mut grants = parse(&asked.scopes);
        grants.retain(|access| settings.allows(user, access));
        let granted = scopes(&grants);
        self.count += 1;
        let text = format!("testkit-token-{}", self.count);
        let ends = Instant::now() + settings.lifetime;
        self.issued.insert(text.clone(), Token { grants, ends });
        let mut body = json!({
            "token": text,
            "access_token": text,
            "expires_in": settings.lifetime.as_secs(),
            "scope": granted,
        });
        if let Some(refresh) = user.and_then(|user| user.refresh_token.as_deref())
            && asked.wants_refresh_token
        {
            body["refresh_token"] = refresh.into();
        }
        let reply = Reply::new(200).header("content-type", "application/json");
        (reply.body(body.to_string()), granted)
    }
}

fn asked_by_get<'a>(settings: &'a AuthSettings, call: &Call) -> Asked<'a> {
    let fields = Fields::parse(call.query.as_bytes());
    let user = match (basic(call), call.header("authorization")) {
        (Some((name, password)), _) => settings.by_password(&name, &password).map(Some).ok_or(()),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(()),
    };
    let wants_refresh_token = fields.first("offline_token") == Some("true");
    Asked { user, scopes: fields.all("scope"), wants_refresh_token }
}

fn asked_by_post<'a>(settings: &'a AuthSettings, call: &Call) -> Asked<'a> {
    let fields = Fields::parse(&call.body);
    let field = |key| fields.first(key).unwrap_or_default();
    let user = match field("grant_type") {
        "refresh_token" => settings.by_refresh_token(field("refresh_token")),
        "password" => settings.by_password(field("username"), field("password")),
        _ => None,
    };
    let wants_refresh_token =
        field("access_type") == "offline" || field("grant_type") == "refresh_token";
    Asked { user: user.map(Some).ok_or(()), scopes: fields.all("scope"), wants_refresh_token }
}

/// A form or query (`application/x-www-form-urlencoded`).
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, value)| value.clone()).collect()
    }
}
