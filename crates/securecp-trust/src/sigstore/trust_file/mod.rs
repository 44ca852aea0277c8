//! Trust beyond policy.json, in a file of our own: who must have signed what, by whichever sigstore instance.
//!
//! The file is YAML, versioned and strict: a member that is not known, a member that is there twice, a name that nobody
//! defines, and a rule that nobody or anybody could meet are errors, and nothing runs under such a file. `docs/sigstore.md`
//! explains the language.

mod all;
mod explain;
mod judge;
mod records;
mod rule;
mod scope;
mod signer;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use securecp_oci::{Escaped, ImageIdentity};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_norway::Value;

pub use explain::{TrustDemand, TrustExplanation};
pub use judge::Evidence;
pub(crate) use judge::{Endorsed, Trusted};
pub use records::{RecordFault, RecordVerdict, StoredRecords};
pub use verdict::{Found, FoundVerdict, TrustDenial, TrustFault, TrustReport, TrustVerdict};

use rule::{RawRule, Rule};
use signer::{RawSigner, Signer};

/// Largest trust file that is read, in bytes: 1 MiB.
pub const TRUST_FILE_LIMIT: usize = 1 << 20;

/// Most signers of one file.
const SIGNER_LIMIT: usize = 256;

/// Who must have signed what.
///
/// ```
/// use securecp_trust::TrustFile;
/// let file = r#"
/// version: 1
/// trusted-root: trusted_root.json
/// signers:
///   release:
///     issuer: https://token.actions.githubusercontent.com
///     repository: https://github.com/acme/app
///     ref: refs/tags/v*
/// images:
///   docker:registry.acme.test/prod:
///     accept: bundle
///     require: release
/// default: policy-only
/// "#;
/// assert!(TrustFile::parse(file.as_bytes()).is_ok());
/// assert!(TrustFile::parse(file.replace("release", "typo").as_bytes()).is_ok());
/// assert!(TrustFile::parse(file.replace("require: release", "require: typo").as_bytes()).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// The path of the trusted root.
    trusted_root: Option<String>,
    /// Certificates need not be in a log of certificates.
    without_certificate_log: bool,
    signers: BTreeMap<String, Signer>,
    /// Whose change records count.
    recorders: Option<Rule>,
    /// By transport and scope, as `docker:registry.test/app`.
    images: BTreeMap<String, Demand>,
    default: Demand,
}

/// What is asked of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Demand {
    /// Nothing more than policy.json asks.
    PolicyOnly,
    /// No image will do.
    Reject,
    /// These signers.
    Signed { accept: Accept, rule: Rule },
}

/// Which forms of signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Accept {
    /// Bundles and attachments.
    #[default]
    Any,
    /// Bundles only.
    Bundle,
    /// Attachments only.
    Attachment,
}

