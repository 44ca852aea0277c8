//! Which tags of a repository are meant: shell patterns, regular expressions, ranges of versions.

use regex::bytes::{Regex, RegexBuilder};
use securecp_oci::Escaped;
use semver::{Version, VersionReq};

/// A choice of tags; none that is given chooses all.
#[derive(Debug, Clone, Default)]
pub(crate) struct TagFilter(Vec<Choice>);

#[derive(Debug, Clone)]
enum Choice {
    Pattern(Regex),
    Range(VersionReq),
}

/// Largest compiled expression, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

impl TagFilter {
    /// Reads `GLOB`, `regex:EXPRESSION` or `range:VERSIONS`; a tag is chosen if one of them fits it whole.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        given.iter().map(|text| choice(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a tag is chosen.
    pub(crate) fn chooses(&self, tag: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|choice| choice.fits(tag))
    }
}

impl Choice {
    fn fits(&self, tag: &str) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_match(tag.as_bytes()),
            Self::Range(range) => version(tag).is_some_and(|version| range.matches(&version)),
        }
    }
}

fn choice(text: &str) -> Result<Choice, String> {
    let shown = || Escaped::new(text).to_string();
    if let Some(expression) = text.strip_prefix("regex:") {
        let whole = expression_matching(&format!("^(?:{expression})$"));
        return whole.map(Choice::Pattern).map_err(|problem| format!("{}: {problem}", shown()));
    }
    if let Some(range) = text.strip_prefix("range:") {
        let range = VersionReq::parse(range);
        return range.map(Choice::Range).map_err(|problem| format!("{}: {problem}", shown()));
    }
    if text.is_empty() {
        return Err("expected a pattern, found nothing".to_owned());
    }
    let glob = glob(text).ok_or_else(|| format!("{}: a [ is not closed", shown()))?;
    expression_matching(&glob).map(Choice::Pattern).map_err(|p| format!("{}: {p}", shown()))
}

/// Compiles an expression that may match anywhere.
pub(crate) fn expression_matching(expression: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(expression).unicode(false).size_limit(SIZE_LIMIT).build();
    built.map_err(|error| {
        let text = error.to_string();
        // The first lines draw the expression once more.
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// A shell pattern as an expression: `*`, `?` and `[…]` or `[!…]`.
fn glob(text: &str) -> Option<String> {
    let mut expression = "^".to_owned();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                let (class, behind) = rest.split_once(']')?;
                let (not, class) = class.strip_prefix('!').map_or(("", class), |c| ("^", c));
                expression.push_str(&format!("[{not}{}]", escaped(class, &['-'])));
                rest = behind;
            }
            other => expression.push_str(&escaped(other.encode_utf8(&mut [0; 4]), &[])),
        }
    }
    expression.push('$');
    Some(expression)
}

/// Every sign that means something, but those in `keep`, for itself.
fn escaped(text: &str, keep: &[char]) -> String {
    let one = |sign: char| {
        let plain = sign.is_ascii_alphanumeric() || !sign.is_ascii() || keep.contains(&sign);
        if plain { sign.to_string() } else { format!("\\{sign}") }
    };
    text.chars().map(one).collect()
}

/// The version that a tag names: `1.2.3`, `v1.2.3`, also with a pre-release; nothing shorter.
fn version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<'a>(filters: &[&str], tags: &[&'a str]) -> Vec<&'a str> {
        let given: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let filter = TagFilter::parse(&given).unwrap();
        tags.iter().copied().filter(|tag| filter.chooses(tag)).collect()
    }

    #[test]
    fn a_pattern_fits_the_whole_tag() {
        let tags = ["v1", "v1.2", "av1", "v1x", "latest", "v1_2", "v1-2"];
        assert_eq!(chosen(&["v1"], &tags), ["v1"]);
        assert_eq!(chosen(&["v1.*"], &tags), ["v1.2"], "a dot is a dot");
        assert_eq!(chosen(&["v1?2"], &tags), ["v1.2", "v1_2", "v1-2"]);
        assert_eq!(chosen(&["v1[._]2"], &tags), ["v1.2", "v1_2"]);
        assert_eq!(chosen(&["v1[!._]2"], &tags), ["v1-2"]);
        assert_eq!(chosen(&["v[0-9]"], &tags), ["v1"]);
        assert_eq!(chosen(&["*"], &tags), tags);
        assert_eq!(chosen(&[], &tags), tags);
        assert_eq!(chosen(&["latest", "v1"], &tags), ["v1", "latest"], "one of them is enough");
    }

    #[test]
    fn an_expression_fits_the_whole_tag() {
        let tags = ["v1", "v12", "av1", "v1-rc1", "1"];
        assert_eq!(chosen(&[r"regex:v\d+"], &tags), ["v1", "v12"]);
        assert_eq!(chosen(&["regex:v1|1"], &tags), ["v1", "1"], "the anchors hold both branches");
        assert_eq!(chosen(&["regex:v1.*"], &tags), ["v1", "v12", "v1-rc1"]);
        assert!(expression_matching("v1").unwrap().is_match(b"av1"), "anywhere");
    }

    #[test]
    fn a_range_takes_versions_only() {
        let tags = ["1.2.3", "v1.3.0", "v1.3.0-rc1", "2.0.0", "1.2", "latest"];
        assert_eq!(chosen(&["range:>=1.2.3, <2"], &tags), ["1.2.3", "v1.3.0"]);
        assert_eq!(chosen(&["range:^1.3"], &tags), ["v1.3.0"]);
        assert_eq!(chosen(&["range:>=1.3.0-rc0, <2"], &tags), ["v1.3.0", "v1.3.0-rc1"]);
    }

    #[test]
    fn what_cannot_be_read_is_no_filter() {
        for bad in ["", "regex:(", "range:newest", "v[1", "regex:(a{1000}){1000}"] {
            let problem = TagFilter::parse(&[bad.to_owned()]).unwrap_err();
            assert!(!problem.is_empty() && !problem.contains('\n'), "{problem}");
        }
    }
}
