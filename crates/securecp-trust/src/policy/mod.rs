//! containers-policy.json(5): the grammar, read as strictly as the reference does, and the lookup of scopes.

mod fields;
mod identity;
mod requirement;
mod scope;

use std::collections::BTreeMap;

use securecp_oci::base64::Base64Error;
use securecp_oci::json::{self, JsonError, Limits};
use securecp_oci::{ImageIdentity, ReferenceError};
use serde_json::Value;

pub use identity::SignedIdentity;
pub use requirement::{
    FulcioTrust, KeyType, Material, PkiTrust, Requirement, RequirementKind, SignedBy,
    SigstoreSigned, SigstoreTrust,
};
pub use scope::ScopeUsed;
pub(crate) use scope::is_valid as is_valid_scope;

use fields::{Fields, object, shown};

/// Largest policy file that is read, in bytes: 4 MiB.
pub const POLICY_LIMIT: usize = 4 << 20;

/// A trust policy: what must be true of an image before any byte of its layers is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    default: Vec<Requirement>,
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// Why bytes are not a policy. Nothing runs under an invalid policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not one strict JSON document, or larger than [`POLICY_LIMIT`].
    #[error("policy cannot be read")]
    Json(#[source] JsonError),
    /// The document is not what the grammar asks for.
    #[error("policy is invalid at {place}")]
    Invalid {
        /// Where: the path of members.
        place: String,
        /// Why.
        #[source]
        fault: PolicyFault,
    },
}

/// What is wrong in one place of a policy, in the reference's words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// There is no `default`.
    #[error("Default policy is missing")]
    DefaultMissing,
    /// A list of requirements has no entry.
    #[error("List of verification policy requirements must not be empty")]
    EmptyRequirements,
    /// Something else stands where an object must be.
    #[error("JSON object expected, got {0}")]
    ObjectExpected(&'static str),
    /// A member is not part of the grammar, or a scope not valid for its transport.
    #[error("Unknown key \"{0}\"")]
    UnknownKey(String),
    /// A member has the wrong JSON type.
    #[error("member {key:?} is not {expected}")]
    Type {
        /// The member.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A member is not base64.
    #[error("member {key:?} is not base64")]
    Base64 {
        /// The member.
        key: &'static str,
        /// Why.
        source: Base64Error,
    },
    /// The requirement's `type` is not known.
    #[error("Unknown policy requirement type \"{0}\"")]
    UnknownRequirement(String),
    /// The identity's `type` is not known.
    #[error("Unknown policy reference match type \"{0}\"")]
    UnknownMatch(String),
    /// `keyType` is missing.
    #[error("invalid keyType \"\"")]
    KeyTypeMissing,
    /// `keyType` is not known.
    #[error("Unrecognized keyType value \"{0}\"")]
    KeyTypeUnknown(String),
    /// None of several members is present.
    #[error("Exactly one of {0} must be specified, none of them present")]
    NonePresent(&'static str),
    /// More than one of several members is present.
    #[error("Exactly one of {0} must be specified, more than one present")]
    SeveralPresent(&'static str),
    /// The member that is present is empty.
    #[error("exactly one of {0} must be specified")]
    ExactlyOne(&'static str),
    /// A list that needs an entry has none.
    #[error("\"{0}\" contains no entries")]
    NoEntries(&'static str),
    /// A member is missing or empty.
    #[error("{0} not specified")]
    NotSpecified(&'static str),
    /// `fulcio` needs the key of a log.
    #[error(
        "At least one of rekorPublickeyPath, rekorPublicKeyPaths, rekorPublickeyData and rekorPublicKeyDatas must be specified if fulcio is used"
    )]
    FulcioWithoutRekor,
    /// `pki` knows no log.
    #[error(
        "rekorPublickeyPath, rekorPublicKeyPaths, rekorPublickeyData and rekorPublicKeyDatas are not supported for pki"
    )]
    PkiWithRekor,
    /// `pki` names nobody.
    #[error("At least one of subjectEmail, subjectHostname must be specified")]
    PkiWithoutSubject,
    /// `dockerReference` names only a repository.
    #[error("dockerReference \"{0}\" contains neither a tag nor digest")]
    NameOnly(String),
    /// A reference is malformed.
    #[error("Invalid format of {key} \"{text}\"")]
    Reference {
        /// The member.
        key: &'static str,
        /// Its text.
        text: String,
        /// Why.
        source: Box<ReferenceError>,
    },
    /// A prefix of `remapIdentity` is neither a host nor a repository.
    #[error("prefix \"{0}\" is not valid")]
    Prefix(String),
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// See [`PolicyError`]: any duplicate, unknown, empty or mistyped member.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let value = json::parse(bytes, Limits::bytes(POLICY_LIMIT)).map_err(PolicyError::Json)?;
        let top = Fields::of(&value, &["default", "transports"]).map_err(at("the top"))?;
        let default = top.member("default").ok_or(PolicyFault::DefaultMissing);
        Ok(Self {
            default: requirements(default.map_err(at("the top"))?, "default")?,
            transports: top.member("transports").map_or_else(|| Ok(BTreeMap::new()), transports)?,
        })
    }

    /// The policy that accepts every image, for `--insecure-policy`.
    pub fn insecure_accept_anything() -> Self {
        Self { default: vec![Requirement::InsecureAcceptAnything], transports: BTreeMap::new() }
    }

    /// Every entry with its requirements, `default` last.
    pub fn entries(&self) -> impl Iterator<Item = (ScopeUsed, &[Requirement])> {
        let entry = |(transport, scope): (&String, &String)| ScopeUsed::entry(transport, scope);
        let scopes = self.transports.iter().flat_map(|(name, scopes)| {
            scopes.iter().map(move |(scope, found)| ((name, scope), found.as_slice()))
        });
        let last = (ScopeUsed::default_entry(), self.default.as_slice());
        scopes.map(move |(place, found)| (entry(place), found)).chain([last])
    }

    /// The requirements that apply to an image and the scope that they come from; the first hit decides alone.
    pub fn scope_for(&self, identity: &ImageIdentity) -> (ScopeUsed, &[Requirement]) {
        let transport = identity.transport.name();
        let scopes = self.transports.get(transport);
        let hit = scope::candidates(identity).find_map(|scope| {
            let requirements = scopes?.get(scope)?;
            Some((ScopeUsed::entry(transport, scope), requirements.as_slice()))
        });
        hit.unwrap_or_else(|| (ScopeUsed::default_entry(), &self.default))
    }
}

impl Policy {
    /// Whether nothing stands among the requirements of an image that no signature could meet.
    pub fn asks_only_for_signatures(&self, identity: &ImageIdentity) -> bool {
        let met_by_none = |requirement: &Requirement| {
            matches!(requirement, Requirement::Reject | Requirement::SignedBaseLayer)
        };
        !self.scope_for(identity).1.iter().any(met_by_none)
    }
}

fn at(place: &str) -> impl Fn(PolicyFault) -> PolicyError + use<'_> {
    move |fault| PolicyError::Invalid { place: place.to_owned(), fault }
}

