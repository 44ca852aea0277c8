use std::fmt::{self, Display};
use std::time::Duration;

use securecp_layer::Scope;
use securecp_net::{HeaderName, Response, StatusCode, header};
use securecp_oci::Escaped;
use securecp_oci::json::{self, Limits};
use serde_json::Value;

use crate::{Class, retry_after};

/// The most that is read of an answer that refuses, in bytes.
const BODY: usize = 64 << 10;
/// The most that is kept of one text in it, in characters.
const TEXT: usize = 512;
/// The most codes that are kept.
const CODES: usize = 16;

/// The most codes that are shown.
const SHOWN: usize = 4;

/// An answer with another status than was needed. Texts of the registry are escaped and cut.
#[derive(Debug, Clone)]
pub struct Refusal {
    status: StatusCode,
    codes: Vec<Code>,
    text: String,
    request_id: Option<String>,
    retry_after: Option<Duration>,
}

/// One entry of the registry's error list (OCI distribution specification, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// For example `MANIFEST_UNKNOWN`.
    pub code: String,
    /// What the registry says about it.
    pub message: String,
}

impl Refusal {
    /// Reads the answer's body, at most 64 KiB of it.
    pub(crate) fn read(response: Response, scope: &Scope) -> Self {
        let status = response.status();
        let request_id = request_id(&response);
        let answered = response.header(&header::DATE);
        let retry_after = response.header(&header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|text| retry_after::parse(text, answered));
        let body = response.beginning(BODY, scope);
        let codes = parse_codes(&body);
        let beginning = String::from_utf8_lossy(&body[..body.len().min(50)]);
        let text = Escaped::new(&beginning).to_string();
        Self { status, codes, text, request_id, retry_after }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The codes, in the registry's order.
    pub fn codes(&self) -> &[Code] {
        &self.codes
    }

    /// What the registry calls this request in its own logs.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The kind of failure.
    pub fn class(&self) -> Class {
        if self.is_rate_limit() {
            return Class::RateLimited;
        }
        match self.status.as_u16() {
            401 | 407 => Class::Auth,
            404 => Class::NotFound,
            507 => Class::Quota,
            _ if self.is_quota() => Class::Quota,
            403 => Class::Auth,
            409 | 412 => Class::Conflict,
            status if status >= 500 => Class::Server,
            _ => self.class_of_codes(),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        // 499 and 52x come from proxies whose upstream went away.
        let passing = matches!(self.status.as_u16(), 408 | 425 | 499 | 500 | 502..=504 | 520..=524);
        self.is_rate_limit() || (passing && self.class() != Class::Quota)
    }

    /// 429, its code, or GHCR's secondary limit, which comes as 403.
    fn is_rate_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.has_code("TOOMANYREQUESTS")
            || (self.status == StatusCode::FORBIDDEN
                && (self.retry_after.is_some() || self.speaks_of("secondary rate limit")))
    }

    /// Nothing but words tells a full quota from other reasons to refuse, and the name of a repository is no such word.
    fn is_quota(&self) -> bool {
        let is_word = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.split(|c: char| !(c.is_ascii_alphanumeric() || "/-_".contains(c)))
                .any(|part| matches!(part, "quota" | "quotas"))
        };
        let refuses = self.status.is_client_error() || self.has_code("DENIED");
        let said = self.codes.iter().any(|code| is_word(&code.message)) || is_word(&self.text);
        let coded = self.codes.iter().any(|code| code.code.contains("QUOTA"));
        coded || (refuses && said)
    }

    fn has_code(&self, wanted: &str) -> bool {
        self.codes.iter().any(|code| code.code == wanted)
    }

    /// Some registries answer 400 with a code that says more than the status.
    fn class_of_codes(&self) -> Class {
        match self.codes.first().map(|code| code.code.as_str()) {
            Some("UNAUTHORIZED" | "DENIED") => Class::Auth,
            _ => Class::Invalid,
        }
    }

