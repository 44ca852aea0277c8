//! Copies into `oci:` that were interrupted: what is kept, what is gone on with, and what is not believed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use securecp_layer::{Chunks, Layer, LayerError, Once, Prefix, Scope, SourceError};
use securecp_oci::{Algorithm, Declared, Descriptor, Digest, MediaType, RawManifest};
use securecp_transport::{
    BlobPut, Destination, DestinationOptions, Naming, Place, TransportError, Writing,
    open_destination,
};
use tempfile::TempDir;

use crate::suite::copy;
use crate::suite::sample::{self, descriptor};

const SIZE: usize = 3 << 20;

/// Where a layout is written, in three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Existing,
    Shared,
}

const KINDS: [Kind; 3] = [Kind::New, Kind::Existing, Kind::Shared];

struct Bench {
    place: TempDir,
    kind: Kind,
    blob: Descriptor,
    bytes: Bytes,
    /// How many bytes each opening of the source left out.
    left_out: Mutex<Vec<u64>>,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        let place = tempfile::tempdir().unwrap();
        let bytes: Bytes = (0..SIZE).map(|n| (n / 251) as u8 ^ n as u8).collect();
        let blob = descriptor(MediaType::OCI_LAYER, &bytes);
        let bench = Self { place, kind, blob, bytes, left_out: Mutex::default() };
        match kind {
            Kind::New => {}
            Kind::Shared => fs::create_dir(bench.place.path().join("shared")).unwrap(),
            Kind::Existing => {
                let destination = bench.destination(false);
                let writing = destination.begin(&Scope::new()).unwrap();
                let other = sample::image("other");
                for (descriptor, bytes) in &other.blobs {
                    crate::suite::put(writing.as_ref(), descriptor, bytes).unwrap();
                }
                commit(&*destination, writing, &other.manifest).unwrap();
            }
        }
        bench
    }

    fn destination(&self, partial: bool) -> Box<dyn Destination> {
        let layout = self.place.path().join("layout");
        let shared = self.place.path().join("shared");
        let options = DestinationOptions {
            partial,
            shared_blob_dir: (self.kind == Kind::Shared).then_some(shared),
            ..DestinationOptions::default()
        };
        open_destination(&format!("oci:{}:v1", layout.display()).parse().unwrap(), &options)
            .unwrap()
    }

    fn put(&self, writing: &dyn Writing, end: End) -> Result<Descriptor, TransportError> {
        let source =
            |from: usize| Ending { bytes: self.bytes.slice(from..), left: end.after(from), end };
        let open = || {
            self.left_out.lock().unwrap().push(0);
            Ok(Layer::verified(self.blob.clone(), source(0)))
        };
        let open_after = |prefix: Prefix| {
            self.left_out.lock().unwrap().push(prefix.size_bytes());
            let rest = source(prefix.size_bytes() as usize);
            Ok(Some(Layer::verified_after(self.blob.clone(), prefix, rest)))
        };
        let (known, mount_from) = (Some(&self.blob), &[][..]);
        let put =
            BlobPut { known, mount_from, open: &open, open_after: Some(&open_after), file: None };
        writing.put_blob(&put, &Scope::new())
    }

    /// A run that ends as `end` says.
    fn interrupted(&self, end: End) {
        let destination = self.destination(true);
        let writing = destination.begin(&Scope::new()).unwrap();
        self.put(writing.as_ref(), end).unwrap_err();
    }

    /// A run to the end; what its source was asked to leave out.
    fn whole(&self) -> Vec<u64> {
        self.left_out.lock().unwrap().clear();
        let destination = self.destination(true);
        let writing = destination.begin(&Scope::new()).unwrap();
        self.put(writing.as_ref(), End::Never).unwrap();
        self.finish(&*destination, writing);
        self.left_out.lock().unwrap().clone()
    }

    fn finish(&self, destination: &dyn Destination, writing: Box<dyn Writing + '_>) {
        let config = Bytes::from_static(br#"{"architecture":"amd64","os":"linux"}"#);
        let config_descriptor = descriptor(MediaType::OCI_CONFIG, &config);
        crate::suite::put(writing.as_ref(), &config_descriptor, &config).unwrap();
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
            MediaType::OCI_MANIFEST,
            serde_json::Value::from(&config_descriptor),
            serde_json::Value::from(&self.blob),
        );
        let manifest = RawManifest::read(text.into(), Declared::default()).unwrap();
        commit(destination, writing, &manifest).unwrap();
        let blobs = match self.kind {
            Kind::Shared => self.place.path().join("shared"),
            _ => self.place.path().join("layout/blobs"),
        };
        let path = blobs.join("sha256").join(self.blob.digest.hex());
        assert_eq!(fs::read(&path).unwrap(), self.bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(self.hidden(), [] as [PathBuf; 0], "nothing of ours is left");
    }

    /// Whatever has a name that starts with a dot.
    fn hidden(&self) -> Vec<PathBuf> {
        self.all().into_iter().filter(|path| is_hidden(path)).collect()
    }

    fn all(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.place.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found
    }

    /// The file with the first bytes of the blob.
    fn partial(&self) -> PathBuf {
        let files: Vec<PathBuf> = self
            .all()
            .into_iter()
            .filter(|path| path.to_string_lossy().ends_with(self.blob.digest.hex()))
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with('.')
}

fn commit(
    destination: &dyn Destination,
    writing: Box<dyn Writing + '_>,
    manifest: &RawManifest,
) -> Result<(), TransportError> {
    writing.put_manifest(manifest, Place::Root, &Scope::new())?;
    writing.commit(&[Naming::own(destination, manifest)], &Scope::new()).map_err(|e| e.cause)
}

/// How a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// Breaks after so many bytes of the blob; trying again may help, or not.
    Breaks {
        after: usize,
        transient: bool,
    },
}

