//! Credential helpers: asked through pipes, never with a secret in their arguments.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use securecp_layer::Scope;
use securecp_registry::{Access, AuthStore, Class, Environment, Key, LoggedOut, Login, Secret};
use tempfile::TempDir;

use crate::peers::{blob, client, free_address, plain, push};

/// A helper that keeps one entry per server in a file, and writes down its arguments.
const KEEPER: &str = r#"#!/bin/sh
PATH=/usr/bin:/bin
dir=$(dirname "$0")/kept; mkdir -p "$dir"
echo "$0 $*" >> "$dir/arguments"
case $1 in
store) in=$(cat); name=$(echo "$in" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr '/:' '__'); echo "$in" > "$dir/$name";;
get) read -r name; name=$(echo "$name" | tr '/:' '__')
  if [ -f "$dir/$name" ]; then cat "$dir/$name"; else echo "credentials not found in native keychain"; exit 1; fi;;
erase) read -r name; rm -f "$dir/$(echo "$name" | tr '/:' '__')";;
esac
"#;

fn helper(root: &Path, name: &str, script: &str) {
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let file = bin.join(format!("docker-credential-{name}"));
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn store(root: &Path, config: &str) -> AuthStore {
    let file = root.join("auth.json");
    std::fs::write(&file, config).unwrap();
    AuthStore::choose(Some(&file), None, &Environment::inside(root)).unwrap()
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[test]
fn a_helper_keeps_finds_and_forgets() {
    let root = TempDir::new().unwrap();
    helper(root.path(), "keeper", KEEPER);
    let store = store(root.path(), r#"{"credHelpers":{"r.example":"keeper"}}"#);
    let scope = Scope::new();
    assert!(store.find(&key("r.example"), &scope).unwrap().is_none());
    store.store(&key("r.example"), "me", &Secret::new("geheim".to_owned()), &scope).unwrap();
    assert_eq!(store.find(&key("r.example/a"), &scope).unwrap().unwrap().user(), "me");
    assert!(!std::fs::read_to_string(store.path()).unwrap().contains("\"auth\""));
    assert_eq!(store.remove(&key("r.example"), &scope).unwrap(), LoggedOut::Removed);
    assert_eq!(store.remove(&key("r.example"), &scope).unwrap(), LoggedOut::NotLoggedIn);
    let arguments = std::fs::read_to_string(root.path().join("bin/kept/arguments")).unwrap();
    assert!(arguments.contains("store") && !arguments.contains("geheim"), "{arguments}");
}

#[test]
fn dockers_store_for_everything_is_asked() {
    let root = TempDir::new().unwrap();
    let script = "#!/bin/sh\nread -r server\necho \"{\\\"Username\\\":\\\"<token>\\\",\\\"Secret\\\":\\\"$server\\\"}\"\n";
    helper(root.path(), "desktop", script);
    let store = store(root.path(), r#"{"auths":{},"credsStore":"desktop"}"#);
    let found = store.find(&key("any.example"), &Scope::new()).unwrap().unwrap();
    assert!(matches!(found, securecp_registry::Credentials::Identity { .. }));
}

#[test]
fn a_helper_that_fails_or_is_missing_is_an_error_and_not_nobody() {
    let root = TempDir::new().unwrap();
    helper(root.path(), "broken", "#!/bin/sh\necho 'the keyring is locked'\nexit 1\n");
    helper(root.path(), "talks", "#!/bin/sh\necho 'not json'\n");
    for name in ["broken", "talks", "missing", "../bin/sh"] {
        let store = store(root.path(), &format!(r#"{{"credsStore":"{name}"}}"#));
        let error = store.find(&key("r.example"), &Scope::new()).unwrap_err();
        assert_eq!(error.class(), Class::Local, "{name}");
        assert!(error.to_string().contains("credential helper"), "{error}");
        let environment = Environment::inside(root.path());
        let authfile = Some(store.path().to_owned());
        let access = Access { login: Login::Configured, authfile, environment, ..plain() };
        let (descriptor, bytes) = blob(1, 1);
        let error = push(&client(free_address(), "a", access), &descriptor, &bytes).unwrap_err();
        assert!(!error.is_not_found());
    }
}

/// What lies where one happens to be may be somebody else's.
#[test]
fn a_helper_is_not_looked_for_in_relative_folders() {
    let here = std::env::current_dir().unwrap();
    let root = TempDir::new_in(&here).unwrap();
    helper(root.path(), "keeper", KEEPER);
    let relative = root.path().strip_prefix(&here).unwrap().join("bin");
    let file = root.path().join("auth.json");
    std::fs::write(&file, r#"{"credsStore":"keeper"}"#).unwrap();
    for (folder, found) in [(relative, false), (root.path().join("bin"), true)] {
        let program_path = Some(folder.into_os_string());
        let environment = Environment { program_path, ..Environment::inside(root.path()) };
        let store = AuthStore::choose(Some(&file), None, &environment).unwrap();
        let asked = store.find(&key("r.example"), &Scope::new());
        assert_eq!(asked.is_ok(), found);
        let error = asked.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found || error.contains("no such program"), "{error}");
        assert_eq!(root.path().join("bin/kept").exists(), found, "whether it ran");
    }
}

#[test]
fn a_helper_that_hangs_ends_with_the_job() {
    let root = TempDir::new().unwrap();
    helper(root.path(), "hangs", "#!/bin/sh\nexec /usr/bin/sleep 60\n");
    let store = store(root.path(), r#"{"credsStore":"hangs"}"#);
    let start = Instant::now();
    let scope = Scope::lasting(Duration::from_millis(200));
    assert!(store.find(&key("r.example"), &scope).is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_helper_leaves_behind_is_not_waited_for_and_ends_with_it() {
    let root = TempDir::new().unwrap();
    let mark = root.path().join("mark");
    helper(root.path(), "leaves", "#!/bin/sh\n/usr/bin/sleep 60 &\necho '{}'\n");
    let waits = format!("#!/bin/sh\n(/usr/bin/sleep 1; : > '{}') &\nwait\n", mark.display());
    helper(root.path(), "waits", &waits);
    let start = Instant::now();
    for (name, time) in [("leaves", 60), ("waits", 0)] {
        let store = store(root.path(), &format!(r#"{{"credsStore":"{name}"}}"#));
        let scope = Scope::lasting(Duration::from_secs(time) + Duration::from_millis(300));
        assert!(store.find(&key("r.example"), &scope).is_err(), "{name}");
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!mark.exists(), "its children are ended with it");
}
