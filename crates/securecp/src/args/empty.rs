//! Options with an empty value.
//!
//! A script that writes `--policy "$POLICY"` with a variable that is not set would lose its policy if an empty value meant
//! that the option is not there, so it is an error. For the reference it does mean that, so the same is done in its place.

use std::ffi::{OsStr, OsString};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Options that the reference takes as not given when their value is empty.
const PASSED_OVER: &[&str] = &[
    "additional-tag",
    "append-suffix",
    "authfile",
    "cert-dir",
    "compat-auth-file",
    "daemon-host",
    "decryption-key",
    "dest-authfile",
    "dest-cert-dir",
    "dest-compress-format",
    "dest-daemon-host",
    "dest-shared-blob-dir",
    "digestfile",
    "encryption-key",
    "manifest-digest",
    "override-arch",
    "override-os",
    "override-variant",
    "passphrase-file",
    "policy",
    "public-key-file",
    "registries-conf",
    "registries.d",
    "shared-blob-dir",
    "sign-by",
    "sign-by-sigstore",
    "sign-by-sigstore-private-key",
    "sign-identity",
    "sign-passphrase-file",
    "src-authfile",
    "src-cert-dir",
    "src-daemon-host",
    "src-shared-blob-dir",
    "tls-details",
    "tmpdir",
    "user-agent-prefix",
];

/// The same for options that mean something else in other commands.
const PASSED_OVER_IN: &[(&str, &str)] = &[("inspect", "format"), ("login", "username")];

/// Those of them without which less is checked or protected than the command line seems to say.
const RESTRICTING: &[&str] = &[
    "decryption-key",
    "encryption-key",
    "policy",
    "public-key-file",
    "registries-conf",
    "registries.d",
    "sign-by",
    "sign-by-sigstore",
    "sign-by-sigstore-private-key",
    "tls-details",
];

/// Options whose value may be empty: a password can be.
const MAY_BE_EMPTY: &[&str] = &["password", "src-password", "dest-password"];

/// A command line without its empty values.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// `None`: as it was.
    pub(super) words: Option<Vec<OsString>>,
    pub(super) emptied: Emptied,
}

/// What was taken as not given although more would have been checked or protected with it.
#[derive(Debug, Default)]
pub(crate) struct Emptied(pub(crate) Vec<String>);

/// Looks for empty values: passes them over where the reference does, and gives the first other one as the error. A line
/// that cannot be read is left to the parser.
pub(super) fn without(
    table: &Command,
    words: &[OsString],
    reference: bool,
) -> Result<Given, String> {
    if !words.iter().any(|word| may_hold_nothing(word)) {
        return Ok(Given::default());
    }
    let mut raw = raw(table.clone());
    raw.build();
    let Ok(found) = raw.try_get_matches_from_mut(words) else { return Ok(Given::default()) };
    let mut line =
        Line { reference, words: words.first().cloned().into_iter().collect(), ..Line::default() };
    line.add(&raw, &found)?;
    let emptied = Emptied(line.emptied);
    Ok(Given { words: line.changed.then_some(line.words), emptied })
}

/// Whether a word can be an empty value, or an option with one. Most lines have no such word and are read but once.
fn may_hold_nothing(word: &OsStr) -> bool {
    word.is_empty() || word.as_encoded_bytes().ends_with(b"=")
}

/// The table without any judgement of values.
fn raw(command: Command) -> Command {
    let any = |arg: Arg| match arg.get_action() {
        ArgAction::Set | ArgAction::Append if !arg.is_require_equals_set() => {
            arg.value_parser(clap::value_parser!(OsString))
        }
        _ => arg,
    };
    command.mut_args(any).mut_subcommands(raw)
}

/// A command line written anew.
#[derive(Debug, Default)]
struct Line {
    reference: bool,
    words: Vec<OsString>,
    changed: bool,
    emptied: Vec<String>,
}

