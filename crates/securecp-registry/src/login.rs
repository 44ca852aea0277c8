use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use securecp_layer::Scope;
use securecp_net::{Request, StatusCode};

use crate::auth::{AuthFile, FILES, Found, Grants, HUB, Helper, Search, files};
use crate::host::Call;
use crate::{Credentials, Environment, Key, Operation, Problem, Registries, RegistryError, Secret};

/// The file that `login` and `logout` change, and the ones beside it that are read.
#[derive(Debug, Clone)]
pub struct AuthStore {
    file: PathBuf,
    compatible: bool,
    read: Vec<PathBuf>,
    docker: Option<PathBuf>,
    program_path: Option<OsString>,
}

/// What `logout` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedOut {
    /// Credentials were there and are gone.
    Removed,
    /// There were none.
    NotLoggedIn,
    /// There are none of ours, but Docker has some in this file, which is left to Docker.
    KeptByDocker(PathBuf),
}

impl AuthStore {
    /// Chooses the file: `authfile`, or `compatible` (a file in Docker's format), or what the environment names, or the
    /// user's runtime directory.
    ///
    /// # Errors
    /// Both files are named.
    pub fn choose(
        authfile: Option<&Path>,
        compatible: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, RegistryError> {
        if authfile.is_some() && compatible.is_some() {
            let problem = "options for paths to the credential file and to the Docker-compatible \
                credential file can not be set simultaneously";
            return Err(failed("", Problem::Settings(problem.to_owned())));
        }
        let docker = environment.docker_config.as_ref().map(|dir| dir.join("config.json"));
        let named = authfile.or(compatible).or(environment.auth_file.as_deref());
        let file = named.map_or_else(|| environment.runtime_dir.join("auth.json"), Path::to_owned);
        let read = match compatible {
            Some(file) => vec![file.to_owned()],
            None => files(authfile, environment),
        };
        let program_path = environment.program_path.clone();
        Ok(Self { file, compatible: compatible.is_some(), read, docker, program_path })
    }

    /// The file that is changed.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// The credentials that are there for a key.
    ///
    /// # Errors
    /// A file or helper cannot be read.
    pub fn find(&self, key: &Key, scope: &Scope) -> Result<Option<Credentials>, RegistryError> {
        let found = self.search(key).look_up(key, scope).map_err(|p| failed(key.as_str(), p))?;
        Ok(found.credentials)
    }

    /// Keeps credentials for a key, in the helper that the file names for its host or in the file itself.
    ///
    /// # Errors
    /// There is an identity token for the key, which a password would hide, the key cannot be stored in Docker's
    /// format, or the file or helper cannot be written.
    pub fn store(
        &self,
        key: &Key,
        user: &str,
        password: &Secret,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        if matches!(self.find(key, scope)?, Some(Credentials::Identity { .. })) {
            let problem = "an identity token is stored for it; log out first".to_owned();
            return Err(failed(key.as_str(), Problem::Settings(problem)));
        }
        let name = self.name_of(key).map_err(|problem| failed(key.as_str(), problem))?;
        let change = |file: &mut AuthFile| match file.helper_of(key.host()) {
            Some(helper) => Helper::new(&helper, self.program_path.as_deref())?.store(
                key.host(),
                user,
                password.expose(),
                scope,
            ),
            None => file.set(name, user, password.expose()).map_err(Problem::Settings),
        };
        self.change(change, scope).map_err(|problem| failed(key.as_str(), problem))
    }

    /// Removes the credentials for a key.
    ///
    /// # Errors
    /// The file or helper cannot be written.
    pub fn remove(&self, key: &Key, scope: &Scope) -> Result<LoggedOut, RegistryError> {
        let error = |problem| failed(key.as_str(), problem);
        let name = self.name_of(key).map_err(error)?;
        let legacy = !key.has_path();
        let mut removed = false;
        let change = |file: &mut AuthFile| {
            if let Some(helper) = file.helper_of(key.host()) {
                let helper = Helper::new(&helper, self.program_path.as_deref())?;
                if helper.find(key.host(), scope)?.is_some() {
                    helper.erase(key.host(), scope)?;
                    removed = true;
                }
            }
            let ours = |stored: &str| stored == name || (legacy && key.is_legacy(stored));
            removed |= file.remove(ours).map_err(Problem::Settings)?;
            Ok(())
        };
        self.change(change, scope).map_err(error)?;
        if removed {
            return Ok(LoggedOut::Removed);
        }
        match self.search_in(&self.docker, key).look_up(key, scope).map_err(error)? {
            Found { credentials: Some(_), .. } => {
                Ok(LoggedOut::KeptByDocker(self.docker.clone().unwrap_or_default()))
            }
            _ => Ok(LoggedOut::NotLoggedIn),
        }
    }

    /// Removes every entry of the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remove_all(&self, scope: &Scope) -> Result<(), RegistryError> {
        let change =
            |file: &mut AuthFile| file.remove(|_| true).map(drop).map_err(Problem::Settings);
        self.change(change, scope).map_err(|problem| failed("", problem))
    }

