//! `securecp demo`

use crate::failure::Failure;
use crate::session::Session;

/// Shows it all at work.
pub(crate) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    session.write(b"")
}
