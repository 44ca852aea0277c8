//! `securecp delete`

use anyhow::Context;
use securecp_layer::{Scope, each_on_a_thread};
use securecp_oci::{Digest, RawManifest, Reference, ReferenceError, Tag, Transport};
use securecp_registry::{Client, ManifestName, RegistryError};

use crate::args::DeleteArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::progress::{say, warn};
use crate::request::{ImageRequest, docker_reference};
use crate::session::Session;

/// Requests under way at the same time.
const WORKERS: usize = 16;

/// Deletes an image.
pub(crate) fn run(args: DeleteArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = ImageRequest::new(&args.image, args.side, &args.retry, &session.globals)?;
    let doors = Doors::new(&session.globals, request.retry)?;
    let deleted = match request.name.transport {
        Transport::Docker => in_registry(&request, &doors, session.scope),
        _ => elsewhere(&request, &doors, session.scope),
    };
    deleted.map_err(|failure| session.dialect.not_deleted(failure.deleting(), &request.name))
}

fn elsewhere(request: &ImageRequest, doors: &Doors<'_>, scope: &Scope) -> Result<(), Failure> {
    let options = doors.source_options(&request.side);
    let deleted = securecp_transport::delete(&request.name, &options, scope);
    let deleted = deleted.with_context(|| format!("deleting {}", request.name))?;
    say(&format!("deleted {} and {} blobs", deleted.manifest, deleted.blobs.len()));
    Ok(())
}

/// Finds out the digest, names the other tags that stand for it, and deletes it.
fn in_registry(request: &ImageRequest, doors: &Doors<'_>, scope: &Scope) -> Result<(), Failure> {
    let reference = one_image(&docker_reference(&request.name)?)?;
    let doing = || format!("deleting {}", request.name);
    let client = doors.registries(&request.side).client(reference.repository());
    let client = client.with_context(doing)?;
    let name = ManifestName::of(&reference).ok_or_else(|| Failure::usage("an image has a name"))?;
    let (digest, manifest) = find(&client, name, scope).with_context(doing)?;
    let others = match other_tags(&client, &reference, &digest, scope) {
        Ok(others) => others,
        Err(error) => {
            warn(&format!("which other tags stand for {digest} cannot be told: {error}"));
            Vec::new()
        }
    };
    client.delete_manifest(&digest, scope).with_context(doing)?;
    say(&format!("deleted {digest}"));
    if let Some(manifest) = &manifest {
        client.unlist_referrer(manifest, scope).with_context(|| {
            format!("{digest} is deleted, but may still be listed as a referrer of its subject")
        })?;
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(Tag::as_str).collect();
        warn(&format!(
            "these tags stood for the same digest and are gone too: {}",
            names.join(", ")
        ));
    }
    Ok(())
}

/// A name alone means the tag `latest`; a tag beside a digest is one too many.
fn one_image(reference: &Reference) -> Result<Reference, Failure> {
    let parsed = reference.to_string().parse();
    parsed.map_err(|error: ReferenceError| Failure::usage(error))
}

/// What the name stands for, and its digest, whatever the registry says in its headers. What a digest stands for may be
/// deleted without being understood.
fn find(
    client: &Client,
    name: ManifestName<'_>,
    scope: &Scope,
) -> Result<(Digest, Option<RawManifest>), RegistryError> {
    match (client.manifest(name, scope), name) {
        (Ok(found), _) => Ok((found.digest().clone(), Some(found))),
        (Err(error), ManifestName::Digest(digest)) if !error.is_not_found() => {
            warn(&format!("whether {digest} is listed as a referrer cannot be told: {error}"));
            Ok((digest.clone(), None))
        }
        (Err(error), _) => Err(error),
    }
}

/// The other tags that stand for `digest`, in the registry's order.
fn other_tags(
    client: &Client,
    reference: &Reference,
    digest: &Digest,
    scope: &Scope,
) -> Result<Vec<Tag>, RegistryError> {
    let mut tags = client.tags(scope)?;
    tags.retain(|tag| Some(tag) != reference.tag());
    let share = tags.len().div_ceil(WORKERS).max(1);
    let parts: Vec<&[Tag]> = tags.chunks(share).collect();
    let same = each_on_a_thread(&parts, |part| those_of(client, part, digest, scope));
    Ok(same.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// Those of `tags` that stand for `digest`.
fn those_of(
    client: &Client,
    tags: &[Tag],
    digest: &Digest,
    scope: &Scope,
) -> Result<Vec<Tag>, RegistryError> {
    let mut same = Vec::new();
    for tag in tags {
        let head = client.head_manifest(ManifestName::Tag(tag), scope)?;
        if head.and_then(|head| head.digest).as_ref() == Some(digest) {
            same.push(tag.clone());
        }
    }
    Ok(same)
}
