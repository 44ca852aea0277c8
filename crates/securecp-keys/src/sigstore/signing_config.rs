//! Which services sign, as sigstore's clients are told in a file (SigningConfig version 0.2 of sigstore's protobuf-specs,
//! `signing_config.v0.2.json`).

use std::cmp::Reverse;
use std::error::Error;
use std::time::SystemTime;

use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Largest file that is read, in bytes.
pub const SIGNING_CONFIG_LIMIT: usize = 1 << 20;

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.signingconfig.v0.2+json";

/// Why a signing configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningConfigError {
    /// It is not strict JSON of the members that are known.
    #[error("not a signing configuration of version 0.2: {0}")]
    Form(String),
    /// It is another document, or of another version.
    #[error("mediaType: expected {MEDIA_TYPE}, found {0}")]
    MediaType(String),
    /// A list that is needed names no service.
    #[error("{list}: expected a service, found none")]
    Empty {
        /// The list.
        list: &'static str,
    },
    /// A list has services, but none for us, now.
    #[error(
        "{list}: none of its {found} services is valid now and of a version that securecp speaks ({versions})"
    )]
    NoneValid {
        /// The list.
        list: &'static str,
        /// How many services it has.
        found: usize,
        /// The versions that would do.
        versions: String,
    },
    /// How services are to be chosen is not said, or in a way that is not understood.
    #[error(
        "{member}: expected the selector ANY, ALL, or EXACT with a count of 1 or more, found {found}"
    )]
    Selector {
        /// The member.
        member: &'static str,
        /// What it says.
        found: String,
    },
    /// More services are wanted than there are.
    #[error(
        "{member}: wants {wanted} operators, but only {found} have a service that is valid now"
    )]
    TooFew {
        /// The member.
        member: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// More services are wanted than a bundle is given.
    #[error("{member}: wants {wanted} services, but securecp asks one for a bundle")]
    Several {
        /// The member.
        member: &'static str,
        /// How many are wanted.
        wanted: usize,
    },
}

/// The services that a file names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningConfig {
    #[serde(rename = "mediaType")]
    _media_type: String,
    #[serde(default)]
    ca_urls: Vec<Service>,
    #[serde(default)]
    oidc_urls: Vec<Service>,
    #[serde(default)]
    rekor_tlog_urls: Vec<Service>,
    #[serde(default)]
    tsa_urls: Vec<Service>,
    rekor_tlog_config: Option<Choice>,
    tsa_config: Option<Choice>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Service {
    url: String,
    major_api_version: u32,
    valid_for: Validity,
    /// Who runs it; all services that do not say count as one operator's.
    #[serde(default)]
    operator: String,
}

/// Both ends belong to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Validity {
    start: Moment,
    end: Option<Moment>,
}

/// A point in time, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Moment(OffsetDateTime);

/// How many services are asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    #[serde(default)]
    selector: String,
    #[serde(default)]
    count: usize,
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = OffsetDateTime::parse(&text, &Rfc3339);
        parsed.map(Self).map_err(|_| format!("expected a time as of RFC 3339, found {text:?}"))
    }
}

/// What a client may be asked for, and how the file calls it.
struct Wish<'a> {
    list: &'static str,
    services: &'a [Service],
    /// Those that securecp speaks, the best first.
    versions: &'a [u32],
}

impl SigningConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// It is no JSON of just the known members, or of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, SigningConfigError> {
        let form = |error: &dyn Error| {
            SigningConfigError::Form(Escaped::new(&error.to_string()).limit(200).to_string())
        };
        let value =
            json::parse(bytes, Limits::bytes(SIGNING_CONFIG_LIMIT)).map_err(|e| form(&e))?;
        let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or("none");
        if media_type != MEDIA_TYPE {
            let found = Escaped::new(media_type).limit(120).to_string();
            return Err(SigningConfigError::MediaType(found));
        }
        serde_json::from_value(value).map_err(|error| form(&error))
    }

    /// The address of the certificate authority (Fulcio) to be asked at `now`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn authority(&self, now: SystemTime) -> Result<String, SigningConfigError> {
        Self::needed("caUrls", &self.ca_urls, now)
    }

    /// Whether it names identity providers at all.
    pub(super) fn has_providers(&self) -> bool {
        !self.oidc_urls.is_empty()
    }

    /// The address of the identity provider to be asked at `now`.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn provider(&self, now: SystemTime) -> Result<String, SigningConfigError> {
        Self::needed("oidcUrls", &self.oidc_urls, now)
    }

    /// The log to be asked at `now` with its version, the best of `versions`; `None` if none is named.
    ///
    /// # Errors
    /// Those named cannot be asked, or not as many of them as the file wants.
    pub(super) fn log(
        &self,
        versions: &[u32],
        now: SystemTime,
    ) -> Result<Option<(u32, String)>, SigningConfigError> {
        let (list, services) = ("rekorTlogUrls", &self.rekor_tlog_urls);
        let wish = Wish { list, services, versions };
        wish.one(("rekorTlogConfig", self.rekor_tlog_config.as_ref()), now)
    }

    /// The timestamp authority to be asked at `now`; `None` if none is named.
    ///
    /// # Errors
    /// Those named cannot be asked, or not as many of them as the file wants.
    pub(super) fn timestamps(&self, now: SystemTime) -> Result<Option<String>, SigningConfigError> {
        let wish = Wish { list: "tsaUrls", services: &self.tsa_urls, versions: &[1] };
        let found = wish.one(("tsaConfig", self.tsa_config.as_ref()), now)?;
        Ok(found.map(|(_, address)| address))
    }

    fn needed(
        list: &'static str,
        services: &[Service],
        now: SystemTime,
    ) -> Result<String, SigningConfigError> {
        if services.is_empty() {
            return Err(SigningConfigError::Empty { list });
        }
        let valid = Wish { list, services, versions: &[1] }.valid(now)?;
        let first = valid.first().ok_or(SigningConfigError::Empty { list })?;
        Ok(first.url.clone())
    }
}

