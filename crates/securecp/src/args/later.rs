/// Options of the reference that later versions bring. They are refused by name, never ignored.
const OPTIONS: &[&str] = &["--sign-by-sq-fingerprint"];

/// Commands of the reference that later versions bring.
const COMMANDS: &[&str] = &[];

/// Whether a word that the table does not know is one that a later version brings.
pub(crate) fn not_supported_yet(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    OPTIONS.contains(&name) || COMMANDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::{Cli, read};

    #[test]
    fn nothing_is_in_both_tables() {
        for option in OPTIONS {
            let line = ["securecp", "copy", "dir:a", "dir:b", option];
            let error = read(line).expect_err(option);
            assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument, "{option}");
        }
        for command in COMMANDS {
            let error = read(["securecp", command]).expect_err(command);
            assert_eq!(error.kind(), clap::error::ErrorKind::InvalidSubcommand, "{command}");
        }
    }

    /// Whether the argument table has the option of the command, or the command if no option is named.
    fn is_taken(command: &str, option: &str) -> bool {
        let mut table = Cli::command();
        table.build();
        let Some(part) = table.find_subcommand(command) else { return false };
        let long = option.strip_prefix("--");
        option.is_empty() || part.get_arguments().any(|found| found.get_long() == long)
    }

    #[test]
    fn the_table_in_the_documentation_is_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/skopeo.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows =
            text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| command"));
        let mut count = 0;
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let (command, option, state) = (cells[1], cells[2].trim_matches('`'), cells[3]);
            let command = if command == "every" { "copy" } else { command };
            let word = if option.is_empty() { command } else { option };
            match state {
                "same" | "better" => assert!(is_taken(command, option), "{row}"),
                "not yet" => {
                    assert!(!is_taken(command, option) && not_supported_yet(word), "{row}")
                }
                "will not" => {
                    assert!(!is_taken(command, option) && !not_supported_yet(word), "{row}")
                }
                _ => panic!("no such state: {row}"),
            }
            count += 1;
        }
        assert!(count > 100, "the table was not found");
    }
}
