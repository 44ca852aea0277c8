//! Rules: which signers, combined how.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_norway::Value;

use super::signer::Signer;
use super::{RuleFault, shown};

/// How deep rules may stand in rules.
const DEPTH_LIMIT: usize = 8;

/// Who must have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// This signer.
    Signer(String),
    /// All rules hold.
    AllOf(Vec<Rule>),
    /// One rule holds.
    AnyOf(Vec<Rule>),
    /// So many of these signers, and no two of them by one and the same holder.
    AtLeast(usize, Vec<String>),
}

pub(super) enum RawRule {
    Signer(String),
    Combined(RawCombined),
}

impl<'de> Deserialize<'de> for RawRule {
    /// By form, so that an error speaks of the member that is wrong and not of alternatives.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self::Signer(name)),
            value => RawCombined::deserialize(value).map(Self::Combined).map_err(D::Error::custom),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCombined {
    all_of: Option<Vec<RawRule>>,
    any_of: Option<Vec<RawRule>>,
    at_least: Option<usize>,
    of: Option<Vec<String>>,
}

/// For each signer, who has signed as this signer.
pub(super) type Holders<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

impl Rule {
    pub(super) fn read(
        raw: RawRule,
        signers: &BTreeMap<String, Signer>,
    ) -> Result<Self, RuleFault> {
        Self::read_at(raw, signers, DEPTH_LIMIT)
    }

    /// One of these signers, each named once.
    pub(super) fn any_of(
        names: Vec<String>,
        signers: &BTreeMap<String, Signer>,
    ) -> Result<Self, RuleFault> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(RuleFault::Twice(shown(twice)));
        }
        let rules = names.into_iter().map(|name| known(name, signers).map(Self::Signer));
        let rules: Vec<Self> = rules.collect::<Result<_, _>>()?;
        if rules.is_empty() { Err(RuleFault::Empty("recorders")) } else { Ok(Self::AnyOf(rules)) }
    }

    fn read_at(
        raw: RawRule,
        signers: &BTreeMap<String, Signer>,
        depth: usize,
    ) -> Result<Self, RuleFault> {
        let depth = depth.checked_sub(1).ok_or(RuleFault::Depth(DEPTH_LIMIT))?;
        let list = |member, rules: Vec<RawRule>| {
            let rules = rules.into_iter().map(|rule| Self::read_at(rule, signers, depth));
            let rules: Vec<Self> = rules.collect::<Result<_, _>>()?;
            if rules.is_empty() { Err(RuleFault::Empty(member)) } else { Ok(rules) }
        };
        match raw {
            RawRule::Signer(name) => known(name, signers).map(Self::Signer),
            RawRule::Combined(RawCombined { all_of, any_of, at_least, of }) => {
                match (all_of, any_of, at_least, of) {
                    (Some(rules), None, None, None) => list("all-of", rules).map(Self::AllOf),
                    (None, Some(rules), None, None) => list("any-of", rules).map(Self::AnyOf),
                    (None, None, Some(found), Some(names)) => threshold(found, names, signers),
                    _ => Err(RuleFault::Combination),
                }
            }
        }
    }

    /// Whether those who signed are those who must have.
    pub(super) fn holds(&self, holders: &Holders<'_>) -> bool {
        match self {
            Self::Signer(name) => holders.get(name.as_str()).is_some_and(|found| !found.is_empty()),
            Self::AllOf(rules) => rules.iter().all(|rule| rule.holds(holders)),
            Self::AnyOf(rules) => rules.iter().any(|rule| rule.holds(holders)),
            Self::AtLeast(wanted, names) => distinct(names, holders) >= *wanted,
        }
    }

    /// The names of all signers in the rule.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Signer(name) => [name.as_str()].into(),
            Self::AllOf(rules) | Self::AnyOf(rules) => rules.iter().flat_map(Self::names).collect(),
            Self::AtLeast(_, names) => names.iter().map(String::as_str).collect(),
        }
    }
}

fn known(name: String, signers: &BTreeMap<String, Signer>) -> Result<String, RuleFault> {
    if signers.contains_key(&name) { Ok(name) } else { Err(RuleFault::UnknownSigner(shown(&name))) }
}

fn threshold(
    found: usize,
    names: Vec<String>,
    signers: &BTreeMap<String, Signer>,
) -> Result<Rule, RuleFault> {
    let mut seen = BTreeSet::new();
    for name in &names {
        known(name.clone(), signers)?;
        if !seen.insert(name) {
            return Err(RuleFault::Twice(shown(name)));
        }
    }
    let limit = names.len();
    // A threshold of zero switches the rule off (CVE-2026-23992).
    if (1..=limit).contains(&found) {
        Ok(Rule::AtLeast(found, names))
    } else {
        Err(RuleFault::Threshold { found, limit })
    }
}

/// How many of `names` have signed when each holder counts for one name only: the size of a largest matching.
fn distinct(names: &[String], holders: &Holders<'_>) -> usize {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    names.iter().filter(|name| assign(name, holders, &mut taken, &mut BTreeSet::new())).count()
}

/// Finds a holder for `name`, moving other names to other holders where that helps.
fn assign<'a>(
    name: &'a str,
    holders: &Holders<'a>,
    taken: &mut BTreeMap<&'a str, &'a str>,
    tried: &mut BTreeSet<&'a str>,
) -> bool {
    for holder in holders.get(name).into_iter().flatten().copied() {
        if !tried.insert(holder) {
            continue;
        }
        let free = match taken.get(holder).copied() {
            None => true,
            Some(other) => assign(other, holders, taken, tried),
        };
        if free {
            taken.insert(holder, name);
            return true;
        }
    }
    false
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, rules: &[Self], word: &str| {
            let texts: Vec<String> = rules.iter().map(ToString::to_string).collect();
            write!(f, "({})", texts.join(word))
        };
        match self {
            Self::Signer(name) => f.write_str(&shown(name)),
            Self::AllOf(rules) => list(f, rules, " and "),
            Self::AnyOf(rules) => list(f, rules, " or "),
            Self::AtLeast(wanted, names) => {
                let names: Vec<String> = names.iter().map(|name| shown(name)).collect();
                write!(f, "{wanted} of ({})", names.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders<'a>(pairs: &[(&'a str, &[&'a str])]) -> Holders<'a> {
        pairs.iter().map(|(name, who)| (*name, who.iter().copied().collect())).collect()
    }

    #[test]
    fn one_holder_counts_once() {
        let rule = |wanted| {
            let names = ["a", "b", "c"].map(str::to_owned).to_vec();
            Rule::AtLeast(wanted, names)
        };
        let one = holders(&[("a", &["x"]), ("b", &["x"]), ("c", &["x"])]);
        assert!(rule(1).holds(&one));
        assert!(!rule(2).holds(&one));
        let two = holders(&[("a", &["x", "y"]), ("b", &["x"]), ("c", &["x"])]);
        assert!(rule(2).holds(&two), "a moves to y");
        assert!(!rule(3).holds(&two));
        let three = holders(&[("a", &["x", "y"]), ("b", &["x", "y"]), ("c", &["x", "z"])]);
        assert!(rule(3).holds(&three));
        assert!(!rule(1).holds(&holders(&[])));
    }
}
