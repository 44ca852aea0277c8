use std::env;
use std::ffi::OsString;
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

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}