/// Why bytes are not a trust file. Nothing runs under an invalid one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustFileError {
    /// The file is larger than [`TRUST_FILE_LIMIT`].
    #[error("trust file has {found} bytes, the limit is {TRUST_FILE_LIMIT}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not one YAML document of the known members, each there once.
    #[error("trust file cannot be read")]
    Yaml(#[source] serde_norway::Error),
    /// The version is another one.
    #[error("trust file has version {found}, expected 1")]
    Version {
        /// The version found.
        found: u64,
    },
    /// More signers than allowed.
    #[error("trust file has {found} signers, the limit is {SIGNER_LIMIT}")]
    TooManySigners {
        /// Signers found.
        found: usize,
    },
    /// The description of a signer is not one.
    #[error("signer {name:?}: {fault}")]
    Signer {
        /// Its name.
        name: String,
        /// Why.
        fault: SignerFault,
    },
    /// Two signers are the same, so that one signature would count twice.
    #[error("signers {first:?} and {second:?} are the same")]
    SameSigner {
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// A rule is not one.
    #[error("rule for {scope:?}: {fault}")]
    Rule {
        /// The scope of the rule.
        scope: String,
        /// Why.
        fault: RuleFault,
    },
    /// A scope does not start with a transport.
    #[error("scope {scope:?} has no transport, expected TRANSPORT:SCOPE")]
    Scope {
        /// The scope.
        scope: String,
    },
    /// A scope that no image can have, so that its demand would never be made.
    #[error("scope {scope:?} is that of no image: {failure}")]
    NeverMatches {
        /// The scope.
        scope: String,
        /// Why.
        failure: &'static str,
    },
    /// A rule needs certificates, and nothing says which authorities are trusted.
    #[error("trusted-root is missing")]
    NoTrustedRoot,
}

/// Why the description of a signer is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerFault {
    /// A member is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// Members that exclude each other.
    #[error("{0} and {1} cannot stand together")]
    Both(&'static str, &'static str),
    /// There is neither a key nor an issuer.
    #[error("expected a key or an issuer")]
    Nothing,
    /// Everybody at the issuer would match.
    #[error("expected email, uri or repository beside issuer")]
    Anybody,
    /// A member needs another one.
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
    /// `*` stands where it could match more than meant.
    #[error("{0}: {1}")]
    Pattern(&'static str, &'static str),
}