    fn speaks_of(&self, words: &str) -> bool {
        let said = |text: &str| text.to_ascii_lowercase().contains(words);
        self.codes.iter().any(|code| said(&code.message)) || said(&self.text)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((first, others)) = self.codes.split_first() {
            first.fmt(f)?;
            let shown = &others[..others.len().min(SHOWN - 1)];
            shown.iter().try_for_each(|code| write!(f, "; {code}"))?;
            return match others.len() - shown.len() {
                0 => Ok(()),
                more => write!(f, "; and {more} more"),
            };
        }
        match self.status.as_u16() {
            401 => f.write_str("authentication required"),
            403 => f.write_str("requested access to the resource is denied"),
            429 => f.write_str("too many requests"),
            500.. => write!(f, "received unexpected HTTP status: {}", self.status),
            status => write!(f, "StatusCode: {status}, \"{}\"", self.text),
        }
    }
}

impl Display for Code {
    /// A message that only repeats the code's standard text stands alone, another one behind the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standard = standard_text(&self.code);
        match standard {
            Some(text) if self.message.is_empty() || self.message == text => f.write_str(text),
            _ => {
                let code = self.code.to_ascii_lowercase().replace('_', " ");
                write!(f, "{code}: {}", self.message)
            }
        }
    }
}

fn standard_text(code: &str) -> Option<&'static str> {
    Some(match code {
        "UNAUTHORIZED" => "authentication required",
        "DENIED" => "requested access to the resource is denied",
        "MANIFEST_UNKNOWN" => "manifest unknown",
        "NAME_UNKNOWN" => "repository name not known to registry",
        "BLOB_UNKNOWN" => "blob unknown to registry",
        "BLOB_UPLOAD_UNKNOWN" => "blob upload unknown to registry",
        "BLOB_UPLOAD_INVALID" => "blob upload invalid",
        "MANIFEST_INVALID" => "manifest invalid",
        "MANIFEST_BLOB_UNKNOWN" => "blob unknown to registry",
        "NAME_INVALID" => "invalid repository name",
        "TAG_INVALID" => "manifest tag did not match URI",
        "DIGEST_INVALID" => "provided digest did not match uploaded content",
        "SIZE_INVALID" => "provided length did not match content length",
        "UNSUPPORTED" => "The operation is unsupported.",
        "TOOMANYREQUESTS" => "too many requests",
        "UNAVAILABLE" => "service unavailable",
        _ => return None,
    })
}

fn request_id(response: &Response) -> Option<String> {
    const NAMES: [&str; 5] = [
        "x-request-id",
        "x-github-request-id",
        "x-ms-correlation-request-id",
        "x-amzn-requestid",
        "cf-ray",
    ];
    let found = NAMES.iter().find_map(|name| response.header(&HeaderName::from_static(name)));
    found.map(|id| Escaped::new(id).limit(128).to_string())
}

/// The error list of a body, or the single text that Docker Hub sends as `details`. Anything else is no list.
fn parse_codes(body: &[u8]) -> Vec<Code> {
    let Ok(value) = json::parse(body, Limits::bytes(BODY)) else { return Vec::new() };
    if let Some(text) = value.get("details").and_then(Value::as_str) {
        return vec![Code { code: "UNKNOWN".to_owned(), message: shown(text) }];
    }
    let items = value.get("errors").and_then(Value::as_array).map(Vec::as_slice);
    items.unwrap_or_default().iter().take(CODES).filter_map(parse_code).collect()
}

fn parse_code(item: &Value) -> Option<Code> {
    let text = |key| item.get(key).and_then(Value::as_str);
    Some(Code { code: shown(text("code")?), message: shown(text("message").unwrap_or_default()) })
}

