//! What is particular to `dir:`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::suite;
use crate::suite::copy::{copy, destination, source};
use bytes::Bytes;
use securecp_layer::Scope;
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType};
use securecp_transport::{Naming, Place, TransportError};
use tempfile::TempDir;

fn vector() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/images/dir-oci");
    format!("dir:{}", path.display())
}

/// A writable copy of the vector.
fn image() -> (TempDir, PathBuf, String) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("image");
    let name = format!("dir:{}", folder.display());
    copy(&vector(), &name).unwrap();
    (place, folder, name)
}

fn root_error(name: &str) -> String {
    let error = source(name).unwrap().root(&Scope::new()).unwrap_err();
    assert!(!error.is_not_found(), "{error}");
    error.to_string()
}

#[test]
fn reads_versions_up_to_1_2_and_none() {
    let (_place, folder, name) = image();
    for version in ["1.0", "1.1", "1.2"] {
        let text = format!("Directory Transport Version: {version}\n");
        fs::write(folder.join("version"), text).unwrap();
        source(&name).unwrap().root(&Scope::new()).unwrap();
    }
    for bad in
        ["Directory Transport Version: 1.3\n", "1.1\n", "", "Directory Transport Version: 11"]
    {
        fs::write(folder.join("version"), bad).unwrap();
        assert!(root_error(&name).contains("expected \"Directory Transport Version: \""));
        let error = destination(&name).unwrap().check(&Scope::new()).unwrap_err();
        assert!(error.to_string().contains("1.0, 1.1 or 1.2"), "{error}");
    }
    fs::remove_file(folder.join("version")).unwrap();
    source(&name).unwrap().root(&Scope::new()).unwrap();
}

#[test]
fn replaces_only_what_is_an_image_or_empty() {
    let (place, folder, name) = image();
    let before = fs::read(folder.join("manifest.json")).unwrap();
    for foreign in ["thesis.tex", ".hidden", "sub/file"] {
        let path = folder.join(foreign);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        let error = copy(&vector(), &name).unwrap_err().to_string();
        assert!(error.contains("not a containers image directory"), "{error}");
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        let _ = fs::remove_dir(folder.join("sub"));
    }
    copy(&vector(), &name).unwrap();
    fs::remove_file(folder.join("version")).unwrap();
    let error = copy(&vector(), &name).unwrap_err().to_string();
    assert!(error.contains("no version file"), "{error}");
    assert_eq!(fs::read(folder.join("manifest.json")).unwrap(), before);
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn refuses_places_that_cannot_be_a_folder() {
    let place = tempfile::tempdir().unwrap();
    let base = place.path().display();
    fs::write(place.path().join("file"), "x").unwrap();
    symlink("nowhere", place.path().join("dangling")).unwrap();
    for (name, expected) in [
        (format!("dir:{base}/file"), "it is not a folder"),
        (format!("dir:{base}/dangling"), "it is not a folder"),
    ] {
        let error = destination(&name).unwrap().check(&Scope::new()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&base.to_string()), "{error}");
    }
    for name in [format!("dir:{base}/none/new"), format!("dir:{base}/file/new")] {
        let error = destination(&name).err().unwrap();
        assert!(matches!(error, TransportError::Io { .. }), "{error}");
        assert!(error.to_string().contains(&base.to_string()), "{error}");
    }
}

#[test]
fn follows_a_link_to_the_image_and_keeps_its_mode() {
    let (place, folder, _) = image();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    symlink("image", place.path().join("link")).unwrap();
    let name = format!("dir:{}", place.path().join("link").display());
    assert_eq!(
        source(&name).unwrap().identity().scope,
        folder.canonicalize().unwrap().display().to_string()
    );
    fs::write(folder.join("signature-1"), "old").unwrap();
    copy(&vector(), &name).unwrap();
    assert!(fs::symlink_metadata(place.path().join("link")).unwrap().is_symlink());
    assert!(!folder.join("signature-1").exists(), "nothing of the old image is left");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn keeps_files_that_came_while_it_was_writing() {
    let (_place, folder, name) = image();
    let destination = destination(&name).unwrap();
    let writing = destination.begin(&Scope::new()).unwrap();
    let image = suite::sample::image("new");
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    fs::write(folder.join("notes"), "mine").unwrap();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new()).unwrap_err();
    assert_eq!(fs::read(folder.join("notes")).unwrap(), b"mine");
    assert_eq!(fs::read(folder.join("manifest.json")).unwrap().len(), 739);
}

#[test]
fn says_1_2_when_a_digest_is_not_sha256() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("image");
    let destination = destination(&format!("dir:{}", folder.display())).unwrap();
    let bytes = Bytes::from_static(b"content");
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let image = suite::sample::image("new");
    let writing = destination.begin(&Scope::new()).unwrap();
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest.clone(), bytes.len() as u64);
    suite::put(writing.as_ref(), &descriptor, &bytes).unwrap();
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    writing.commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new()).unwrap();
    let version = fs::read_to_string(folder.join("version")).unwrap();
    assert_eq!(version, "Directory Transport Version: 1.2\n");
    assert_eq!(fs::read(folder.join(format!("sha512-{}", digest.hex()))).unwrap(), b"content");
    let source = source(&format!("dir:{}", folder.display())).unwrap();
    let layer = source.blob(&descriptor, &Scope::new()).unwrap();
    assert_eq!(suite::sample::drain(layer).unwrap(), b"content");
}

