//! Sigstore through the public doors.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test may panic outside of #[test] functions too"
)]

mod keys;
mod material;
mod signing;
#[path = "../trust/support.rs"]
mod support;
