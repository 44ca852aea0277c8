//! The YAML file of `sync --src yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use regex::bytes::{Regex, RegexBuilder};
use securecp_oci::{Escaped, Tag};
use serde::Deserialize;
use serde_norway::{Mapping, Value};

use super::semver::SemverRange;
use crate::args::Secret;
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::request::Globals;

/// Largest file that is read, in bytes: 16 MiB.
const FILE_LIMIT: usize = 16 << 20;

/// Largest compiled pattern, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// What the members of a registry may be.
const MEMBERS: [&str; 6] =
    ["images", "images-by-tag-regex", "images-by-semver", "credentials", "tls-verify", "cert-dir"];

/// One registry of the file.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) registry: String,
    pub(super) repositories: Vec<(String, Wanted)>,
    pub(super) credentials: Option<(String, Secret)>,
    pub(super) tls_verify: Option<bool>,
    pub(super) cert_dir: Option<PathBuf>,
}

/// Which images of a repository.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Every tag.
    All,
    /// These tags and digests.
    Named(Vec<String>),
    /// The tags in which the pattern is found.
    Matching(Regex),
    /// The tags that are versions within a range.
    Within(SemverRange),
}

impl Wanted {
    /// Whether a tag is wanted; those that are named are not asked for.
    pub(super) fn admits(&self, tag: &Tag) -> bool {
        match self {
            Self::All => true,
            Self::Named(_) => false,
            Self::Matching(pattern) => pattern.is_match(tag.as_str().as_bytes()),
            Self::Within(range) => range.admits(tag.as_str()),
        }
    }
}

#[derive(Deserialize)]
#[serde(
    rename_all = "kebab-case",
    expecting = "a mapping with images, images-by-tag-regex or images-by-semver"
)]
struct RawRegistry {
    #[serde(default)]
    images: BTreeMap<String, Option<Vec<String>>>,
    #[serde(default)]
    images_by_tag_regex: BTreeMap<String, String>,
    #[serde(default)]
    images_by_semver: BTreeMap<String, String>,
    credentials: Option<RawCredentials>,
    tls_verify: Option<bool>,
    cert_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(expecting = "a mapping with username and password")]
