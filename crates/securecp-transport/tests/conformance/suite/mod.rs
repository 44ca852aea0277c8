//! What every transport must do. Each check takes a fresh place of the transport under test; `conformance!` makes one
//! test of each. No transport is left out of a check: what one cannot do it must refuse, and the check then asks for that.

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

    /// Makes writing there impossible.
    fn make_unwritable(&mut self);

    /// When it is noticed that nothing can be written.
    fn notices_unwritable(&self) -> Notices {
        Notices::WhenChecked
    }

    /// Whether manifests are stored, or made anew from configuration and layers.
    fn keeps_manifests(&self) -> bool {
        true
    }

    /// Whether an image that is replaced leaves its blobs for the next one.
    fn keeps_blobs(&self) -> bool;

    /// What is said where an image is there already, if one is never replaced.
    fn refuses_to_replace(&self) -> Option<&'static str> {
        None
    }

    /// Whether the manifest arrives together with its name, so that it need not be there before.
    fn names_with_manifests(&self) -> bool {
        false
    }
}

/// When a place says that it cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notices {
    WhenChecked,
    WithTheFirstBlob,
}

pub(crate) fn put(
    writing: &dyn Writing,
    descriptor: &Descriptor,
    bytes: &Bytes,
) -> Result<Descriptor, TransportError> {
    let open = || sample::layer(descriptor, bytes);
    let blob = BlobPut::new(descriptor, &open);
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
    if !destination.accepts().indexes {
        return refuses_an_index(fixture, &one, &root);
    }
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

/// A place for one image alone says so, and keeps nothing of an index.
fn refuses_an_index(fixture: &dyn Fixture, child: &Sample, root: &RawManifest) {
    let (destination, scope) = (fixture.destination(), Scope::new());
    let writing = destination.begin(&scope).unwrap();
    put_all(writing.as_ref(), child, Place::Child);
    let error = writing.put_manifest(root, Place::Root, &scope).unwrap_err();
    assert!(matches!(error, TransportError::Unsupported { .. }), "{error}");
    let error = writing.commit(&[Naming::own(&*destination, root)], &scope).unwrap_err();
    assert!(error.moved.is_empty() && error.unclear.is_empty(), "{error:?}");
    drop(destination);
    assert_nothing_there(fixture);
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
    // Where manifests are not stored nothing is promised of what is there.
    let digest = fixture.keeps_manifests().then(|| image.manifest.digest().clone());
    assert_eq!(destination.current(None, &scope).unwrap(), digest);
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
    if let Some(says) = fixture.refuses_to_replace() {
        return keeps_what_is_there(fixture, &first, says);
    }
    write(fixture, &second);
    assert_holds(fixture, &second);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    write(fixture, &second);
    assert_holds(fixture, &second);
}

/// A place that never replaces an image says so before anything is written, and the image stays.
fn keeps_what_is_there(fixture: &dyn Fixture, image: &Sample, says: &str) {
    let (destination, scope) = (fixture.destination(), Scope::new());
    for refused in [destination.check(&scope), destination.begin(&scope).map(drop)] {
        let error = refused.unwrap_err();
        assert!(!error.is_not_found() && !error.is_transient(), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    drop(destination);
    assert_holds(fixture, image);
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
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
    let blob = BlobPut::new(descriptor, &open);
    writing.put_blob(&blob, &Scope::new()).unwrap_err();
    drop(writing);
    drop(destination);
    assert!(!fixture.destination().has_blob(descriptor, &Scope::new()).unwrap());
    assert_nothing_there(fixture);
}

pub(crate) fn a_failure_leaves_the_image_that_is_there(fixture: &dyn Fixture) {
    let (first, second) = (sample::image("first"), sample::image("second"));
    write(fixture, &first);
    if let Some(says) = fixture.refuses_to_replace() {
        return keeps_what_is_there(fixture, &first, says);
    }
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

/// What was never put cannot be read back, and no name is given to an image of which something is missing.
pub(crate) fn refuses_to_commit_what_is_not_there(fixture: &dyn Fixture) {
    let (image, scope) = (sample::image("alpha"), Scope::new());
    let destination = fixture.destination();
    let writing = destination.begin(&scope).unwrap();
    let missing = usize::from(fixture.names_with_manifests());
    for (descriptor, bytes) in &image.blobs[missing..] {
        put(writing.as_ref(), descriptor, bytes).unwrap();
    }
    writing.read_back(&image.manifest, Place::Root, &scope).unwrap_err();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &scope).unwrap_err();
    drop(destination);
    assert_nothing_there(fixture);
}

/// Also where it brings nothing: the engine has one set of threads for all destinations.
pub(crate) fn puts_blobs_in_parallel(fixture: &dyn Fixture) {
    if !fixture.destination().accepts().indexes {
        return puts_the_blobs_of_one_image_in_parallel(fixture);
    }
    let images: Vec<Sample> = (0..6).map(|n| sample::image(&format!("image {n}"))).collect();
    let root = sample::index(&images.iter().collect::<Vec<_>>());
    let destination = fixture.destination();
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

fn puts_the_blobs_of_one_image_in_parallel(fixture: &dyn Fixture) {
    let (image, destination) = (sample::image("alpha"), fixture.destination());
    let writing = destination.begin(&Scope::new()).unwrap();
    std::thread::scope(|threads| {
        for (descriptor, bytes) in image.blobs.iter().chain(&image.blobs) {
            let writing = writing.as_ref();
            threads.spawn(move || put(writing, descriptor, bytes).unwrap());
        }
    });
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new()).unwrap();
    assert_holds(fixture, &image);
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
    if !accepts.indexes {
        return refuses_signatures(fixture, &child);
    }
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

/// No place for one image alone takes signatures.
fn refuses_signatures(fixture: &dyn Fixture, image: &Sample) {
    let (simple, sigstore) = signatures();
    let (destination, scope) = (fixture.destination(), Scope::new());
    let accepts = destination.accepts();
    assert!(!accepts.simple_signatures && !accepts.sigstore_signatures);
    let writing = destination.begin(&scope).unwrap();
    put_all(writing.as_ref(), image, Place::Root);
    let put =
        |list: &[Signature]| writing.put_signatures(&image.manifest, Place::Root, list, &scope);
    put(&[]).unwrap();
    for signature in [simple, sigstore] {
        let error = put(&[signature]).unwrap_err();
        assert!(matches!(error, TransportError::Unsupported { .. }), "{error}");
    }
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &scope).unwrap();
    let source = fixture.source().unwrap();
    let root = source.root(&scope).unwrap();
    assert_eq!(source.signatures(&root, Place::Root, &scope).unwrap(), []);
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
    let blob = BlobPut::new(descriptor, &open);
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

pub(crate) fn says_that_it_cannot_write(fixture: &mut dyn Fixture) {
    fixture.make_unwritable();
    let (image, destination, scope) = (sample::image("alpha"), fixture.destination(), Scope::new());
    let (descriptor, bytes) = &image.blobs[1];
    let begin_and_put = || {
        let writing = destination.begin(&scope)?;
        put(writing.as_ref(), descriptor, bytes)
    };
    if fixture.notices_unwritable() == Notices::WhenChecked {
        assert_lasting(&destination.check(&scope).unwrap_err());
        assert!(destination.begin(&scope).is_err());
    }
    assert_lasting(&begin_and_put().unwrap_err());
}

fn assert_lasting(error: &TransportError) {
    assert!(!error.is_not_found() && !error.is_transient(), "{error}");
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
                $crate::suite::$check(&mut $fixture);
            })+
        }
    };
}
