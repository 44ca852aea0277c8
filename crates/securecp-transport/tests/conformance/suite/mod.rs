//! What every transport must do. Each check takes a fresh place of the transport under test; `conformance!` makes one
//! test of each.

pub(crate) mod copy;
pub(crate) mod sample;

use std::slice::from_ref;

use bytes::Bytes;
use sample::Sample;
use securecp_layer::{LayerError, Scope};
use securecp_oci::{Annotations, Descriptor, RawManifest, Signature};
use securecp_transport::{BlobPut, Destination, Naming, Place, Source, TransportError, Writing};

/// One place of a transport, empty at first.
pub(crate) trait Fixture: Send + Sync {
    /// The place as a source.
    fn source(&self) -> Result<Box<dyn Source>, TransportError>;

    /// The place as a destination.
    fn destination(&self) -> Box<dyn Destination>;

    /// What is at the place without being an image, for example a temporary file.
    fn leftovers(&self) -> Vec<String>;

    /// Makes writing there impossible, where the tests can do that.
    fn make_unwritable(&self) -> bool;

    /// Whether manifests are stored, or made anew from configuration and layers.
    fn keeps_manifests(&self) -> bool {
        true
    }

    /// Whether an image that is replaced leaves its blobs for the next one.
    fn keeps_blobs(&self) -> bool;
}

pub(crate) fn put(
    writing: &dyn Writing,
    descriptor: &Descriptor,
    bytes: &Bytes,
) -> Result<Descriptor, TransportError> {
    let open = || sample::layer(descriptor, bytes);
    let blob = BlobPut { known: Some(descriptor), mount_from: &[], open: &open, open_after: None };
    writing.put_blob(&blob, &Scope::new())
}

fn put_all(writing: &dyn Writing, image: &Sample, place: Place) {
    for (descriptor, bytes) in &image.blobs {
        let found = put(writing, descriptor, bytes).unwrap();
        assert_eq!((&found.digest, found.size), (&descriptor.digest, descriptor.size));
    }
    writing.put_manifest(&image.manifest, place, &Scope::new()).unwrap();
    writing.read_back(&image.manifest, place, &Scope::new()).unwrap();
}

/// Writes one image and commits it.
pub(crate) fn write(fixture: &dyn Fixture, image: &Sample) {
    let destination = fixture.destination();
    destination.check(&Scope::new()).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    put_all(writing.as_ref(), image, Place::Root);
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new()).unwrap();
}

/// Reads the image at the place, wholly, and compares it.
pub(crate) fn assert_holds(fixture: &dyn Fixture, image: &Sample) {
    let (source, scope) = (fixture.source().unwrap(), Scope::new());
    let root = source.root(&scope).unwrap();
    if fixture.keeps_manifests() {
        assert_eq!(root.bytes(), image.manifest.bytes());
        assert_eq!(root.digest(), image.manifest.digest());
    }
    let (found, expected) = (root.image().unwrap(), image.manifest.image().unwrap());
    let content = |list: &[Descriptor]| -> Vec<_> {
        list.iter().map(|blob| (blob.digest.clone(), blob.size)).collect()
    };
    assert_eq!(found.config.digest, expected.config.digest);
    assert_eq!(content(&found.layers), content(&expected.layers));
    assert_blobs(source.as_ref(), image);
}

fn assert_blobs(source: &dyn Source, image: &Sample) {
    for (descriptor, bytes) in &image.blobs {
        let layer = source.blob(descriptor, &Scope::new()).unwrap();
        assert_eq!(sample::drain(layer).unwrap(), bytes.as_ref());
    }
}

