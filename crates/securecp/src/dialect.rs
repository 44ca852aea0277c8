//! In whose words the program speaks: its own, or those of the reference, for scripts that were written for it.
//!
//! Exit codes and texts differ, and what cannot take effect or cannot travel is a warning instead of an error. What is
//! judged, verified and signed does not differ.

use std::ffi::OsStr;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::path::Path;

use clap::error::ErrorKind;
use securecp_copy::{Found, ManifestWork, Outcome, Plan, Work};
use securecp_oci::{ImageName, RawManifest};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::failure::{Exit, Failure};

/// In whose words the program speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Dialect {
    /// Exit codes as the reference's.
    codes: bool,
    /// Texts as the reference's.
    texts: bool,
}

impl Dialect {
    /// The program's own words.
    pub(crate) const OWN: Self = Self { codes: false, texts: false };

    /// All of the reference's.
    pub(crate) const SKOPEO: Self = Self { codes: true, texts: true };

    /// Called `skopeo` (by a link) the program is a drop-in; `SECURECP_EXIT=skopeo` asks for the exit codes alone.
    pub(crate) fn choose(program: Option<&OsStr>, exit: Option<&OsStr>) -> Self {
        let name = program.and_then(|program| Path::new(program).file_name());
        match name == Some(OsStr::new("skopeo")) {
            true => Self::SKOPEO,
            false => Self { codes: exit == Some(OsStr::new("skopeo")), texts: false },
        }
    }

    /// Whether texts are the reference's.
    pub(crate) fn is_skopeo(self) -> bool {
        self.texts
    }

    /// What the shell sees.
    pub(crate) fn number(self, exit: Exit) -> u8 {
        match (self.codes, exit) {
            (false, _) => exit.number(),
            (true, Exit::Done) => 0,
            (true, Exit::NotFound) => 2,
            (true, _) => 1,
        }
    }

    /// How a failure is said: one line, and in our own words a hint.
    pub(crate) fn failure(self, error: &str, hint: Option<&str>) -> String {
        match (self.texts, hint) {
            (true, _) if io::stderr().is_terminal() => format!("FATA[0000] {error}\n"),
            (true, _) => logged("fatal", error),
            (false, Some(hint)) => format!("securecp: error: {error}\nhint: {hint}\n"),
            (false, None) => format!("securecp: error: {error}\n"),
        }
    }

    /// An image that could not be deleted because it is not there.
    pub(crate) fn not_deleted(self, failure: Failure, image: &ImageName) -> Failure {
        match self.texts && failure.exit() == Exit::Absent {
            true => failure.context(format!("Unable to delete {image}. Image may not exist")),
            false => failure,
        }
    }

    /// A line as the reference logs one.
    pub(crate) fn log(self, level: &str, text: &str, fields: &[(&str, String)]) -> String {
        let mut line = match io::stderr().is_terminal() {
            true => format!("{:.4}[0000] {text}", level.to_uppercase()),
            false => logged(level, text).trim_end().to_owned(),
        };
        for (name, value) in fields {
            let _ = write!(line, " {name}=\"{value}\"");
        }
        line
    }

    /// The reference's words for a command line that cannot be read; `None` where it has no fixed ones.
    pub(crate) fn usage(self, error: &clap::Error, words: &[String]) -> Option<&'static str> {
        if !self.texts {
            return None;
        }
        match error.kind() {
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Some("Missing command")
            }
            ErrorKind::InvalidSubcommand => Some("Unrecognized command"),
            ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument => {
                let option = error.get(clap::error::ContextKind::InvalidArg);
                let option = option.is_some_and(|option| option.to_string().starts_with('-'));
                arguments(words).filter(|_| !option)
            }
            _ => None,
        }
    }

    /// What `--version` says.
    pub(crate) fn version(self) -> Option<String> {
        let own = env!("CARGO_PKG_VERSION");
        self.texts.then(|| format!("skopeo version {LIKE} securecp/{own}\n"))
    }
}

/// The version of the reference whose options and texts are meant.
const LIKE: &str = "1.22.0";

