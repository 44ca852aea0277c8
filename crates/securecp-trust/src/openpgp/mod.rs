//! OpenPGP: signed messages verified the way GnuPG judges keys, and made.

mod fresh;
mod keyring;
mod rsa;
mod shape;
mod sign;
mod verify;

use std::time::SystemTime;

use sequoia_openpgp::policy::{HashAlgoSecurity, StandardPolicy};
use sequoia_openpgp::types::HashAlgorithm;

pub use fresh::FreshKey;
pub(crate) use keyring::Keyring;
pub use sign::{SignError, SimpleSigner, confirm_simple};
pub(crate) use verify::{dangerous_unverified, verify};

/// Which algorithms are good enough at a time.
///
/// Many keys in use have bound their parts to themselves with SHA-1. Forging that takes a second preimage, which nobody
/// can make, and the keys come from whoever wrote the policy: GnuPG takes them, so they are taken here. Signatures over
/// data are another matter and never rest on SHA-1.
fn algorithms_at(now: SystemTime) -> StandardPolicy<'static> {
    let mut policy = StandardPolicy::at(now);
    let property = HashAlgoSecurity::SecondPreImageResistance;
    policy.accept_hash_property(HashAlgorithm::SHA1, property);
    policy
}
