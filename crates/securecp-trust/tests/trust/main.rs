//! The gate through its public doors.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test may panic outside of #[test] functions too"
)]

mod changes;
mod examples;
mod gate;
mod hostile;
mod lessons;
mod policy;
mod signing;
mod simple;
mod support;
