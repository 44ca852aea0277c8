//! Which images `sync` copies, and under which names.

mod config;
mod find;
mod place;
mod semver;

pub(crate) use find::{Found, Pair, find};
