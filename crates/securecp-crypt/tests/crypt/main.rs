//! Layer encryption through the public doors of the crate: the format, the key wrappers, what the reference made.

#[cfg(test)]
mod common;
#[cfg(test)]
mod image;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod pgp;
#[cfg(test)]
mod skopeo;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wrappers;
