//! Proving who we are: challenges, tokens, and where credentials come from.

mod challenge;
mod file;
mod grants;
mod helper;
mod key;
mod search;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use securecp_layer::Scope;
use securecp_net::{HttpClient, Response, Url, same_origin};
use zeroize::Zeroizing;

pub(crate) use challenge::{Bearer, Challenge, choose};
pub(crate) use file::AuthFile;
pub(crate) use grants::Grants;
pub(crate) use helper::Helper;
pub use key::Key;
pub(crate) use search::{FILES, HUB, Search, files};
pub(crate) use token::{Token, TokenRequest};

use crate::flight::Flights;
use crate::{RegistryError, RetryPolicy, Secret};

/// A proof of who we are.
#[derive(Clone)]
pub enum Credentials {
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password, or a token that stands for one.
        password: Secret,
    },
    /// An identity token: an OAuth2 refresh token that is exchanged for access tokens.
    Identity {
        /// The user, if it is known.
        user: String,
        /// The token.
        token: Secret,
    },
}

impl Credentials {
    /// The user's name.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Identity { user, .. } => user,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user()).finish_non_exhaustive()
    }
}

/// Credentials and the place that they came from, such as a file name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) source: Option<String>,
}

/// What one request shows, with what is needed to find out that it is no longer good.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) header: Zeroizing<String>,
    taken: Instant,
}

impl Pass {
    fn new(header: Zeroizing<String>) -> Self {
        Self { header, taken: Instant::now() }
    }
}

/// Tokens are shared by everything that would ask for the same one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    realm: Url,
    service: Option<String>,
    grants: Grants,
    source: Option<String>,
}

/// How one host, or one repository of it, wants to be convinced.
#[derive(Clone)]
enum Scheme {
    Basic,
    Bearer(Bearer),
}

/// Where the credentials of a repository are looked up.
pub(crate) trait Lookup: Send + Sync {
    fn find(&self, repository: &str, scope: &Scope) -> Result<Found, RegistryError>;
}

/// The proofs for one host.
pub(crate) struct Auth {
    http: HttpClient,
    agent: String,
    retry: RetryPolicy,
    /// Sent with every request, whatever the challenge.
    fixed: Option<Secret>,
    lookup: Box<dyn Lookup>,
    found: Flights<String, Found>,
    schemes: Mutex<HashMap<String, Scheme>>,
    tokens: Flights<TokenKey, Arc<Token>>,
}

/// The key under which a scheme is remembered for repositories that have not been met yet.
const ANY: &str = "";

impl Auth {
    pub(crate) fn new(
        http: HttpClient,
        agent: String,
        retry: RetryPolicy,
        fixed: Option<Secret>,
        lookup: Box<dyn Lookup>,
    ) -> Self {
        Self {
            http,
            agent,
            retry,
            fixed,
            lookup,
            found: Flights::default(),
            schemes: Mutex::default(),
            tokens: Flights::default(),
        }
    }

    /// What to show for `wanted` before the registry has asked.
    pub(crate) fn pass(
        &self,
        base: &Url,
        wanted: &Wanted<'_>,
        scope: &Scope,
    ) -> Result<Option<Pass>, RegistryError> {
        if let Some(token) = &self.fixed {
            return Ok(Some(Pass::new(bearer(token))));
        }
        match self.known(wanted.repository) {
            Some(scheme) => self.satisfy(&scheme, &Need { base, wanted, since: None }, scope),
            None => Ok(None),
        }
    }

    /// What to show after the registry has refused `used`; `None` if there is nothing better.
    pub(crate) fn answer(
        &self,
        base: &Url,
        refused: &Refused<'_>,
        wanted: &Wanted<'_>,
        scope: &Scope,
    ) -> Result<Option<Pass>, RegistryError> {
        if self.fixed.is_some() || !same_origin(base, refused.response.url()) {
            return Ok(None);
        }
        let scheme = match refused.challenge.clone() {
            Some(Challenge::Basic) if refused.used.is_some() => return Ok(None),
            Some(Challenge::Basic) => Scheme::Basic,
            Some(Challenge::Bearer(bearer)) => Scheme::Bearer(bearer),
            // Refused without a word: if a token was shown, a new one may do.
            None => match self.known(wanted.repository).filter(|_| refused.used.is_some()) {
                Some(scheme @ Scheme::Bearer(_)) => scheme,
                _ => return Ok(None),
            },
        };
        self.learn(wanted.repository, &scheme);
        let since = refused.used.map(|pass| pass.taken);
        self.satisfy(&scheme, &Need { base, wanted, since }, scope)
    }

