use super::error::KeyMatch;

/// The primary keys of a listing in GnuPG's colon format (its `doc/DETAILS`): `sec` opens a key, the next `fpr` names
/// it, the first `uid` says whose it is.
pub(super) fn secret_keys(listing: &str) -> Vec<KeyMatch> {
    let mut found: Vec<KeyMatch> = Vec::new();
    // Subkeys have a fingerprint of their own, which is not the one wanted.
    let mut in_primary = false;
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let tenth = fields.get(9).copied().unwrap_or_default();
        match (fields[0], found.last_mut()) {
            ("sec", _) => {
                in_primary = true;
                found.push(KeyMatch { fingerprint: String::new(), user: String::new() });
            }
            ("ssb", _) => in_primary = false,
            ("fpr", Some(key)) if in_primary && key.fingerprint.is_empty() => {
                key.fingerprint = tenth.to_ascii_uppercase();
            }
            ("uid", Some(key)) if key.user.is_empty() => key.user = unescaped(tenth),
            _ => {}
        }
    }
    found.retain(|key| is_fingerprint(&key.fingerprint));
    found.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    found.dedup_by(|a, b| a.fingerprint == b.fingerprint);
    found
}

/// Forty hexadecimal digits, or sixty-four for keys of version 5 and 6.
fn is_fingerprint(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The listing writes colons and control characters as `\xHH`; colons are the ones people use.
fn unescaped(text: &str) -> String {
    text.replace("\\x3a", ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "A1741BD1F5BB9084054F72F4D1528EB2EFC7761C";
    const SECOND: &str = "0405AB81937726DA858C6116A2F57212818D500E";

    fn listed(listing: &str) -> Vec<(String, String)> {
        secret_keys(listing).into_iter().map(|key| (key.fingerprint, key.user)).collect()
    }

    #[test]
    fn reads_primary_keys_only() {
        let text = format!(
            "tru::1:1:0:3:1:5\nsec:u:255:22:D1528EB2EFC7761C:1:::u:::scSC:::+::ed25519:::0:\n\
             fpr:::::::::{FIRST}:\ngrp:::::::::00:\nuid:u::::1::00::A <a\\x3a@x.example>::::::::::0:\n\
             uid:u::::1::00::Other::::::::::0:\nssb:u:255:22:00:1::::::s:::+::ed25519::\nfpr:::::::::{SECOND}:\n"
        );
        assert_eq!(listed(&text), [(FIRST.to_owned(), "A <a:@x.example>".to_owned())]);
    }

    #[test]
    fn tells_several_keys_apart_and_the_same_one_not() {
        let key = |fingerprint: &str| format!("sec:u:\nfpr:::::::::{fingerprint}:\n");
        let fingerprints = |text: &str| secret_keys(text).len();
        assert_eq!(fingerprints(&[key(FIRST), key(SECOND)].concat()), 2);
        assert_eq!(fingerprints(&[key(FIRST), key(FIRST)].concat()), 1);
    }

    #[test]
    fn garbage_is_no_key() {
        for text in ["", "sec", "fpr:::::::::", "sec:\nfpr:::::::::--output=x:\n", "sec:\nuid\n"] {
            assert!(secret_keys(text).is_empty(), "{text}");
        }
    }
}
