//! Sigstore through the public doors.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test may panic outside of #[test] functions too"
)]

mod attachments;
mod bundles;
mod certificates;
#[path = "../trust/changes.rs"]
mod changes;
mod drafts;
mod gate;
mod hostile;
mod keys;
mod lab;
mod log;
mod material;
mod records;
mod signing;
mod trust_file;
mod vouch;
