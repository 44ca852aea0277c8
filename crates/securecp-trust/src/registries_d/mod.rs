//! containers-registries.d(5): where the signatures of a registry's images live.

mod lookaside;

use std::collections::BTreeMap;

use securecp_oci::{Escaped, ImageIdentity};
use serde_norway::{Mapping, Value};

pub use lookaside::{LookasideBase, LookasideError, SignaturePlace};

/// Largest configuration file that is read, in bytes: 1 MiB.
pub const REGISTRIES_D_LIMIT: usize = 1 << 20;

/// The merged content of a registries.d directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistriesD {
    default: Option<Section>,
    scopes: BTreeMap<String, Section>,
    ignored: Vec<String>,
}

/// What is done with signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Signatures are fetched.
    Read,
    /// Signatures are stored.
    Write,
}

/// The members of one scope, and the file that they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    file: String,
    lookaside: Option<LookasideBase>,
    lookaside_staging: Option<LookasideBase>,
    use_sigstore_attachments: Option<bool>,
}

/// Why a registries.d directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistriesDError {
    /// A file is larger than [`REGISTRIES_D_LIMIT`].
    #[error("{file} has {found} bytes, the limit is {REGISTRIES_D_LIMIT}")]
    TooLarge {
        /// The file.
        file: String,
        /// Bytes found.
        found: usize,
    },
    /// A file is not YAML, or has a key twice.
    #[error("{file} is not valid YAML")]
    Yaml {
        /// The file.
        file: String,
        /// Why.
        source: serde_norway::Error,
    },
    /// A member has the wrong type.
    #[error("{file}: {member} is not {expected}")]
    Type {
        /// The file.
        file: String,
        /// The path of the member.
        member: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A base is not one that can be used.
    #[error("{file}: {member} cannot be used")]
    Base {
        /// The file.
        file: String,
        /// The path of the member.
        member: String,
        /// Why.
        source: LookasideError,
    },
    /// Two files define the same.
    #[error("{member} defined both in {first:?} and {second:?}")]
    Twice {
        /// What is defined.
        member: String,
        /// The file that was read first.
        first: String,
        /// The other file.
        second: String,
    },
}

impl RegistriesD {
    /// Merges files, each with its name, in the order of the directory. No file at all is an empty configuration.
    ///
    /// # Errors
    /// See [`RegistriesDError`].
    pub fn parse<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, RegistriesDError> {
        let mut merged = Self::default();
        for (file, bytes) in files {
            merged.add(&Escaped::new(file).to_string(), bytes)?;
        }
        Ok(merged)
    }

    /// The base below which the signatures of an image live; `None` means the built-in one.
    ///
    /// `identity` is that of the place where the image really is, not of the name that a mirror stands in for.
    pub fn lookaside(
        &self,
        identity: &ImageIdentity,
        direction: Direction,
    ) -> Option<&LookasideBase> {
        self.sections(identity).find_map(|section| match direction {
            Direction::Read => section.lookaside.as_ref(),
            Direction::Write => section.lookaside_staging.as_ref().or(section.lookaside.as_ref()),
        })
    }

    /// Whether sigstore attachments in the registry are read and written; off unless a scope says so.
    pub fn use_sigstore_attachments(&self, identity: &ImageIdentity) -> bool {
        self.sections(identity)
            .find_map(|section| section.use_sigstore_attachments)
            .unwrap_or(false)
    }

    /// Members that no tool knows, for a warning: the reference ignores them too.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The sections that apply, nearest first. Each member comes from the first section that has it: the reference's
    /// code does so, although its manual says otherwise.
    fn sections(&self, identity: &ImageIdentity) -> impl Iterator<Item = &Section> {
        let scopes = std::iter::once(&identity.scope).chain(&identity.namespaces);
        let found: Vec<&Section> = scopes.filter_map(|scope| self.scopes.get(scope)).collect();
        found.into_iter().chain(&self.default)
    }

