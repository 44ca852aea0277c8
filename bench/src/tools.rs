use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A place for an image, in the words that every tool knows.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Registry { address: SocketAddr, repository: String, tag: Option<&'static str> },
    Oci(PathBuf),
    Dir(PathBuf),
}

/// What a copy changes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Nothing,
    Decompress,
    Compress,
    Zstd,
    Encrypt(PathBuf),
    Decrypt(PathBuf),
    /// Judged by this policy, with signatures found as this registries.d folder says.
    Judge {
        policy: PathBuf,
        registries_d: PathBuf,
    },
    /// Every instance signed with this key of GnuPG.
    Sign {
        key: &'static str,
        registries_d: PathBuf,
    },
}

/// One copy to be done by any tool.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) change: Change,
    /// The index with all its images.
    pub(crate) all: bool,
}

/// A program that can copy.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Securecp,
    Skopeo,
    Crane,
    Regctl,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Securecp => "securecp",
            Self::Skopeo => "skopeo",
            Self::Crane => "crane",
            Self::Regctl => "regctl",
        })
    }
}

const KINDS: [(Kind, &str, &str); 4] = [
    (Kind::Securecp, "SECURECP", "--version"),
    (Kind::Skopeo, "SKOPEO", "--version"),
    (Kind::Crane, "CRANE", "version"),
    (Kind::Regctl, "REGCTL", "version"),
];

impl Tool {
    /// The tools named in the environment or found on PATH, ours first.
    pub(crate) fn find_all() -> Vec<Self> {
        KINDS
            .iter()
            .filter_map(|(kind, variable, version)| {
                let path = match std::env::var_os(variable).filter(|value| !value.is_empty()) {
                    Some(named) => PathBuf::from(named),
                    None => on_path(&kind.to_string())?,
                };
                let output = std::process::Command::new(&path).arg(version).output().ok()?;
                let text = String::from_utf8_lossy(&output.stdout);
                let version = text.lines().next().unwrap_or_default().trim().to_owned();
                Some(Self { kind: *kind, path, version })
            })
            .collect()
    }

    /// The command line for `task`; `None` if this tool has no such thing.
    pub(crate) fn command(&self, task: &Task) -> Option<Vec<String>> {
        let words = match self.kind {
            Kind::Securecp | Kind::Skopeo => self.as_skopeo(task)?,
            Kind::Crane => as_crane(task)?,
            Kind::Regctl => as_regctl(task)?,
        };
        Some(std::iter::once(self.path.display().to_string()).chain(words).collect())
    }

    fn as_skopeo(&self, task: &Task) -> Option<Vec<String>> {
        let ours = self.kind == Kind::Securecp;
        let (global, options) = match &task.change {
            Change::Judge { policy, registries_d } => (
                vec![
                    "--policy".to_owned(),
                    shown(policy),
                    "--registries.d".to_owned(),
                    shown(registries_d),
                ],
                // A layout has no place for signatures.
                vec!["--remove-signatures".to_owned()],
            ),
            Change::Sign { key, registries_d } => (
                vec![
                    "--insecure-policy".to_owned(),
                    "--registries.d".to_owned(),
                    shown(registries_d),
                ],
                vec!["--sign-by".to_owned(), (*key).to_owned()],
            ),
            change => (vec!["--insecure-policy".to_owned()], changing(change, ours, &task.to)),
        };
        let mut words = global;
        words.extend(["copy".to_owned(), "--quiet".to_owned()]);
        for (place, option) in
            [(&task.from, "--src-tls-verify=false"), (&task.to, "--dest-tls-verify=false")]
        {
            words.extend(matches!(place, Place::Registry { .. }).then(|| option.to_owned()));
        }
        words.extend(options);
        words.extend(task.all.then(|| "--all".to_owned()));
        words.extend([named(&task.from)?, named(&task.to)?]);
        Some(words)
    }
}

fn changing(change: &Change, ours: bool, to: &Place) -> Vec<String> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    match change {
        Change::Decompress => words("--dest-decompress"),
        // skopeo compresses whatever goes to a layout uncompressed.
        Change::Compress if ours => words("--dest-compress-format gzip"),
        Change::Compress => match to {
            Place::Dir(_) => words("--dest-compress"),
            _ => Vec::new(),
        },
        Change::Zstd => words("--dest-compress-format zstd"),
        Change::Encrypt(key) => {
            vec!["--encryption-key".to_owned(), format!("jwe:{}", key.display())]
        }
        Change::Decrypt(key) => vec!["--decryption-key".to_owned(), shown(key)],
        Change::Nothing | Change::Judge { .. } | Change::Sign { .. } => Vec::new(),
    }
}

fn named(place: &Place) -> Option<String> {
    Some(match place {
        Place::Registry { .. } => format!("docker://{}", reference(place)?),
        Place::Oci(folder) => format!("oci:{}:v1", folder.display()),
        Place::Dir(folder) => format!("dir:{}", folder.display()),
    })
}

fn reference(place: &Place) -> Option<String> {
    let Place::Registry { address, repository, tag } = place else { return None };
    Some(format!("{address}/{repository}:{}", (*tag)?))
}

/// crane copies between registries only, as they are.
fn as_crane(task: &Task) -> Option<Vec<String>> {
    let (from, to) = (reference(&task.from)?, reference(&task.to)?);
    matches!(task.change, Change::Nothing)
        .then(|| ["copy", "--insecure", &from, &to].map(str::to_owned).to_vec())
}

/// regctl copies between registries and layouts, as they are.
fn as_regctl(task: &Task) -> Option<Vec<String>> {
    let place = |place: &Place| match place {
        Place::Registry { .. } => reference(place),
        Place::Oci(folder) => Some(format!("ocidir://{}:v1", folder.display())),
        Place::Dir(_) => None,
    };
    let mut words = vec!["image".to_owned(), "copy".to_owned()];
    for side in [&task.from, &task.to] {
        if let Place::Registry { address, .. } = side {
            words.splice(0..0, ["--host".to_owned(), format!("reg={address},tls=disabled")]);
        }
    }
    words.extend([place(&task.from)?, place(&task.to)?]);
    matches!(task.change, Change::Nothing).then_some(words)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(kind: Kind) -> Tool {
        Tool { kind, path: "x".into(), version: String::new() }
    }

    #[test]
    fn says_the_same_to_every_tool() {
        let place = |repository: &str| Place::Registry {
            address: "127.0.0.1:5000".parse().unwrap(),
            repository: repository.to_owned(),
            tag: Some("v1"),
        };
        let mut task =
            Task { from: place("a"), to: place("b"), change: Change::Nothing, all: false };
        for kind in [Kind::Securecp, Kind::Skopeo, Kind::Crane, Kind::Regctl] {
            let line = tool(kind).command(&task).unwrap().join(" ");
            assert!(
                line.ends_with("127.0.0.1:5000/a:v1 docker://127.0.0.1:5000/b:v1")
                    || line.ends_with("127.0.0.1:5000/a:v1 127.0.0.1:5000/b:v1"),
                "{line}"
            );
        }
        task.change = Change::Zstd;
        assert!(tool(Kind::Crane).command(&task).is_none());
        assert!(tool(Kind::Skopeo).command(&task).is_some());
    }
}
