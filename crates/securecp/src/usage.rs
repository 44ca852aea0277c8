//! Turns what the argument parser has to say into this project's error lines.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::args::not_supported_yet;
use crate::dialect::Dialect;
use crate::failure::Failure;

/// The failure behind a parser error; `None` if it is help or a version that was asked for.
pub(crate) fn failure(
    error: &clap::Error,
    words: &[OsString],
    dialect: Dialect,
) -> Option<Failure> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    if let Some(text) = dialect.usage(error, &words) {
        return Some(Failure::usage(text));
    }
    let unknown = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    let word = unknown.into_iter().find_map(|kind| text(error, kind));
    let is_unknown =
        matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand);
    if let Some(word) = word.filter(|word| is_unknown && not_supported_yet(word)) {
        let word = word.split('=').next().unwrap_or(word);
        return Some(Failure::usage(format!("{word} is not supported yet")));
    }
    let problem = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => first_paragraph(&error.render().to_string()),
    };
    let failure = Failure::usage(problem);
    Some(failure.hint(suggestion(error)))
}

/// An option without the value that it stands for; a script whose variable is not set must not lose what it asked for.
pub(crate) fn empty(option: &str) -> Failure {
    Failure::usage(format!("{option}: the value is empty"))
        .hint("give a value or leave the option out; is a variable of your script not set?")
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// What stands before the parser's tips and usage, as one line.
fn first_paragraph(rendered: &str) -> String {
    let text = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn suggestion(error: &clap::Error) -> String {
    let similar = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let near = similar.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    });
    match near {
        Some(near) => format!("did you mean {near}? --help lists everything"),
        None => "--help lists everything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::read;
    use crate::failure::Exit;

    fn of(line: &[&str]) -> String {
        let line = ["securecp"].iter().chain(line);
        let error = read(line).unwrap_err();
        let failure = failure(&error, &[], Dialect::OWN).unwrap();
        assert_eq!(failure.exit(), Exit::Usage);
        failure.to_string()
    }

    #[test]
    fn says_what_is_wrong_on_one_line() {
        assert_eq!(
            of(&["copy"]),
            "the following required arguments were not provided: <SOURCE> <DESTINATION>..."
        );
        assert_eq!(of(&["sync", "a", "b", "c"]), "unexpected argument 'c' found");
        assert_eq!(of(&[]), "a command is missing");
        assert_eq!(of(&["fly"]), "unrecognized subcommand 'fly'");
    }

    #[test]
    fn later_options_are_refused_by_name() {
        assert_eq!(
            of(&["copy", "a", "b", "--sign-by-sq-fingerprint=K"]),
            "--sign-by-sq-fingerprint is not supported yet"
        );
    }

    #[test]
    fn help_is_no_failure() {
        let error = read(["securecp", "--help"]).unwrap_err();
        assert!(failure(&error, &[], Dialect::OWN).is_none());
    }
}