    /// The name of a key in the file. Docker's format knows registries only, and its own by an address.
    fn name_of<'a>(&self, key: &'a Key) -> Result<&'a str, Problem> {
        if !self.compatible {
            return Ok(key.as_str());
        }
        if key.has_path() {
            let problem = "credentials of a namespace cannot be kept in Docker's format";
            return Err(Problem::Settings(problem.to_owned()));
        }
        Ok(if key.host() == "docker.io" { HUB } else { key.as_str() })
    }

    fn search(&self, key: &Key) -> Search {
        Search {
            host: key.host().to_owned(),
            files: self.read.clone(),
            required: false,
            helpers: vec![FILES.to_owned()],
            program_path: self.program_path.clone(),
        }
    }

    fn search_in(&self, file: &Option<PathBuf>, key: &Key) -> Search {
        Search { files: file.iter().cloned().collect(), ..self.search(key) }
    }

    /// Reads, changes and writes the file while nobody else of us does.
    fn change(
        &self,
        change: impl FnOnce(&mut AuthFile) -> Result<(), Problem>,
        scope: &Scope,
    ) -> Result<(), Problem> {
        let _lock = self.lock(scope)?;
        let mut file = AuthFile::read_or_new(&self.file).map_err(Problem::Settings)?;
        change(&mut file)?;
        file.write().map_err(Problem::Settings)
    }

    /// Locks the folder, so that no lock file stays behind.
    fn lock(&self, scope: &Scope) -> Result<File, Problem> {
        let folder = self.file.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let broken = |error: std::io::Error| {
            Problem::Settings(format!("locking {}: {error}", folder.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(broken)?;
        let file = File::open(folder).map_err(broken)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) => scope.sleep(Duration::from_millis(20))?,
                Err(error) => return Err(broken(error.into())),
            }
        }
    }
}

impl Registries {
    /// Whether the registry takes the credentials of this access for `key`: its front door must open.
    ///
    /// # Errors
    /// It does not, or it cannot be told.
    pub fn check_login(&self, key: &Key, scope: &Scope) -> Result<(), RegistryError> {
        let host = self.host(key.host())?;
        let repository = key.as_str().get(key.host().len() + 1..).unwrap_or_default();
        host.retrying(scope, || {
            let request = Request::get(host.base(scope)?);
            let call = Call {
                operation: &Operation::Login,
                repository,
                grants: Grants::default(),
                request,
            };
            let response = host.expect(&call, &[StatusCode::OK.as_u16()], scope);
            response.map(drop)
        })
    }
}

fn failed(host: &str, problem: Problem) -> RegistryError {
    RegistryError::new(Operation::Login, host, None, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[test]
    fn what_is_stored_is_found_and_goes_again() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::inside(root.path());
        let store = AuthStore::choose(None, None, &environment).unwrap();
        let (scope, secret) = (Scope::new(), Secret::new("p:w".to_owned()));
        assert_eq!(store.path(), root.path().join("run/containers/auth.json"));
        store.store(&key("r.example/a"), "u", &secret, &scope).unwrap();
        store.store(&key("r.example"), "v", &secret, &scope).unwrap();
        let user =
            |text: &str| store.find(&key(text), &scope).unwrap().map(|c| c.user().to_owned());
        assert_eq!(user("r.example/a/b").unwrap(), "u");
        assert_eq!(user("r.example/c").unwrap(), "v");
        assert_eq!(store.remove(&key("r.example/a"), &scope).unwrap(), LoggedOut::Removed);
        assert_eq!(store.remove(&key("r.example/a"), &scope).unwrap(), LoggedOut::NotLoggedIn);
        assert_eq!(user("r.example/a").unwrap(), "v");
        store.remove_all(&scope).unwrap();
        assert_eq!(user("r.example"), None);
    }

    #[test]
    fn dockers_format_has_its_own_names_and_its_file_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::inside(root.path());
        let (scope, secret) = (Scope::new(), Secret::new("p".to_owned()));
        let docker = environment.docker_config.clone().unwrap().join("config.json");
        let compatible = AuthStore::choose(None, Some(&docker), &environment).unwrap();
        compatible.store(&key("docker.io"), "u", &secret, &scope).unwrap();
        assert!(compatible.store(&key("docker.io/a"), "u", &secret, &scope).is_err());
        assert!(std::fs::read_to_string(&docker).unwrap().contains("https://index.docker.io/v1/"));
        let ours = AuthStore::choose(None, None, &environment).unwrap();
        assert_eq!(ours.find(&key("docker.io/x"), &scope).unwrap().unwrap().user(), "u");
        let left = ours.remove(&key("docker.io"), &scope).unwrap();
        assert_eq!(left, LoggedOut::KeptByDocker(docker.clone()));
        assert_eq!(compatible.remove(&key("docker.io"), &scope).unwrap(), LoggedOut::Removed);
        assert!(AuthStore::choose(Some(&docker), Some(&docker), &environment).is_err());
    }

    #[test]
    fn an_identity_token_is_not_hidden_by_a_password() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("auth.json");
        std::fs::write(&file, r#"{"auths":{"r.example":{"identitytoken":"t"}}}"#).unwrap();
        let store =
            AuthStore::choose(Some(&file), None, &Environment::inside(root.path())).unwrap();
        let secret = Secret::new("p".to_owned());
        assert!(store.store(&key("r.example"), "u", &secret, &Scope::new()).is_err());
    }

    #[test]
    fn two_writers_lose_nothing() {
        let root = tempfile::tempdir().unwrap();
        let environment = Environment::inside(root.path());
        let store = AuthStore::choose(None, None, &environment).unwrap();
        std::thread::scope(|threads| {
            for n in 0..8 {
                let store = &store;
                threads.spawn(move || {
                    let secret = Secret::new("p".to_owned());
                    store
                        .store(&key(&format!("r{n}.example")), "u", &secret, &Scope::new())
                        .unwrap();
                });
            }
        });
        for n in 0..8 {
            assert!(store.find(&key(&format!("r{n}.example")), &Scope::new()).unwrap().is_some());
        }
    }
}
