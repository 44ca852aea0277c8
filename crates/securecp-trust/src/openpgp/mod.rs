//! OpenPGP: signed messages verified the way GnuPG judges keys, and made.

mod keyring;
mod shape;
mod verify;

pub(crate) use keyring::Keyring;
pub(crate) use verify::verify;
