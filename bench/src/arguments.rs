use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub(crate) const USAGE: &str = "\
usage: bench/run [OPTION...] [JOB...]

Runs the jobs whose name contains one of the words given; all of them, except those marked \"apart\", if none is given.

  --list          name the jobs and end
  --rounds N      runs of each job and tool, interleaved [default: 3]
  --quick         small data, for work on the benchmark itself
  --data FOLDER   where the data is made [default: a new folder in target]
  --keep          leave the data there for the next run (needs --data)
  --alone         securecp without peers
  --store         write the results to docs/performance.md, .json and .svg; of jobs
                  that are marked \"apart\" to places of their own
";

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    pub(crate) jobs: Vec<String>,
    pub(crate) list: bool,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) data: Option<PathBuf>,
    pub(crate) keep: bool,
    pub(crate) alone: bool,
    pub(crate) store: bool,
    pub(crate) help: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self {
            jobs: Vec::new(),
            list: false,
            rounds: 3,
            quick: false,
            data: None,
            keep: false,
            alone: false,
            store: false,
            help: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--list" => arguments.list = true,
                "--quick" => arguments.quick = true,
                "--keep" => arguments.keep = true,
                "--alone" => arguments.alone = true,
                "--store" => arguments.store = true,
                "--help" | "-h" => arguments.help = true,
                "--rounds" => arguments.rounds = value()?.parse().context("--rounds")?,
                "--data" => arguments.data = Some(value()?.into()),
                option if option.starts_with('-') => bail!("unknown option {option}\n\n{USAGE}"),
                _ => arguments.jobs.push(word),
            }
        }
        if arguments.rounds == 0 {
            bail!("--rounds needs at least 1");
        }
        if arguments.keep && arguments.data.is_none() {
            bail!("--keep needs --data");
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_options_and_jobs_in_any_order() {
        let arguments = parse("zstd --rounds 5 --quick crypt --data d --keep").unwrap();
        assert_eq!(arguments.jobs, ["zstd", "crypt"]);
        assert!(arguments.rounds == 5 && arguments.quick && arguments.keep);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in ["--round 3", "--rounds", "--rounds x", "--rounds 0", "--keep"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
