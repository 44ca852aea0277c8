use std::fmt;
use std::sync::Arc;

use securecp_layer::Scope;
use securecp_net::HttpClient;

use super::parameters::{FulcioParameters, TokenMode};
use super::provider::Provider;
use super::token::IdentityToken;
use super::{Ambient, KeylessError, browser, device};

/// Tells the user something that they have to do.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Whom tokens are for, unless the parameters say otherwise.
pub(super) const AUDIENCE: &str = "sigstore";

/// Where identity tokens come from.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) mode: TokenMode,
    pub(super) ambient: Ambient,
    pub(super) tell: Tell,
}

impl Identity {
    /// Checks what can be checked without asking anybody.
    pub(super) fn new(
        parameters: &FulcioParameters,
        ambient: Ambient,
        tell: Tell,
    ) -> Result<Self, KeylessError> {
        match &parameters.mode {
            TokenMode::Static(token) => IdentityToken::parse(token.clone()).map(drop)?,
            TokenMode::Ambient { .. } => ambient.check()?,
            TokenMode::Device(_) | TokenMode::Browser(_) => {}
        }
        Ok(Self { mode: parameters.mode.clone(), ambient, tell })
    }

    /// A token; asks the user for it if it has to.
    pub(super) fn token(
        &self,
        http: &HttpClient,
        scope: &Scope,
    ) -> Result<IdentityToken, KeylessError> {
        let text = match &self.mode {
            TokenMode::Static(token) => token.clone(),
            TokenMode::Ambient { audience } => self.ambient.token(http, audience, scope)?,
            TokenMode::Device(parameters) => {
                device::token(&Provider::discover(http, parameters, scope)?, &self.tell, scope)?
            }
            TokenMode::Browser(parameters) => {
                browser::token(&Provider::discover(http, parameters, scope)?, &self.tell, scope)?
            }
        };
        IdentityToken::parse(text)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("mode", &self.mode).finish_non_exhaustive()
    }
}
