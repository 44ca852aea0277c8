//! Tar archives (POSIX.1-2001 ustar and pax, GNU long names), indexed once and read by range; never unpacked.
//!
//! Names are only ever looked up, so no archive can make anything appear in the file system. What two readers could
//! understand differently is refused: duplicate members, sparse files, links that leave the archive, sizes that do not
//! fit, unknown kinds of members.

mod header;
mod index;
mod name;
mod pax;
mod write;

pub(crate) use index::{Member, TarIndex, refused};
pub(crate) use name::member_name;
pub(crate) use write::{Content, TarWriter};

/// Size of a block, in bytes; headers and data are padded to it.
pub(crate) const BLOCK: usize = 512;
