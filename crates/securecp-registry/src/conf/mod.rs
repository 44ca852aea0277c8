//! `registries.conf`: which registry is met where, and which not at all (containers-registries.conf(5), version 2).

mod entry;
mod known;
mod search;

use std::fs::File as OpenFile;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use securecp_oci::{Escaped, Reference};
use serde::Deserialize;

use crate::Environment;
use crate::auth::FILES;
use entry::{Entry, Written};

/// Largest file read, in bytes.
const LIMIT: u64 = 4 << 20;

/// What all the files say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conf {
    entries: Vec<Entry>,
    /// Where credentials are looked for.
    pub(crate) helpers: Vec<String>,
    files: Vec<PathBuf>,
}

/// One place where an image may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) reference: Reference,
    pub(crate) insecure: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    registry: Vec<Written>,
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    credential_helpers: Option<Vec<String>>,
    /// Version 1 kept everything below this.
    registries: Option<toml::Value>,
}

impl Default for Conf {
    fn default() -> Self {
        Self { entries: Vec::new(), helpers: vec![FILES.to_owned()], files: Vec::new() }
    }
}

impl Conf {
    /// Reads the files that apply.
    pub(crate) fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, String> {
        let mut conf = Self::default();
        for path in search::files(named, environment)? {
            let text = read(&path)?;
            conf.add(&text).map_err(|why| format!("{}: {why}", path.display()))?;
            for key in known::unknown_keys(&text) {
                let (file, key) = (path.display(), Escaped::new(&key));
                tracing::warn!("{file}: {key} is not known and has no effect");
            }
            conf.files.push(path);
        }
        conf.check()?;
        Ok(conf)
    }

    /// The places where `reference` is to be read, mirrors first, the registry itself last.
    pub(crate) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, String> {
        let name = reference.to_string();
        let Some((entry, length)) = self.find(&name) else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: false }]);
        };
        self.refuse_blocked(entry)?;
        let mirrors = entry.mirrors.iter().filter(|mirror| mirror.pull.takes(reference));
        let mut places: Vec<(&str, bool)> =
            mirrors.map(|mirror| (mirror.location.as_str(), mirror.insecure)).collect();
        places.push((&entry.location, entry.insecure));
        let endpoint = |(location, insecure): (&str, bool)| {
            let rewritten = match location {
                "" => name.clone(),
                location => format!("{location}{}", &name[length..]),
            };
            let reference = Reference::parse_any(&rewritten).map_err(|error| {
                format!("registry {}: rewritten to {rewritten:?}: {error}", entry.prefix)
            })?;
            Ok(Endpoint { reference, insecure })
        };
        places.into_iter().map(endpoint).collect()
    }

    /// Whether `name` may be met without verification, where it is not rewritten.
    pub(crate) fn insecure(&self, name: &str) -> Result<bool, String> {
        match self.find(name) {
            Some((entry, _)) => self.refuse_blocked(entry).map(|()| entry.insecure),
            None => Ok(false),
        }
    }

    /// The entry with the longest prefix, and how much of the name it stands for.
    fn find(&self, name: &str) -> Option<(&Entry, usize)> {
        let found = self.entries.iter().filter_map(|entry| Some((entry, entry.matched(name)?)));
        found.max_by_key(|(entry, _)| entry.prefix.len())
    }

    fn refuse_blocked(&self, entry: &Entry) -> Result<(), String> {
        if !entry.blocked {
            return Ok(());
        }
        let files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        let prefix = Escaped::new(&entry.prefix);
        Err(format!("registry {prefix} is blocked in one of {}", files.join(", ")))
    }

    /// An entry with the same prefix as an earlier one replaces it whole.
    fn add(&mut self, text: &str) -> Result<(), String> {
        // The message of the parser would quote the file over several lines; its first line says enough.
        let first_line = |error: toml::de::Error| error.message().to_owned();
        let file: File = toml::from_str(text).map_err(first_line)?;
        if file.registries.is_some() {
            return Err(
                "registries.conf version 1 is not supported, expected [[registry]]".to_owned()
            );
        }
        check_names(&file)?;
        for written in file.registry {
            let entry = Entry::try_from(written)?;
            self.entries.retain(|known| known.prefix != entry.prefix);
            self.entries.push(entry);
        }
        if let Some(helpers) = file.credential_helpers {
            self.helpers = helpers;
        }
        Ok(())
    }

    /// One place cannot be blocked and open, or secure and insecure, at the same time.
    fn check(&self) -> Result<(), String> {
        for (number, entry) in self.entries.iter().enumerate() {
            let same =
                |other: &&Entry| other.location == entry.location && !entry.location.is_empty();
            let other = self.entries[..number].iter().find(same);
            let differs =
                |other: &Entry| other.insecure != entry.insecure || other.blocked != entry.blocked;
            if other.is_some_and(differs) {
                let shown = Escaped::new(&entry.location);
                return Err(format!(
                    "registry {shown}: entries contradict each other on insecure or blocked"
                ));
            }
        }
        Ok(())
    }
}

