//! Authentication in front of any registry: Basic, or Bearer tokens from a token server of its own.

mod grant;
mod token;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::Result;
use crate::proxy::{Call, Fault, Handler, Proxy, Reply, Rule, Settings};
use grant::{Access, required};
use token::Tokens;

pub use token::TokenRequest;

/// Somebody who may do something.
#[derive(Debug, Clone)]
pub struct User {
    name: String,
    password: String,
    refresh_token: Option<String>,
    grants: Vec<Access>,
}

impl User {
    /// A user who may do nothing yet.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
            refresh_token: None,
            grants: Vec::new(),
        }
    }

    /// Allows actions (`pull`, `push`, `delete`) on a repository; `*` means every repository.
    #[must_use]
    pub fn may(mut self, actions: &str, repository: &str) -> Self {
        self.grants.extend(actions.split(',').map(|action| Access::new(repository, action)));
        self
    }

    /// Gives the user an identity token for the OAuth2 flow.
    #[must_use]
    pub fn refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = Some(token.to_owned());
        self
    }
}

/// How requests prove who they are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The password with each request.
    Basic,
    /// A token with each request, which the password buys.
    Bearer,
}

/// The rules of an [`AuthServer`].
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Basic or Bearer.
    pub scheme: Scheme,
    /// Who may do what.
    pub users: Vec<User>,
    /// What may be done without credentials: actions on a repository, as in [`User::may`].
    pub anonymous: Vec<(&'static str, &'static str)>,
    /// How long a token lives.
    pub lifetime: Duration,
    /// Another realm than the server's own `/token`.
    pub realm: Option<String>,
    /// Whether the token server takes `POST` (OAuth2).
    pub oauth2: bool,
    /// Answer `/v2/` without asking who it is.
    pub open_ping: bool,
    /// Keep credentials in the log of the proxy.
    pub keep_secrets: bool,
}

impl AuthSettings {
    /// Bearer tokens of five minutes for these users.
    pub fn bearer(users: Vec<User>) -> Self {
        Self {
            scheme: Scheme::Bearer,
            users,
            anonymous: Vec::new(),
            lifetime: Duration::from_secs(300),
            realm: None,
            oauth2: true,
            open_ping: false,
            keep_secrets: false,
        }
    }

    /// Passwords for these users.
    pub fn basic(users: Vec<User>) -> Self {
        Self { scheme: Scheme::Basic, ..Self::bearer(users) }
    }

    fn by_password(&self, name: &str, password: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name && user.password == password)
    }

    fn by_refresh_token(&self, token: &str) -> Option<&User> {
        self.users.iter().find(|user| user.refresh_token.as_deref() == Some(token))
    }

    /// Whether a user, or somebody unknown, may do this.
    fn allows(&self, user: Option<&User>, wanted: &Access) -> bool {
        let known = user.map(|user| user.grants.as_slice()).unwrap_or_default();
        let anyone = self.anonymous.iter().flat_map(|(actions, repository)| {
            actions.split(',').map(|action| Access::new(repository, action))
        });
        known.iter().any(|grant| grant.covers(wanted))
            || anyone.into_iter().any(|g| g.covers(wanted))
    }
}

/// Authentication in front of a registry, as a [`Proxy`] to which more rules can be added.
#[derive(Debug)]
pub struct AuthServer {
    proxy: Proxy,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    settings: AuthSettings,
    tokens: Mutex<Tokens>,
    refused: AtomicU64,
}

impl AuthServer {
    /// Starts to guard `upstream`.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(upstream: SocketAddr, settings: AuthSettings) -> Result<Self> {
        let keep_secrets = settings.keep_secrets;
        let proxy = Proxy::start_with(upstream, Settings { keep_secrets, keep_body: 0 })?;
        let tokens = Tokens::default().into();
        let state = Arc::new(State { settings, tokens, refused: AtomicU64::new(0) });
        let guard = state.clone();
        let handler = Handler::new(move |call| guard.answer(call));
        proxy.add(Rule::new("*", "")?.with(Fault::Handle(handler)));
        Ok(Self { proxy, state })
    }

    /// Where registry and token server listen.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The proxy, for further rules and for its log. [`Proxy::clear_rules`] would open the door.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The requests for tokens so far.
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.state.tokens().requests.clone()
    }

    /// How many requests were answered with 401.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// Makes all tokens issued so far invalid.
    pub fn revoke(&self) {
        self.state.tokens().revoke();
    }
}

impl State {
    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, call: &Call) -> Option<Reply> {
        let reply = if call.path == "/token" && self.settings.scheme == Scheme::Bearer {
            Some(self.tokens().issue(&self.settings, call))
        } else {
            self.guard(call)
        };
        if reply.as_ref().is_some_and(|reply| reply.status == 401) {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
        reply
    }

    fn guard(&self, call: &Call) -> Option<Reply> {
        let wanted = required(call);
        if wanted.is_empty() && self.settings.open_ping {
            return None;
        }
        match self.settings.scheme {
            Scheme::Basic => self.guard_basic(call, &wanted),
            Scheme::Bearer => self.guard_bearer(call, &wanted),
        }
    }

    fn guard_basic(&self, call: &Call, wanted: &[Access]) -> Option<Reply> {
        let user = match basic(call) {
            Some((name, password)) => match self.settings.by_password(&name, &password) {
                Some(user) => Some(user),
                None => return Some(basic_challenge()),
            },
            None => None,
        };
        let allowed = wanted.iter().all(|access| self.settings.allows(user, access));
        match (allowed, user) {
            (true, Some(_)) => None,
            (true, None) if !wanted.is_empty() => None,
            (false, Some(_)) => {
                Some(Reply::error(403, "DENIED", "access to the resource is denied"))
            }
            _ => Some(basic_challenge()),
        }
    }

    fn guard_bearer(&self, call: &Call, wanted: &[Access]) -> Option<Reply> {
        let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let error = match token {
            None => "",
            Some(token) => match self.tokens().check(token, wanted) {
                Ok(()) => return None,
                Err(error) => error,
            },
        };
        Some(self.bearer_challenge(call, wanted, error))
    }

    fn bearer_challenge(&self, call: &Call, wanted: &[Access], error: &str) -> Reply {
        let own = || format!("http://{}/token", call.header("host").unwrap_or_default());
        let realm = self.settings.realm.clone().unwrap_or_else(own);
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"testkit\"");
        if !wanted.is_empty() {
            challenge += &format!(",scope=\"{}\"", grant::scopes(wanted));
        }
        if !error.is_empty() {
            challenge += &format!(",error=\"{error}\"");
        }
        unauthorized().header("www-authenticate", challenge)
    }
}

fn unauthorized() -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required")
}

fn basic_challenge() -> Reply {
    unauthorized().header("www-authenticate", "Basic realm=\"testkit\"")
}

/// Name and password of a Basic header (RFC 7617).
fn basic(call: &Call) -> Option<(String, String)> {
    let encoded = call.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
