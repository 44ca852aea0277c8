//! What several end-to-end tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod debian_image;
pub mod registry;
pub mod run;
pub mod tree;

use securecp_oci::{Algorithm, Digest};

/// `sha256:…` of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}
