//! Sources with wrong bytes are caught by their own verification; watched destinations tell and fail as told.
#![expect(clippy::unwrap_used, reason = "a test ends where its premise fails")]

use std::path::Path;

use securecp_layer::{LayerError, Scope};
use securecp_oci::{Descriptor, RawManifest};
use securecp_testkit::{Bend, BentSource, Effect, Fixture, WatchedDestination};
use securecp_transport::{
    BlobPut, Destination, DestinationOptions, Naming, Place, Source, SourceOptions, TransportError,
    open_destination, open_source,
};

struct Bench {
    folder: tempfile::TempDir,
    source: BentSource,
    scope: Scope,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        Fixture::tiny().unwrap().write_layout(&layout, Some("v1")).unwrap();
        let name = format!("oci:{}:v1", layout.display()).parse().unwrap();
        let source = BentSource::new(open_source(&name, &SourceOptions::default()).unwrap());
        Self { folder, source, scope: Scope::new() }
    }

    fn layer(&self) -> Descriptor {
        let root = self.source.root(&self.scope).unwrap();
        root.image().unwrap().layers[0].clone()
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Descriptor, LayerError> {
        let mut layer = self.source.blob(descriptor, &self.scope).unwrap();
        while layer.next()?.is_some() {}
        layer.finish()
    }

    fn target(&self) -> std::path::PathBuf {
        self.folder.path().join("target")
    }

    fn copy(&self, destination: &WatchedDestination) -> Result<(), TransportError> {
        let scope = &self.scope;
        let root: RawManifest = self.source.root(scope)?;
        let image = root.image().unwrap();
        let writing = destination.begin(scope)?;
        for descriptor in image.layers.iter().chain([&image.config]) {
            let open = || {
                self.source.blob(descriptor, scope).map_err(|error| match error {
                    TransportError::Layer(error) => error,
                    other => LayerError::Spool(std::io::Error::other(other.to_string())),
                })
            };
            let put = BlobPut::new(descriptor, &open);
            writing.put_blob(&put, scope)?;
        }
        writing.put_manifest(&root, Place::Root, scope)?;
        writing.read_back(&root, Place::Root, scope)?;
        writing.commit(&[Naming::own(destination, &root)], scope).map_err(|error| error.cause)
    }
}

fn destination(folder: &Path) -> WatchedDestination {
    let name = format!("oci:{}:v1", folder.display()).parse().unwrap();
    WatchedDestination::new(open_destination(&name, &DestinationOptions::default()).unwrap())
}

#[test]
fn bent_blobs_fail_in_their_turns_only() {
    let bench = Bench::new();
    let layer = bench.layer();
    bench.source.bend(&layer.digest, 2..=2, Bend::CutAfter(5));
    bench.source.bend(&layer.digest, 3..=3, Bend::FlipAt(5));
    assert!(bench.read(&layer).is_ok());
    assert!(matches!(bench.read(&layer), Err(LayerError::Short { found: 5, .. })));
    assert!(matches!(bench.read(&layer), Err(LayerError::Altered { .. })));
    assert!(bench.read(&layer).is_ok());
    assert_eq!(bench.source.opened(), vec![layer.digest; 4]);
}

#[test]
fn watched_destinations_note_every_effect_in_order() {
    let bench = Bench::new();
    let destination = destination(&bench.target());
    bench.copy(&destination).unwrap();
    let root = bench.source.root(&bench.scope).unwrap();
    let image = root.image().unwrap();
    let blob = |descriptor: &Descriptor| Effect::Blob(Some(descriptor.digest.clone()));
    let expected = [
        Effect::Begin,
        blob(&image.layers[0]),
        blob(&image.layers[1]),
        blob(&image.config),
        Effect::Manifest(root.digest().clone(), Place::Root),
        Effect::ReadBack(root.digest().clone()),
        Effect::Commit(vec![root.digest().clone()]),
    ];
    assert_eq!(destination.effects(), expected);
    assert!(bench.target().join("index.json").exists());
}

#[test]
fn watched_destinations_fail_where_told() {
    for n in 1..=7 {
        let bench = Bench::new();
        let destination = destination(&bench.target());
        destination.fail_at(n);
        let error = bench.copy(&destination).unwrap_err().to_string();
        assert_eq!(error, format!("failing on purpose at effect {n}"));
        let abandoned = destination.effects().last() == Some(&Effect::Abandon);
        assert_eq!(abandoned, n > 1, "{n}");
        assert!(!bench.target().join("index.json").exists(), "{n}");
    }
}
