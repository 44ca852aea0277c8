//! What the transports that keep images in one tar file share.

mod container;
mod flat;
mod output;
mod pool;
mod spool;

use std::fmt::Debug;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use securecp_layer::Scope;

use crate::TransportError;
use crate::tar::{TarIndex, TarWriter};

pub(crate) use container::Container;
pub(crate) use flat::{detect, unpack};
pub(crate) use output::{Output, Present, fill};
pub(crate) use pool::{Pool, Slot, Turn};
pub(crate) use spool::spool;

/// Where an archive is read from.
pub(crate) trait Members: Send + Sync {
    /// Its members; found out once, which may take long.
    fn index(&self, scope: &Scope) -> Result<Arc<TarIndex>, TransportError>;

    /// What it is called in messages.
    fn place(&self) -> String;
}

impl<T: Members> Members for Arc<T> {
    fn index(&self, scope: &Scope) -> Result<Arc<TarIndex>, TransportError> {
        self.as_ref().index(scope)
    }

    fn place(&self) -> String {
        self.as_ref().place()
    }
}

/// Writes the members of an archive.
pub(crate) type WriteMembers<'a> = dyn FnMut(&mut TarWriter<&mut dyn Write>) -> io::Result<()> + 'a;

/// Where an archive is written to.
pub(crate) trait Sink: Debug + Send + Sync {
    /// Looks whether it can be written, without any effect.
    fn check(&self, scope: &Scope) -> Result<(), TransportError>;

    /// The folder in which blobs wait until all are there.
    fn waiting_folder(&self) -> PathBuf;

    /// Writes the whole archive; it takes effect only if all of it was written.
    fn write(&self, members: &mut WriteMembers<'_>, scope: &Scope) -> Result<(), TransportError>;
}