    fn add(&mut self, file: &str, bytes: &[u8]) -> Result<(), RegistriesDError> {
        let mut reader = Reader { file, ignored: &mut self.ignored };
        let root = reader.root(bytes)?;
        for (key, value) in &root {
            match (key.as_str(), value) {
                (Some("default-docker" | "docker"), Value::Null) => {}
                (Some("default-docker"), value) => {
                    let section = reader.section("default-docker", value)?;
                    claim("\"default-docker\"", self.default.as_ref(), file)?;
                    self.default = Some(section);
                }
                (Some("docker"), value) => {
                    let scopes = reader.mapping("docker", value)?;
                    for (scope, value) in scopes {
                        let scope = reader.text("docker", scope)?;
                        let section = reader.section(&format!("docker.{scope:?}"), value)?;
                        let member = format!("\"docker\" namespace {scope:?}");
                        claim(&member, self.scopes.get(&scope), file)?;
                        self.scopes.insert(scope, section);
                    }
                }
                (key, _) => reader.ignore(key.unwrap_or("?")),
            }
        }
        Ok(())
    }
}

fn claim(member: &str, earlier: Option<&Section>, file: &str) -> Result<(), RegistriesDError> {
    match earlier {
        None => Ok(()),
        Some(earlier) => Err(RegistriesDError::Twice {
            member: member.to_owned(),
            first: earlier.file.clone(),
            second: file.to_owned(),
        }),
    }
}

