//! The file of `--sign-by-sigstore`: strict YAML, the reference's members, and `ambient` as one more way to a token.

use std::path::PathBuf;

use securecp_oci::Escaped;
use serde_norway::{Mapping, Value};
use zeroize::Zeroizing;

use super::identity::AUDIENCE;
use super::{ProviderParameters, SecretText};

/// Largest file that is read, in bytes.
pub const PARAMETERS_LIMIT: usize = 128 << 10;

/// How signatures are to be made.
#[derive(Debug, Clone)]
pub struct SigningParameters {
    /// With what.
    pub key: KeySource,
    /// Who witnesses that.
    pub witnesses: WitnessAddresses,
    /// The file with the public key of the log of the first version, if its promises are to be verified with it.
    pub rekor_key: Option<PathBuf>,
}

/// The addresses of those who witness signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WitnessAddresses {
    /// A log of the first version.
    pub rekor: Option<String>,
    /// A log of the second version.
    pub rekor_v2: Option<String>,
    /// A timestamp authority.
    pub tsa: Option<String>,
}

/// What signs.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A key in a file.
    File {
        /// The file.
        path: PathBuf,
        /// The file whose first line is its passphrase.
        passphrase_file: Option<PathBuf>,
    },
    /// Keys that are made as they are needed, certified by Fulcio.
    Fulcio(FulcioParameters),
}

/// Where certificates come from.
#[derive(Debug, Clone)]
pub struct FulcioParameters {
    /// The address of Fulcio.
    pub address: String,
    /// Where identity tokens come from.
    pub mode: TokenMode,
}

/// Ways to an identity token.
#[derive(Debug, Clone)]
pub enum TokenMode {
    /// It is in the file.
    Static(SecretText),
    /// The environment of the build gives it.
    Ambient {
        /// Whom it is for.
        audience: String,
    },
    /// The user logs in on another device.
    Device(ProviderParameters),
    /// The user logs in with a browser on this machine.
    Browser(ProviderParameters),
}

/// Why a file cannot be used. Values are never part of it: one of them may be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// It is not YAML.
    #[error("not YAML{0}")]
    Yaml(String),
    /// There is nothing in it.
    #[error("EOF")]
    Empty,
    /// It is too large.
    #[error("more than {PARAMETERS_LIMIT} bytes")]
    TooLarge,
    /// A member is not known.
    #[error("field {0} not found in type params.SigningParameterFile")]
    Unknown(String),
    /// A member is not what it should be.
    #[error("{member}: expected {expected}")]
    Form {
        /// The member.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A member is missing.
    #[error("missing {0}")]
    Missing(&'static str),
    /// There is no such mode.
    #[error("unknown oidcMode value \"{0}\"")]
    Mode(String),
    /// A member has no effect.
    #[error("{member} has no effect {why}")]
    NoEffect {
        /// The member.
        member: &'static str,
        /// Why.
        why: &'static str,
    },
    /// There are two keys.
    #[error("multiple private key sources specified when preparing to create sigstore signatures")]
    TwoKeys,
    /// There is no key.
    #[error(
        "no private key source provided (neither a private key nor Fulcio) when preparing to create sigstore signatures"
    )]
    NoKey,
    /// Nobody could verify what would be made.
    #[error("missing rekorURL: without a log entry nobody can verify signatures by certificate")]
    NoLog,
    /// Nobody could tell when what would be made was made.
    #[error(
        "missing tsaURL: the log of rekorV2URL says no time, and without one nobody can verify signatures by certificate"
    )]
    NoTime,
}

