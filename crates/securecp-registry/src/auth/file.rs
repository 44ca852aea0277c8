use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use securecp_oci::json::{self, Limits};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Serializer, Value};
use zeroize::Zeroizing;

use crate::auth::key::Key;
use crate::{Credentials, is_there};

/// Largest file read, in bytes.
const LIMIT: usize = 4 << 20;

/// A file with credentials (containers-auth.json(5), and Docker's `config.json`, which has the same shape). Members
/// that are not known here stay as they are.
pub(crate) struct AuthFile {
    path: PathBuf,
    root: Map<String, Value>,
    legacy: bool,
}

/// What one file says of a key.
pub(crate) enum Entry {
    /// Ask this helper.
    Helper(String),
    /// These are they.
    Stored(Credentials),
}

impl AuthFile {
    /// Reads the file; `None` if there is none. `.dockercfg` is the inner table alone.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        let shown = path.display();
        let bytes = match read_if_there(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => return Err(format!("reading {shown}: {error}")),
        };
        let legacy = path.file_name().is_some_and(|name| name == ".dockercfg");
        let root = if bytes.iter().all(u8::is_ascii_whitespace) {
            Map::new()
        } else {
            // The parser's own message may quote the file, which holds secrets.
            match json::parse(&bytes, Limits::bytes(LIMIT)) {
                Ok(Value::Object(root)) => root,
                _ => return Err(format!("{shown} is not a JSON object")),
            }
        };
        Ok(Some(Self { path: path.to_owned(), root, legacy }))
    }

    /// Reads the file for a change, or begins an empty one.
    pub(crate) fn read_or_new(path: &Path) -> Result<Self, String> {
        let new = || Self { path: path.to_owned(), root: Map::new(), legacy: false };
        Ok(Self::read(path)?.unwrap_or_else(new))
    }

    /// The entry for `key`: a helper for its host, then the longest stored key, then Docker's store for everything.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Entry>, String> {
        if let Some(helper) = self.helper_of(key.host()) {
            return Ok(Some(Entry::Helper(helper)));
        }
        for candidate in key.candidates() {
            if let Some(found) = self.stored(|stored| stored == candidate)? {
                return Ok(Some(Entry::Stored(found)));
            }
        }
        if let Some(found) = self.stored(|stored| key.is_legacy(stored))? {
            return Ok(Some(Entry::Stored(found)));
        }
        let store = self.root.get("credsStore").filter(|_| !self.legacy).and_then(Value::as_str);
        Ok(store.filter(|store| !store.is_empty()).map(|store| Entry::Helper(store.to_owned())))
    }

    /// Stores credentials under exactly this key.
    pub(crate) fn set(&mut self, key: &str, user: &str, password: &str) -> Result<(), String> {
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let mut entry = Map::new();
        entry.insert("auth".to_owned(), STANDARD.encode(pair.as_bytes()).into());
        self.auths_mut()?.insert(key.to_owned(), entry.into());
        Ok(())
    }

    /// Removes every entry that `matches`; whether there was one.
    pub(crate) fn remove(&mut self, matches: impl Fn(&str) -> bool) -> Result<bool, String> {
        let auths = self.auths_mut()?;
        let before = auths.len();
        auths.retain(|key, _| !matches(key));
        Ok(auths.len() < before)
    }

    /// The helper for a host.
    pub(crate) fn helper_of(&self, host: &str) -> Option<String> {
        let helpers = self.root.get("credHelpers").and_then(Value::as_object)?;
        helpers.get(host).and_then(Value::as_str).filter(|h| !h.is_empty()).map(str::to_owned)
    }

    /// Writes the file in one step: 0600, in a folder of 0700, behind symbolic links.
    pub(crate) fn write(&self) -> Result<(), String> {
        self.try_write().map_err(|error| format!("writing {}: {error}", self.path.display()))
    }

    fn try_write(&self) -> io::Result<()> {
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder =
            target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        let text = self.text()?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    }

    /// Indented with tabs, as the reference writes it.
    fn text(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(Vec::new());
        let formatter = PrettyFormatter::with_indent(b"\t");
        self.root.serialize(&mut Serializer::with_formatter(&mut *out, formatter))?;
        Ok(out)
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        if self.legacy { Some(&self.root) } else { self.root.get("auths")?.as_object() }
    }

    fn auths_mut(&mut self) -> Result<&mut Map<String, Value>, String> {
        let auths = self.root.entry("auths").or_insert_with(|| Map::new().into());
        if auths.is_null() {
            *auths = Map::new().into();
        }
        let path = self.path.display();
        auths.as_object_mut().ok_or_else(|| format!("{path}: auths is not an object"))
    }

    /// The first entry whose key `matches` and that holds something.
    fn stored(&self, matches: impl Fn(&str) -> bool) -> Result<Option<Credentials>, String> {
        let entries = self.auths().into_iter().flatten().filter(|(key, _)| matches(key));
        for (key, entry) in entries {
            let read = read_entry(entry);
            let read = read.map_err(|why| format!("{}: {key}: {why}", self.path.display()))?;
            if read.is_some() {
                return Ok(read);
            }
        }
        Ok(None)
    }
}