/// Reads the values of one file.
struct Reader<'a> {
    file: &'a str,
    ignored: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn root(&self, bytes: &[u8]) -> Result<Mapping, RegistriesDError> {
        if bytes.len() > REGISTRIES_D_LIMIT {
            let file = self.file.to_owned();
            return Err(RegistriesDError::TooLarge { file, found: bytes.len() });
        }
        let value: Value = serde_norway::from_slice(bytes)
            .map_err(|source| RegistriesDError::Yaml { file: self.file.to_owned(), source })?;
        match value {
            Value::Null => Ok(Mapping::new()),
            Value::Mapping(root) => Ok(root),
            _ => Err(self.wrong("the top", "a mapping")),
        }
    }

    fn mapping<'v>(&self, member: &str, value: &'v Value) -> Result<&'v Mapping, RegistriesDError> {
        value.as_mapping().ok_or_else(|| self.wrong(member, "a mapping"))
    }

    fn text(&self, member: &str, value: &Value) -> Result<String, RegistriesDError> {
        value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(member, "text"))
    }

    fn section(&mut self, member: &str, value: &Value) -> Result<Section, RegistriesDError> {
        let empty = Mapping::new();
        let members = if value.is_null() { &empty } else { self.mapping(member, value)? };
        let (mut new, mut old) = ([None, None], [None, None]);
        let mut use_sigstore_attachments = None;
        for (key, value) in members {
            let key = self.text(member, key)?;
            let place = format!("{member}.{}", Escaped::new(&key).limit(80));
            match key.as_str() {
                "lookaside" => new[0] = self.base(&place, value)?,
                "lookaside-staging" => new[1] = self.base(&place, value)?,
                "sigstore" => old[0] = self.base(&place, value)?,
                "sigstore-staging" => old[1] = self.base(&place, value)?,
                "use-sigstore-attachments" => {
                    use_sigstore_attachments = self.flag(&place, value)?;
                }
                _ => self.ignore(&place),
            }
        }
        let ([lookaside, lookaside_staging], [sigstore, sigstore_staging]) = (new, old);
        Ok(Section {
            file: self.file.to_owned(),
            lookaside: lookaside.or(sigstore),
            lookaside_staging: lookaside_staging.or(sigstore_staging),
            use_sigstore_attachments,
        })
    }

    /// A base; empty and `null` count as absent.
    fn base(&self, member: &str, value: &Value) -> Result<Option<LookasideBase>, RegistriesDError> {
        let text = if value.is_null() { String::new() } else { self.text(member, value)? };
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|source| RegistriesDError::Base {
            file: self.file.to_owned(),
            member: member.to_owned(),
            source,
        })
    }

    fn flag(&self, member: &str, value: &Value) -> Result<Option<bool>, RegistriesDError> {
        match value {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(*flag)),
            _ => Err(self.wrong(member, "true or false")),
        }
    }

    fn ignore(&mut self, member: &str) {
        self.ignored.push(format!("{}: {}", self.file, Escaped::new(member)));
    }

    fn wrong(&self, member: &str, expected: &'static str) -> RegistriesDError {
        let member = Escaped::new(member).to_string();
        RegistriesDError::Type { file: self.file.to_owned(), member, expected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(files: &[(&str, &str)]) -> Result<RegistriesD, RegistriesDError> {
        RegistriesD::parse(files.iter().map(|(name, text)| (*name, text.as_bytes())))
    }

    fn one(text: &str) -> RegistriesD {
        parse(&[("a.yaml", text)]).unwrap()
    }

    fn base(config: &RegistriesD, name: &str, direction: Direction) -> Option<String> {
        let identity = ImageIdentity::docker(&name.parse().unwrap());
        config.lookaside(&identity, direction).map(ToString::to_string)
    }

    const NESTED: &str = "
default-docker:
  lookaside: https://default.test/sigs
  lookaside-staging: file:///default
docker:
  r.test:
    lookaside: https://host.test
  r.test/ns:
    use-sigstore-attachments: true
  r.test/ns/a:v1:
    lookaside: https://tag.test
    lookaside-staging: ''
  '*.example.com':
    sigstore: https://old.test
    sigstore-staging: file:///old
    lookaside: https://new.test
";

    #[test]
    fn each_member_comes_from_the_nearest_scope_that_has_it() {
        let config = one(NESTED);
        for (name, read, write) in [
            ("r.test/ns/a:v1", "https://tag.test", "https://tag.test"),
            ("r.test/ns/a:v2", "https://host.test", "https://host.test"),
            ("s.test/a:1", "https://default.test/sigs", "file:///default"),
            ("x.example.com/a:1", "https://new.test", "file:///old"),
        ] {
            assert_eq!(base(&config, name, Direction::Read).as_deref(), Some(read), "{name}");
            assert_eq!(base(&config, name, Direction::Write).as_deref(), Some(write), "{name}");
        }
        let attachments = |name: &str| {
            config.use_sigstore_attachments(&ImageIdentity::docker(&name.parse().unwrap()))
        };
        assert!(attachments("r.test/ns/a:v1"));
        assert!(!attachments("r.test/other:v1"));
    }

    #[test]
    fn nothing_configured_means_the_built_in_place() {
        for text in
            ["", "# only a comment\n", "docker:\n", "default-docker: {}\n", "docker: {x.test: }\n"]
        {
            assert_eq!(base(&one(text), "r.test/a:1", Direction::Read), None, "{text:?}");
        }
        assert_eq!(RegistriesD::parse([]).unwrap(), RegistriesD::default());
    }

    #[test]
    fn two_files_may_not_define_the_same() {
        let docker = "docker: {r.test: {lookaside: https://h.test}}\n";
        let default = "default-docker: {lookaside: https://h.test}\n";
        let other = "docker: {s.test: {lookaside: https://h.test}}\n";
        let error = parse(&[("a.yaml", docker), ("b.yaml", docker)]).unwrap_err().to_string();
        assert_eq!(error, r#""docker" namespace "r.test" defined both in "a.yaml" and "b.yaml""#);
        let error = parse(&[("a.yaml", default), ("b.yaml", default)]).unwrap_err().to_string();
        assert_eq!(error, r#""default-docker" defined both in "a.yaml" and "b.yaml""#);
        assert!(parse(&[("a.yaml", docker), ("b.yaml", other), ("c.yaml", default)]).is_ok());
    }

    #[test]
    fn malformed_files_are_refused() {
        for bad in [
            "docker: [",
            "docker: []",
            "- a",
            "docker: {r.test: x}",
            "docker: {r.test: {lookaside: 1}}",
            "docker: {r.test: {lookaside: ftp://h.test}}",
            "docker: {r.test: {use-sigstore-attachments: 'true'}}",
            "docker: {r.test: {}, r.test: {}}",
            "docker: {}\ndocker: {}",
            "docker: {r.test: {lookaside: https://a.test, lookaside: https://b.test}}",
            "\u{0}",
        ] {
            assert!(parse(&[("a.yaml", bad)]).is_err(), "{bad}");
        }
        let large = " ".repeat(REGISTRIES_D_LIMIT + 1);
        assert!(matches!(parse(&[("a", &large)]), Err(RegistriesDError::TooLarge { .. })));
    }

    #[test]
    fn alias_bombs_end_early() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..30 {
            let before = n - 1;
            text.push_str(&format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{before}"); 10].join(", ")
            ));
        }
        assert!(parse(&[("bomb.yaml", &text)]).is_err());
        let deep = format!("docker: {}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(&[("deep.yaml", &deep)]).is_err());
    }

    #[test]
    fn unknown_members_are_reported_not_refused() {
        let config = one("docker: {r.test: {lookasside: https://h.test}}\nmore: 1\n");
        assert_eq!(config.ignored(), ["a.yaml: docker.\"r.test\".lookasside", "a.yaml: more"]);
    }
}