/// How many arguments a command takes, as the reference says it.
fn arguments(words: &[String]) -> Option<&'static str> {
    const EXPECTED: [(&str, &str); 7] = [
        ("copy", "Exactly two arguments expected"),
        ("inspect", "Exactly one argument expected"),
        ("list-tags", "Exactly one non-option argument expected"),
        ("delete", "Usage: delete imageReference"),
        ("manifest-digest", "Usage: skopeo manifest-digest manifest"),
        ("login", "please specify a registry to log in to"),
        ("sync", "Exactly two arguments expected"),
    ];
    let command = |name: &str| words.iter().skip(1).any(|word| word == name);
    EXPECTED.into_iter().find(|(name, _)| command(name)).map(|(_, text)| text)
}

/// A line as logrus writes one where there is no terminal.
fn logged(level: &str, text: &str) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let now = OffsetDateTime::now_utc().format(form).unwrap_or_default();
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("time=\"{now}\" level={level} msg=\"{quoted}\"\n")
}

/// What the reference says on standard output while it copies, in its order, image by image.
pub(crate) fn copy_lines(outcome: &Outcome, remove_signatures: bool) -> String {
    let plan = &outcome.plan;
    let admitted = plan.admitted().iter().enumerate();
    admitted.map(|(route, one)| lines_of(plan, (route, one.found()), remove_signatures)).collect()
}

fn lines_of(plan: &Plan, (route, found): (usize, &Found), remove_signatures: bool) -> String {
    let found = found.manifests();
    let images: Vec<&RawManifest> =
        found.iter().map(|m| &m.subject.manifest).filter(|m| m.image().is_some()).collect();
    let mut lines = String::new();
    let list = found.first().and_then(|root| root.subject.manifest.index());
    if let Some(list) = list {
        if !remove_signatures {
            lines.push_str("Getting image list signatures\n");
        }
        let (count, all) = (images.len(), list.manifests.len());
        let _ = writeln!(lines, "Copying {count} images generated from {all} images in list");
    }
    for (position, image) in images.iter().enumerate() {
        if list.is_some() {
            let _ = writeln!(
                lines,
                "Copying image {} ({}/{})",
                image.digest(),
                position + 1,
                images.len()
            );
        }
        one_image(&mut lines, image, remove_signatures);
    }
    if list.is_some() {
        lines.push_str("Writing manifest list to image destination\nStoring list signatures\n");
    } else if stores_signatures(plan, route) {
        lines.push_str("Storing signatures\n");
    }
    lines
}

fn one_image(lines: &mut String, manifest: &RawManifest, remove_signatures: bool) {
    if !remove_signatures {
        lines.push_str("Getting image source signatures\n");
    }
    let Some(image) = manifest.image() else { return };
    for layer in &image.layers {
        let _ = writeln!(lines, "Copying blob {}", layer.digest);
    }
    let _ = writeln!(lines, "Copying config {}", image.config.digest);
    lines.push_str("Writing manifest to image destination\n");
}

fn stores_signatures(plan: &Plan, route: usize) -> bool {
    let of_route = |work: &ManifestWork| work.found.route == route;
    plan.nodes().iter().any(|node| match &node.work {
        Work::Signatures(work) => match &plan.nodes()[work.manifest.0].work {
            Work::Manifest(manifest) => of_route(manifest),
            _ => false,
        },
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(program: &str, exit: Option<&str>) -> Dialect {
        Dialect::choose(Some(OsStr::new(program)), exit.map(OsStr::new))
    }

    #[test]
    fn is_told_from_the_name_or_the_environment() {
        assert_eq!(chosen("/usr/bin/skopeo", None), Dialect::SKOPEO);
        assert_eq!(chosen("securecp", None), Dialect::OWN);
        assert_eq!(chosen("skopeo-old", None), Dialect::OWN);
        let codes = chosen("securecp", Some("skopeo"));
        assert!(!codes.is_skopeo());
        let numbers =
            [Exit::Done, Exit::Failed, Exit::NotFound, Exit::Absent, Exit::Refused, Exit::Usage];
        assert_eq!(numbers.map(|exit| codes.number(exit)), [0, 1, 2, 1, 1, 1]);
        assert_eq!(numbers.map(|exit| Dialect::OWN.number(exit)), [0, 1, 2, 2, 3, 64]);
    }

    #[test]
    fn quotes_as_logrus_does() {
        let line = logged("fatal", "a \"b\" \\u{1b}");
        let (time, rest) = line.split_once(" level=").unwrap();
        assert!(time.starts_with("time=\"20") && time.ends_with("Z\""), "{time}");
        assert_eq!(rest, "fatal msg=\"a \\\"b\\\" \\\\u{1b}\"\n");
    }
}
