use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Where this process looks for configuration. Read once from the environment; a value, so that tests can make another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `.config` in the home directory.
    pub config_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`, or `/run/containers/UID`.
    pub runtime_dir: PathBuf,
    /// `$DOCKER_CONFIG`, or `.docker` in the home directory.
    pub docker_config: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`.
    pub auth_file: Option<PathBuf>,
    /// `$CONTAINERS_REGISTRIES_CONF`.
    pub registries_conf: Option<PathBuf>,
    /// `$CONTAINERS_REGISTRIES_CONF_OVERRIDE`.
    pub registries_conf_override: Option<PathBuf>,
    /// The user's number.
    pub uid: u32,
    /// Where programs such as credential helpers are looked for, if not in `$PATH`.
    pub program_path: Option<OsString>,
    /// What stands before `/etc` and `/usr`.
    pub system_root: PathBuf,
}

impl Default for Environment {
    /// The environment of this process.
    fn default() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let home = path("HOME");
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        Self {
            config_home: path("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            runtime_dir: path("XDG_RUNTIME_DIR").map_or_else(
                || PathBuf::from(format!("/run/containers/{uid}")),
                |dir| dir.join("containers"),
            ),
            docker_config: path("DOCKER_CONFIG").or_else(|| below_home(".docker")),
            auth_file: path("REGISTRY_AUTH_FILE"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            registries_conf_override: path("CONTAINERS_REGISTRIES_CONF_OVERRIDE"),
            home,
            uid,
            program_path: None,
            system_root: PathBuf::from("/"),
        }
    }
}

impl Environment {
    /// An environment in which every place is inside `root` and every variable unset.
    pub fn inside(root: &Path) -> Self {
        let home = root.join("home");
        Self {
            config_home: Some(home.join(".config")),
            runtime_dir: root.join("run/containers"),
            docker_config: Some(home.join(".docker")),
            auth_file: None,
            registries_conf: None,
            registries_conf_override: None,
            uid: 1000,
            program_path: Some(root.join("bin").into_os_string()),
            system_root: root.to_owned(),
            home: Some(home),
        }
    }

    /// `containers/NAME` in the user's configuration.
    pub(crate) fn user(&self, name: &str) -> Option<PathBuf> {
        self.config_home.as_ref().map(|dir| dir.join("containers").join(name))
    }

    /// `NAME` below the system's root, for example `etc/containers`.
    pub(crate) fn system(&self, name: &str) -> PathBuf {
        self.system_root.join(name)
    }
}

/// Whether there is something at `path`: configuration that cannot be looked at must not count as absent. A link that leads
/// nowhere, here or above, is something.
///
/// # Errors
/// It cannot be told.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(above) if is_there(above)? => fs::metadata(above).map(|_| false),
            _ => Ok(false),
        },
        Err(error) => Err(error),
    }
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_absence_itself_counts_as_absence() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink("/nowhere/at/all", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        symlink(folder.path(), at("here")).unwrap();
        for there in ["file", "link", "dangling", "circle", "here/file", ""] {
            assert!(is_there(&at(there)).unwrap(), "{there}");
        }
        for absent in ["none", "none/none", "here/none", "here/none/none"] {
            assert!(!is_there(&at(absent)).unwrap(), "{absent}");
        }
        for unknown in ["dangling/x", "dangling/x/y", "circle/x", "file/x"] {
            is_there(&at(unknown)).unwrap_err();
        }
        assert!(!is_there(Path::new("no-such-file-of-ours")).unwrap());
    }
}