fn assert_nothing_there(fixture: &dyn Fixture) {
    let found = fixture.source().and_then(|source| source.root(&Scope::new()));
    assert!(found.unwrap_err().is_not_found());
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

pub(crate) fn reads_back_what_was_copied_in(fixture: &dyn Fixture) {
    let image = sample::image("alpha");
    write(fixture, &image);
    assert_holds(fixture, &image);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

pub(crate) fn reads_back_an_index_with_its_children(fixture: &dyn Fixture) {
    let (one, two, scope) = (sample::image("one"), sample::image("two"), Scope::new());
    let root = sample::index(&[&one, &two]);
    let destination = fixture.destination();
    assert!(destination.accepts().indexes);
    let writing = destination.begin(&scope).unwrap();
    put_all(writing.as_ref(), &one, Place::Child);
    put_all(writing.as_ref(), &two, Place::Child);
    writing.put_manifest(&root, Place::Root, &scope).unwrap();
    writing.read_back(&root, Place::Root, &scope).unwrap();
    writing.commit(&[Naming::own(&*destination, &root)], &scope).unwrap();

    let source = fixture.source().unwrap();
    let found = source.root(&scope).unwrap();
    assert_eq!(found.bytes(), root.bytes());
    for (entry, image) in found.index().unwrap().manifests.iter().zip([&one, &two]) {
        let child = source.manifest(entry, &scope).unwrap();
        assert_eq!(child.bytes(), image.manifest.bytes());
        assert_blobs(source.as_ref(), image);
    }
}

pub(crate) fn says_not_found_for_what_is_missing(fixture: &dyn Fixture) {
    assert_nothing_there(fixture);
    let image = sample::image("alpha");
    write(fixture, &image);
    let (source, other, scope) = (fixture.source().unwrap(), sample::image("other"), Scope::new());
    let missing = source.manifest(&other.manifest.descriptor(), &scope).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    // A registry says so only when the first byte is asked for.
    let missing = source.blob(&other.blobs[0].0, &scope).map(sample::drain);
    assert!(!matches!(missing, Ok(Ok(_))));
}

pub(crate) fn leaves_nothing_when_dropped(fixture: &dyn Fixture) {
    let destination = fixture.destination();
    let writing = destination.begin(&Scope::new()).unwrap();
    put_all(writing.as_ref(), &sample::image("alpha"), Place::Root);
    drop(writing);
    drop(destination);
    assert_nothing_there(fixture);
}

pub(crate) fn looking_has_no_effect(fixture: &dyn Fixture) {
    let (destination, image, scope) = (fixture.destination(), sample::image("alpha"), Scope::new());
    destination.check(&scope).unwrap();
    destination.accepts();
    assert!(!destination.has_blob(&image.blobs[0].0, &scope).unwrap());
    assert!(!destination.has_manifest(&image.manifest, &scope).unwrap());
    assert_eq!(destination.current(None, &scope).unwrap(), None);
    assert_nothing_there(fixture);
}

pub(crate) fn tells_the_truth_about_what_is_there(fixture: &dyn Fixture) {
    let (image, other, scope) = (sample::image("alpha"), sample::image("other"), Scope::new());
    write(fixture, &image);
    let destination = fixture.destination();
    let digest = image.manifest.digest().clone();
    assert_eq!(destination.current(None, &scope).unwrap(), Some(digest));
    for (descriptor, _) in &image.blobs {
        assert_eq!(destination.has_blob(descriptor, &scope).unwrap(), fixture.keeps_blobs());
    }
    assert_eq!(destination.has_manifest(&image.manifest, &scope).unwrap(), fixture.keeps_blobs());
    assert!(!destination.has_blob(&other.blobs[1].0, &scope).unwrap());
    assert!(!destination.has_manifest(&other.manifest, &scope).unwrap());
}

pub(crate) fn replaces_an_image(fixture: &dyn Fixture) {
    let (first, second) = (sample::image("first"), sample::image("second"));
    write(fixture, &first);
    write(fixture, &second);
    assert_holds(fixture, &second);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    write(fixture, &second);
    assert_holds(fixture, &second);
}

/// Altered, short and long bytes: what is put fails, and nothing is left under the digest.
pub(crate) fn refuses_bytes_that_are_not_as_promised(fixture: &dyn Fixture) {
    let image = sample::image("alpha");
    let (descriptor, bytes) = &image.blobs[2];
    let mut altered = bytes.to_vec();
    altered[123_456] ^= 1;
    let long = [bytes.as_ref(), b"x"].concat();
    let destination = fixture.destination();
    let writing = destination.begin(&Scope::new()).unwrap();
    for bad in [altered, bytes[..bytes.len() - 1].to_vec(), long, Vec::new()] {
        put(writing.as_ref(), descriptor, &Bytes::from(bad)).unwrap_err();
    }
    let open = || Err(LayerError::FinishedEarly);
    let blob = BlobPut { known: Some(descriptor), mount_from: &[], open: &open, open_after: None };
    writing.put_blob(&blob, &Scope::new()).unwrap_err();
    drop(writing);
    drop(destination);
    assert!(!fixture.destination().has_blob(descriptor, &Scope::new()).unwrap());
    assert_nothing_there(fixture);
}

pub(crate) fn a_failure_leaves_the_image_that_is_there(fixture: &dyn Fixture) {
    let (first, second) = (sample::image("first"), sample::image("second"));
    write(fixture, &first);
    let destination = fixture.destination();
    let writing = destination.begin(&Scope::new()).unwrap();
    let (descriptor, _) = &second.blobs[1];
    put(writing.as_ref(), &second.blobs[0].0, &second.blobs[0].1).unwrap();
    put(writing.as_ref(), descriptor, &Bytes::from_static(b"something else")).unwrap_err();
    assert_holds(fixture, &first);
    drop(writing);
    assert_holds(fixture, &first);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

/// What was never put cannot be read back and cannot be committed.
pub(crate) fn refuses_to_commit_what_is_not_there(fixture: &dyn Fixture) {
    let (image, scope) = (sample::image("alpha"), Scope::new());
    let destination = fixture.destination();
    let writing = destination.begin(&scope).unwrap();
    for (descriptor, bytes) in &image.blobs {
        put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    writing.read_back(&image.manifest, Place::Root, &scope).unwrap_err();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &scope).unwrap_err();
    drop(destination);
    assert_nothing_there(fixture);
}

pub(crate) fn puts_blobs_in_parallel(fixture: &dyn Fixture) {
    let images: Vec<Sample> = (0..6).map(|n| sample::image(&format!("image {n}"))).collect();
    let root = sample::index(&images.iter().collect::<Vec<_>>());
    let destination = fixture.destination();
    if !destination.accepts().parallel {
        return;
    }
    let writing = destination.begin(&Scope::new()).unwrap();
    std::thread::scope(|threads| {
        for image in images.iter().chain(&images) {
            let writing = writing.as_ref();
            threads.spawn(move || put_all(writing, image, Place::Child));
        }
    });
    writing.put_manifest(&root, Place::Root, &Scope::new()).unwrap();
    writing.commit(&[Naming::own(&*destination, &root)], &Scope::new()).unwrap();
    let source = fixture.source().unwrap();
    images.iter().for_each(|image| assert_blobs(source.as_ref(), image));
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

fn signatures() -> (Signature, Signature) {
    let sigstore = Signature::Sigstore {
        media_type: Signature::SIGSTORE_MEDIA_TYPE.to_owned(),
        payload: Bytes::from_static(b"{}"),
        annotations: Annotations::from([(
            "dev.cosignproject.cosign/signature".into(),
            "eA==".into(),
        )]),
    };
    (Signature::Simple(Bytes::from_static(b"\xa3simple")), sigstore)
}

/// Signatures come back as they were put, once each, at the manifest they belong to; or they are refused.
pub(crate) fn carries_signatures_or_refuses_them(fixture: &dyn Fixture) {
    let (child, scope) = (sample::image("child"), Scope::new());
    let root = sample::index(&[&child]);
    let (simple, sigstore) = signatures();
    let destination = fixture.destination();
    let accepts = destination.accepts();
    let writing = destination.begin(&scope).unwrap();
    put_all(writing.as_ref(), &child, Place::Child);
    writing.put_manifest(&root, Place::Root, &scope).unwrap();
    let put = |manifest: &RawManifest, place, list: &[Signature]| {
        writing.put_signatures(manifest, place, list, &scope)
    };
    put(&root, Place::Root, &[]).unwrap();
    assert_eq!(put(&root, Place::Root, from_ref(&simple)).is_ok(), accepts.simple_signatures);
    assert_eq!(put(&root, Place::Root, from_ref(&sigstore)).is_ok(), accepts.sigstore_signatures);
    let both = [sigstore.clone(), simple.clone()];
    if accepts.simple_signatures && accepts.sigstore_signatures {
        put(&root, Place::Root, &both).unwrap();
        put(&child.manifest, Place::Child, &both[..1]).unwrap();
    }
    writing.commit(&[Naming::own(&*destination, &root)], &scope).unwrap();

    let source = fixture.source().unwrap();
    let found = source.signatures(&root, Place::Root, &scope).unwrap();
    assert_eq!(found.contains(&simple), accepts.simple_signatures);
    assert_eq!(found.contains(&sigstore), accepts.sigstore_signatures);
    assert!(found.len() <= 2, "one that is there already is not stored twice");
    if accepts.simple_signatures && accepts.sigstore_signatures {
        let found = source.signatures(&child.manifest, Place::Child, &scope).unwrap();
        assert_eq!(found, both[..1], "simple ones come first, then those of sigstore");
    }
}

pub(crate) fn ends_with_its_scope(fixture: &dyn Fixture) {
    let image = sample::image("alpha");
    let (over, descriptor) = (Scope::new(), &image.blobs[0].0);
    over.cancel();
    fn stopped<T>(result: Result<T, TransportError>) {
        assert!(matches!(result.err(), Some(TransportError::Stopped(_))));
    }
    let destination = fixture.destination();
    stopped(destination.check(&over));
    stopped(destination.has_blob(descriptor, &over));
    stopped(destination.has_manifest(&image.manifest, &over));
    stopped(destination.current(None, &over));
    stopped(destination.begin(&over));
    let writing = destination.begin(&Scope::new()).unwrap();
    let open = || sample::layer(descriptor, &image.blobs[0].1);
    let blob = BlobPut { known: Some(descriptor), mount_from: &[], open: &open, open_after: None };
    stopped(writing.put_blob(&blob, &over));
    stopped(writing.put_manifest(&image.manifest, Place::Root, &over));
    put_all(writing.as_ref(), &image, Place::Root);
    stopped(
        writing.commit(&[Naming::own(&*destination, &image.manifest)], &over).map_err(|e| e.cause),
    );
    drop(destination);
    assert_nothing_there(fixture);

    write(fixture, &image);
    let source = fixture.source().unwrap();
    stopped(source.root(&over));
    stopped(source.manifest(&image.manifest.descriptor(), &over));
    stopped(source.blob(descriptor, &over));
    stopped(source.signatures(&image.manifest, Place::Root, &over));
}

pub(crate) fn says_that_it_cannot_write(fixture: &dyn Fixture) {
    if !fixture.make_unwritable() {
        return;
    }
    let destination = fixture.destination();
    let error = destination.check(&Scope::new()).unwrap_err();
    assert!(!error.is_not_found() && !error.is_transient(), "{error}");
    assert!(destination.begin(&Scope::new()).is_err());
}

/// One test of each check, against fresh places that `$fixture` makes.
#[macro_export]
macro_rules! conformance {
    ($transport:ident, $fixture:expr) => {
        $crate::conformance!($transport, $fixture,
            reads_back_what_was_copied_in, reads_back_an_index_with_its_children,
            says_not_found_for_what_is_missing, leaves_nothing_when_dropped, looking_has_no_effect,
            tells_the_truth_about_what_is_there, replaces_an_image,
            refuses_bytes_that_are_not_as_promised, a_failure_leaves_the_image_that_is_there,
            refuses_to_commit_what_is_not_there, puts_blobs_in_parallel,
            carries_signatures_or_refuses_them, ends_with_its_scope, says_that_it_cannot_write);
    };
    ($transport:ident, $fixture:expr, $($check:ident),+) => {
        mod $transport {
            $(#[test]
            fn $check() {
                $crate::suite::$check(&$fixture);
            })+
        }
    };
}
