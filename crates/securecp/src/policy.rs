//! Where the trust policy is found, and how its key files are read.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use securecp_registry::is_there;
use securecp_trust::{KEY_LIMIT, POLICY_LIMIT, Policy};

use crate::failure::Failure;
use crate::files::read_bounded;
use crate::request::PolicyChoice;

/// Places of the system, after the user's.
const SYSTEM: [&str; 2] = ["/etc/containers/policy.json", "/usr/share/containers/policy.json"];

/// Reads one environment variable.
type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Loads the policy that holds for this run.
pub(crate) fn load(choice: &PolicyChoice) -> Result<Policy, Failure> {
    match choice {
        PolicyChoice::AcceptAnything => {
            warn_insecure();
            Ok(Policy::insecure_accept_anything())
        }
        PolicyChoice::File(path) => parse(path, &read(path)?),
        PolicyChoice::Search => find(&|name| std::env::var_os(name)),
    }
}

/// Reads a key file that the policy names, a byte more than allowed at most.
pub(crate) fn read_key(path: &str) -> io::Result<Vec<u8>> {
    read_bounded(Path::new(path), KEY_LIMIT)
}

fn warn_insecure() {
    let _ = writeln!(
        io::stderr(),
        "securecp: warning: --insecure-policy: NO TRUST POLICY APPLIES, images are copied without being judged"
    );
}

/// The first policy of the search path. A file that is there but cannot be read ends the search with an error.
fn find(variable: Variable<'_>) -> Result<Policy, Failure> {
    if let Some(path) = named(variable, "CONTAINERS_POLICY_JSON") {
        let path = PathBuf::from(path);
        let bytes = read(&path).context("$CONTAINERS_POLICY_JSON")?;
        return parse(&path, &bytes);
    }
    let places = places(variable);
    for path in &places {
        if is_there(path).map_err(|error| unreadable(path, error))? {
            return parse(path, &read(path)?);
        }
    }
    Err(nowhere(&places))
}

/// The user's file, then the system's.
fn places(variable: Variable<'_>) -> Vec<PathBuf> {
    let config = named(variable, "XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| named(variable, "HOME").map(|home| Path::new(&home).join(".config")));
    let user = config.map(|folder| folder.join("containers/policy.json"));
    user.into_iter().chain(SYSTEM.map(PathBuf::from)).collect()
}

/// A variable that is set to something.
fn named(variable: Variable<'_>, name: &str) -> Option<OsString> {
    variable(name).filter(|value| !value.is_empty())
}

fn nowhere(places: &[PathBuf]) -> Failure {
    let list: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
    let first = list.first().map_or("policy.json", String::as_str);
    Failure::new(format!("no policy.json file found, looked for {}", list.join(", "))).hint(format!(
        "{{\"default\": [{{\"type\": \"reject\"}}]}} in {first} refuses everything, and entries under \
         \"transports\" then admit what you trust; --policy FILE names another file, --insecure-policy judges nothing"
    ))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_bounded(path, POLICY_LIMIT).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("loading trust policy {}", path.display()))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Policy, Failure> {
    let parsed = Policy::parse(bytes);
    Ok(parsed.with_context(|| format!("loading trust policy {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ACCEPT: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

    fn variables<'a>(pairs: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, p)| p.as_os_str().to_owned())
    }

    #[test]
    fn looks_where_the_reference_looks() {
        let home = Path::new("/home/u");
        let found = places(&variables(&[("HOME", home)]));
        assert_eq!(found[0], Path::new("/home/u/.config/containers/policy.json"));
        assert_eq!(found[1..], SYSTEM.map(PathBuf::from));
        let xdg = Path::new("/x");
        let found = places(&variables(&[("HOME", home), ("XDG_CONFIG_HOME", xdg)]));
        assert_eq!(found[0], Path::new("/x/containers/policy.json"));
        assert_eq!(places(&variables(&[("HOME", Path::new(""))])).len(), 2);
    }

    #[test]
    fn the_variable_must_name_a_file_that_exists() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("p.json");
        let set = [("CONTAINERS_POLICY_JSON", file.as_path())];
        let error = find(&variables(&set)).unwrap_err().to_string();
        assert!(error.contains("$CONTAINERS_POLICY_JSON") && error.contains("p.json"), "{error}");
        fs::write(&file, ACCEPT).unwrap();
        assert_eq!(find(&variables(&set)).unwrap(), Policy::insecure_accept_anything());
    }

    #[test]
    fn a_broken_file_ends_the_search() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("containers");
        fs::create_dir(&folder).unwrap();
        let set = [("XDG_CONFIG_HOME", place.path())];
        fs::write(folder.join("policy.json"), ACCEPT).unwrap();
        assert!(find(&variables(&set)).is_ok());
        fs::write(folder.join("policy.json"), "{}").unwrap();
        let error = find(&variables(&set)).unwrap_err().to_string();
        assert!(error.contains("Default policy is missing"), "{error}");
        fs::remove_file(folder.join("policy.json")).unwrap();
        fs::create_dir(folder.join("policy.json")).unwrap();
        assert!(find(&variables(&set)).unwrap_err().to_string().contains("loading trust policy"));
        // The policy lives elsewhere, in a volume that is not mounted now: the system's does not stand in for it.
        fs::remove_dir(folder.join("policy.json")).unwrap();
        std::os::unix::fs::symlink("/nowhere/policy.json", folder.join("policy.json")).unwrap();
        assert!(find(&variables(&set)).unwrap_err().to_string().contains("loading trust policy"));
    }

    #[test]
    fn without_any_file_the_hint_shows_how_to_make_one() {
        let failure = nowhere(&[PathBuf::from("/a/policy.json"), PathBuf::from("/b")]);
        assert_eq!(failure.to_string(), "no policy.json file found, looked for /a/policy.json, /b");
    }
}
