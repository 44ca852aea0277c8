//! What was found, for people.

use std::fmt::{self, Display};

use super::{Followed, FollowedManifest};

impl Followed {
    fn lines(&self) -> String {
        let mut own = self.verdict.clone();
        own.accepted = self.accepted_itself;
        let mut text = own.to_string();
        let told: Vec<_> = self.records.iter().filter(|one| one.is_told()).collect();
        told.iter().for_each(|one| text.push_str(&one.lines()));
        if !told.is_empty() {
            text.push_str(&format!("with its change records: {}\n", word(self.verdict.accepted)));
        }
        text
    }
}

impl FollowedManifest {
    /// Whether there is something to say: an image that needs no record and has none is as any other.
    fn is_told(&self) -> bool {
        !self.accepted || !self.found.is_empty()
    }

    fn lines(&self) -> String {
        let why = self.denial.as_ref().map(|denial| format!(": {denial}")).unwrap_or_default();
        let mut text = format!("change records of {}: {}{why}\n", self.digest, word(self.accepted));
        for record in &self.found {
            text.push_str(&format!("  {record}\n"));
        }
        if let Some(source) = &self.source {
            text.push_str(&format!("  its source:\n{}", indented(&source.verdict.lines(), 4)));
        }
        text
    }
}

fn word(accepted: bool) -> &'static str {
    if accepted { "accepted" } else { "refused" }
}

fn indented(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}

impl Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines())
    }
}
