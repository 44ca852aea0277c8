//! From words to checked requests: every rule about which options exclude or need each other stands here.

mod additional;
mod compress;
mod copy;
mod crypt;
mod evidence;
mod globals;
mod image;
mod inspect;
mod place;
mod resume;
mod retry;
mod side;
mod sign;
mod sync;
mod terms;

pub(crate) use copy::CopyRequest;
pub(crate) use globals::{Globals, PolicyChoice};
pub(crate) use image::{ImageRequest, docker_reference, image};
pub(crate) use inspect::{InspectRequest, View};
pub(crate) use place::{AllTags, PlaceRequest};
pub(crate) use resume::Resuming;
pub(crate) use retry::Retry;
pub(crate) use side::{Login, SideRequest};
pub(crate) use sign::{BundleWitness, SignRequest, SigningKey, index_signature};
pub(crate) use sync::{SyncPlace, SyncRequest, SyncSource};
pub(crate) use terms::{Terms, select};

use terms::unknown;

use crate::failure::Failure;

/// Both of two options were given that exclude each other.
pub(crate) fn both(first: &str, second: &str) -> Failure {
    Failure::usage(format!("{first} and {second} exclude each other"))
}
