//! development only: fixtures, fault proxy, registry simulators.
