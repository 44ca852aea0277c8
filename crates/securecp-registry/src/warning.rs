//! What registries have to say to people: the `Warning` header with code 299 (distribution specification, "Warnings"), and
//! how many pulls Docker Hub still allows.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use securecp_net::{HeaderMap, header};
use securecp_oci::Escaped;

/// Longest text taken, in bytes, and most texts remembered.
const TEXT: usize = 4096;
const TEXTS: usize = 100;

/// The warnings of one host, each passed on once.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<HashSet<String>>);

impl Warnings {
    /// Passes on what is new.
    pub(crate) fn hear(&self, host: &str, headers: &HeaderMap) {
        let values = headers.get_all(header::WARNING).iter();
        for text in values.filter_map(|value| parse(value.to_str().ok()?)) {
            if self.is_new(&text) {
                tracing::warn!("{host} warns: {}", Escaped::new(&text));
            }
        }
        if let Some((left, hours)) = running_out(headers).filter(|_| self.is_new(RUNNING_OUT)) {
            tracing::warn!("{host} allows {left} more pulls within {hours} hours");
        }
    }

    fn is_new(&self, text: &str) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.len() < TEXTS && heard.insert(text.to_owned())
    }
}

/// Stands for the warning of a rate limit; no text of a registry has a control character.
const RUNNING_OUT: &str = "\u{1}";

/// The pulls that are left and the hours of the window, if it is a long one and less than a tenth is left. By the answer
/// 429 it would be too late: the window of Docker Hub is six hours long.
fn running_out(headers: &HeaderMap) -> Option<(u64, u64)> {
    let read = |name| {
        let (count, window) = headers.get(name)?.to_str().ok()?.split_once(";w=")?;
        Some((count.trim().parse::<u64>().ok()?, window.trim().parse::<u64>().ok()?))
    };
    let (limit, _) = read("ratelimit-limit")?;
    let (left, seconds) = read("ratelimit-remaining")?;
    (left < limit / 10 && seconds >= 3600).then_some((left, seconds / 3600))
}

/// The text of `299 - "TEXT"`, unescaped; anything else is no warning.
fn parse(value: &str) -> Option<String> {
    let quoted = value.strip_prefix("299 - \"")?.strip_suffix('"')?;
    if quoted.len() > TEXT {
        return None;
    }
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(next) = characters.next() {
        match next {
            '"' => return None,
            '\\' => text.push(characters.next()?),
            plain => text.push(plain),
        }
    }
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_is_a_warning() {
        assert_eq!(parse(r#"299 - "old \"thing\" \\""#).as_deref(), Some(r#"old "thing" \"#));
        for bad in
            ["", "199 - \"x\"", "299 - x", "299 - \"a\"b\"", "299 - \"a\\\"", "299 host \"x\""]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("299 - \"{}\"", "x".repeat(5000))), None);
    }

    #[test]
    fn says_once_that_few_pulls_are_left() {
        let headers = |limit: &str, left: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-limit", limit.parse().unwrap());
            headers.insert("ratelimit-remaining", left.parse().unwrap());
            headers
        };
        assert_eq!(running_out(&headers("100;w=21600", "9;w=21600")), Some((9, 6)));
        for (limit, left) in [
            ("100;w=21600", "10;w=21600"),
            ("2000;w=60", "3;w=60"),
            ("2000", "3"),
            ("100;w=21600", "-1;w=21600"),
            ("100;w=21600", "9;w=x"),
            ("0;w=21600", "0;w=21600"),
        ] {
            assert_eq!(running_out(&headers(limit, left)), None, "{limit} {left}");
        }
        let warnings = Warnings::default();
        assert!(warnings.is_new(RUNNING_OUT) && !warnings.is_new(RUNNING_OUT));
    }

    #[test]
    fn remembers_what_was_said() {
        let warnings = Warnings::default();
        let mut headers = HeaderMap::new();
        for n in 0..500 {
            headers.insert(header::WARNING, format!("299 - \"{}\"", n % 250).parse().unwrap());
            warnings.hear("h", &headers);
        }
        assert_eq!(warnings.0.lock().unwrap().len(), TEXTS);
    }
}