    /// Where the credentials for a repository come from, for messages.
    pub(crate) fn source(&self, repository: &str, scope: &Scope) -> Option<String> {
        if self.fixed.is_some() {
            return Some("--registry-token".to_owned());
        }
        self.credentials(repository, scope).ok()?.source
    }

    fn satisfy(
        &self,
        scheme: &Scheme,
        need: &Need<'_>,
        scope: &Scope,
    ) -> Result<Option<Pass>, RegistryError> {
        let found = self.credentials(need.wanted.repository, scope)?;
        match (scheme, &found.credentials) {
            (Scheme::Basic, Some(Credentials::Password { user, password })) => {
                Ok(Some(Pass::new(basic(user, password))))
            }
            (Scheme::Basic, _) => Ok(None),
            (Scheme::Bearer(challenge), _) => self.token(challenge, need, found, scope).map(Some),
        }
    }

    fn token(
        &self,
        challenge: &Bearer,
        need: &Need<'_>,
        found: Found,
        scope: &Scope,
    ) -> Result<Pass, RegistryError> {
        let key = TokenKey {
            realm: challenge.realm.clone(),
            service: challenge.service.clone(),
            grants: need.wanted.grants.clone().and(&challenge.grants),
            source: found.source.clone(),
        };
        let request = TokenRequest {
            http: &self.http,
            agent: &self.agent,
            retry: self.retry,
            registry: need.base,
            bearer: challenge,
            grants: &key.grants,
            credentials: found.credentials.as_ref(),
        };
        let fresh = |token: &Arc<Token>| token.is_fresh_since(need.since);
        let fetched = self.tokens.take(&key, scope, fresh, || request.fetch(scope).map(Arc::new));
        let token = fetched.map_err(|error| error.with_credentials(found.source))?;
        Ok(Pass::new(bearer(&token.value)))
    }

    fn credentials(&self, repository: &str, scope: &Scope) -> Result<Found, RegistryError> {
        let key = repository.to_owned();
        self.found.take(&key, scope, |_| true, || self.lookup.find(repository, scope))
    }

    fn known(&self, repository: &str) -> Option<Scheme> {
        let schemes = self.schemes();
        schemes.get(repository).or_else(|| schemes.get(ANY)).cloned()
    }

    /// The first repository teaches for all, but without the rights that were named for it.
    fn learn(&self, repository: &str, scheme: &Scheme) {
        let mut schemes = self.schemes();
        schemes.insert(repository.to_owned(), scheme.clone());
        schemes.entry(ANY.to_owned()).or_insert_with(|| match scheme {
            Scheme::Basic => Scheme::Basic,
            Scheme::Bearer(bearer) => {
                Scheme::Bearer(Bearer { grants: Grants::default(), ..bearer.clone() })
            }
        });
    }

    /// The map is consistent after every statement, so a poisoned lock is taken over.
    fn schemes(&self) -> MutexGuard<'_, HashMap<String, Scheme>> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token is needed for.
struct Need<'a> {
    base: &'a Url,
    wanted: &'a Wanted<'a>,
    /// When the pass was taken that has been refused; whatever is older is no better.
    since: Option<Instant>,
}

/// Whom a request is for and what it needs.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) repository: &'a str,
    pub(crate) grants: Grants,
}

/// A request that was answered with 401.
pub(crate) struct Refused<'a> {
    pub(crate) response: &'a Response,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) used: Option<&'a Pass>,
}

fn bearer(token: &Secret) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {}", token.expose()))
}

/// The header of RFC 7617.
pub(crate) fn basic(user: &str, password: &Secret) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    Zeroizing::new(format!("Basic {}", encoded.as_str()))
}
