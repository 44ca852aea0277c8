//! Development only: fixtures, fault proxy, registry simulators.

pub mod http;