fn read_entry(entry: &Value) -> Result<Option<Credentials>, String> {
    let text = |name| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let pair = text("auth").map(decode).transpose()?.flatten();
    if let Some(token) = text("identitytoken") {
        let user = pair.map(|(user, _)| user).unwrap_or_default();
        return Ok(Some(Credentials::Identity { user, token: token.to_owned().into() }));
    }
    Ok(pair.map(|(user, password)| Credentials::Password { user, password: password.into() }))
}

/// `user:password` in base64. Without a colon it is nothing, as in the reference; trailing NULs come from old Docker.
fn decode(auth: &str) -> Result<Option<(String, String)>, String> {
    let bytes = STANDARD.decode(auth).map_err(|_| "auth is not base64".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not text".to_owned())?;
    let text = Zeroizing::new(text);
    let Some((user, password)) = text.split_once(':') else {
        tracing::warn!("an auth entry without a colon is ignored");
        return Ok(None);
    };
    Ok(Some((user.to_owned(), password.trim_end_matches('\0').to_owned())))
}

fn read_if_there(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    if !is_there(path)? {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> AuthFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        fs::write(&path, text).unwrap();
        AuthFile::read(&path).unwrap().unwrap()
    }

    fn user(file: &AuthFile, key: &str) -> String {
        match file.find(&Key::parse(key).unwrap()) {
            Ok(Some(Entry::Stored(Credentials::Password { user, .. }))) => user,
            Ok(Some(Entry::Stored(Credentials::Identity { token, .. }))) => {
                format!("<{}>", token.expose())
            }
            Ok(Some(Entry::Helper(name))) => format!("!{name}"),
            Ok(None) => String::new(),
            Err(error) => error,
        }
    }

    fn auth(user: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:pw:x")))
    }

    #[test]
    fn the_longest_key_wins_and_helpers_come_first() {
        let text = format!(
            r#"{{"auths":{{"r.example":{},"r.example/a":{},"r.example/a/b/c":{},"https://index.docker.io/v1/":{},
                "empty.example":{{}},"https://old.example/v2/":{},"id.example":{{"identitytoken":"t"}}}},
                "credHelpers":{{"h.example":"pass"}}}}"#,
            auth("host"),
            auth("a"),
            auth("abc"),
            auth("hub"),
            auth("old"),
        );
        let file = file(&text);
        for (key, found) in [
            ("r.example", "host"),
            ("r.example/x", "host"),
            ("r.example/a", "a"),
            ("r.example/a/b", "a"),
            ("r.example/a/b/c/d", "abc"),
            ("r.example/ab", "host"),
            ("docker.io/library/busybox", "hub"),
            ("old.example/x", "old"),
            ("id.example", "<t>"),
            ("h.example/x", "!pass"),
            ("empty.example", ""),
            ("other.example", ""),
        ] {
            assert_eq!(user(&file, key), found, "{key}");
        }
    }

    #[test]
    fn dockers_store_is_asked_last() {
        let file = file(&format!(
            r#"{{"auths":{{"r.example":{},"s.example":{{}}}},"credsStore":"desktop"}}"#,
            auth("u")
        ));
        assert_eq!(user(&file, "r.example"), "u");
        assert_eq!(user(&file, "s.example"), "!desktop");
    }

    #[test]
    fn a_malformed_file_is_an_error_that_shows_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        for text in ["{geheim", "[]", r#"{"auths":{},"auths":{"geheim":{}}}"#] {
            fs::write(&path, text).unwrap();
            let Err(error) = AuthFile::read(&path) else { panic!("{text}") };
            assert!(!error.contains("geheim"));
        }
        let bad = file(r#"{"auths":{"r.example":{"auth":"%%%"}}}"#);
        assert!(bad.find(&Key::parse("r.example").unwrap()).is_err());
        let odd = file(&format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}}}}}}"#,
            STANDARD.encode("nocolon")
        ));
        assert_eq!(user(&odd, "r.example"), "");
    }

    #[test]
    fn a_change_keeps_what_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/auth.json");
        let mut file = AuthFile::read_or_new(&path).unwrap();
        file.root.insert("HttpHeaders".to_owned(), "kept".into());
        file.set("r.example/a", "u", "p:w").unwrap();
        file.write().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let mut again = AuthFile::read(&path).unwrap().unwrap();
        assert_eq!(user(&again, "r.example/a"), "u");
        assert!(again.remove(|key| key == "r.example/a").unwrap());
        assert!(!again.remove(|key| key == "r.example/a").unwrap());
        again.write().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"HttpHeaders\": \"kept\",\n\t\"auths\": {}\n}"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.json"), folder.path().join("auth.json"));
        fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut file = AuthFile::read_or_new(&link).unwrap();
        file.set("r.example", "u", "p").unwrap();
        file.write().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let nowhere = folder.path().join("nowhere.json");
        std::os::unix::fs::symlink("/nowhere/real.json", &nowhere).unwrap();
        assert!(AuthFile::read(&nowhere).is_err() && AuthFile::read_or_new(&nowhere).is_err());
        assert!(fs::read_to_string(&real).unwrap().contains("r.example"));
    }
}