fn check_names(file: &File) -> Result<(), String> {
    match file.short_name_mode.as_deref() {
        None | Some("" | "enforcing" | "permissive" | "disabled") => {}
        Some(other) => {
            let shown = Escaped::new(other).limit(40).to_string();
            return Err(format!("invalid short-name-mode {shown:?}"));
        }
    }
    let names = file.unqualified_search_registries.iter().flatten();
    match names.into_iter().find(|name| name.contains("://") || name.contains('/')) {
        Some(name) => {
            let shown = Escaped::new(name).to_string();
            Err(format!("invalid unqualified-search-registries entry {shown:?}"))
        }
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |why: String| format!("reading {}: {why}", path.display());
    let mut text = String::new();
    let opened = OpenFile::open(path).map_err(|error| failed(error.to_string()))?;
    let size = opened.take(LIMIT + 1).read_to_string(&mut text);
    match size.map_err(|error| failed(error.to_string()))? {
        size if size as u64 > LIMIT => Err(failed(format!("expected at most {LIMIT} bytes"))),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn conf(text: &str) -> Result<Conf, String> {
        let mut conf = Conf::default();
        conf.add(text)?;
        conf.check()?;
        Ok(conf)
    }

    fn places(conf: &Conf, reference: &str) -> Vec<String> {
        let found = conf.endpoints(&reference.parse().unwrap()).unwrap();
        let shown = |e: &Endpoint| format!("{}{}", if e.insecure { "!" } else { "" }, e.reference);
        found.iter().map(shown).collect()
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_longest_prefix_wins_and_is_rewritten() {
        let conf = conf(
            r#"
            [[registry]]
            location = "a.example"
            insecure = true
            [[registry]]
            prefix = "a.example/team/"
            location = "b.example:5000/mirror/"
            [[registry]]
            prefix = "*.c.example"
            location = "d.example/all"
            [[registry]]
            prefix = "*.e.example"
            insecure = true
            [[registry]]
            prefix = "docker.io/library"
            location = "hub.example/lib"
            "#,
        )
        .unwrap();
        for (name, place) in [
            ("a.example/x:1", "!a.example/x:1"),
            ("a.example/team/x:1", "b.example:5000/mirror/x:1"),
            ("a.example/teams/x:1", "!a.example/teams/x:1"),
            ("a.example:5000/x:1", "!a.example:5000/x:1"),
            ("aa.example/x:1", "aa.example/x:1"),
            ("r.c.example/x:1", "d.example/all/x:1"),
            ("c.example/x:1", "c.example/x:1"),
            ("r.e.example:99/x:1", "!r.e.example:99/x:1"),
            ("x.example/r.e.example/x:1", "x.example/r.e.example/x:1"),
            ("busybox", "hub.example/lib/busybox:latest"),
        ] {
            assert_eq!(places(&conf, name), [place], "{name}");
        }
    }

    #[test]
    fn mirrors_come_first_for_what_they_are_meant_for() {
        let text = r#"
            [[registry]]
            location = "a.example"
            [[registry.mirror]]
            location = "m1.example"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "m2.example/x"
            insecure = true
            pull-from-mirror = "tag-only"
            [[registry.mirror]]
            location = "m3.example"
        "#;
        let all = conf(text).unwrap();
        assert_eq!(
            places(&all, "a.example/i:1"),
            ["!m2.example/x/i:1", "m3.example/i:1", "a.example/i:1"]
        );
        let by_digest = places(&all, &format!("a.example/i@{DIGEST}"));
        assert_eq!(by_digest.len(), 3);
        assert!(
            by_digest[0].starts_with("m1.example/i@") && by_digest[2].starts_with("a.example/")
        );
        let only = "[[registry]]\nlocation=\"a.example\"\nmirror-by-digest-only=true\n\
            [[registry.mirror]]\nlocation=\"m.example\"\n";
        let only = conf(only).unwrap();
        assert_eq!(places(&only, "a.example/i:1").len(), 1);
        assert_eq!(places(&only, &format!("a.example/i@{DIGEST}")).len(), 2);
    }

    #[test]
    fn what_is_blocked_is_refused_for_every_use() {
        let conf =
            conf("[[registry]]\nprefix=\"a.example/bad\"\nlocation=\"b.example\"\nblocked=true\n")
                .unwrap();
        let error = conf.endpoints(&"a.example/bad/x".parse().unwrap()).unwrap_err();
        assert!(error.starts_with("registry a.example/bad is blocked in"), "{error}");
        assert!(conf.insecure("a.example/bad/x").is_err() && conf.insecure("a.example/x").is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for bad in [
            "[registries.search]\nregistries=[\"a\"]\n",
            "[[registry]]\n",
            "[[registry]]\nprefix=\"a.example\"\n",
            "[[registry]]\nlocation=\"https://a.example\"\n",
            "[[registry]]\nprefix=\"*.a.example/x\"\n",
            "[[registry]]\nprefix=\"*a.example\"\n",
            "[[registry]]\nprefix=\"x.*.a.example\"\n",
            "[[registry]]\nlocation=\"a\"\npull-from-mirror=\"all\"\n",
            "[[registry]]\nlocation=\"a\"\n[[registry.mirror]]\n",
            "[[registry]]\nlocation=\"a\"\n[[registry.mirror]]\nlocation=\"m\"\npull-from-mirror=\"some\"\n",
            "[[registry]]\nlocation=\"a\"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation=\"m\"\npull-from-mirror=\"all\"\n",
            "[[registry]]\nlocation=\"a\"\ninsecure=true\n[[registry]]\nprefix=\"b\"\nlocation=\"a\"\n",
            "[[registry]]\nlocation=\"a\"\ninsecure=\"yes\"\n",
            "short-name-mode=\"loose\"\n",
            "unqualified-search-registries=[\"https://a\"]\n",
            "][",
        ] {
            assert!(conf(bad).is_err(), "{bad}");
        }
        conf("future-key=1\n[[registry]]\nlocation=\"a\"\nnew-option=true\n[aliases]\nx=\"y/z\"\n")
            .unwrap();
    }

    #[test]
    fn files_are_found_masked_and_merged_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let to =
            |from: &str, to: &str| format!("[[registry]]\nprefix=\"{from}\"\nlocation=\"{to}\"\n");
        let environment = Environment::inside(root.path());
        let place = |environment: &Environment, named: Option<&Path>, name: &str| {
            places(&Conf::load(named, environment).unwrap(), name).remove(0)
        };
        assert_eq!(place(&environment, None, "a.example/x"), "a.example/x:latest");
        put("etc/containers/registries.conf", &to("a.example", "etc.example"));
        assert_eq!(place(&environment, None, "a.example/x"), "etc.example/x:latest");
        put("etc/containers/registries.conf.d/10-a.conf", &to("a.example", "dropin.example"));
        assert_eq!(place(&environment, None, "a.example/x"), "dropin.example/x:latest");
        put("etc/containers/registries.conf.d/20-a.conf", &to("a.example", "later.example"));
        assert_eq!(place(&environment, None, "a.example/x"), "later.example/x:latest");
        put(
            "home/.config/containers/registries.conf.d/20-a.conf",
            &to("b.example", "mask.example"),
        );
        assert_eq!(place(&environment, None, "a.example/x"), "dropin.example/x:latest");
        put(
            "etc/containers/registries.rootless.conf.d/1000/30.conf",
            &to("a.example", "me.example"),
        );
        assert_eq!(place(&environment, None, "a.example/x"), "me.example/x:latest");
        let named = put("named.conf", &to("c.example", "named.example"));
        assert_eq!(place(&environment, Some(&named), "c.example/x"), "named.example/x:latest");
        assert_eq!(place(&environment, Some(&named), "a.example/x"), "me.example/x:latest");
        let of_variable =
            Environment { registries_conf: Some(named.clone()), ..environment.clone() };
        assert_eq!(place(&of_variable, None, "a.example/x"), "a.example/x:latest");
        let last = put("last.conf", &to("c.example", "last.example"));
        let overridden = Environment { registries_conf_override: Some(last), ..of_variable };
        assert_eq!(place(&overridden, None, "c.example/x"), "last.example/x:latest");
        let masked = root.path().join("home/.config/containers/registries.conf.d/10-a.conf");
        std::os::unix::fs::symlink("/dev/null", masked).unwrap();
        fs::remove_file(root.path().join("etc/containers/registries.rootless.conf.d/1000/30.conf"))
            .unwrap();
        assert_eq!(place(&environment, None, "a.example/x"), "etc.example/x:latest");
        let missing = root.path().join("missing.conf");
        assert!(Conf::load(Some(&missing), &environment).is_err());
    }
}
