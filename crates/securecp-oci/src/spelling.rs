//! Names of members as Go's decoder matches them: without regard to case, by Unicode's folding.

/// The name in `known` for which Go takes `key`, although it is written otherwise. Readers that match names exactly
/// would see another document there.
pub(crate) fn meant(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if known.contains(&key) {
        return None;
    }
    known.iter().find(|name| folded(name).eq(folded(key))).copied()
}

/// Only two characters beyond ASCII fold into it: the long s and the sign of the kelvin.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_as_go_does() {
        let known = &["size", "Size2", "token"];
        for (key, found) in [
            ("size", None),
            ("SIZE", Some("size")),
            ("\u{17f}ize", Some("size")),
            ("\u{17f}IZE2", Some("Size2")),
            ("to\u{212a}en", Some("token")),
            ("sizes", None),
            ("siz\u{e9}", None),
            ("", None),
        ] {
            assert_eq!(meant(key, known), found, "{key}");
        }
    }
}
