//! `securecp man`

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};
use crate::failure::Failure;
use crate::session::Session;

/// Writes a manual page for each command, made from the argument table.
pub(crate) fn run(args: &ManArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut table = Cli::command().disable_help_subcommand(true);
    table.build();
    let written = write_pages(table, &args.directory);
    let names = written.with_context(|| format!("writing to {}", args.directory.display()))?;
    names.iter().try_for_each(|name| session.say(name))
}

fn write_pages(table: Command, directory: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(directory)?;
    let parts: Vec<Command> = table.get_subcommands().cloned().collect();
    let mut names = Vec::new();
    for part in std::iter::once(table).chain(parts) {
        let name = part.get_display_name().unwrap_or(part.get_name()).to_owned();
        let mut page = Vec::new();
        Man::new(part).title(name.to_uppercase()).render(&mut page)?;
        let file = format!("{name}.1");
        fs::write(directory.join(&file), page)?;
        names.push(file);
    }
    Ok(names)
}
