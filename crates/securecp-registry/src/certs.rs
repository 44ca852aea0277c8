//! Certificates of single hosts: containers-certs.d(5).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use securecp_net::{ClientIdentity, TlsOptions};

use crate::{Environment, Problem, is_there};

/// Adds what the first existing directory for `host` holds, or what `named` holds.
pub(crate) fn add(
    tls: TlsOptions,
    host: &str,
    named: Option<&Path>,
    environment: &Environment,
) -> Result<TlsOptions, Problem> {
    if let Some(named) = named {
        let files = list(named)?;
        warn_of_none(named, &files);
        return add_directory(tls, named, &files);
    }
    for directory in directories(host, environment) {
        if let Some(files) = list_if_there(&directory)? {
            return add_directory(tls, &directory, &files);
        }
    }
    Ok(tls)
}

/// A directory that was named is meant to have a use.
fn warn_of_none(directory: &Path, files: &[PathBuf]) {
    let is_used =
        |file: &PathBuf| file.extension().is_some_and(|end| end == "crt" || end == "cert");
    if !files.iter().any(is_used) {
        let shown = directory.display();
        tracing::warn!(
            "{shown} has no certificates: expected *.crt for a CA, *.cert and *.key for a client"
        );
    }
}

fn directories(host: &str, environment: &Environment) -> Vec<PathBuf> {
    let roots = [
        environment.user("certs.d"),
        Some(environment.system("etc/containers/certs.d")),
        Some(environment.system("etc/docker/certs.d")),
    ];
    roots.into_iter().flatten().map(|root| root.join(host)).collect()
}

fn list_if_there(directory: &Path) -> Result<Option<Vec<PathBuf>>, Problem> {
    match is_there(directory) {
        Ok(true) => unless_closed(directory, list_files(directory)),
        Ok(false) => Ok(None),
        Err(error) => unless_closed(directory, Err(error)),
    }
}

/// What may not be looked into is passed over, as the reference does: it is meant for others. Without the certificates in
/// it fewer servers are trusted, not more.
fn unless_closed<T>(directory: &Path, found: io::Result<T>) -> Result<Option<T>, Problem> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!("certificates in {}: {error}, passed over", directory.display());
            Ok(None)
        }
        Err(error) => Err(failed(directory, &error.to_string())),
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    list_files(directory).map_err(|error| failed(directory, &error.to_string()))
}

/// The files in it, in the order of their names.
fn list_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// `*.crt` are roots; `NAME.cert` and `NAME.key` together are a client certificate; other files are ignored.
fn add_directory(
    mut tls: TlsOptions,
    directory: &Path,
    files: &[PathBuf],
) -> Result<TlsOptions, Problem> {
    let ends = |file: &&PathBuf, with: &str| file.extension().is_some_and(|found| found == with);
    for root in files.iter().filter(|file| ends(file, "crt")) {
        tls = tls.root_pem(&read(root)?, &root.display().to_string())?;
    }
    for chain in files.iter().filter(|file| ends(file, "cert")) {
        let key = chain.with_extension("key");
        if !files.contains(&key) {
            return Err(failed(directory, &missing("key", &key, chain)));
        }
        let subject = chain.display().to_string();
        tls = tls.identity(ClientIdentity::from_pem(&read(chain)?, &read(&key)?, &subject)?);
    }
    for key in files.iter().filter(|file| ends(file, "key")) {
        let chain = key.with_extension("cert");
        if !files.contains(&chain) {
            return Err(failed(directory, &missing("client certificate", &chain, key)));
        }
    }
    Ok(tls)
}

fn missing(what: &str, file: &Path, partner: &Path) -> String {
    format!("missing {what} {} for {}", file.display(), partner.display())
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error| failed(file, &error.to_string()))
}

fn failed(subject: &Path, why: &str) -> Problem {
    Problem::Settings(format!("certificates in {}: {why}", subject.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(root: &Path) -> Result<TlsOptions, Problem> {
        add(TlsOptions::default(), "r.example:5000", None, &Environment::inside(root))
    }

    /// Tests may run as root, to whom nothing is closed.
    #[test]
    fn a_directory_that_is_closed_to_us_is_passed_over() {
        let outcome = |kind: io::ErrorKind| {
            unless_closed::<()>(Path::new("/certs"), Err(kind.into())).map_err(|e| e.to_string())
        };
        assert_eq!(outcome(io::ErrorKind::PermissionDenied), Ok(None));
        assert!(outcome(io::ErrorKind::NotFound).is_err(), "a link that leads nowhere");
        assert!(outcome(io::ErrorKind::InvalidData).unwrap_err().contains("/certs"));
        assert_eq!(unless_closed(Path::new("/certs"), Ok(1)).unwrap(), Some(1));
        let root = tempfile::tempdir().unwrap();
        let named = root.path().join("none");
        let environment = Environment::inside(root.path());
        let error = add(TlsOptions::default(), "x", Some(&named), &environment).unwrap_err();
        assert!(error.to_string().contains("none"), "what is named must be there: {error}");
    }

    #[test]
    fn only_the_first_directory_counts_and_half_a_pair_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(added(root.path()).unwrap(), TlsOptions::default());
        let system = root.path().join("etc/docker/certs.d/r.example:5000");
        fs::create_dir_all(&system).unwrap();
        fs::write(system.join("x.crt"), "not a certificate").unwrap();
        assert!(added(root.path()).is_err());
        let user = root.path().join("home/.config/containers/certs.d/r.example:5000");
        fs::create_dir_all(&user).unwrap();
        fs::write(user.join("notes.txt"), "ignored").unwrap();
        assert_eq!(added(root.path()).unwrap(), TlsOptions::default());
        for half in ["client.cert", "client.key"] {
            fs::write(user.join(half), "x").unwrap();
            let error = added(root.path()).unwrap_err().to_string();
            assert!(error.contains("missing"), "{error}");
            fs::remove_file(user.join(half)).unwrap();
        }
        fs::remove_dir_all(&user).unwrap();
        std::os::unix::fs::symlink("/nowhere/certs", &user).unwrap();
        let error = added(root.path()).unwrap_err().to_string();
        assert!(error.contains("home/.config"), "the system's are not taken instead: {error}");
        fs::remove_file(&user).unwrap();
        fs::write(&user, "a file").unwrap();
        added(root.path()).unwrap_err();
        let named = add(
            TlsOptions::default(),
            "x",
            Some(&root.path().join("none")),
            &Environment::inside(root.path()),
        );
        assert!(named.is_err());
    }
}