impl SigningParameters {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`ParametersError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParametersError> {
        if bytes.len() > PARAMETERS_LIMIT {
            return Err(ParametersError::TooLarge);
        }
        let value: Value = serde_norway::from_slice(bytes).map_err(|error| {
            let place = error.location().map(|at| format!(" in line {}", at.line()));
            ParametersError::Yaml(place.unwrap_or_default())
        })?;
        if value.is_null() {
            return Err(ParametersError::Empty);
        }
        let top = Members::of("the file", &value, &TOP)?;
        let witnesses = WitnessAddresses {
            rekor: top.text("rekorURL")?,
            rekor_v2: top.text("rekorV2URL")?,
            tsa: top.text("tsaURL")?,
        };
        let rekor_key = top.text("rekorPublicKeyFile")?.map(PathBuf::from);
        let file = top.text("privateKeyFile")?.map(PathBuf::from);
        let passphrase_file = top.text("privateKeyPassphraseFile")?.map(PathBuf::from);
        let fulcio = top.get("fulcio").map(fulcio).transpose()?;
        let key = match (file, fulcio) {
            (Some(_), Some(_)) => return Err(ParametersError::TwoKeys),
            (None, None) => return Err(ParametersError::NoKey),
            (Some(path), None) => KeySource::File { path, passphrase_file },
            (None, Some(_)) if passphrase_file.is_some() => {
                let member = "privateKeyPassphraseFile";
                return Err(ParametersError::NoEffect { member, why: "without privateKeyFile" });
            }
            (None, Some(fulcio)) => {
                witnesses.check_for_certificates()?;
                KeySource::Fulcio(fulcio)
            }
        };
        witnesses.check(rekor_key.is_some())?;
        Ok(Self { key, witnesses, rekor_key })
    }
}

impl WitnessAddresses {
    fn has_log(&self) -> bool {
        self.rekor.is_some() || self.rekor_v2.is_some()
    }

    /// Certificates live for minutes: somebody must have seen the signature in that time.
    fn check_for_certificates(&self) -> Result<(), ParametersError> {
        if !self.has_log() {
            return Err(ParametersError::NoLog);
        }
        if self.rekor_v2.is_some() && self.tsa.is_none() {
            return Err(ParametersError::NoTime);
        }
        Ok(())
    }

    fn check(&self, log_key: bool) -> Result<(), ParametersError> {
        let idle = |member, why| Err(ParametersError::NoEffect { member, why });
        if log_key && self.rekor.is_none() {
            return idle("rekorPublicKeyFile", "without rekorURL");
        }
        if self.tsa.is_some() && !self.has_log() {
            return idle("tsaURL", "without rekorURL or rekorV2URL");
        }
        Ok(())
    }
}

const TOP: [&str; 7] = [
    "privateKeyFile",
    "privateKeyPassphraseFile",
    "fulcio",
    "rekorURL",
    "rekorPublicKeyFile",
    "rekorV2URL",
    "tsaURL",
];
const FULCIO: [&str; 6] =
    ["fulcioURL", "oidcMode", "oidcIDToken", "oidcIssuerURL", "oidcClientID", "oidcClientSecret"];

/// Checked in the reference's order, so that its words come.
fn fulcio(value: &Value) -> Result<FulcioParameters, ParametersError> {
    let members = Members::of("fulcio", value, &FULCIO)?;
    let address = members.text("fulcioURL")?.ok_or(ParametersError::Missing("fulcioURL"))?;
    let token = members.text("oidcIDToken")?.map(SecretText::new);
    let client_id = members.text("oidcClientID")?.unwrap_or_else(|| AUDIENCE.to_owned());
    let client_secret = members.text("oidcClientSecret")?.map(SecretText::new);
    let (mode, issuer) = (members.text("oidcMode")?, members.text("oidcIssuerURL")?);
    let mode = match mode.as_deref() {
        Some("staticToken") => {
            members.unused(
                &["oidcIssuerURL", "oidcClientID", "oidcClientSecret"],
                "with staticToken",
            )?;
            TokenMode::Static(token.ok_or(ParametersError::Missing("oidcToken"))?)
        }
        Some("ambient") => {
            members
                .unused(&["oidcIDToken", "oidcIssuerURL", "oidcClientSecret"], "with ambient")?;
            TokenMode::Ambient { audience: client_id }
        }
        mode => {
            let issuer = issuer.ok_or(ParametersError::Missing("oidcIssuerURL"))?;
            let provider = ProviderParameters { issuer, client_id, client_secret };
            let mode = match mode {
                Some("deviceGrant") => TokenMode::Device(provider),
                Some("interactive") => TokenMode::Browser(provider),
                None => return Err(ParametersError::Missing("oidcMode")),
                Some(other) => {
                    return Err(ParametersError::Mode(Escaped::new(other).limit(80).to_string()));
                }
            };
            members.unused(&["oidcIDToken"], "without oidcMode: staticToken")?;
            mode
        }
    };
    Ok(FulcioParameters { address, mode })
}

/// The members of an object of which all are known.
struct Members<'a>(&'a Mapping);

impl<'a> Members<'a> {
    fn of(member: &'static str, value: &'a Value, known: &[&str]) -> Result<Self, ParametersError> {
        let expected = "members";
        let map = value.as_mapping().ok_or(ParametersError::Form { member, expected })?;
        let foreign = |key: &&Value| !key.as_str().is_some_and(|key| known.contains(&key));
        match map.keys().find(foreign) {
            None => Ok(Self(map)),
            Some(key) => {
                let key = Escaped::new(key.as_str().unwrap_or("?")).limit(80).to_string();
                Err(ParametersError::Unknown(key))
            }
        }
    }

    fn get(&self, member: &str) -> Option<&'a Value> {
        self.0.get(member)
    }

    /// A text; an empty one is none, as in the reference.
    fn text(&self, member: &'static str) -> Result<Option<String>, ParametersError> {
        match self.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(ParametersError::Form { member, expected: "a text" }),
        }
    }

    fn unused(&self, members: &[&'static str], why: &'static str) -> Result<(), ParametersError> {
        for member in members {
            if self.text(member)?.map(Zeroizing::new).is_some() {
                return Err(ParametersError::NoEffect { member, why });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        SigningParameters::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_the_reference_s_members() {
        let read = |text: &str| SigningParameters::parse(text.as_bytes()).unwrap();
        let found =
            read("privateKeyFile: k\nprivateKeyPassphraseFile: p\nrekorURL: https://r.test\n");
        let KeySource::File { path, passphrase_file } = found.key else { panic!() };
        assert_eq!((path, passphrase_file), ("k".into(), Some("p".into())));
        assert_eq!(found.witnesses.rekor.as_deref(), Some("https://r.test"));
        for (mode, more) in [
            ("staticToken", "oidcIDToken: t"),
            ("deviceGrant", "oidcIssuerURL: https://i.test"),
            ("interactive", "oidcIssuerURL: https://i.test, oidcClientID: c, oidcClientSecret: s"),
            ("ambient", "oidcClientID: c"),
        ] {
            let text = format!(
                "fulcio: {{fulcioURL: https://f.test, oidcMode: {mode}, {more}}}\nrekorURL: r\n"
            );
            assert!(matches!(read(&text).key, KeySource::Fulcio(_)), "{mode}");
        }
    }

    #[test]
    fn refuses_in_the_reference_s_words_and_order() {
        let fulcio = |members: &str| error(&format!("{{fulcio: {{{members}}}, rekorURL: r}}"));
        for (found, says) in [
            (error(""), "EOF"),
            (error("# nothing\n"), "EOF"),
            (error("x: 1"), "field x not found in type params.SigningParameterFile"),
            (error("privateKeyfile: k"), "field privateKeyfile not found"),
            (error("rekorURL: r"), "no private key source provided"),
            (
                error("{privateKeyFile: k, fulcio: {fulcioURL: f, oidcMode: ambient}}"),
                "multiple private key sources",
            ),
            (error("fulcio: {fulcioURL: f, oidcMode: ambient}"), "missing rekorURL"),
            (error("{fulcio: {fulcioURL: f, oidcMode: ambient}, rekorV2URL: r}"), "missing tsaURL"),
            (error("{privateKeyFile: k, tsaURL: t}"), "tsaURL has no effect without"),
            (
                error("{privateKeyFile: k, rekorV2URL: r, rekorPublicKeyFile: p}"),
                "rekorPublicKeyFile has no effect without rekorURL",
            ),
            (fulcio("oidcMode: staticToken"), "missing fulcioURL"),
            (fulcio("fulcioURL: f, oidcMode: staticToken"), "missing oidcToken"),
            (fulcio("fulcioURL: f"), "missing oidcIssuerURL"),
            (fulcio("fulcioURL: f, oidcIssuerURL: i"), "missing oidcMode"),
            (fulcio("fulcioURL: f, oidcIssuerURL: i, oidcMode: x"), "unknown oidcMode value \"x\""),
            (
                fulcio("fulcioURL: f, oidcMode: ambient, oidcIDToken: t"),
                "oidcIDToken has no effect",
            ),
            (fulcio("fulcioURL: f, more: 1"), "field more not found"),
            (error("- a"), "the file: expected members"),
            (error("privateKeyFile: [k]"), "privateKeyFile: expected a text"),
        ] {
            assert!(found.contains(says), "{says:?}: {found}");
        }
    }

    #[test]
    fn a_token_is_in_no_message() {
        let token = "eyJhbGciOiJFUzI1NiJ9.e30.geheim";
        for text in [
            token.to_owned(),
            format!("fulcio: {token}"),
            format!("fulcio: {{fulcioURL: f, oidcMode: staticToken, oidcIDToken: [{token}]}}"),
            format!("fulcio: {{oidcIDToken: {token}, oidcIDToken: {token}}}"),
            format!("fulcio: {{oidcIDToken: \"{token}"),
        ] {
            assert!(!error(&text).contains("geheim"), "{text}: {}", error(&text));
        }
        let good = format!(
            "{{fulcio: {{fulcioURL: f, oidcMode: staticToken, oidcIDToken: {token}}}, rekorURL: r}}"
        );
        let read = SigningParameters::parse(good.as_bytes()).unwrap();
        assert!(!format!("{read:?}").contains("geheim"));
    }
}
