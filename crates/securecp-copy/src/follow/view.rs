//! What was found, for people.

use std::fmt::{self, Display};

use super::{Followed, FollowedManifest};

impl Followed {
    fn lines(&self, indent: usize) -> String {
        let mut text = indented(&self.verdict.to_string(), indent);
        let followed = self.records.iter().filter(|one| one.is_told());
        followed.for_each(|one| text.push_str(&one.lines(indent)));
        text
    }
}

impl FollowedManifest {
    /// Whether there is something to say: an image that needs no record and has none is as any other.
    fn is_told(&self) -> bool {
        !self.accepted || !self.found.is_empty()
    }

    fn lines(&self, indent: usize) -> String {
        let word = if self.accepted { "accepted" } else { "refused" };
        let why = self.denial.as_ref().map(|denial| format!(": {denial}")).unwrap_or_default();
        let mut text = format!("change records of {}: {word}{why}\n", self.digest);
        for record in &self.found {
            text.push_str(&format!("  {record}\n"));
        }
        let mut text = indented(&text, indent);
        if let Some(source) = &self.source {
            text.push_str(&indented("  its source:\n", indent));
            text.push_str(&source.verdict.lines(indent + 4));
        }
        text
    }
}

fn indented(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}

impl Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines(0))
    }
}
