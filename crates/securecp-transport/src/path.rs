use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use securecp_oci::{ImageIdentity, ImageName, Transport};

use crate::folder::Folder;
use crate::{SharedPlaces, TransportError};

/// A path that the user gave, absolute and free of symbolic links; the last component need not exist.
///
/// It is resolved once: policies judge the same path that is opened afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved(String);

impl Resolved {
    /// Resolves `path`, which is a part of `name`.
    pub(crate) fn new(name: &ImageName, path: &str) -> Result<Self, TransportError> {
        Self::by(resolve, name, path)
    }

    /// Resolves `path`, of which more than the last component may be missing.
    pub(crate) fn to_be_made(name: &ImageName, path: &str) -> Result<Self, TransportError> {
        Self::by(resolve_what_is_there, name, path)
    }

    fn by(
        resolve: fn(&Path) -> std::io::Result<PathBuf>,
        name: &ImageName,
        path: &str,
    ) -> Result<Self, TransportError> {
        if path.is_empty() {
            return Err(name_error(name, "the path is empty"));
        }
        let found = resolve(Path::new(path)).map_err(|source| TransportError::Io {
            operation: "resolving",
            path: path.into(),
            source,
        })?;
        let text = found.into_os_string().into_string();
        text.map(Self).map_err(|_| name_error(name, "the path it stands for is not UTF-8"))
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    pub(crate) fn identity(&self, transport: Transport) -> ImageIdentity {
        ImageIdentity::path(transport, &self.0)
    }

    /// Opens the folder of an image that is to be there.
    pub(crate) fn folder(&self, name: &ImageName) -> Result<Folder, TransportError> {
        Folder::open_if_there(self.as_path())?.ok_or_else(|| self.not_found(name))
    }

    /// The same, for all that read from there.
    pub(crate) fn shared_folder(
        &self,
        name: &ImageName,
        shared: &SharedPlaces,
    ) -> Result<Arc<Folder>, TransportError> {
        shared.folder(self.as_path())?.ok_or_else(|| self.not_found(name))
    }

    pub(crate) fn not_found(&self, name: &ImageName) -> TransportError {
        let place = self.parent().display().to_string();
        TransportError::NotFound { subject: name.to_string(), place }
    }

    /// The nearest folder above that exists.
    pub(crate) fn existing_parent(&self) -> &Path {
        let above = self.as_path().ancestors().skip(1);
        above.into_iter().find(|path| path.is_dir()).unwrap_or_else(|| self.parent())
    }

    /// The folder that holds the last component; the root holds itself.
    pub(crate) fn parent(&self) -> &Path {
        self.as_path().parent().unwrap_or_else(|| self.as_path())
    }
}

pub(crate) fn name_error(name: &ImageName, problem: impl Into<String>) -> TransportError {
    TransportError::Name { name: name.to_string(), problem: problem.into() }
}

fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => resolve_parent(path, error),
        other => other,
    }
}

/// Every component behind the last that exists is taken as it is; `..` among them leads nowhere.
fn resolve_what_is_there(path: &Path) -> std::io::Result<PathBuf> {
    match resolve(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            let parent = resolve_what_is_there(parent)?;
            // A link that leads nowhere is there; what it stands for is not ours to make.
            if parent.is_symlink() { Err(error) } else { Ok(parent.join(last)) }
        }
        other => other,
    }
}

/// Only the last component may be missing; the error says which path it was.
fn resolve_parent(path: &Path, missing: std::io::Error) -> std::io::Result<PathBuf> {
    let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else {
        return Err(missing);
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    Ok(fs::canonicalize(parent)?.join(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(path: &Path) -> Result<Resolved, TransportError> {
        let text = path.to_str().unwrap();
        let name: ImageName = format!("dir:{text}").parse().unwrap();
        Resolved::new(&name, text)
    }

    #[test]
    fn follows_links_and_lets_only_the_last_component_be_missing() {
        let place = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(place.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        assert_eq!(resolved(&base.join("link")).unwrap().as_path(), base.join("real"));
        let missing = resolved(&base.join("link/new")).unwrap();
        assert_eq!(missing.as_path(), base.join("real/new"));
        assert_eq!(missing.parent(), base.join("real"));
        let error = resolved(&base.join("none/new")).unwrap_err();
        assert!(matches!(error, TransportError::Io { operation: "resolving", .. }), "{error}");
    }

    #[test]
    fn folders_that_are_to_be_made_may_be_missing_too() {
        let place = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(place.path()).unwrap();
        let name: ImageName = "dir:x".parse().unwrap();
        let to_be_made =
            |path: &str| Resolved::to_be_made(&name, base.join(path).to_str().unwrap());
        std::os::unix::fs::symlink("nowhere/at/all", base.join("dangling")).unwrap();
        let found = to_be_made("a/b/c").unwrap();
        assert_eq!(found.as_path(), base.join("a/b/c"));
        assert_eq!(found.existing_parent(), base);
        for bad in ["a/../../b/c", "dangling/a/b"] {
            assert!(to_be_made(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_every_parent_in_the_identity() {
        let place = tempfile::tempdir().unwrap();
        let found = resolved(&place.path().join("x")).unwrap().identity(Transport::Dir);
        assert!(found.scope.ends_with("/x"));
        assert!(found.scope.starts_with(found.namespaces[0].as_str()));
    }
}