impl<'a> Wish<'a> {
    /// Those that are valid and of the best version that any valid one has, the newest first.
    fn valid(&self, now: SystemTime) -> Result<Vec<&'a Service>, SigningConfigError> {
        let now = Moment(now.into());
        let mut valid: Vec<&Service> =
            self.services.iter().filter(|one| one.is_valid(now)).collect();
        valid.sort_by_key(|one| Reverse(one.valid_for.start));
        let of = |version: &u32| -> Vec<&'a Service> {
            valid.iter().copied().filter(|one| one.major_api_version == *version).collect()
        };
        let best = self.versions.iter().map(of).find(|found| !found.is_empty());
        best.ok_or_else(|| {
            let versions: Vec<_> = self.versions.iter().map(u32::to_string).collect();
            let (list, found) = (self.list, self.services.len());
            SigningConfigError::NoneValid { list, found, versions: versions.join(", ") }
        })
    }

    /// The one service to be asked, if the file is content with one.
    fn one(
        &self,
        (member, choice): (&'static str, Option<&Choice>),
        now: SystemTime,
    ) -> Result<Option<(u32, String)>, SigningConfigError> {
        if self.services.is_empty() {
            return Ok(None);
        }
        let mut operators: Vec<&Service> = Vec::new();
        for service in self.valid(now)? {
            if operators.iter().all(|known| known.operator != service.operator) {
                operators.push(service);
            }
        }
        let found = operators.len();
        match Choice::wanted(member, choice, found)? {
            wanted if wanted > found => Err(SigningConfigError::TooFew { member, wanted, found }),
            1 => Ok(operators.first().map(|one| (one.major_api_version, one.url.clone()))),
            wanted => Err(SigningConfigError::Several { member, wanted }),
        }
    }
}

impl Choice {
    /// How many of `found` services are wanted.
    fn wanted(
        member: &'static str,
        choice: Option<&Self>,
        found: usize,
    ) -> Result<usize, SigningConfigError> {
        let unclear = |found: String| SigningConfigError::Selector { member, found };
        let choice = choice.ok_or_else(|| unclear("none".to_owned()))?;
        match (choice.selector.as_str(), choice.count) {
            ("ANY", 0) => Ok(1),
            ("ALL", 0) => Ok(found),
            ("EXACT", count) if count > 0 => Ok(count),
            (selector, count) => {
                let selector = Escaped::new(selector).limit(80).to_string();
                Err(unclear(format!("{selector:?} with a count of {count}")))
            }
        }
    }
}

