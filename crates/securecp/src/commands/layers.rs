//! `securecp layers`

use anyhow::{Context, anyhow};
use securecp_copy::{Effort, Select, Trial, admit};
use securecp_layer::{LayerError, Scope, SourceError};
use securecp_oci::{Descriptor, Digest, Escaped, Image, RawManifest};
use securecp_transport::{
    BlobPut, DestinationOptions, Naming, Place, Source, TransportError, open_destination,
};
use securecp_trust::IndexSignature;

use crate::args::LayersArgs;
use crate::connect::Doors;
use crate::failure::Failure;
use crate::lookaside::Lookaside;
use crate::policy;
use crate::progress::warn;
use crate::request::ImageRequest;
use crate::session::Session;
use crate::trust;

/// Judges an image as a copy would, and writes its layers, or those asked for, into a new directory.
pub(crate) fn run(args: LayersArgs, session: &mut Session<'_>) -> Result<(), Failure> {
    warn("layers is deprecated in favor of copy: copy IMAGE dir:DIRECTORY writes the whole image");
    let request = ImageRequest::new(&args.image, args.side, &args.retry, &session.globals)?;
    let wanted = args.digests.iter().map(|text| digest(text)).collect::<Result<Vec<_>, _>>()?;
    let policy = policy::load(&session.globals.policy)?;
    let doors = Doors::new(&session.globals, request.retry)?;
    let lookaside = Lookaside::load(session.globals.registries_d.as_deref())?;
    let from = doors.source(&request.name, &request.side, &lookaside)?;
    let admitted = admit(&Trial {
        from: &*from,
        select: &Select::System(session.globals.platform.clone()),
        policy: &policy,
        gate: &trust::gate(&session.globals, IndexSignature::default(), None),
        effort: Effort::default(),
        scope: session.scope,
    });
    let admitted = admitted.map_err(|error| Failure::reaching("--", error))?;
    let manifest = &admitted.found().manifests()[0].subject.manifest;
    let blobs = chosen(manifest, &wanted)?;
    let folder = tempfile::Builder::new().prefix("layers-").tempdir_in(".");
    let folder = folder.context("making a directory for the layers")?;
    let name = folder.path().file_name().unwrap_or_default().display().to_string();
    write(&format!("dir:{name}"), (&*from, manifest, &blobs), session.scope)
        .with_context(|| format!("writing layers of {} to {name}", request.name))?;
    let _ = folder.keep();
    if session.dialect.is_skopeo() { Ok(()) } else { session.say(&name) }
}

/// A digest, or the hexadecimal part of one of SHA-256.
fn digest(text: &str) -> Result<Digest, Failure> {
    let whole = if text.contains(':') { text.to_owned() } else { format!("sha256:{text}") };
    let parsed = whole.parse::<Digest>();
    parsed.map_err(|error| Failure::usage(format!("\"{}\": {error}", Escaped::new(text))))
}

/// Nothing but the blobs of the image that was judged.
fn chosen(manifest: &RawManifest, wanted: &[Digest]) -> Result<Vec<Descriptor>, Failure> {
    let image = manifest.image().ok_or_else(|| anyhow!("{} is no image", manifest.digest()))?;
    let own = |image: &Image| image.layers.iter().chain([&image.config]).cloned().collect();
    let own: Vec<Descriptor> = own(image);
    if wanted.is_empty() {
        return Ok(own);
    }
    let find = |digest: &Digest| own.iter().find(|blob| blob.digest == *digest).cloned();
    let found = wanted.iter().map(|digest| {
        find(digest).ok_or_else(|| {
            Failure::new(format!("image {} has no blob {digest}", manifest.digest()))
                .hint("inspect shows the digests of its layers")
        })
    });
    found.collect()
}

/// Every blob is held to its digest and size before it has its name.
fn write(
    name: &str,
    (from, manifest, blobs): (&dyn Source, &RawManifest, &[Descriptor]),
    scope: &Scope,
) -> anyhow::Result<()> {
    let destination = open_destination(&name.parse()?, &DestinationOptions::default())?;
    let writing = destination.begin(scope)?;
    for blob in blobs {
        let open = || from.blob(blob, scope).map_err(|error| not_read(blob, error));
        let put = BlobPut::new(blob, &open);
        writing.put_blob(&put, scope)?;
    }
    writing.put_manifest(manifest, Place::Root, scope)?;
    writing.read_back(manifest, Place::Root, scope)?;
    let committed = writing.commit(&[Naming::own(&*destination, manifest)], scope);
    Ok(committed.map_err(|error| error.cause)?)
}

fn not_read(blob: &Descriptor, error: TransportError) -> LayerError {
    match error {
        TransportError::Layer(error) => error,
        other => {
            LayerError::Source { digest: blob.digest.clone(), source: SourceError::lasting(other) }
        }
    }
}
