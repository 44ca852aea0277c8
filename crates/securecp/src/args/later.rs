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
}