impl End {
    fn after(self, from: usize) -> usize {
        match self {
            Self::Never => usize::MAX,
            Self::Breaks { after, .. } => after.saturating_sub(from),
        }
    }
}

struct Ending {
    bytes: Bytes,
    left: usize,
    end: End,
}

impl Chunks for Ending {
    fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if let (0, End::Breaks { transient, .. }) = (self.left, self.end) {
            return Err(SourceError { source: "broken".into(), transient });
        }
        let size = self.bytes.len().min(64 << 10).min(self.left);
        self.left -= size;
        Ok((size > 0).then(|| self.bytes.split_to(size)))
    }
}

const BREAKS: End = End::Breaks { after: SIZE / 5 * 4, transient: true };

#[test]
fn the_next_run_reads_only_what_is_missing() {
    for kind in KINDS {
        let bench = Bench::new(kind);
        bench.interrupted(BREAKS);
        let mode = fs::metadata(bench.partial()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "nobody reads what was not verified");
        assert!(!bench.place.path().join("layout/index.json").exists() || kind == Kind::Existing);
        assert_eq!(bench.whole(), [SIZE as u64 / 5 * 4], "{kind:?}");
    }
}

#[test]
fn a_second_attempt_in_the_same_run_goes_on_too() {
    for kind in KINDS {
        let bench = Bench::new(kind);
        let destination = bench.destination(true);
        let writing = destination.begin(&Scope::new()).unwrap();
        for third in 1..3 {
            let end = End::Breaks { after: SIZE / 3 * third, transient: true };
            bench.put(writing.as_ref(), end).unwrap_err();
        }
        bench.put(writing.as_ref(), End::Never).unwrap();
        bench.finish(&*destination, writing);
        let third = SIZE as u64 / 3;
        assert_eq!(*bench.left_out.lock().unwrap(), [0, third, 2 * third]);
    }
}

#[test]
fn what_is_there_is_hashed_and_not_believed() {
    for kind in KINDS {
        let damage: [&dyn Fn(&Path); 4] = [
            &|path| {
                let mut bytes = fs::read(path).unwrap();
                bytes[1000] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            &|path| fs::write(path, vec![0; SIZE - 1]).unwrap(),
            &|path| fs::write(path, vec![0; SIZE]).unwrap(),
            &|path| fs::write(path, vec![0; SIZE + 9]).unwrap(),
        ];
        for (number, damage) in damage.iter().enumerate() {
            let bench = Bench::new(kind);
            bench.interrupted(BREAKS);
            damage(&bench.partial());
            assert_eq!(bench.whole().last(), Some(&0), "{kind:?} {number}: begun anew");
        }
    }
}

#[test]
fn an_altered_source_leaves_nothing_even_behind_a_good_beginning() {
    let bench = Bench::new(Kind::Existing);
    bench.interrupted(BREAKS);
    let mut altered = bench.bytes.to_vec();
    altered[SIZE - 1] ^= 1;
    let bench = Bench { bytes: altered.into(), ..bench };
    let destination = bench.destination(true);
    let writing = destination.begin(&Scope::new()).unwrap();
    bench.put(writing.as_ref(), End::Never).unwrap_err();
    drop(writing);
    assert!(
        bench.all().iter().all(|path| !path.to_string_lossy().ends_with(bench.blob.digest.hex()))
    );
}

#[test]
fn a_file_that_is_not_ours_alone_is_neither_used_nor_touched() {
    type Spoil<'a> = &'a dyn Fn(&Path, &Path);
    let spoil: [Spoil<'_>; 4] = [
        &|file, victim| std::os::unix::fs::symlink(victim, file).unwrap(),
        &|file, victim| fs::hard_link(victim, file).unwrap(),
        &|file, _| {
            fs::write(file, "theirs").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
        },
        &|file, _| fs::create_dir(file).unwrap(),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let bench = Bench::new(Kind::Existing);
        bench.interrupted(BREAKS);
        let (file, victim) = (bench.partial(), bench.place.path().join("victim"));
        fs::write(&victim, "victim").unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&file).unwrap();
        spoil(&file, &victim);
        let destination = bench.destination(true);
        let writing = destination.begin(&Scope::new()).unwrap();
        bench.left_out.lock().unwrap().clear();
        bench.put(writing.as_ref(), End::Never).unwrap();
        assert_eq!(*bench.left_out.lock().unwrap(), [0], "{number}");
        assert_eq!(fs::read(&victim).unwrap(), b"victim", "{number}");
        assert!(fs::symlink_metadata(&file).is_ok(), "{number}");
    }
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    for kind in KINDS {
        let bench = Bench::new(kind);
        bench.interrupted(BREAKS);
        let (first, second) = (bench.destination(true), bench.destination(true));
        let one = first.begin(&Scope::new()).unwrap();
        let two = second.begin(&Scope::new()).unwrap();
        bench.put(two.as_ref(), End::Breaks { after: SIZE / 2, transient: false }).unwrap_err();
        drop(two);
        bench.put(one.as_ref(), End::Never).unwrap();
        bench.finish(&*first, one);
    }
}

