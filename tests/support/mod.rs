//! What several end-to-end tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod debian_image;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod tree;

use securecp_oci::{Algorithm, Digest};

/// `sha256:…` of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}
