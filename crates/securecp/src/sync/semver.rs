//! Version constraints as the reference's YAML files use them (Masterminds semver 3).

use std::cmp::Ordering;

/// A constraint: alternatives, each a list of comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SemverRange(Vec<Vec<Comparison>>);

/// A version, as far as it is written out; a leading `v` and missing parts are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    /// Major, minor, patch.
    parts: [u64; 3],
    pre: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    /// How many of the parts were given.
    given: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    /// `~`: the minor version may not change.
    Tilde,
    /// `^`: the first part that is not zero may not change.
    Caret,
}

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 12] = [
    ("!=", Operator::NotEqual),
    (">=", Operator::GreaterOrEqual),
    ("=>", Operator::GreaterOrEqual),
    ("<=", Operator::LessOrEqual),
    ("=<", Operator::LessOrEqual),
    ("~>", Operator::Tilde),
    ("=", Operator::Equal),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("~", Operator::Tilde),
    ("^", Operator::Caret),
    ("", Operator::Equal),
];

impl SemverRange {
    /// Reads comparisons, joined by commas or spaces (all must hold) and `||` (one must).
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let groups = text.split("||").map(group).collect::<Result<_, _>>()?;
        Ok(Self(groups))
    }

    /// Whether a tag is a version within the range. Pre-releases only are where the range itself names one.
    pub(crate) fn admits(&self, tag: &str) -> bool {
        let Some((version, _)) = Version::parse(tag, false) else { return false };
        self.0.iter().any(|group| {
            let pre_named = group.iter().any(|comparison| !comparison.version.pre.is_empty());
            (version.pre.is_empty() || pre_named) && group.iter().all(|c| c.holds(&version))
        })
    }
}

fn group(text: &str) -> Result<Vec<Comparison>, String> {
    let text = hyphens(text)?;
    let mut words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|w| !w.is_empty());
    let mut group = Vec::new();
    while let Some(word) = words.next() {
        // An operator may stand apart from its version.
        let is_operator = OPERATORS.iter().any(|(sign, _)| *sign == word);
        let word = match (is_operator, words.clone().next()) {
            (true, Some(version)) => {
                words.next();
                format!("{word}{version}")
            }
            _ => word.to_owned(),
        };
        group.push(comparison(&word)?);
    }
    if group.is_empty() { Err("a constraint is empty".to_owned()) } else { Ok(group) }
}

/// `1.2 - 3.4` is `>=1.2 <=3.4`.
fn hyphens(text: &str) -> Result<String, String> {
    match text.split(" - ").collect::<Vec<_>>()[..] {
        [_] => Ok(text.to_owned()),
        [from, to] if !from.trim().contains(' ') && !to.trim().contains(' ') => {
            Ok(format!(">={} <={}", from.trim(), to.trim()))
        }
        _ => Err(format!("\"{}\" is no range of versions", text.trim())),
    }
}

fn comparison(word: &str) -> Result<Comparison, String> {
    let problem = || format!("\"{word}\" is no version constraint");
    let (sign, operator) =
        OPERATORS.into_iter().find(|(sign, _)| word.starts_with(sign)).ok_or_else(problem)?;
    let (version, given) = Version::parse(&word[sign.len()..], true).ok_or_else(problem)?;
    Ok(Comparison { operator, version, given })
}

impl Version {
    /// The version and how many parts of it were given; `x`, `X` and `*` end them where wildcards are allowed.
    fn parse(text: &str, wildcards: bool) -> Option<(Self, usize)> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split('+').next().unwrap_or(text);
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, pre.split('.').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        if pre.iter().any(|part: &String| !is_identifier(part)) {
            return None;
        }
        let mut parts = [0; 3];
        let mut given = 0;
        let mut open = false;
        for (position, part) in core.split('.').enumerate() {
            let slot = parts.get_mut(position)?;
            match wildcards && matches!(part, "x" | "X" | "*") {
                true => open = true,
                false if open => drop(number(part)?),
                false => {
                    *slot = number(part)?;
                    given += 1;
                }
            }
        }
        (given > 0 || wildcards).then_some((Self { parts, pre }, given))
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts.cmp(&other.parts).then_with(|| match (&self.pre[..], &other.pre[..]) {
            ([], []) => Ordering::Equal,
            ([], _) => Ordering::Greater,
            (_, []) => Ordering::Less,
            (own, others) => {
                let pairs = own.iter().zip(others).map(|(own, other)| pre_order(own, other));
                let first = pairs.into_iter().find(|order| order.is_ne());
                first.unwrap_or_else(|| own.len().cmp(&others.len()))
            }
        })
    }
}

