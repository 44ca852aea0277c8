//! The client against registries that behave, and against everything that can go wrong in between.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

mod auth;
mod downloads;
mod exchange;
mod faults;
mod helpers;
mod mirrors;
mod nginx;
mod peers;
mod referrers;
mod resume;
mod tls;
mod token_server;
mod uploads;
