use std::fmt::{self, Display};

use securecp_oci::Escaped;
use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, shown, type_name};
use super::{PolicyFault, SignedIdentity};

/// One condition that an image must meet (containers-policy.json(5), "Policy Requirements").
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Accepts every image.
    InsecureAcceptAnything,
    /// Accepts no image.
    Reject,
    /// Accepts images with a simple-signing signature by a given OpenPGP key.
    SignedBy(SignedBy),
    /// Part of the grammar, never implemented by any tool: accepts no image.
    SignedBaseLayer,
    /// Accepts images with a sigstore signature.
    SigstoreSigned(Box<SigstoreSigned>),
}

/// The type of a requirement, as `type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RequirementKind {
    /// `insecureAcceptAnything`
    InsecureAcceptAnything,
    /// `reject`
    Reject,
    /// `signedBy`
    SignedBy,
    /// `signedBaseLayer`
    SignedBaseLayer,
    /// `sigstoreSigned`
    SigstoreSigned,
}

/// The requirement `signedBy`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedBy {
    /// How the keys are to be read.
    pub key_type: KeyType,
    /// Where the trusted keys are.
    pub keys: Material,
    /// Which identity the signature must claim.
    pub signed_identity: SignedIdentity,
}

/// The requirement `sigstoreSigned`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigstoreSigned {
    /// Whose signatures are trusted.
    pub trust: SigstoreTrust,
    /// Keys of transparency logs; empty means that no log entry is asked for.
    pub rekor_keys: Option<Material>,
    /// Which identity the signature must claim.
    pub signed_identity: SignedIdentity,
}

/// Whose sigstore signatures are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigstoreTrust {
    /// Any one of these public keys, PEM.
    Keys(Material),
    /// Holders of a short-lived certificate of this authority.
    Fulcio(FulcioTrust),
    /// Holders of a certificate of one's own authority.
    Pki(PkiTrust),
}

/// The member `fulcio`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FulcioTrust {
    /// Root certificates, PEM.
    pub ca: Material,
    /// The OpenID issuer that the certificate must name.
    pub oidc_issuer: String,
    /// The e-mail address that the certificate must name.
    pub subject_email: String,
}

/// The member `pki`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PkiTrust {
    /// Root certificates, PEM.
    pub ca_roots: Material,
    /// Intermediate certificates, PEM.
    pub ca_intermediates: Option<Material>,
    /// The e-mail address that the certificate must name.
    pub subject_email: Option<String>,
    /// The host that the certificate must name.
    pub subject_hostname: Option<String>,
}

/// Keys or certificates: files, read when a signature is judged, or bytes that stand in the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Material {
    /// Paths of files.
    Paths(Vec<String>),
    /// Bytes.
    Data(Vec<Vec<u8>>),
}

/// How the keys of `signedBy` are to be read; only `GPGKeys` accepts anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum KeyType {
    /// OpenPGP certificates.
    #[serde(rename = "GPGKeys")]
    GpgKeys,
    /// Part of the grammar, never implemented by any tool.
    #[serde(rename = "signedByGPGKeys")]
    SignedByGpgKeys,
    /// Part of the grammar, never implemented by any tool.
    #[serde(rename = "X509Certificates")]
    X509Certificates,
    /// Part of the grammar, never implemented by any tool.
    #[serde(rename = "signedByX509CAs")]
    SignedByX509Cas,
}

impl KeyType {
    /// The text in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::GpgKeys => "GPGKeys",
            Self::SignedByGpgKeys => "signedByGPGKeys",
            Self::X509Certificates => "X509Certificates",
            Self::SignedByX509Cas => "signedByX509CAs",
        }
    }
}

impl RequirementKind {
    /// The text in policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::InsecureAcceptAnything => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::SignedBy => "signedBy",
            Self::SignedBaseLayer => "signedBaseLayer",
            Self::SigstoreSigned => "sigstoreSigned",
        }
    }
}

impl Requirement {
    /// Its type.
    pub fn kind(&self) -> RequirementKind {
        match self {
            Self::InsecureAcceptAnything => RequirementKind::InsecureAcceptAnything,
            Self::Reject => RequirementKind::Reject,
            Self::SignedBy(_) => RequirementKind::SignedBy,
            Self::SignedBaseLayer => RequirementKind::SignedBaseLayer,
            Self::SigstoreSigned(_) => RequirementKind::SigstoreSigned,
        }
    }

    /// Whether an image that meets it has a verified signature.
    pub fn verifies_signatures(&self) -> bool {
        matches!(self, Self::SignedBy(_) | Self::SigstoreSigned(_))
    }

    pub(super) fn read(value: &Value) -> Result<Self, PolicyFault> {
        match type_name(value)? {
            "insecureAcceptAnything" => {
                Fields::of(value, &["type"]).map(|_| Self::InsecureAcceptAnything)
            }
            "reject" => Fields::of(value, &["type"]).map(|_| Self::Reject),
            "signedBy" => SignedBy::read(value).map(Self::SignedBy),
            "signedBaseLayer" => read_base_layer(value),
            "sigstoreSigned" => SigstoreSigned::read(value).map(Box::new).map(Self::SigstoreSigned),
            unknown => Err(PolicyFault::UnknownRequirement(shown(unknown))),
        }
    }
}

