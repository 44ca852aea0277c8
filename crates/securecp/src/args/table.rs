use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::empty::{self, Emptied};
use super::switch::parse_switch;

/// Why a command line was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It cannot be read, or help or the version was asked for.
    Parser(Box<clap::Error>),
    /// This option was given an empty value.
    Empty(String),
}

/// Reads a command line, its first word the program. `reference` says whether it was written for the reference, which
/// takes many an empty value as if the option were not there; the options for which that was done are given back.
pub(crate) fn parse(words: &[OsString], reference: bool) -> Result<(Cli, Emptied), Unread> {
    let given = empty::without(&table(), words, reference).map_err(Unread::Empty)?;
    let words = given.words.as_deref().unwrap_or(words);
    let cli = read(words).map_err(|error| Unread::Parser(Box::new(error)))?;
    Ok((cli, given.emptied))
}

fn read(words: &[OsString]) -> Result<Cli, clap::Error> {
    match table().try_get_matches_from(words) {
        Ok(found) => Cli::from_arg_matches(&found),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Err(plain_help(words, error)),
        Err(error) => Err(error),
    }
}

/// Help shows switches without the value that nobody needs to write.
fn plain_help(words: &[OsString], otherwise: clap::Error) -> clap::Error {
    let bare = words.iter().map(|word| match word.to_str() {
        Some(text) if text.starts_with('-') => text.split('=').next().unwrap_or(text).into(),
        _ => word.clone(),
    });
    let help = Cli::command().try_get_matches_from(bare).err();
    help.filter(|error| error.kind() == ErrorKind::DisplayHelp).unwrap_or(otherwise)
}

/// The argument table with the manners of the reference's parser (pflag), the same for every option, so that none can
/// be forgotten: a switch may have a value behind `=`, and the word behind an option that needs a value is its value,
/// whatever it looks like.
pub(crate) fn table() -> Command {
    with_manners(Cli::command())
}

fn with_manners(command: Command) -> Command {
    command.mut_args(as_pflag).mut_subcommands(with_manners)
}

fn as_pflag(arg: Arg) -> Arg {
    match arg.get_action() {
        _ if arg.is_positional() => arg,
        ArgAction::SetTrue => switch(arg),
        ArgAction::Set | ArgAction::Append if !arg.is_require_equals_set() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    }
}

fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("BOOL")
        .value_parser(parse_switch)
        .default_value("false")
        .default_missing_value("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command of the table with the words that lead to it.
    fn commands() -> Vec<(Vec<String>, Command)> {
        fn walk(path: &[String], command: &Command, all: &mut Vec<(Vec<String>, Command)>) {
            all.push((path.to_vec(), command.clone()));
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                walk(&[path, &[sub.get_name().to_owned()]].concat(), sub, all);
            }
        }
        let mut root = Cli::command();
        root.build();
        let mut all = Vec::new();
        walk(&["securecp".to_owned()], &root, &mut all);
        all
    }

    /// What one option of a command becomes, without the rest of its line.
    fn value(path: &[String], words: &[String], id: &str) -> Result<Vec<String>, clap::Error> {
        fn optional(command: Command) -> Command {
            command
                .subcommand_required(false)
                .arg_required_else_help(false)
                .mut_args(|arg| arg.required(false))
                .mut_subcommands(optional)
        }
        let mut found = optional(table()).try_get_matches_from(path.iter().chain(words))?;
        for _ in 1..path.len() {
            found = found.remove_subcommand().unwrap().1;
        }
        let raw = found.get_raw(id).into_iter().flatten();
        Ok(raw.map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    fn names(arg: &Arg) -> Vec<String> {
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        let long = long.into_iter().map(|name| format!("--{name}"));
        long.chain(arg.get_short().map(|name| format!("-{name}"))).collect()
    }

    #[test]
    fn every_switch_takes_a_truth_value() {
        let mut count = 0;
        for (path, command) in commands() {
            for arg in command.get_arguments() {
                if !matches!(arg.get_action(), ArgAction::SetTrue) {
                    continue;
                }
                for name in names(arg) {
                    let given = |word: String| value(&path, &[word], arg.get_id().as_str());
                    for text in ["true", "false", "1", "0", "t", "F"] {
                        assert_eq!(
                            given(format!("{name}={text}")).unwrap(),
                            [text],
                            "{path:?} {name}"
                        );
                    }
                    assert_eq!(given(name.clone()).unwrap(), ["true"], "{path:?} {name}");
                    for bad in ["maybe", ""] {
                        assert!(given(format!("{name}={bad}")).is_err(), "{path:?} {name}={bad}");
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn every_option_takes_the_next_word_whatever_it_looks_like() {
        let mut count = 0;
        for (path, command) in commands() {
            for arg in command.get_arguments() {
                let has_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
                if arg.is_positional() || !has_value || arg.is_require_equals_set() {
                    continue;
                }
                // A number or word of a list is refused for what it is, not for its hyphen.
                let words = |name: String| [name, "-x:y".to_owned()];
                for name in names(arg) {
                    match value(&path, &words(name.clone()), arg.get_id().as_str()) {
                        Ok(value) => assert_eq!(value, ["-x:y"], "{path:?} {name}"),
                        Err(error) => {
                            let kind = error.kind();
                            let judged = matches!(
                                kind,
                                ErrorKind::ValueValidation | ErrorKind::InvalidValue
                            );
                            assert!(judged && error.to_string().contains("-x:y"), "{error}");
                        }
                    }
                    count += 1;
                }
            }
        }
        assert!(count > 150, "{count}");
    }

    fn cli(line: &[&str]) -> Result<Cli, Unread> {
        let words: Vec<OsString> = ["securecp"].iter().chain(line).map(OsString::from).collect();
        parse(&words, false).map(|(cli, _)| cli)
    }

    #[test]
    fn switches_keep_their_short_forms() {
        let line = |options: &[&str]| {
            let cli = cli(&[&["copy", "dir:a", "dir:b"], options].concat()).unwrap();
            match cli.command {
                super::super::Command::Copy(copy) => {
                    (copy.chain.selection.all, copy.run.output.quiet, cli.globals.debug)
                }
                other => panic!("parsed as {other:?}"),
            }
        };
        assert_eq!(line(&["-aq"]), (true, true, false));
        assert_eq!(line(&["-a=false", "-q=true", "--debug=1"]), (false, true, true));
        assert_eq!(line(&["-qa=false"]), (false, true, false));
        assert!(cli(&["--debug", "copy", "dir:a", "dir:b"]).unwrap().globals.debug);
    }

    #[test]
    fn help_is_as_if_switches_had_no_values() {
        for (path, _) in commands().iter().filter(|(path, _)| path.len() > 1) {
            let words: Vec<&str> = path[1..].iter().map(String::as_str).collect();
            let Err(Unread::Parser(help)) =
                cli(&[&words[..], &["--debug=true", "--help"]].concat())
            else {
                panic!("no help")
            };
            assert_eq!(help.kind(), ErrorKind::DisplayHelp);
            let help = help.to_string();
            assert!(help.contains("--debug") && !help.contains("--debug[="), "{help}");
        }
    }
}
