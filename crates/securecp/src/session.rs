//! What every command is given.

use std::fmt::{self, Debug};
use std::io::Write;

use anyhow::Context;
use securecp_layer::Scope;
use serde::Serialize;

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::request::Globals;

/// What holds for one command: the options of every command, what ends it, where its results go.
pub(crate) struct Session<'a> {
    pub(crate) globals: Globals,
    pub(crate) dialect: Dialect,
    pub(crate) scope: &'a Scope,
    /// Results only; everything else goes to standard error.
    pub(crate) out: &'a mut dyn Write,
}

impl Session<'_> {
    /// Writes results.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        Ok(written.context("writing the result")?)
    }

    /// Writes a line of results.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.write(format!("{line}\n").as_bytes())
    }

    /// Writes a result as one line of JSON.
    pub(crate) fn write_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.write(&line)
    }
}

impl Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("globals", &self.globals).finish_non_exhaustive()
    }
}
