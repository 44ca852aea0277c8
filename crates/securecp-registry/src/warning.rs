//! The `Warning` header with code 299, by which registries speak to people (distribution specification, "Warnings").

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
            let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.len() < TEXTS && heard.insert(text.clone()) {
                tracing::warn!("{host} warns: {}", Escaped::new(&text));
            }
        }
    }
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