#[test]
fn refuses_a_tag_beside_a_folder() {
    let (_place, _, name) = image();
    let destination = destination(&name).unwrap();
    let image = suite::sample::image("new");
    let writing = destination.begin(&Scope::new()).unwrap();
    writing.put_manifest(&image.manifest, Place::Root, &Scope::new()).unwrap();
    let tag = "v1".parse().unwrap();
    let names = [Naming::own(&*destination, &image.manifest), Naming::tag(&tag, &image.manifest)];
    let error = writing.commit(&names, &Scope::new()).unwrap_err().cause;
    assert!(matches!(error, TransportError::Unsupported { .. }), "{error}");
}

#[test]
fn ends_the_signatures_at_the_first_missing_one_only() {
    let (_place, folder, name) = image();
    let signatures = || {
        let source = source(&name).unwrap();
        let root = source.root(&Scope::new()).unwrap();
        source.signatures(&root, Place::Root, &Scope::new())
    };
    for number in (1..=128).filter(|number| *number != 3) {
        fs::write(folder.join(format!("signature-{number}")), b"\xa3x").unwrap();
    }
    assert_eq!(signatures().unwrap().len(), 2);
    fs::write(folder.join("signature-3"), b"\xa3x").unwrap();
    assert_eq!(signatures().unwrap().len(), 128);
    fs::write(folder.join("signature-129"), b"\xa3x").unwrap();
    assert!(signatures().unwrap_err().to_string().contains("at most 128 signatures"));
    fs::write(folder.join("signature-2"), b"junk").unwrap();
    let error = signatures().unwrap_err();
    assert!(error.to_string().ends_with("signature-2"), "{error}");
    fs::remove_file(folder.join("signature-2")).unwrap();
    fs::create_dir(folder.join("signature-2")).unwrap();
    assert!(signatures().is_err(), "only a missing file is the end");
    fs::remove_dir(folder.join("signature-2")).unwrap();
    fs::write(folder.join("signature-2"), vec![0xa3; (4 << 20) + 1]).unwrap();
    assert!(signatures().unwrap_err().to_string().contains("more than 4194304 bytes"));
}

#[test]
fn reads_manifests_strictly_and_never_beyond_their_limit() {
    let (_place, folder, name) = image();
    let manifest = folder.join("manifest.json");
    for (bytes, expected) in [
        (&b"{"[..], "manifest.json"),
        (b"<html>", "manifest.json"),
        (br#"{"schemaVersion":2,"config":{},"manifests":[]}"#, "manifest.json"),
        (b"\xff\xfe", "manifest.json"),
        (&[b' '; (4 << 20) + 1], "more than 4194304 bytes"),
    ] {
        fs::write(&manifest, bytes).unwrap();
        let error = root_error(&name);
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(&manifest).unwrap();
    assert!(source(&name).unwrap().root(&Scope::new()).unwrap_err().is_not_found());
}

#[test]
fn does_not_wait_for_a_fifo() {
    let (_place, folder, name) = image();
    let manifest = folder.join("manifest.json");
    fs::remove_file(&manifest).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &manifest,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(root_error(&name).contains("expected a regular file"));
}

#[test]
fn notices_blobs_that_are_not_what_the_manifest_says() {
    let (place, folder, name) = image();
    let blob = folder.join("08875b3c7121c4e78c4f367537d46b95ac16b8a9607102ff7517356e74967d51");
    let good = fs::read(&blob).unwrap();
    let to = place.path().join("to");
    let mut altered = good.clone();
    altered[4000] ^= 1;
    let long = [&good[..], b"x"].concat();
    for (bad, expected) in
        [(altered, "altered"), (good[..9000].to_vec(), "too short"), (long, "too long")]
    {
        fs::write(&blob, bad).unwrap();
        let error = copy(&name, &format!("dir:{}", to.display())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!to.exists());
    }
    fs::remove_file(&blob).unwrap();
    copy(&name, &format!("dir:{}", to.display())).unwrap_err();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn says_where_nothing_can_be_written() {
    // Not even root can make files in /proc; a plain user is already told by the check.
    for transport in ["dir", "oci", "oci-archive", "docker-archive"] {
        let destination = destination(&format!("{transport}:/proc/new")).unwrap();
        let begun = destination.begin(&Scope::new());
        let error = match begun {
            Ok(writing) => {
                let image = suite::sample::image("new");
                for (descriptor, bytes) in &image.blobs {
                    let _ = suite::put(writing.as_ref(), descriptor, bytes);
                }
                let _ = writing.put_manifest(&image.manifest, Place::Root, &Scope::new());
                writing
                    .commit(&[Naming::own(&*destination, &image.manifest)], &Scope::new())
                    .unwrap_err()
                    .cause
            }
            Err(error) => error,
        };
        assert!(error.to_string().contains("/proc"), "{error}");
    }
}