type Scopes = BTreeMap<String, Vec<Requirement>>;

fn transports(value: &Value) -> Result<BTreeMap<String, Scopes>, PolicyError> {
    let members = object(value).map_err(at("transports"))?;
    members.iter().map(|(name, value)| Ok((name.clone(), scopes(name, value)?))).collect()
}

fn scopes(transport: &str, value: &Value) -> Result<Scopes, PolicyError> {
    let place = format!("transports.{}", shown(transport));
    let members = object(value).map_err(at(&place))?;
    let one = |(scope, value): (&String, &Value)| {
        if !scope::is_valid(transport, scope) {
            return Err(at(&place)(PolicyFault::UnknownKey(shown(scope))));
        }
        let found = requirements(value, &format!("{place}[\"{}\"]", shown(scope)))?;
        Ok((scope.clone(), found))
    };
    members.iter().map(one).collect()
}

fn requirements(value: &Value, place: &str) -> Result<Vec<Requirement>, PolicyError> {
    let items = match value {
        Value::Null => &[][..],
        Value::Array(items) => items,
        _ => {
            let fault = PolicyFault::Type { key: "requirements", expected: "an array" };
            return Err(at(place)(fault));
        }
    };
    if items.is_empty() {
        return Err(at(place)(PolicyFault::EmptyRequirements));
    }
    let one = |(n, item)| Requirement::read(item).map_err(|f| at(&format!("{place}[{n}]"))(f));
    items.iter().enumerate().map(one).collect()
}
