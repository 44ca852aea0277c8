//! The file of `--sign-by-sigstore`: strict YAML, the reference's members, `ambient` as one more way to a token, and more
//! witnesses; or the services that a signing configuration names.

use std::path::PathBuf;
use std::time::SystemTime;

use securecp_oci::Escaped;
use serde_norway::{Mapping, Value};
use zeroize::Zeroizing;

use super::identity::AUDIENCE;
use super::{ProviderParameters, SecretText, SigningConfig, SigningConfigError};

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
    /// The signing configuration that is named cannot be used.
    #[error("signingConfigFile")]
    Config(#[from] SigningConfigError),
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

/// A file that was read, but not yet made sense of.
pub struct ParameterFile(Value);

/// What a signing configuration offers in place of addresses in the file.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The services.
    pub config: &'a SigningConfig,
    /// Whether attachments will be made too, which need a log of the first version.
    pub attaches: bool,
    /// The time at which services must be valid.
    pub now: SystemTime,
}

impl ParameterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no YAML, or has members that are not known.
    pub fn read(bytes: &[u8]) -> Result<Self, ParametersError> {
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
        Members::of("the file", &value, &TOP)?;
        Ok(Self(value))
    }

    /// The file with the signing configuration, if one is named.
    ///
    /// # Errors
    /// The name is no text.
    pub fn signing_config(&self) -> Result<Option<PathBuf>, ParametersError> {
        let top = Members::of("the file", &self.0, &TOP)?;
        Ok(top.text("signingConfigFile")?.map(PathBuf::from))
    }

    /// What the file says, with what the signing configuration that it names offers.
    ///
    /// # Errors
    /// See [`ParametersError`].
    pub fn parameters(
        &self,
        offer: Option<Offer<'_>>,
    ) -> Result<SigningParameters, ParametersError> {
        let top = Members::of("the file", &self.0, &TOP)?;
        if offer.is_none() && self.signing_config()?.is_some() {
            return Err(ParametersError::Missing("what signingConfigFile names"));
        }
        let witnesses = WitnessAddresses::read(&top, offer)?;
        let rekor_key = top.text("rekorPublicKeyFile")?.map(PathBuf::from);
        let file = top.text("privateKeyFile")?.map(PathBuf::from);
        let passphrase_file = top.text("privateKeyPassphraseFile")?.map(PathBuf::from);
        let fulcio = top.get("fulcio").map(|value| fulcio(value, offer)).transpose()?;
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
        Ok(SigningParameters { key, witnesses, rekor_key })
    }
}

impl std::fmt::Debug for ParameterFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParameterFile").finish_non_exhaustive()
    }
}

/// Why members with addresses are not taken.
const BESIDE: &str = "beside signingConfigFile";

impl WitnessAddresses {
    fn read(top: &Members<'_>, offer: Option<Offer<'_>>) -> Result<Self, ParametersError> {
        let Some(offer) = offer else {
            return Ok(Self {
                rekor: top.text("rekorURL")?,
                rekor_v2: top.text("rekorV2URL")?,
                tsa: top.text("tsaURL")?,
            });
        };
        top.unused(&["rekorURL", "rekorV2URL", "tsaURL"], BESIDE)?;
        Ok(Self::offered(offer)?)
    }