#[test]
fn blobs_that_had_arrived_are_taken_over_when_read_anew_and_others_do_not_get_in() {
    let bench = Bench::new(Kind::New);
    let scope = Scope::new();
    let other = Bytes::from_static(b"of an image that is not copied any more");
    {
        let destination = bench.destination(true);
        let writing = destination.begin(&scope).unwrap();
        bench.put(writing.as_ref(), End::Never).unwrap();
        crate::suite::put(writing.as_ref(), &descriptor(MediaType::OCI_LAYER, &other), &other)
            .unwrap();
        scope.cancel();
    }
    assert_eq!(bench.hidden().len(), 1, "the folder is kept");
    assert_eq!(bench.whole(), [] as [u64; 0], "its source is not opened");
    let digest = Digest::of(Algorithm::Sha256, &other);
    assert!(!bench.place.path().join("layout/blobs/sha256").join(digest.hex()).exists());
    assert!(!bench.all().iter().any(|path| is_hidden(path)));
}

#[test]
fn a_blob_that_was_damaged_meanwhile_is_not_taken_over() {
    let bench = Bench::new(Kind::New);
    let scope = Scope::new();
    {
        let destination = bench.destination(true);
        let writing = destination.begin(&scope).unwrap();
        bench.put(writing.as_ref(), End::Never).unwrap();
        scope.cancel();
    }
    let mut bytes = bench.bytes.to_vec();
    bytes[7] ^= 1;
    fs::write(bench.partial(), bytes).unwrap();
    assert_eq!(bench.whole(), [0]);
}

#[test]
fn a_failure_that_will_not_pass_leaves_nothing() {
    let bench = Bench::new(Kind::New);
    bench.interrupted(End::Breaks { after: SIZE / 2, transient: false });
    assert_eq!(bench.all(), [] as [PathBuf; 0]);
    // Nor does any, where nothing is to be kept.
    let destination = bench.destination(false);
    let writing = destination.begin(&Scope::new()).unwrap();
    bench.put(writing.as_ref(), BREAKS).unwrap_err();
    drop(writing);
    assert_eq!(bench.all(), [] as [PathBuf; 0]);
}

#[test]
fn bytes_that_change_on_the_way_are_never_in_a_file_that_stays() {
    let bench = Bench::new(Kind::Existing);
    let destination = bench.destination(true);
    let writing = destination.begin(&Scope::new()).unwrap();
    let before = bench.all().len();
    let open =
        || Ok(Layer::verified(bench.blob.clone(), Once::new(bench.bytes.slice(1..))).measured());
    let put = BlobPut { known: None, mount_from: &[], open: &open, open_after: None, file: None };
    writing.put_blob(&put, &Scope::new()).unwrap_err();
    assert_eq!(bench.all().len(), before);
}

#[test]
fn layouts_and_folders_are_read_after_a_beginning_that_is_not_believed() {
    let (image, other, scope) = (sample::image("alpha"), sample::image("other"), Scope::new());
    for transport in ["oci", "dir"] {
        let place = tempfile::tempdir().unwrap();
        let name = format!("{transport}:{}", place.path().join("image").display());
        let destination = copy::destination(&name).unwrap();
        let writing = destination.begin(&scope).unwrap();
        for (blob, bytes) in &image.blobs {
            crate::suite::put(writing.as_ref(), blob, bytes).unwrap();
        }
        commit(&*destination, writing, &image.manifest).unwrap();
        let source = copy::source(&name).unwrap();
        for (blob, bytes) in &image.blobs {
            let after = |first: Bytes, size: usize| {
                let prefix = Prefix::new(Once::new(first), size as u64);
                sample::drain(source.blob_after(blob, prefix, &scope).unwrap().unwrap())
            };
            for size in [0, 1, bytes.len()] {
                assert_eq!(after(bytes.clone(), size).unwrap(), bytes.as_ref());
            }
            let wrong = Bytes::from([&[bytes[0] ^ 1], &bytes[1..]].concat());
            assert!(matches!(after(wrong, 1), Err(LayerError::Altered { .. })));
            assert!(source.blob_file(blob, &scope).unwrap().is_some());
        }
        assert!(source.blob_file(&other.blobs[0].0, &scope).unwrap().is_none());
    }
}
