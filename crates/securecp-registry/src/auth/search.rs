use std::ffi::OsString;
use std::path::{Path, PathBuf};

use securecp_layer::Scope;

use crate::auth::file::{AuthFile, Entry};
use crate::auth::helper::Helper;
use crate::auth::key::Key;
use crate::auth::{Found, Lookup};
use crate::{Environment, Operation, Problem, RegistryError};

/// The entry of `credential-helpers` that stands for the files.
pub(crate) const FILES: &str = "containers-auth.json";

/// Docker's key for its own registry, under which its stores keep the credentials.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// Looks credentials up in helpers and files, in the order that the configuration gives.
pub(crate) struct Search {
    pub(crate) host: String,
    pub(crate) files: Vec<PathBuf>,
    /// The one file was named by the user and must be there.
    pub(crate) required: bool,
    pub(crate) helpers: Vec<String>,
    pub(crate) program_path: Option<OsString>,
}

impl Search {
    pub(crate) fn new(
        host: &str,
        authfile: Option<&Path>,
        environment: &Environment,
        helpers: &[String],
    ) -> Self {
        Self {
            host: host.to_owned(),
            files: files(authfile, environment),
            required: authfile.is_some(),
            helpers: helpers.to_vec(),
            program_path: environment.program_path.clone(),
        }
    }

    /// The credentials for a key, and where they were found.
    pub(crate) fn look_up(&self, key: &Key, scope: &Scope) -> Result<Found, Problem> {
        for helper in &self.helpers {
            let found = match helper.as_str() {
                FILES => self.in_files(key, scope)?,
                name => self.ask(name, key.host(), scope)?,
            };
            if found.credentials.is_some() {
                return Ok(found);
            }
        }
        Ok(Found::default())
    }

    fn in_files(&self, key: &Key, scope: &Scope) -> Result<Found, Problem> {
        for path in &self.files {
            let Some(file) = AuthFile::read(path).map_err(Problem::Settings)? else {
                if self.required {
                    let shown = path.display();
                    let problem =
                        format!("credential file is not accessible: {shown} does not exist");
                    return Err(Problem::Settings(problem));
                }
                continue;
            };
            let found = match file.find(key).map_err(Problem::Settings)? {
                Some(Entry::Stored(credentials)) => Found {
                    credentials: Some(credentials),
                    source: Some(path.display().to_string()),
                },
                Some(Entry::Helper(name)) => self.ask(&name, key.host(), scope)?,
                None => continue,
            };
            if found.credentials.is_some() {
                return Ok(found);
            }
        }
        Ok(Found::default())
    }

    /// Asks a helper; Docker's stores know Docker Hub by another name.
    fn ask(&self, name: &str, host: &str, scope: &Scope) -> Result<Found, Problem> {
        let helper = Helper::new(name, self.program_path.as_deref())?;
        let mut credentials = helper.find(host, scope)?;
        if credentials.is_none() && host == "docker.io" {
            credentials = helper.find(HUB, scope)?;
        }
        let source = credentials.is_some().then(|| format!("docker-credential-{name}"));
        Ok(Found { credentials, source })
    }
}

impl Lookup for Search {
    fn find(&self, repository: &str, scope: &Scope) -> Result<Found, RegistryError> {
        let text = match repository {
            "" => self.host.clone(),
            path => format!("{}/{path}", self.host),
        };
        let failed = |problem| {
            RegistryError::new(Operation::Configure, &*self.host, Some(repository), problem)
        };
        let key = Key::parse(&text)
            .ok_or_else(|| failed(Problem::Settings(format!("no key for credentials: {text}"))))?;
        self.look_up(&key, scope).map_err(failed)
    }
}

/// The files that are read, in their order: only the one that was named, or all the usual ones.
pub(crate) fn files(authfile: Option<&Path>, environment: &Environment) -> Vec<PathBuf> {
    if let Some(named) = authfile.or(environment.auth_file.as_deref()) {
        return vec![named.to_owned()];
    }
    let below = |dir: &Option<PathBuf>, name: &str| dir.as_ref().map(|dir| dir.join(name));
    let usual = [
        Some(environment.runtime_dir.join("auth.json")),
        environment.user("auth.json"),
        below(&environment.docker_config, "config.json"),
        below(&environment.home, ".dockercfg"),
    ];
    usual.into_iter().flatten().collect()
}
