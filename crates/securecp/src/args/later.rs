/// Options of the reference that later versions bring. They are refused by name, never ignored.
const OPTIONS: &[&str] = &[
    "--src-daemon-host",
    "--dest-daemon-host",
    "--daemon-host",
    "--registries-conf",
    "--sign-by",
    "--sign-by-sq-fingerprint",
    "--sign-by-sigstore",
    "--sign-by-sigstore-private-key",
    "--sign-passphrase-file",
    "--sign-identity",
];

/// Commands of the reference that later versions bring.
const COMMANDS: &[&str] = &[
    "sync",
    "layers",
    "standalone-sign",
    "standalone-verify",
    "generate-sigstore-key",
    "experimental-image-proxy",
];

/// Whether a word that the table does not know is one that a later version brings.
pub(crate) fn not_supported_yet(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    OPTIONS.contains(&name) || COMMANDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn nothing_is_in_both_tables() {
        for option in OPTIONS {
            let line = ["securecp", "copy", "dir:a", "dir:b", option];
            let error = Cli::try_parse_from(line).expect_err(option);
            assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument, "{option}");
        }
        for command in COMMANDS {
            let error = Cli::try_parse_from(["securecp", command]).expect_err(command);
            assert_eq!(error.kind(), clap::error::ErrorKind::InvalidSubcommand, "{command}");
        }
    }

    /// Sample values, since the table does not say which ones an option takes.
    const VALUES: [&str; 5] = ["", "=true", "=1", "=1s", "=x"];

    /// Whether some value of the option is taken by the argument table.
    fn is_taken(command: &str, option: &str) -> bool {
        let places: &[&str] = match command {
            "copy" => &["dir:a", "dir:b"],
            "inspect" | "list-tags" | "delete" | "login" | "manifest-digest" => &["dir:a"],
            _ => &[],
        };
        VALUES.iter().any(|value| {
            let option = format!("{option}{value}");
            let words = ["securecp", command].into_iter().chain(places.iter().copied());
            let words = words.chain((!option.is_empty()).then_some(option.as_str()));
            Cli::try_parse_from(words).is_ok()
        })
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
