use zeroize::Zeroizing;

/// One PEM block (RFC 7468): label, whole text, and the decoded contents unless it has headers, as encrypted blocks of
/// the old form do.
pub(crate) struct Block<'a> {
    pub(crate) label: &'a str,
    pub(crate) text: &'a str,
    pub(crate) contents: Option<Zeroizing<Vec<u8>>>,
}

const BEGIN: &str = "-----BEGIN ";

/// Whether `text` has a PEM block.
pub(crate) fn is_pem(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(BEGIN))
}

/// Whether `text` has blocks of OpenPGP (RFC 9580 section 6.2) and others, which no one reader reads together.
pub(crate) fn is_mixed(text: &str) -> bool {
    let labels = || text.lines().filter_map(|line| line.strip_prefix(BEGIN));
    labels().any(|label| label.starts_with("PGP "))
        && labels().any(|label| !label.starts_with("PGP "))
}

/// All blocks in `text`; text between them is ignored. `None` if one is malformed.
pub(crate) fn blocks(mut text: &str) -> Option<Vec<Block<'_>>> {
    let mut found = Vec::new();
    while let Some(start) = text.find(BEGIN) {
        let (block, rest) = block(&text[start..])?;
        found.push(block);
        text = rest;
    }
    Some(found)
}

fn block(text: &str) -> Option<(Block<'_>, &str)> {
    let (label, after) = text[BEGIN.len()..].split_once("-----")?;
    let end = format!("-----END {label}-----");
    let length = after.find(&end)?;
    let body = &after[..length];
    let total = text.len() - after.len() + length + end.len();
    let contents = match body.contains(':') {
        true => None,
        false => Some(decode(body)?),
    };
    Some((Block { label, text: &text[..total], contents }, &text[total..]))
}

fn decode(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let plain: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    securecp_oci::base64::decode(&plain).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_blocks_and_what_is_in_them() {
        let text = "note\n-----BEGIN A-----\nYWJj\nZGVm\n-----END A-----\n-----BEGIN B C-----\r\nP: x\r\n\r\nYQ==\r\n-----END B C-----";
        let found = blocks(text).unwrap();
        assert!(is_pem(text) && found.len() == 2);
        assert_eq!(
            (found[0].label, found[0].contents.as_deref().unwrap()),
            ("A", &b"abcdef".to_vec())
        );
        assert!(found[1].label == "B C" && found[1].contents.is_none());
        assert!(found[1].text.ends_with("-----END B C-----"));
    }

    #[test]
    fn refuses_broken_blocks() {
        for bad in [
            "-----BEGIN A-----\nYWJj",
            "-----BEGIN A-----\nYWJj\n-----END B-----",
            "-----BEGIN A-----\n!\n-----END A-----",
            "-----BEGIN A",
        ] {
            assert!(blocks(bad).is_none(), "{bad}");
        }
    }
}