/// Numbers come before words (SemVer 2.0, section 11).
fn pre_order(own: &str, other: &str) -> Ordering {
    match (number(own), number(other)) {
        (Some(own), Some(other)) => own.cmp(&other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => own.cmp(other),
    }
}

impl Comparison {
    fn holds(&self, found: &Version) -> bool {
        let wanted = &self.version;
        match self.operator {
            Operator::Equal if self.given < 3 => self.same_parts(found),
            Operator::Equal => found == wanted,
            Operator::NotEqual if self.given < 3 => !self.same_parts(found),
            Operator::NotEqual => found != wanted,
            // What is not given is open: nothing of 1.2 is greater than 1.2.
            Operator::Greater if self.given < 3 => found > wanted && !self.same_parts(found),
            Operator::Greater => found > wanted,
            Operator::Less => found < wanted,
            Operator::GreaterOrEqual => found >= wanted,
            Operator::LessOrEqual if self.given < 3 => found < wanted || self.same_parts(found),
            Operator::LessOrEqual => found <= wanted,
            Operator::Tilde => found >= wanted && self.agrees(found, self.given.min(2)),
            Operator::Caret => found >= wanted && self.agrees(found, self.fixed()),
        }
    }

    fn same_parts(&self, found: &Version) -> bool {
        self.agrees(found, self.given)
    }

    fn agrees(&self, found: &Version, parts: usize) -> bool {
        found.parts[..parts] == self.version.parts[..parts]
    }

    /// The parts up to the first that is not zero.
    fn fixed(&self) -> usize {
        let first = self.version.parts.iter().position(|part| *part != 0);
        first.map_or(self.given, |position| position + 1).min(self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(range: &str, tags: &str) -> String {
        let range = SemverRange::parse(range).unwrap();
        let tags = tags.split(' ').filter(|tag| range.admits(tag));
        tags.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comparisons_are_those_of_the_reference() {
        for (range, tags, expected) in [
            (">=1.2.3", "1.2.2 1.2.3 v1.3 2 latest 1.2.x", "1.2.3 v1.3 2"),
            ("> 1.2", "1.2.9 1.3.0 2.0.0", "1.3.0 2.0.0"),
            (">1", "1.9.9 2.0.0", "2.0.0"),
            ("<=1.2", "1.2.9 1.3.0 1.1", "1.2.9 1.1"),
            ("=1.2", "1.2.0 1.2.7 1.3.0", "1.2.0 1.2.7"),
            ("1.2.3", "1.2.3 v1.2.3 1.2.4", "1.2.3 v1.2.3"),
            ("1.2.x", "1.2.0 1.2.7 1.3.0", "1.2.0 1.2.7"),
            ("!=1.2", "1.2.0 1.3.0", "1.3.0"),
            ("~1.2.3", "1.2.2 1.2.3 1.2.9 1.3.0", "1.2.3 1.2.9"),
            ("~>1", "1.0.0 1.9.0 2.0.0", "1.0.0 1.9.0"),
            ("^1.2.3", "1.2.3 1.9.0 2.0.0", "1.2.3 1.9.0"),
            ("^0.2.3", "0.2.3 0.2.9 0.3.0", "0.2.3 0.2.9"),
            ("^0.0.3", "0.0.3 0.0.4", "0.0.3"),
            ("^0.0", "0.0.3 0.1.0", "0.0.3"),
            ("^0", "0.9.0 1.0.0", "0.9.0"),
            ("*", "0.1 1.0.0 1.0.0-rc.1 latest", "0.1 1.0.0"),
            ("1.2 - 1.4.5", "1.1 1.2.0 1.4.5 1.4.6", "1.2.0 1.4.5"),
            (">=1.0, <2.0 || >=3", "0.9 1.5.0 2.0.0 3.1.0", "1.5.0 3.1.0"),
        ] {
            assert_eq!(admitted(range, tags), expected, "{range}");
        }
    }

    #[test]
    fn pre_releases_must_be_named() {
        assert_eq!(admitted(">=1.0", "1.1.0-rc.1 1.1.0"), "1.1.0");
        let tags = "1.1.0-beta 1.1.0-rc.2 1.1.0-rc.10 1.1.0 1.1.0-rc.2.1";
        assert_eq!(admitted(">1.1.0-rc.2", tags), "1.1.0-rc.10 1.1.0 1.1.0-rc.2.1");
    }

    #[test]
    fn refuses_what_is_no_constraint() {
        for bad in [
            "",
            "latest",
            ">",
            "1.2.3.4",
            ">=1.a",
            "1 - 2 - 3",
            "1.0 ||",
            "1.2-",
            "99999999999999999999",
        ] {
            assert!(SemverRange::parse(bad).is_err(), "{bad:?}");
        }
    }
}
