//! What the transports that keep images in one tar file share.

mod container;
mod flat;
mod output;
mod pool;

pub(crate) use container::Container;
pub(crate) use flat::{detect, unpack};
pub(crate) use output::{Output, Present};
pub(crate) use pool::{Pool, Slot};