fn read_base_layer(value: &Value) -> Result<Requirement, PolicyFault> {
    let fields = Fields::of(value, &["type", "baseLayerIdentity"])?;
    // Unlike signedIdentity, this member has no default.
    let identity = fields.member("baseLayerIdentity").unwrap_or(&Value::Null);
    SignedIdentity::read(Some(identity)).map(|_| Requirement::SignedBaseLayer)
}

impl SignedBy {
    fn read(value: &Value) -> Result<Self, PolicyFault> {
        const KEYS: [&str; 3] = ["keyPath", "keyPaths", "keyData"];
        let known = ["type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"];
        let fields = Fields::of(value, &known)?;
        let list = "keyPath, keyPaths and keyData";
        let key_type = key_type(fields.text("keyType")?)?;
        let keys = match fields.present(&KEYS).as_slice() {
            [] => return Err(PolicyFault::NonePresent(list)),
            ["keyPath"] => path(fields, "keyPath")?,
            ["keyPaths"] => fields.texts("keyPaths")?.map(Material::Paths),
            ["keyData"] => fields.data("keyData")?.map(|data| Material::Data(vec![data])),
            _ => return Err(PolicyFault::SeveralPresent(list)),
        };
        Ok(Self {
            key_type,
            keys: keys.ok_or(PolicyFault::ExactlyOne(list))?,
            signed_identity: SignedIdentity::read(fields.member("signedIdentity"))?,
        })
    }
}

fn key_type(text: &str) -> Result<KeyType, PolicyFault> {
    match text {
        "" => Err(PolicyFault::KeyTypeMissing),
        "GPGKeys" => Ok(KeyType::GpgKeys),
        "signedByGPGKeys" => Ok(KeyType::SignedByGpgKeys),
        "X509Certificates" => Ok(KeyType::X509Certificates),
        "signedByX509CAs" => Ok(KeyType::SignedByX509Cas),
        unknown => Err(PolicyFault::KeyTypeUnknown(shown(unknown))),
    }
}

/// One path; `None` when it is empty.
fn path(fields: Fields<'_>, key: &'static str) -> Result<Option<Material>, PolicyFault> {
    let text = fields.text(key)?;
    Ok((!text.is_empty()).then(|| Material::Paths(vec![text.to_owned()])))
}

fn data(fields: Fields<'_>, key: &'static str) -> Result<Option<Material>, PolicyFault> {
    Ok(fields.data(key)?.map(|data| Material::Data(vec![data])))
}

/// A list with at least one entry; `None` when it is `null`.
fn entries<T>(key: &'static str, list: Option<Vec<T>>) -> Result<Option<Vec<T>>, PolicyFault> {
    match list {
        Some(list) if list.is_empty() => Err(PolicyFault::NoEntries(key)),
        list => Ok(list),
    }
}

impl SigstoreSigned {
    fn read(value: &Value) -> Result<Self, PolicyFault> {
        let known: Vec<&str> =
            ["type", "signedIdentity"].into_iter().chain(TRUST_KEYS).chain(REKOR_KEYS).collect();
        let fields = Fields::of(value, &known)?;
        let trust = SigstoreTrust::read(fields)?;
        let rekor_keys = read_rekor_keys(fields)?;
        match (&trust, &rekor_keys) {
            (SigstoreTrust::Fulcio(_), None) => return Err(PolicyFault::FulcioWithoutRekor),
            (SigstoreTrust::Pki(_), Some(_)) => return Err(PolicyFault::PkiWithRekor),
            _ => {}
        }
        let signed_identity = SignedIdentity::read(fields.member("signedIdentity"))?;
        Ok(Self { trust, rekor_keys, signed_identity })
    }
}

const TRUST_KEYS: [&str; 6] = ["keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki"];
const TRUST_LIST: &str = "keyPath, keyPaths, keyData, keyDatas, fulcio and pki";
const REKOR_KEYS: [&str; 4] =
    ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];
const REKOR_LIST: &str =
    "rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and rekorPublicKeyDatas";

impl SigstoreTrust {
    fn read(fields: Fields<'_>) -> Result<Self, PolicyFault> {
        let member = |key| fields.member(key).unwrap_or(&Value::Null);
        let keys = match fields.present(&TRUST_KEYS).as_slice() {
            [] => return Err(PolicyFault::NonePresent(TRUST_LIST)),
            ["keyPath"] => path(fields, "keyPath")?,
            ["keyPaths"] => entries("keyPaths", fields.texts("keyPaths")?)?.map(Material::Paths),
            ["keyData"] => data(fields, "keyData")?,
            ["keyDatas"] => entries("keyDatas", fields.datas("keyDatas")?)?.map(Material::Data),
            ["fulcio"] => return FulcioTrust::read(member("fulcio")).map(Self::Fulcio),
            ["pki"] => return PkiTrust::read(member("pki")).map(Self::Pki),
            _ => return Err(PolicyFault::SeveralPresent(TRUST_LIST)),
        };
        keys.map(Self::Keys).ok_or(PolicyFault::ExactlyOne(TRUST_LIST))
    }
}

