use std::ffi::OsString;

use anyhow::anyhow;
use serde_json::Value;

use crate::args::{self, Unread};
use crate::commands;
use crate::dialect::Dialect;
use crate::failure::{Exit, Failure};
use crate::request::Globals;
use crate::session::Session;
use crate::usage;

/// Most lines of an answer that are shown.
const LINES: usize = 16;

/// How a step must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    exit: Exit,
    /// What the error line must contain.
    says: &'static str,
}

impl Ending {
    pub(super) const DONE: Self = Self { exit: Exit::Done, says: "" };

    pub(super) fn failed(exit: Exit, says: &'static str) -> Self {
        Self { exit, says }
    }
}

/// Tells one step after the other.
pub(super) struct Tale<'a, 'b> {
    session: &'a mut Session<'b>,
    steps: usize,
}

impl<'a, 'b> Tale<'a, 'b> {
    pub(super) fn new(session: &'a mut Session<'b>) -> Self {
        Self { session, steps: 0 }
    }

    /// A line of the story.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.session.write(format!("{line}\n").as_bytes())
    }

    /// Shows a command line, runs it, shows what it answered; gives the answer back, as text if it is no JSON.
    pub(super) fn step(
        &mut self,
        title: &str,
        ending: Ending,
        words: &[String],
    ) -> Result<Value, Failure> {
        self.steps += 1;
        self.say(&format!("\n{}. {title}\n\n    $ securecp {}", self.steps, words.join(" ")))?;
        let mut answer = Vec::new();
        let result = self.run(words, &mut answer);
        self.session.scope.check()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        self.show(&answer)?;
        let exit = result.as_ref().err().map_or(Exit::Done, Failure::exit);
        let mut said = String::new();
        if let Err(failure) = &result {
            said = failure.lines(Dialect::OWN);
            said.lines().try_for_each(|line| self.say(&format!("    {line}")))?;
            self.say(&format!("    (exit code {})", exit.number()))?;
        }
        if exit != ending.exit || !said.contains(ending.says) {
            return Err(anyhow!("step {} did not end as it should", self.steps).into());
        }
        Ok(serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
    }

    /// An answer, the beginning of a long one.
    fn show(&mut self, answer: &str) -> Result<(), Failure> {
        let total = answer.lines().count();
        let shown = if total > LINES { LINES - 4 } else { total };
        answer.lines().take(shown).try_for_each(|line| self.say(&format!("    {line}")))?;
        match total - shown {
            0 => Ok(()),
            more => self.say(&format!("    … {more} more lines")),
        }
    }

    /// Something that must be true by now.
    pub(super) fn check(&mut self, what: &str, holds: bool) -> Result<(), Failure> {
        if !holds {
            return Err(anyhow!("after step {}, not true: {what}", self.steps).into());
        }
        self.say(&format!("\n    Checked: {what}."))
    }

    fn run(&self, words: &[String], answer: &mut Vec<u8>) -> Result<(), Failure> {
        let line = std::iter::once("securecp").chain(words.iter().map(String::as_str));
        let line: Vec<OsString> = line.map(OsString::from).collect();
        let (cli, _) = args::parse(&line, false).map_err(|unread| match unread {
            Unread::Empty(option) => usage::empty(&option),
            Unread::Parser(error) => usage::failure(&error, &[], Dialect::OWN)
                .unwrap_or_else(|| Failure::usage("help is not part of the story")),
        })?;
        let globals = Globals::try_from(cli.globals)?;
        let scope = self.session.scope;
        let mut session = Session { globals, dialect: Dialect::OWN, scope, out: answer };
        commands::run(cli.command, &mut session)
    }
}
