//! OpenPGP: signed messages verified the way GnuPG judges keys, and made.

mod keyring;
mod rsa;
mod shape;
mod sign;
mod verify;

pub(crate) use keyring::Keyring;
pub use sign::{SignError, SimpleSigner, confirm_simple};
pub(crate) use verify::{dangerous_unverified, verify};
