use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use securecp_layer::Scope;
use securecp_net::{Net, TlsOptions};
use securecp_oci::{Reference, Repository, Tag, WithCauses};

use crate::auth::{Auth, Found, Lookup, Search};
use crate::certs;
use crate::conf::{Conf, Endpoint};
use crate::host::{self, Host};
use crate::{
    Client, Credentials, Environment, Operation, Problem, RegistryError, RetryPolicy, Secret,
    Uploads,
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
    /// The file `registries.conf`, instead of the usual one.
    pub registries_conf: Option<PathBuf>,
    /// Where files are looked for.
    pub environment: Environment,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// What happens after a failure that may pass.
    pub retry: RetryPolicy,
    /// How blobs are sent.
    pub uploads: Uploads,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            login: Login::Configured,
            authfile: None,
            cert_dir: None,
            tls_verify: None,
            tls: TlsOptions::default(),
            registries_conf: None,
            environment: Environment::default(),
            user_agent: concat!("securecp/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            uploads: Uploads::default(),
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
    conf: OnceLock<Result<Conf, String>>,
    hosts: Mutex<HashMap<HostKey, Arc<Host>>>,
}

/// How a host is met.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HostKey {
    name: String,
    insecure: bool,
    /// Not the host that the user named: credentials of the command line are not for it.
    foreign: bool,
}

impl Registries {
    /// Nothing is read or sent yet.
    pub fn new(net: Net, access: Access) -> Self {
        Self { inner: Arc::new(Shared { net, access, ..Shared::default() }) }
    }

    /// The client for a repository as it is named: what writes, deletes and logs in uses no mirror.
    ///
    /// # Errors
    /// It is blocked, or its certificates or configuration cannot be used.
    pub fn client(&self, repository: &Repository) -> Result<Client, RegistryError> {
        let conf = self.conf(repository.host())?;
        let blocked = |why| {
            let path = Some(repository.path());
            RegistryError::new(Operation::Configure, repository.host(), path, Problem::Blocked(why))
        };
        let insecure = conf.insecure(&repository.to_string()).map_err(blocked)?;
        let key = HostKey { name: repository.host().to_owned(), insecure, foreign: false };
        Ok(Client::new(self.host_at(key)?, repository.clone()))
    }

    /// Reads something at the first place that has it: mirrors in their order, then the registry itself; returns the
    /// client of that place with what was read.
    ///
    /// # Errors
    /// The failure of the registry itself, with those of its mirrors.
    pub fn read<T>(
        &self,
        reference: &Reference,
        mut read: impl FnMut(&Client, &Reference) -> Result<T, RegistryError>,
    ) -> Result<(Client, T), RegistryError> {
        let host = reference.repository().host();
        let refused = |why| {
            let path = Some(reference.repository().path());
            RegistryError::new(Operation::Configure, host, path, Problem::Blocked(why))
        };
        let endpoints = self.conf(host)?.endpoints(reference).map_err(refused)?;
        let mut failed = Vec::new();
        let mut endpoints = endpoints.into_iter().peekable();
        while let Some(endpoint) = endpoints.next() {
            let place = endpoint.reference.clone();
            let read = self.read_at(endpoint, host, &mut read);
            match read {
                Err(error) if endpoints.peek().is_some() && !error.is_stopped() => {
                    tracing::info!(%place, %error, "mirror failed");
                    failed.push(format!("[{place}: {}]", WithCauses(&error)));
                }
                result => return result.map_err(|error| error.after_mirrors(&place, failed)),
            }
        }
        Err(refused(format!("no place to read {reference} from")))
    }

    /// Every tag of a repository, from the first place that lists them.
    ///
    /// # Errors
    /// See [`Registries::read`].
    pub fn tags(&self, repository: &Repository, scope: &Scope) -> Result<Vec<Tag>, RegistryError> {
        let name = Reference::parse_any(&repository.to_string()).map_err(|error| {
            let (host, path) = (repository.host(), Some(repository.path()));
            let problem = Problem::Settings(error.to_string());
            RegistryError::new(Operation::ListTags, host, path, problem)
        })?;
        self.read(&name, |client, _| client.tags(scope)).map(|(_, tags)| tags)
    }

    fn read_at<T>(
        &self,
        endpoint: Endpoint,
        host: &str,
        read: &mut impl FnMut(&Client, &Reference) -> Result<T, RegistryError>,
    ) -> Result<(Client, T), RegistryError> {
        let repository = endpoint.reference.repository();
        let name = repository.host().to_owned();
        let key = HostKey { insecure: endpoint.insecure, foreign: name != host, name };
        let client = Client::new(self.host_at(key)?, repository.clone());
        let found = read(&client, &endpoint.reference)?;
        Ok((client, found))
    }

    /// The host as the user names it, for `login`.
    pub(crate) fn host(&self, name: &str) -> Result<Arc<Host>, RegistryError> {
        let failed =
            |why| RegistryError::new(Operation::Configure, name, None, Problem::Blocked(why));
        let insecure = self.conf(name)?.insecure(name).map_err(failed)?;
        self.host_at(HostKey { name: name.to_owned(), insecure, foreign: false })
    }

    fn conf(&self, host: &str) -> Result<&Conf, RegistryError> {
        let access = &self.inner.access;
        let load = || Conf::load(access.registries_conf.as_deref(), &access.environment);
        let failed = |why: &String| {
            let problem = Problem::Settings(why.clone());
            RegistryError::new(Operation::Configure, host, None, problem)
        };
        self.inner.conf.get_or_init(load).as_ref().map_err(failed)
    }

    fn host_at(&self, key: HostKey) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = self.inner.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = hosts.get(&key) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(self.open(&key)?);
        hosts.insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn open(&self, key: &HostKey) -> Result<Host, RegistryError> {
        let access = &self.inner.access;
        let failed =
            |problem: Problem| RegistryError::new(Operation::Configure, &*key.name, None, problem);
        // What the command line says of verification wins in both directions.
        let insecure = access.tls_verify.map_or(key.insecure, |verify| !verify);
        let directory = access.cert_dir.as_deref();
        let tls = certs::add(access.tls.clone(), &key.name, directory, &access.environment);
        let mut tls = tls.map_err(failed)?;
        if insecure {
            tls = tls.dangerously_accept_any_certificate();
        }
        let home = host::front_door("https", &key.name).map_err(failed)?;
        let http = self.inner.net.client(&tls).map_err(|error| failed(error.into()))?;
        let (fixed, lookup) = self.login(key)?;
        let agent = access.user_agent.clone();
        let auth = Auth::new(http.clone(), agent, access.retry, fixed, lookup);
        // Client certificates are for the registry and for whom it has us prove who we are, not for where it keeps blobs.
        Ok(Host::new(&key.name, http.at_home(home), insecure, auth, access))
    }

    fn login(&self, key: &HostKey) -> Result<(Option<Secret>, Box<dyn Lookup>), RegistryError> {
        let access = &self.inner.access;
        Ok(match &access.login {
            Login::Anonymous => (None, Box::new(Given(Found::default()))),
            Login::Token(token) if !key.foreign => {
                (Some(token.clone()), Box::new(Given(Found::default())))
            }
            Login::Given(credentials) if !key.foreign => {
                let found = Found {
                    credentials: Some(credentials.clone()),
                    source: Some("the command line".to_owned()),
                };
                (None, Box::new(Given(found)))
            }
            _ => {
                let authfile = access.authfile.as_deref();
                let helpers = &self.conf(&key.name)?.helpers;
                let search = Search::new(&key.name, authfile, &access.environment, helpers);
                (None, Box::new(search))
            }
        })
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
