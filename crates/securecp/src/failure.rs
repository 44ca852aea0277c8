//! How a command fails: one line that says what, a hint where the next step is obvious, an exit code.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, Write};

use anyhow::anyhow;
use securecp_copy::{Cause, CopyError, FollowError, NameState};
use securecp_oci::Escaped;
use securecp_registry::RegistryError;
use securecp_transport::TransportError;
use securecp_trust::{Refusal, Verdict};

use crate::dialect::Dialect;
use crate::hint;

/// Longest error line, in characters; texts from elsewhere are cut long before.
const LINE_LIMIT: usize = 8192;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done,
    /// It failed.
    Failed,
    /// There is no image of that name in the repository or layout.
    NotFound,
    /// Something else does not exist: what should hold the image, or what was to be deleted.
    Absent,
    /// The trust policy refused the image.
    Refused,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotFound | Self::Absent => 2,
            Self::Refused => 3,
            Self::Usage => 64,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    exit: Exit,
    hint: Option<String>,
}

impl Failure {
    /// The command line is wrong.
    pub(crate) fn usage(problem: impl Display) -> Self {
        Self { error: anyhow!("{problem}"), exit: Exit::Usage, hint: None }
    }

    /// Something failed for a reason that no library knows.
    pub(crate) fn new(problem: impl Display) -> Self {
        Self { error: anyhow!("{problem}"), exit: Exit::Failed, hint: None }
    }

    /// Says what was being done.
    #[must_use]
    pub(crate) fn context(self, what: String) -> Self {
        Self { error: self.error.context(what), ..self }
    }

    /// An image could not be reached; the options that say how begin with `prefix`, whatever the error says of sides.
    pub(crate) fn reaching(prefix: &str, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self { exit: exit_of(&error), hint: hint::with_prefix(&error, prefix), error }
    }

    /// What is missing is a part of an image that is there: the image asked for exists.
    #[must_use]
    pub(crate) fn of_part(self) -> Self {
        match self.exit {
            Exit::NotFound | Exit::Absent => Self { exit: Exit::Failed, hint: None, ..self },
            _ => self,
        }
    }

    /// An image that is to be deleted and is not there is no image that was not found.
    #[must_use]
    pub(crate) fn deleting(self) -> Self {
        let exit = if self.exit == Exit::NotFound { Exit::Absent } else { self.exit };
        Self { exit, ..self }
    }

    /// Adds the obvious next step.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The error without what was said about it.
    pub(crate) fn into_error(self) -> anyhow::Error {
        self.error
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What the policy found, if that is why.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.error.chain().find_map(refusal).map(Refusal::verdict)
    }

    /// What became of each name, if not all could be given.
    pub(crate) fn names(&self) -> Option<&[(String, NameState)]> {
        self.error.chain().find_map(|cause| cause.downcast_ref().and_then(CopyError::names))
    }

    /// Writes the error and its hint; a standard error that cannot be written leaves only the exit code.
    pub(crate) fn print(&self, dialect: Dialect) {
        let _ = io::stderr().write_all(self.lines(dialect).as_bytes());
    }

    /// The error line and, if there is one, the hint line.
    pub(crate) fn lines(&self, dialect: Dialect) -> String {
        let hint = self.hint.as_ref().map(|hint| Escaped::new(hint).limit(LINE_LIMIT).to_string());
        dialect.failure(&self.to_string(), hint.as_deref())
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { exit: exit_of(&error), hint: hint::of(&error), error }
    }
}

impl Display for Failure {
    /// The whole chain of causes on one line; control characters cannot break out of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let causes: Vec<&dyn Error> = self.error.chain().map(|e| e as &dyn Error).collect();
        Escaped::new(&joined(&causes)).limit(LINE_LIMIT).fmt(f)
    }
}

/// Joins causes; nothing is said twice where a wrapper ends with its source, or a source begins as its wrapper does.
fn joined(causes: &[&dyn Error]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes {
        let text = cause.to_string();
        match parts.last_mut() {
            Some(last) if last.ends_with(&text) => {}
            Some(last) if text.starts_with(last.as_str()) => *last = text,
            _ => parts.push(text),
        }
    }
    parts.join(": ")
}

fn refusal<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a Refusal> {
    let copy = cause.downcast_ref().and_then(CopyError::refusal);
    copy.or_else(|| cause.downcast_ref())
}

fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Failed)
}

fn exit_of_cause(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if cause.is::<Refusal>() {
        return Some(Exit::Refused);
    }
    // Not the image that was asked for is missing, but what it was made from.
    if cause.is::<FollowError>() {
        return Some(Exit::Failed);
    }
    if let Some(copy) = cause.downcast_ref::<CopyError>() {
        return Some(exit_of_copy(copy));
    }
    if let Some(transport) = cause.downcast_ref::<TransportError>() {
        return Some(missing(transport.is_not_found(), transport.is_unknown_image()));
    }
    let registry = cause.downcast_ref::<RegistryError>()?;
    Some(missing(registry.is_not_found(), registry.is_unknown_manifest()))
}

fn exit_of_copy(error: &CopyError) -> Exit {
    let unknown = matches!(&error.cause, Cause::Transport(cause) if cause.is_unknown_image());
    match error {
        _ if error.is_refused() => Exit::Refused,
        _ if error.is_usage() => Exit::Usage,
        _ => missing(error.is_not_found(), unknown),
    }
}

fn missing(not_found: bool, unknown_image: bool) -> Exit {
    match (not_found, unknown_image) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::NotFound,
        (true, false) => Exit::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_the_chain_once_and_on_one_line() {
        let error = anyhow!("no such\nfile").context("opening x").context("reading image");
        assert_eq!(Failure::from(error).to_string(), "reading image: opening x: no such\\u{a}file");
        let error = anyhow!("boom").context("boom").context("reading");
        assert_eq!(Failure::from(error).to_string(), "reading: boom");
        let error =
            anyhow!("reading blob x in h/r: gone").context("reading blob x").context("copy");
        assert_eq!(Failure::from(error).to_string(), "copy: reading blob x in h/r: gone");
    }

    #[test]
    fn the_table_in_the_documentation_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/exit-codes.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            Some((cells.get(1)?.parse::<u8>().ok()?, cells.get(3)?.parse::<u8>().ok()?))
        });
        let exits =
            [Exit::Done, Exit::Failed, Exit::NotFound, Exit::Absent, Exit::Refused, Exit::Usage];
        let numbers = exits.map(|exit| (exit.number(), Dialect::SKOPEO.number(exit)));
        assert_eq!(rows.collect::<Vec<_>>(), numbers);
    }

    #[test]
    fn a_missing_image_is_told_from_other_failures() {
        let (name, place) = ("v1".to_owned(), "oci:x".to_owned());
        let unknown = TransportError::NoSuchImage { name: name.clone(), place: place.clone() };
        assert_eq!(Failure::from(unknown).exit(), Exit::NotFound);
        let unknown = TransportError::NoSuchImage { name: name.clone(), place: place.clone() };
        assert_eq!(Failure::from(unknown).deleting().exit(), Exit::Absent);
        let absent = TransportError::NotFound { subject: name, place };
        assert_eq!(Failure::from(absent).exit(), Exit::Absent);
        assert_eq!(Failure::new("boom").exit(), Exit::Failed);
        assert_eq!(Exit::Usage.number(), 64);
    }
}