impl Service {
    fn is_valid(&self, now: Moment) -> bool {
        self.valid_for.start <= now && self.valid_for.end.is_none_or(|end| now <= end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;

    /// 2026-01-01.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn service(url: &str, version: u32, start: &str, operator: &str) -> Value {
        json!({"url": url, "majorApiVersion": version, "validFor": {"start": start}, "operator": operator})
    }

    /// A file with these logs and this choice.
    fn logs(services: Value, choice: Value) -> SigningConfig {
        let mut file = json!({"mediaType": MEDIA_TYPE, "rekorTlogUrls": services});
        file["rekorTlogConfig"] = choice;
        read(&file).unwrap()
    }

    fn read(file: &Value) -> Result<SigningConfig, SigningConfigError> {
        SigningConfig::parse(file.to_string().as_bytes())
    }

    const OLD: &str = "2021-01-12T11:53:27.000Z";
    const NEW: &str = "2025-09-23T00:00:00Z";
    const LATER: &str = "2026-09-23T00:00:00Z";

    #[test]
    fn the_best_version_and_the_newest_valid_service_are_taken() {
        let ended = json!({
            "url": "ended", "majorApiVersion": 2, "operator": "a",
            "validFor": {"start": OLD, "end": "2025-12-31T23:59:59Z"},
        });
        let list = json!([
            service("later", 2, LATER, "a"),
            ended,
            service("unknown", 3, NEW, "a"),
            service("first", 1, NEW, "a"),
            service("old", 2, OLD, "a"),
            service("new", 2, NEW, "a"),
        ]);
        let config = logs(list, json!({"selector": "ANY"}));
        let found = |versions: &[u32]| config.log(versions, now()).unwrap().unwrap();
        assert_eq!(found(&[2, 1]), (2, "new".to_owned()));
        assert_eq!(found(&[1]), (1, "first".to_owned()));
        let error = config.log(&[4], now()).unwrap_err().to_string();
        assert!(error.contains("rekorTlogUrls: none of its 6 services is valid now"), "{error}");
        let last = UNIX_EPOCH + Duration::from_secs(1_767_225_599);
        let list = json!([{"url": "u", "majorApiVersion": 1,
            "validFor": {"start": "2025-12-31T23:59:59Z", "end": "2025-12-31T23:59:59Z"}}]);
        let config = logs(list, json!({"selector": "ANY"}));
        assert_eq!(config.log(&[1], last).unwrap(), Some((1, "u".to_owned())), "both ends count");
        assert!(config.log(&[1], now()).is_err());
    }

    #[test]
    fn as_many_as_are_wanted_are_asked_or_it_is_an_error() {
        let two = || json!([service("a", 1, OLD, "a"), service("b", 1, OLD, "b")]);
        let same = || json!([service("a", 1, OLD, "a"), service("b", 1, NEW, "a")]);
        let asked = |list: Value, choice: Value| {
            logs(list, choice).log(&[1], now()).map(|found| found.unwrap().1)
        };
        assert_eq!(asked(two(), json!({"selector": "ANY"})).unwrap(), "a");
        assert_eq!(asked(same(), json!({"selector": "ALL"})).unwrap(), "b");
        assert_eq!(asked(two(), json!({"selector": "EXACT", "count": 1})).unwrap(), "a");
        for (list, choice, says) in [
            (two(), json!({"selector": "ALL"}), "wants 2 services"),
            (two(), json!({"selector": "EXACT", "count": 2}), "wants 2 services"),
            (same(), json!({"selector": "EXACT", "count": 2}), "but only 1 have"),
            (two(), json!({"selector": "EXACT"}), "found \"EXACT\" with a count of 0"),
            (two(), json!({"selector": "ANY", "count": 2}), "found \"ANY\" with a count of 2"),
            (
                two(),
                json!({"selector": "SERVICE_SELECTOR_UNDEFINED"}),
                "SERVICE_SELECTOR_UNDEFINED",
            ),
            (two(), json!({}), "found \"\""),
            (two(), json!(null), "found none"),
        ] {
            let error = asked(list, choice).unwrap_err().to_string();
            assert!(error.starts_with("rekorTlogConfig: ") && error.contains(says), "{error}");
        }
        assert_eq!(logs(json!([]), json!(null)).log(&[1], now()).unwrap(), None);
        assert_eq!(logs(json!([]), json!(null)).timestamps(now()).unwrap(), None);
    }

    #[test]
    fn what_is_needed_and_not_there_is_told() {
        let mut file = json!({"mediaType": MEDIA_TYPE, "oidcUrls": [service("p", 1, LATER, "")]});
        let config = read(&file).unwrap();
        let error = config.authority(now()).unwrap_err().to_string();
        assert_eq!(error, "caUrls: expected a service, found none");
        assert!(
            config.provider(now()).unwrap_err().to_string().starts_with("oidcUrls: none of its 1")
        );
        file["tsaUrls"] = json!([service("t", 1, OLD, "")]);
        file["tsaConfig"] = json!({"selector": "ANY"});
        assert_eq!(read(&file).unwrap().timestamps(now()).unwrap().as_deref(), Some("t"));
    }

    #[test]
    fn other_documents_are_refused() {
        let refused = |file: &Value| read(file).unwrap_err().to_string();
        let old = "application/vnd.dev.sigstore.signingconfig.v0.1+json";
        assert!(refused(&json!({"mediaType": old})).contains("v0.1+json"));
        assert!(refused(&json!({})).contains("found none"));
        for (member, value) in [
            ("caURLs", json!([])),
            ("caUrls", json!([{"url": "u", "majorApiVersion": 1}])),
            ("caUrls", json!([{"url": "u", "majorApiVersion": "1", "validFor": {"start": OLD}}])),
            ("caUrls", json!([{"url": "u", "majorApiVersion": 1, "validFor": {"start": "soon"}}])),
            (
                "caUrls",
                json!([{"url": "u", "majorApiVersion": 1, "validFor": {"start": OLD}, "x": 1}]),
            ),
            ("tsaConfig", json!({"selector": "ANY", "x": 1})),
            ("tsaConfig", json!({"selector": "ANY", "count": -1})),
        ] {
            let mut file = json!({"mediaType": MEDIA_TYPE});
            file[member] = value;
            let error = refused(&file);
            assert!(error.starts_with("not a signing configuration of version 0.2: "), "{error}");
        }
        assert!(SigningConfig::parse(b"{\"mediaType\": 1, \"mediaType\": 2}").is_err());
        assert!(SigningConfig::parse(&vec![b' '; SIGNING_CONFIG_LIMIT + 1]).is_err());
    }
}
