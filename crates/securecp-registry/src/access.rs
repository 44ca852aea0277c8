use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use securecp_layer::Scope;
use securecp_net::{Net, TlsOptions};
use securecp_oci::Repository;

use crate::auth::{Auth, FILES, Found, Lookup, Search};
use crate::certs;
use crate::host::Host;
use crate::{
    Client, Credentials, Environment, Operation, Problem, RegistryError, RetryPolicy, Secret,
};

/// How one side of a copy meets registries.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who we are.
    pub login: Login,
    /// The file with credentials, instead of the usual ones.
    pub authfile: Option<PathBuf>,
    /// The directory with certificates, instead of `certs.d`.
    pub cert_dir: Option<PathBuf>,
    /// Whether servers must show a certificate that verifies; if not said, the configuration files decide.
    pub tls_verify: Option<bool>,
    /// Restrictions of TLS for every host.
    pub tls: TlsOptions,
    /// Where files are looked for.
    pub environment: Environment,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// What happens after a failure that may pass.
    pub retry: RetryPolicy,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            login: Login::Configured,
            authfile: None,
            cert_dir: None,
            tls_verify: None,
            tls: TlsOptions::default(),
            environment: Environment::default(),
            user_agent: concat!("securecp/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
        }
    }
}

/// Who we are, as far as the command line says so.
#[derive(Clone)]
#[non_exhaustive]
pub enum Login {
    /// Whatever the credential files hold for the repository.
    Configured,
    /// Nobody, whatever the files hold.
    Anonymous,
    /// These credentials.
    Given(Credentials),
    /// This access token, sent as it is with every request.
    Token(Secret),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "Configured",
            Self::Anonymous => "Anonymous",
            Self::Given(_) => "Given(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// Every registry, as one side of a copy meets it. Clones share connections, tokens and what was learned.
#[derive(Clone, Default)]
pub struct Registries {
    inner: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    net: Net,
    access: Access,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Registries {
    /// Nothing is read or sent yet.
    pub fn new(net: Net, access: Access) -> Self {
        Self { inner: Arc::new(Shared { net, access, hosts: Mutex::default() }) }
    }

    /// The client for a repository.
    ///
    /// # Errors
    /// Its certificates or configuration cannot be used.
    pub fn client(&self, repository: &Repository) -> Result<Client, RegistryError> {
        Ok(Client::new(self.host(repository.host())?, repository.clone()))
    }

    pub(crate) fn host(&self, name: &str) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = self.inner.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = hosts.get(name) {
            return Ok(Arc::clone(found));
        }
        let made = self
            .open(name)
            .map_err(|problem| RegistryError::new(Operation::Configure, name, None, problem))?;
        let made = Arc::new(made);
        hosts.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }

    fn open(&self, name: &str) -> Result<Host, Problem> {
        let access = &self.inner.access;
        let insecure = access.tls_verify == Some(false);
        let directory = access.cert_dir.as_deref();
        let mut tls = certs::add(access.tls.clone(), name, directory, &access.environment)?;
        if insecure {
            tls = tls.dangerously_accept_any_certificate();
        }
        let http = self.inner.net.client(&tls)?;
        let (fixed, lookup) = self.login(name);
        let agent = access.user_agent.clone();
        let auth = Auth::new(http.clone(), agent.clone(), access.retry, fixed, lookup);
        Ok(Host::new(name, http, insecure, auth, access))
    }

    fn login(&self, host: &str) -> (Option<Secret>, Box<dyn Lookup>) {
        match &self.inner.access.login {
            Login::Token(token) => (Some(token.clone()), Box::new(Given(Found::default()))),
            Login::Given(credentials) => {
                let found = Found {
                    credentials: Some(credentials.clone()),
                    source: Some("the command line".to_owned()),
                };
                (None, Box::new(Given(found)))
            }
            Login::Anonymous => (None, Box::new(Given(Found::default()))),
            Login::Configured => {
                let access = &self.inner.access;
                let authfile = access.authfile.as_deref();
                let helpers = [FILES.to_owned()];
                let search = Search::new(host, authfile, &access.environment, &helpers);
                (None, Box::new(search))
            }
        }
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").field("access", &self.inner.access).finish_non_exhaustive()
    }
}

/// The same credentials for every repository.
struct Given(Found);

impl Lookup for Given {
    fn find(&self, _: &str, _: &Scope) -> Result<Found, RegistryError> {
        Ok(self.0.clone())
    }
}