fn shown(text: &str) -> String {
    Escaped::new(text).limit(TEXT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            codes: parse_codes(body.as_bytes()),
            text: body.to_owned(),
            request_id: None,
            retry_after: None,
        }
    }

    fn coded(status: u16, code: &str, message: &str) -> Refusal {
        refusal(status, &format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
    }

    #[test]
    fn says_what_the_registry_says() {
        for (refusal, text) in [
            (coded(404, "MANIFEST_UNKNOWN", "manifest unknown"), "manifest unknown"),
            (coded(404, "MANIFEST_UNKNOWN", "no such"), "manifest unknown: no such"),
            (coded(401, "UNAUTHORIZED", "authentication required"), "authentication required"),
            (refusal(401, ""), "authentication required"),
            (refusal(403, "<html>"), "requested access to the resource is denied"),
            (refusal(429, ""), "too many requests"),
            (refusal(429, r#"{"details":"slow down"}"#), "unknown: slow down"),
            (refusal(404, "<html>"), "StatusCode: 404, \"<html>\""),
            (refusal(500, "x"), "received unexpected HTTP status: 500 Internal Server Error"),
        ] {
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn says_everything_that_is_wrong_but_not_without_end() {
        let list = |count: usize| {
            let code = r#"{"code":"MANIFEST_BLOB_UNKNOWN","message":"b"}"#;
            refusal(400, &format!(r#"{{"errors":[{}]}}"#, vec![code; count].join(","))).to_string()
        };
        let one = "manifest blob unknown: b";
        assert_eq!(list(1), one);
        assert_eq!(list(3), [one; 3].join("; "));
        assert_eq!(list(6), format!("{}; and 2 more", [one; 4].join("; ")));
    }

    #[test]
    fn control_characters_never_come_through() {
        let found = coded(400, "X\\u001b[2J", "a\\u001b]0;b\\u0007\\u202e").to_string();
        assert!(!found.chars().any(|c| c.is_control() || c == '\u{202e}'), "{found}");
    }

    #[test]
    fn tells_classes_apart() {
        for (refusal, class, transient) in [
            (refusal(401, ""), Class::Auth, false),
            (coded(403, "DENIED", "no"), Class::Auth, false),
            (coded(400, "UNAUTHORIZED", ""), Class::Auth, false),
            (refusal(404, ""), Class::NotFound, false),
            (refusal(429, ""), Class::RateLimited, true),
            (
                coded(403, "DENIED", "You have exceeded a secondary rate limit"),
                Class::RateLimited,
                true,
            ),
            (coded(503, "TOOMANYREQUESTS", ""), Class::RateLimited, true),
            (coded(403, "DENIED", "storage quota exceeded"), Class::Quota, false),
            (coded(500, "DENIED", "Quota: 5 GiB"), Class::Quota, false),
            (coded(409, "QUOTA_EXCEEDED", ""), Class::Quota, false),
            (refusal(507, ""), Class::Quota, false),
            (refusal(413, "over quota."), Class::Quota, false),
            (coded(401, "UNAUTHORIZED", "quota"), Class::Auth, false),
            (coded(403, "DENIED", "acme/quota-service: denied"), Class::Auth, false),
            (coded(403, "DENIED", "acme/quota: denied"), Class::Auth, false),
            (coded(404, "NOT_FOUND", "quota not found"), Class::NotFound, false),
            (coded(500, "UNKNOWN", "quota"), Class::Server, true),
            (refusal(412, ""), Class::Conflict, false),
            (refusal(413, ""), Class::Invalid, false),
            (coded(400, "MANIFEST_INVALID", ""), Class::Invalid, false),
            (refusal(500, ""), Class::Server, true),
            (refusal(501, ""), Class::Server, false),
            (refusal(503, ""), Class::Server, true),
        ] {
            assert_eq!((refusal.class(), refusal.is_transient()), (class, transient), "{refusal}");
        }
    }

    #[test]
    fn odd_error_bodies_are_no_lists() {
        for body in ["", "[]", "{}", r#"{"errors":null}"#, r#"{"errors":[{"message":1}]}"#, "\u{0}"]
        {
            assert!(parse_codes(body.as_bytes()).is_empty(), "{body}");
        }
    }
}