impl Line {
    fn add(&mut self, command: &Command, found: &ArgMatches) -> Result<(), String> {
        let is_given = |arg: &&Arg| {
            found.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        let (positional, options): (Vec<&Arg>, Vec<&Arg>) =
            command.get_arguments().filter(is_given).partition(|arg| arg.is_positional());
        for arg in options {
            // The command has the options that stand before it as well.
            if found.subcommand().is_none() || !arg.is_global_set() {
                self.option(command.get_name(), arg, found)?;
            }
        }
        if let Some((name, inner)) = found.subcommand() {
            self.words.push(name.into());
            let inner_command = command.find_subcommand(name);
            return inner_command.map_or(Ok(()), |command| self.add(command, inner));
        }
        let values = positional.into_iter().flat_map(|arg| values(arg, found));
        self.words.push("--".into());
        self.words.extend(values.map(OsStr::to_owned));
        Ok(())
    }

    fn option(&mut self, command: &str, arg: &Arg, found: &ArgMatches) -> Result<(), String> {
        let Some(name) = arg.get_long() else { return Ok(()) };
        for value in values(arg, found) {
            if value.is_empty() && !MAY_BE_EMPTY.contains(&name) {
                self.pass_over(command, name)?;
                continue;
            }
            let mut word = OsString::from(format!("--{name}="));
            word.push(value);
            self.words.push(word);
        }
        Ok(())
    }

    fn pass_over(&mut self, command: &str, name: &str) -> Result<(), String> {
        let known = PASSED_OVER.contains(&name) || PASSED_OVER_IN.contains(&(command, name));
        if !self.reference || !known {
            return Err(format!("--{name}"));
        }
        if RESTRICTING.contains(&name) {
            self.emptied.push(format!("--{name}"));
        }
        self.changed = true;
        Ok(())
    }
}

fn values<'a>(arg: &Arg, found: &'a ArgMatches) -> impl Iterator<Item = &'a OsStr> + use<'a> {
    found.get_raw(arg.get_id().as_str()).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::super::table::{Unread, parse};
    use super::*;

    fn read(line: &[&str], reference: bool) -> Result<(Cli, Emptied), Unread> {
        let words: Vec<OsString> = ["securecp"].iter().chain(line).map(OsString::from).collect();
        parse(&words, reference)
    }

    #[test]
    fn an_empty_value_is_an_error_that_names_the_option() {
        for option in
            ["policy", "sign-by", "trust", "expect-dest-digest", "authfile", "override-os"]
        {
            for words in [vec![format!("--{option}=")], vec![format!("--{option}"), String::new()]]
            {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let line = [&["copy", "dir:a", "dir:b"], &words[..]].concat();
                match read(&line, false) {
                    Err(Unread::Empty(found)) => assert_eq!(found, format!("--{option}")),
                    other => panic!("{line:?}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn for_the_reference_it_means_not_given() {
        let line = [
            "--policy=",
            "--override-os",
            "",
            "copy",
            "--dest-cert-dir=",
            "--sign-by=",
            "-q",
            "--digestfile",
            "",
            "--src-creds",
            "-a:b",
            "dir:a",
            "dir:b",
        ];
        let (cli, emptied) = read(&line, true).unwrap();
        assert_eq!((cli.globals.policy, cli.globals.override_os), (None, None));
        let super::super::Command::Copy(copy) = cli.command else { panic!("another command") };
        assert!(copy.chain.signing.sign_by.is_empty() && copy.names.digestfile.is_none());
        assert!(copy.run.output.quiet);
        assert_eq!(
            (copy.source.as_str(), &copy.destinations[..]),
            ("dir:a", &["dir:b".to_owned()][..])
        );
        let source = super::super::SideArgs::from(copy.sides.source);
        assert_eq!(source.creds.unwrap().expose(), "-a:b");
        let mut emptied = emptied.0;
        emptied.sort();
        assert_eq!(emptied, ["--policy", "--sign-by"]);
    }

    #[test]
    fn what_the_reference_does_not_know_stays_an_error() {
        for option in ["--trust=", "--expect-dest-digest=", "--evidence=", "--src-creds="] {
            let read = read(&["copy", "dir:a", "dir:b", option], true);
            assert!(matches!(read, Err(Unread::Empty(_))), "{option} {read:?}");
        }
    }

    #[test]
    fn a_password_may_be_empty() {
        let login = ["login", "-u", "u", "-p", "", "h.example"];
        assert!(read(&login, false).is_ok() && read(&login, true).is_ok());
    }

    #[test]
    fn nested_commands_are_written_anew_as_well() {
        let line = ["policy", "--tmpdir=", "explain", "--policy", "p.json", "docker://h.example/x"];
        let (cli, _) = read(&line, true).unwrap();
        assert_eq!((cli.globals.policy, cli.globals.tmpdir), (Some("p.json".into()), None));
    }

    #[test]
    fn the_lists_name_options_that_there_are() {
        let mut table = super::super::table::table();
        table.build();
        let commands = || std::iter::once(&table).chain(table.get_subcommands());
        for name in PASSED_OVER.iter().chain(MAY_BE_EMPTY) {
            let mut options = commands().flat_map(Command::get_arguments);
            assert!(options.any(|arg| arg.get_long() == Some(*name)), "{name}");
        }
        assert!(RESTRICTING.iter().all(|name| PASSED_OVER.contains(name)));
    }
}