/// An empty or `null` member is refused: the reference would judge without a log, which nobody can have meant.
fn read_rekor_keys(fields: Fields<'_>) -> Result<Option<Material>, PolicyFault> {
    let [path_key, paths_key, data_key, datas_key] = REKOR_KEYS;
    let keys = match fields.present(&REKOR_KEYS).as_slice() {
        [] => return Ok(None),
        [key] if *key == path_key => path(fields, path_key)?,
        [key] if *key == paths_key => {
            entries(paths_key, fields.texts(paths_key)?)?.map(Material::Paths)
        }
        [key] if *key == data_key => data(fields, data_key)?,
        [key] if *key == datas_key => {
            entries(datas_key, fields.datas(datas_key)?)?.map(Material::Data)
        }
        _ => return Err(PolicyFault::SeveralPresent(REKOR_LIST)),
    };
    keys.map(Some).ok_or(PolicyFault::ExactlyOne(REKOR_LIST))
}

impl FulcioTrust {
    fn read(value: &Value) -> Result<Self, PolicyFault> {
        let fields = Fields::of(value, &["caPath", "caData", "oidcIssuer", "subjectEmail"])?;
        let ca = path_or_data(fields, ["caPath", "caData"], "caPath and caData")?;
        let issuer = fields.text("oidcIssuer")?;
        let email = fields.text("subjectEmail")?;
        if issuer.is_empty() {
            return Err(PolicyFault::NotSpecified("oidcIssuer"));
        }
        if email.is_empty() {
            return Err(PolicyFault::NotSpecified("subjectEmail"));
        }
        Ok(Self {
            ca: ca.ok_or(PolicyFault::ExactlyOne("caPath and caData"))?,
            oidc_issuer: issuer.to_owned(),
            subject_email: email.to_owned(),
        })
    }
}

impl PkiTrust {
    fn read(value: &Value) -> Result<Self, PolicyFault> {
        const ROOTS: &str = "caRootsPath and caRootsData";
        const INTERMEDIATES: &str = "caIntermediatesPath and caIntermediatesData";
        let known = [
            "caRootsPath",
            "caRootsData",
            "caIntermediatesPath",
            "caIntermediatesData",
            "subjectEmail",
            "subjectHostname",
        ];
        let fields = Fields::of(value, &known)?;
        let text = |key| fields.text(key).map(|t| (!t.is_empty()).then(|| t.to_owned()));
        let [roots_path, roots_data, between_path, between_data, email, host] = known;
        let found = Self {
            ca_roots: path_or_data(fields, [roots_path, roots_data], ROOTS)?
                .ok_or(PolicyFault::ExactlyOne(ROOTS))?,
            ca_intermediates: path_or_data(fields, [between_path, between_data], INTERMEDIATES)?,
            subject_email: text(email)?,
            subject_hostname: text(host)?,
        };
        if found.subject_email.is_none() && found.subject_hostname.is_none() {
            return Err(PolicyFault::PkiWithoutSubject);
        }
        Ok(found)
    }
}

/// At most one of a path and data; `None` when neither is present.
fn path_or_data(
    fields: Fields<'_>,
    [path_key, data_key]: [&'static str; 2],
    list: &'static str,
) -> Result<Option<Material>, PolicyFault> {
    let found = match fields.present(&[path_key, data_key]).as_slice() {
        [] => return Ok(None),
        [key] if *key == path_key => path(fields, path_key)?,
        [_] => data(fields, data_key)?,
        _ => return Err(PolicyFault::SeveralPresent(list)),
    };
    found.map(Some).ok_or(PolicyFault::ExactlyOne(list))
}

impl Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())?;
        match self {
            Self::SignedBy(it) => {
                write!(f, " ({} {}, identity {})", it.key_type.name(), it.keys, it.signed_identity)
            }
            Self::SigstoreSigned(it) => write!(f, " ({it})"),
            _ => Ok(()),
        }
    }
}

impl Display for SigstoreSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trust {
            SigstoreTrust::Keys(keys) => write!(f, "keys {keys}")?,
            SigstoreTrust::Fulcio(it) => {
                let (issuer, email) =
                    (Escaped::new(&it.oidc_issuer), Escaped::new(&it.subject_email));
                write!(f, "Fulcio {}, issuer {issuer}, e-mail {email}", it.ca)?;
            }
            SigstoreTrust::Pki(it) => write!(f, "PKI {}", it.ca_roots)?,
        }
        if let Some(keys) = &self.rekor_keys {
            write!(f, ", Rekor {keys}")?;
        }
        write!(f, ", identity {}", self.signed_identity)
    }
}

impl Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paths(paths) => {
                let shown: Vec<_> = paths.iter().map(|p| Escaped::new(p).to_string()).collect();
                f.write_str(&shown.join(", "))
            }
            Self::Data(data) => write!(f, "given inline ({})", data.len()),
        }
    }
}