/// Why a rule is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// A name that no signer has.
    #[error("there is no signer {0:?}")]
    UnknownSigner(String),
    /// A list without entries, which anybody or nobody would meet.
    #[error("{0} has no entries")]
    Empty(&'static str),
    /// The number is none that the list could reach, or zero.
    #[error("at-least is {found}, expected 1 to {limit}")]
    Threshold {
        /// The number found.
        found: usize,
        /// The length of the list.
        limit: usize,
    },
    /// A signer stands twice in one list.
    #[error("{0:?} stands twice in one list")]
    Twice(String),
    /// A mapping has none or several of the members that say how to combine.
    #[error("expected exactly one of all-of, any-of, and at-least with of")]
    Combination,
    /// Rules stand in rules more deeply than anybody needs.
    #[error("nested more than {0} deep")]
    Depth(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawFile {
    /// Checked before anything else is read.
    #[serde(rename = "version")]
    _version: u64,
    trusted_root: Option<String>,
    #[serde(default)]
    dangerous_no_certificate_log: bool,
    #[serde(default)]
    signers: BTreeMap<String, RawSigner>,
    recorders: Option<Vec<String>>,
    #[serde(default)]
    images: BTreeMap<String, RawDemand>,
    default: RawDemand,
}

enum RawDemand {
    Word(Word),
    Signed(RawSigned),
}

impl<'de> Deserialize<'de> for RawDemand {
    /// By form, so that an error speaks of the member that is wrong and not of alternatives.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let found = match value.is_string() {
            true => Word::deserialize(value).map(Self::Word),
            false => RawSigned::deserialize(value).map(Self::Signed),
        };
        found.map_err(D::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    PolicyOnly,
    Reject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSigned {
    #[serde(default)]
    accept: Accept,
    require: RawRule,
}

impl TrustFile {
    /// Reads a trust file.
    ///
    /// # Errors
    /// See [`TrustFileError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustFileError> {
        if bytes.len() > TRUST_FILE_LIMIT {
            return Err(TrustFileError::TooLarge { found: bytes.len() });
        }
        // A value refuses double members at every level; the maps below would keep the last one.
        let value: Value = serde_norway::from_slice(bytes).map_err(TrustFileError::Yaml)?;
        if let Some(found) = value.get("version").and_then(Value::as_u64).filter(|v| *v != 1) {
            return Err(TrustFileError::Version { found });
        }
        let raw: RawFile = serde_norway::from_value(value).map_err(TrustFileError::Yaml)?;
        let file = Self {
            trusted_root: raw.trusted_root,
            without_certificate_log: raw.dangerous_no_certificate_log,
            signers: read_signers(raw.signers)?,
            recorders: None,
            images: BTreeMap::new(),
            default: Demand::PolicyOnly,
        };
        let recorders = raw.recorders.map(|names| Rule::any_of(names, &file.signers));
        let wrong = |fault| TrustFileError::Rule { scope: "recorders".to_owned(), fault };
        let recorders = recorders.transpose().map_err(wrong)?;
        let images = raw.images.into_iter().map(|(scope, demand)| {
            scope::check(&scope)?;
            file.demand(&scope, demand).map(|demand| (scope, demand))
        });
        let images = images.collect::<Result<_, _>>()?;
        let default = file.demand("default", raw.default)?;
        Self { images, default, recorders, ..file }.checked()
    }

    /// The same with every path in it that is not absolute taken from `folder`, where the file stands.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        let files = self.signers.values_mut().filter_map(Signer::file_mut);
        for file in files.chain(self.trusted_root.as_mut()) {
            // Paths come out of text and are used as text; joining text cannot lose anything.
            *file = folder.join(&*file).to_string_lossy().into_owned();
        }
        self
    }

    /// The path of the trusted root, as the file gives it.
    pub fn trusted_root(&self) -> Option<&str> {
        self.trusted_root.as_deref()
    }

    /// Which signatures must be looked for beside an image: bundles, attachments.
    pub fn wants(&self, image: &ImageIdentity) -> (bool, bool) {
        match self.demand_for(image).1 {
            Demand::PolicyOnly | Demand::Reject => (false, false),
            Demand::Signed { accept, .. } => {
                (*accept != Accept::Attachment, *accept != Accept::Bundle)
            }
        }
    }

    /// What is asked of an image, and by which entry: the first of its scopes that stands in the file.
    fn demand_for(&self, image: &ImageIdentity) -> (String, &Demand) {
        let exact = Some(image.scope.as_str()).filter(|scope| !scope.is_empty());
        let scopes = exact.into_iter().chain(image.namespaces.iter().map(String::as_str));
        for scope in scopes.chain([""]) {
            let key = format!("{}:{scope}", image.transport);
            if let Some(demand) = self.images.get(&key) {
                return (key, demand);
            }
        }
        ("default".to_owned(), &self.default)
    }

    fn demand(&self, scope: &str, raw: RawDemand) -> Result<Demand, TrustFileError> {
        Ok(match raw {
            RawDemand::Word(Word::PolicyOnly) => Demand::PolicyOnly,
            RawDemand::Word(Word::Reject) => Demand::Reject,
            RawDemand::Signed(RawSigned { accept, require }) => {
                let rule = Rule::read(require, &self.signers);
                let wrong = |fault| TrustFileError::Rule { scope: shown(scope), fault };
                Demand::Signed { accept, rule: rule.map_err(wrong)? }
            }
        })
    }

    fn checked(self) -> Result<Self, TrustFileError> {
        let needs_root = |signer: &Signer| !signer.is_key_without_log();
        if self.trusted_root.is_none() && self.signers.values().any(needs_root) {
            return Err(TrustFileError::NoTrustedRoot);
        }
        Ok(self)
    }
}

fn read_signers(
    raw: BTreeMap<String, RawSigner>,
) -> Result<BTreeMap<String, Signer>, TrustFileError> {
    if raw.len() > SIGNER_LIMIT {
        return Err(TrustFileError::TooManySigners { found: raw.len() });
    }
    let mut signers: BTreeMap<String, Signer> = BTreeMap::new();
    for (name, raw) in raw {
        let wrong = |fault| TrustFileError::Signer { name: shown(&name), fault };
        let signer = Signer::read(raw).map_err(wrong)?;
        if let Some((first, _)) = signers.iter().find(|(_, other)| other.same(&signer)) {
            return Err(TrustFileError::SameSigner { first: shown(first), second: shown(&name) });
        }
        signers.insert(name, signer);
    }
    Ok(signers)
}

fn shown(text: &str) -> String {
    Escaped::new(text).limit(200).to_string()
}