    /// The log of the best version, and for attachments one of the first.
    fn offered(offer: Offer<'_>) -> Result<Self, SigningConfigError> {
        let Offer { config, attaches, now } = offer;
        let tsa = config.timestamps(now)?;
        Ok(match config.log(&[2, 1], now)? {
            Some((2, address)) => {
                let first = if attaches { config.log(&[1], now)? } else { None };
                let rekor = first.map(|(_, address)| address);
                Self { rekor, rekor_v2: Some(address), tsa }
            }
            found => Self { rekor: found.map(|(_, address)| address), rekor_v2: None, tsa },
        })
    }

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

const TOP: [&str; 8] = [
    "signingConfigFile",
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
fn fulcio(value: &Value, offer: Option<Offer<'_>>) -> Result<FulcioParameters, ParametersError> {
    let members = Members::of("fulcio", value, &FULCIO)?;
    let address = match offer {
        None => members.text("fulcioURL")?.ok_or(ParametersError::Missing("fulcioURL"))?,
        Some(offer) => {
            members.unused(&["fulcioURL"], BESIDE)?;
            offer.config.authority(offer.now)?
        }
    };
    Ok(FulcioParameters { address, mode: token_mode(&members, offer)? })
}

fn token_mode(
    members: &Members<'_>,
    offer: Option<Offer<'_>>,
) -> Result<TokenMode, ParametersError> {
    let token = members.text("oidcIDToken")?.map(SecretText::new);
    let client_id = members.text("oidcClientID")?.unwrap_or_else(|| AUDIENCE.to_owned());
    let client_secret = members.text("oidcClientSecret")?.map(SecretText::new);
    let (mode, issuer) = (members.text("oidcMode")?, members.text("oidcIssuerURL")?);
    Ok(match mode.as_deref() {
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
            let issuer = provider(issuer, offer)?;
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
    })
}

/// The identity provider of the file, or else of the signing configuration.
fn provider(issuer: Option<String>, offer: Option<Offer<'_>>) -> Result<String, ParametersError> {
    let offer = offer.filter(|offer| offer.config.has_providers());
    match (issuer, offer) {
        (Some(issuer), None) => Ok(issuer),
        (None, Some(offer)) => Ok(offer.config.provider(offer.now)?),
        (None, None) => Err(ParametersError::Missing("oidcIssuerURL")),
        (Some(_), Some(_)) => {
            let why = "beside the oidcUrls of signingConfigFile";
            Err(ParametersError::NoEffect { member: "oidcIssuerURL", why })
        }
    }
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

    fn parse(text: &str) -> Result<SigningParameters, ParametersError> {
        ParameterFile::read(text.as_bytes())?.parameters(None)
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_the_reference_s_members() {
        let read = |text: &str| parse(text).unwrap();
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

    /// A configuration with logs of these versions.
    fn config(versions: &[u32]) -> SigningConfig {
        let service = |url: &str, version: u32| {
            format!(
                r#"{{"url": "{url}", "majorApiVersion": {version}, "validFor": {{"start": "2020-01-01T00:00:00Z"}}}}"#
            )
        };
        let logs: Vec<_> = versions.iter().map(|v| service(&format!("log-{v}"), *v)).collect();
        let text = format!(
            r#"{{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "caUrls": [{}],
                "oidcUrls": [{}], "rekorTlogUrls": [{}], "rekorTlogConfig": {{"selector": "ANY"}},
                "tsaUrls": [{}], "tsaConfig": {{"selector": "ANY"}}}}"#,
            service("fulcio", 1),
            service("provider", 1),
            logs.join(", "),
            service("time", 1)
        );
        SigningConfig::parse(text.as_bytes()).unwrap()
    }

    fn offered(
        text: &str,
        config: &SigningConfig,
        attaches: bool,
    ) -> Result<SigningParameters, ParametersError> {
        let now = SystemTime::now();
        ParameterFile::read(text.as_bytes())?.parameters(Some(Offer { config, attaches, now }))
    }

    #[test]
    fn a_signing_configuration_stands_for_the_addresses() {
        let text = "{fulcio: {oidcMode: interactive}, signingConfigFile: c}";
        let named = ParameterFile::read(text.as_bytes()).unwrap().signing_config().unwrap();
        assert_eq!(named, Some("c".into()));
        let some = |text: &str| Some(text.to_owned());
        for (versions, attaches, rekor, rekor_v2) in [
            (&[1, 2][..], false, None, some("log-2")),
            (&[2, 1], true, some("log-1"), some("log-2")),
            (&[1], true, some("log-1"), None),
            (&[1, 3], false, some("log-1"), None),
        ] {
            let found = offered(text, &config(versions), attaches).unwrap();
            let expected = WitnessAddresses { rekor, rekor_v2, tsa: some("time") };
            assert_eq!(found.witnesses, expected, "{versions:?}");
            let KeySource::Fulcio(fulcio) = found.key else { panic!("another key") };
            assert_eq!(fulcio.address, "fulcio");
            let TokenMode::Browser(provider) = fulcio.mode else { panic!("another mode") };
            assert_eq!(provider.issuer, "provider");
        }
        let key = offered("{privateKeyFile: k, signingConfigFile: c}", &config(&[2]), false);
        assert!(matches!(key.unwrap().key, KeySource::File { .. }));
    }

    #[test]
    fn what_a_signing_configuration_makes_useless_is_refused() {
        let says = |text: &str, versions: &[u32], attaches: bool| {
            offered(text, &config(versions), attaches).unwrap_err()
        };
        for (member, text) in [
            ("rekorURL", "{privateKeyFile: k, rekorURL: r}"),
            ("rekorV2URL", "{privateKeyFile: k, rekorV2URL: r}"),
            ("tsaURL", "{privateKeyFile: k, tsaURL: t}"),
            ("fulcioURL", "fulcio: {fulcioURL: f, oidcMode: ambient}"),
            ("oidcIssuerURL", "fulcio: {oidcMode: interactive, oidcIssuerURL: i}"),
        ] {
            let error = says(text, &[1], false).to_string();
            assert!(error.starts_with(&format!("{member} has no effect beside")), "{error}");
        }
        let text = "fulcio: {oidcMode: ambient}";
        for (versions, attaches) in [(&[3][..], false), (&[2], true)] {
            let error = says(text, versions, attaches);
            assert!(matches!(error, ParametersError::Config(_)), "{error}");
        }
        assert!(matches!(says(text, &[], false), ParametersError::NoLog));
        assert!(error("{privateKeyFile: k, signingConfigFile: c}").contains("missing what"));
        assert!(error("{privateKeyFile: k, signingConfigFile: [c]}").contains("expected a text"));
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
        let read = parse(&good).unwrap();
        assert!(!format!("{read:?}").contains("geheim"));
    }
}