struct RawCredentials {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Reads the file; everything in it is checked before any registry is asked.
pub(super) fn read(file: &Path, globals: &Globals) -> Result<Vec<Listed>, Failure> {
    let shown = file.display();
    let bytes = read_bounded(file, FILE_LIMIT).with_context(|| format!("reading {shown}"))?;
    if bytes.len() > FILE_LIMIT {
        return Err(Failure::new(format!("{shown} has more than {FILE_LIMIT} bytes")));
    }
    // Read twice: the first reading knows members that stand twice, the second keeps tags like 1.10 as they are written.
    let unmarshal = || format!("Failed to unmarshal \"{shown}\"");
    let known: Value = serde_norway::from_slice(&bytes).with_context(unmarshal)?;
    check_credentials(&known).with_context(unmarshal)?;
    let raw: Option<BTreeMap<String, RawRegistry>> =
        serde_norway::from_slice(&bytes).with_context(unmarshal)?;
    check_members(known.as_mapping().unwrap_or(&Mapping::new()), globals)?;
    let listed = raw.unwrap_or_default().into_iter().map(|(name, raw)| listed(name, raw, globals));
    let listed = listed.collect::<Result<_, _>>();
    listed.map_err(|failure: Failure| failure.context(shown.to_string()))
}

/// What stands where credentials belong must not get into an error, as what is not of the expected kind would.
fn check_credentials(known: &Value) -> anyhow::Result<()> {
    if !matches!(known, Value::Mapping(_) | Value::Null) {
        return Err(anyhow!("expected a mapping of registries"));
    }
    for (registry, members) in known.as_mapping().into_iter().flatten() {
        let credentials = members.get("credentials");
        if credentials.is_some_and(|found| !matches!(found, Value::Mapping(_) | Value::Null)) {
            let registry = Escaped::new(registry.as_str().unwrap_or_default());
            return Err(anyhow!(
                "{registry}: credentials: expected a mapping with username and password"
            ));
        }
    }
    Ok(())
}

fn check_members(registries: &Mapping, globals: &Globals) -> Result<(), Failure> {
    for (registry, members) in registries {
        let members = members.as_mapping().into_iter().flat_map(Mapping::keys);
        for name in members.filter_map(Value::as_str).filter(|name| !MEMBERS.contains(name)) {
            let registry = registry.as_str().unwrap_or_default();
            globals.no_effect(format!(
                "{}: \"{}\" is not known and has no effect, expected {}",
                Escaped::new(registry),
                Escaped::new(name),
                MEMBERS.join(", ")
            ))?;
        }
    }
    Ok(())
}

fn listed(registry: String, raw: RawRegistry, globals: &Globals) -> Result<Listed, Failure> {
    let named = raw.images.into_iter().map(|(repository, names)| {
        let names = names.filter(|names| !names.is_empty());
        Ok((repository, names.map_or(Wanted::All, Wanted::Named)))
    });
    let matching = raw.images_by_tag_regex.into_iter().map(|(repository, text)| {
        let pattern = pattern(&text).with_context(|| format!("{repository}: \"{text}\""))?;
        Ok((repository, Wanted::Matching(pattern)))
    });
    let within = raw.images_by_semver.into_iter().map(|(repository, text)| {
        let range =
            SemverRange::parse(&text).map_err(|problem| anyhow!("{repository}: {problem}"))?;
        Ok((repository, Wanted::Within(range)))
    });
    let repositories: anyhow::Result<Vec<_>> = named.chain(matching).chain(within).collect();
    let repositories = repositories?;
    if repositories.is_empty() {
        globals
            .no_effect(format!("{}: No images specified for registry", Escaped::new(&registry)))?;
    }
    let given = raw.credentials.filter(|c| !c.username.is_empty() || !c.password.is_empty());
    Ok(Listed {
        registry,
        repositories,
        credentials: given.map(|c| (c.username, Secret::new(&c.password))),
        tls_verify: raw.tls_verify,
        cert_dir: raw.cert_dir.filter(|path| !path.as_os_str().is_empty()),
    })
}

/// A pattern of Go's regexp: its classes are ASCII, and a match anywhere counts.
fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(PATTERN_LIMIT).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, lenient: bool) -> Result<Vec<Listed>, Failure> {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("list.yaml");
        std::fs::write(&file, text).unwrap();
        let globals = Globals::try_from(crate::args::read(["securecp", "demo"]).unwrap().globals);
        read(&file, &Globals { lenient, ..globals.unwrap() })
    }

    fn admitted(wanted: &Wanted, tags: &str) -> String {
        let admits = |tag: &&str| wanted.admits(&tag.parse().unwrap());
        tags.split(' ').filter(admits).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reads_what_the_reference_reads() {
        let found = parse(
            "registry.example:\n  images:\n    busybox: []\n    redis:\n      - 1.10\n      - \"2.0\"\n      - sha256:00\n    \
             all:\n  images-by-tag-regex:\n    nginx: ^1\\.13\\.[12]-alpine-perl$\n    part: rc\n  images-by-semver:\n    \
             alpine: \">= 3.12.0\"\n  credentials: {username: john, password: secret}\n  tls-verify: true\n  cert-dir: /c\n\
             quay.example:\n  images: {x: [latest]}\n",
            false,
        )
        .unwrap();
        let [quay, registry] = &found[..] else { panic!("{found:?}") };
        assert_eq!(quay.registry, "quay.example");
        assert!(quay.credentials.is_none() && quay.tls_verify.is_none() && quay.cert_dir.is_none());
        let (user, password) = registry.credentials.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("john", "secret"));
        assert_eq!(
            (registry.tls_verify, registry.cert_dir.as_deref()),
            (Some(true), Some(Path::new("/c")))
        );
        let of = |name: &str| &registry.repositories.iter().find(|(n, _)| n == name).unwrap().1;
        assert!(matches!(of("busybox"), Wanted::All) && matches!(of("all"), Wanted::All));
        assert!(
            matches!(of("redis"), Wanted::Named(names) if *names == ["1.10", "2.0", "sha256:00"])
        );
        let tags =
            "1.13.1-alpine-perl 1.13.3-alpine-perl x1.13.1-alpine-perl 3.12.1 v3.13 3.1 1.0-rc.1";
        assert_eq!(admitted(of("nginx"), tags), "1.13.1-alpine-perl");
        assert_eq!(admitted(of("part"), tags), "1.0-rc.1", "a match anywhere counts");
        assert_eq!(admitted(of("alpine"), tags), "3.12.1 v3.13");
        assert!(parse("", false).unwrap().is_empty());
    }

    #[test]
    fn says_what_is_wrong_before_any_registry_is_asked() {
        for (text, says) in [
            ("r: {images: [a]}", "Failed to unmarshal"),
            ("r: {images: {a: [v1]}, tls-verify: maybe}", "Failed to unmarshal"),
            ("r: {images: {a: [v1]}}\nr: {}", "Failed to unmarshal"),
            ("r: {images: {a: [v1], a: [v2]}}", "Failed to unmarshal"),
            ("r: {images-by-tag-regex: {a: '('}}", "list.yaml: a: \"(\": "),
            (
                "r: {images-by-semver: {a: latest}}",
                "list.yaml: a: \"latest\" is no version constraint",
            ),
            ("r: {images-by-tag-regex: {a: 'a{999}{999}'}}", "list.yaml: a: "),
        ] {
            let error = parse(text, true).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in ["r: {image: {a: [v1]}, images: {a: [v1]}}", "r: {tls-verify: true}"] {
            assert!(parse(text, false).is_err(), "{text}");
            assert!(parse(text, true).is_ok(), "{text}");
        }
        for credentials in ["{password: p4ss}", "user:p4ss", "[p4ss]", "{password: {a: p4ss}}"] {
            let text = format!("r: {{images: {{a: []}}, credentials: {credentials}}}");
            let read = parse(&text, false);
            assert!(!format!("{read:?}").contains("p4ss"), "{read:?}");
        }
        assert!(!format!("{:?}", parse("p4ss", false)).contains("p4ss"));
    }
}
