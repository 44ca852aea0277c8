//! Recompressed layers that an earlier copy left at the destination.

use securecp_layer::{Event, Scope, TransformCache};
use securecp_oci::{Descriptor, WithCauses};
use securecp_transport::{Destination, TransportError};

use crate::edits::CacheUse;
use crate::job::Job;
use crate::plan::Remembered;

/// The blob that the memory proposes, if it is at the destination and was found to be the layer wanted.
///
/// A proposal that does not hold is no failure: the recompression is done then.
///
/// # Errors
/// Only a stopped job.
pub(crate) fn recall(
    job: &Job<'_>,
    to: &dyn Destination,
    wanted: &Remembered,
    scope: &Scope,
) -> Result<Option<Descriptor>, TransportError> {
    let Some(used) = &job.edits.cache else { return Ok(None) };
    match look(to, used, wanted, scope) {
        Err(TransportError::Stopped(stopped)) => Err(stopped.into()),
        Err(error) => {
            tracing::debug!(error = %WithCauses(&error), "a remembered layer is not used");
            Ok(None)
        }
        found => found,
    }
}

fn look(
    to: &dyn Destination,
    used: &CacheUse,
    wanted: &Remembered,
    scope: &Scope,
) -> Result<Option<Descriptor>, TransportError> {
    let Some(proposal) = used.cache.propose(&wanted.key) else { return Ok(None) };
    let (digest, size) = (proposal.digest().clone(), proposal.size());
    let proposed = Descriptor { digest, size, ..wanted.described.clone() };
    if !to.has_blob(&proposed, scope)? {
        return Ok(None);
    }
    if used.dangerous_trust {
        return Ok(Some(proposed));
    }
    let Some(layer) = to.read_blob(&proposed, scope)? else { return Ok(None) };
    proposal.confirm(layer, &wanted.diff_id, scope)?;
    Ok(Some(proposed))
}

/// Remembers what a layer became; a memory that cannot be written is worth a warning, no more.
pub(crate) fn remember(job: &Job<'_>, wanted: &Remembered, made: &Descriptor) {
    let cache: Option<&TransformCache> = job.edits.cache.as_ref().map(|used| &used.cache);
    let Some(Err(error)) = cache.map(|cache| cache.record(&wanted.key, made, &wanted.diff_id))
    else {
        return;
    };
    let text = format!(
        "what became of the layer with diffID {} is not remembered for the next copy: {}",
        wanted.diff_id,
        WithCauses(&error)
    );
    job.report.event(&Event::Warning(&text));
}
