//! Against files that the reference wrote, and against Debian's `skopeo` (which has to be installed).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite::copy::{copy, source};
use securecp_layer::Scope;
use securecp_oci::{MediaType, Signature};
use securecp_transport::{Naming, Place};
use serde_json::Value;

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(name)
}

pub(crate) fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output();
    let output = output.expect("skopeo has to be installed for this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Every file below `folder` with its mode and bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let mode = fs::metadata(&next).unwrap().permissions().mode() & 0o7777;
        let name = next.strip_prefix(folder).unwrap().to_owned();
        if next.is_dir() {
            open.extend(fs::read_dir(&next).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(name, (mode, Vec::new()));
        } else {
            found.insert(name, (mode, fs::read(&next).unwrap()));
        }
    }
    found
}

/// The same layout, but for what 1.9.3 writes otherwise: a space in `oci-layout`, no `mediaType` in `index.json`.
fn assert_same_layout(ours: &Path, theirs: &Path) {
    let (mut ours, mut theirs) = (tree(ours), tree(theirs));
    let mut json = |name: &str| {
        let read = |files: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>| {
            let (mode, bytes) = files.remove(Path::new(name)).unwrap();
            (mode, serde_json::from_slice::<Value>(&bytes).unwrap())
        };
        (read(&mut ours), read(&mut theirs))
    };
    let (mine, other) = json("oci-layout");
    assert_eq!(mine, other);
    let ((mode, mut mine), other) = json("index.json");
    let media_type = mine.as_object_mut().unwrap().remove("mediaType");
    assert_eq!(media_type, Some(MediaType::OCI_INDEX.as_str().into()));
    assert_eq!((mode, mine), other);
    assert_eq!(ours, theirs);
}

#[test]
fn reads_what_the_reference_wrote() {
    let place = tempfile::tempdir().unwrap();
    let plain = format!("oci:{}:plain", testdata("compressed/plain").display());
    let scope = Scope::new();
    let expected = source(&plain).unwrap().root(&scope).unwrap();
    for (number, name) in ["dir-oci", "dir-v2s2"].iter().enumerate() {
        let from = testdata("images").join(name);
        let to = place.path().join(number.to_string());
        copy(&format!("dir:{}", from.display()), &format!("dir:{}", to.display())).unwrap();
        let bytes = |folder: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
            tree(folder).into_iter().map(|(name, (_, bytes))| (name, bytes)).collect()
        };
        assert_eq!(bytes(&to), bytes(&from), "{name}");
    }
    let dir = format!("dir:{}", testdata("images/dir-oci").display());
    assert_eq!(source(&dir).unwrap().root(&scope).unwrap().bytes(), expected.bytes());
    let v2s2 = format!("dir:{}", testdata("images/dir-v2s2").display());
    let found = source(&v2s2).unwrap().root(&scope).unwrap();
    assert_eq!(found.media_type(), &MediaType::DOCKER_MANIFEST);
}

#[test]
fn reads_the_signatures_that_the_reference_wrote() {
    let simple = |signature: &Signature| matches!(signature, Signature::Simple(_));
    for (name, expected) in [
        ("signed-pgp-alice", &[true][..]),
        ("signed-both", &[true, false]),
        ("signed-keyless", &[false]),
        ("signed-sigstore", &[false]),
        ("signed-sigstore-rekor", &[false]),
    ] {
        let folder = testdata("trust").join(name);
        let source = source(&format!("dir:{}", folder.display())).unwrap();
        let root = source.root(&Scope::new()).unwrap();
        let found = source.signatures(&root, Place::Root, &Scope::new()).unwrap();
        assert_eq!(found.iter().map(simple).collect::<Vec<_>>(), expected, "{name}");
        for (number, signature) in found.iter().enumerate() {
            let file = fs::read(folder.join(format!("signature-{}", number + 1))).unwrap();
            assert_eq!(signature.to_blob(), file, "{name}");
        }
    }
}

#[test]
fn writes_a_layout_as_skopeo_does() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let from = format!("dir:{}", testdata("images/dir-oci").display());
    for image in ["v1", "v1", "v2"] {
        copy(&from, &format!("oci:{}:{image}", path("ours").display())).unwrap();
        skopeo(&["copy", "-q", &from, &format!("oci:{}:{image}", path("theirs").display())]);
        assert_same_layout(&path("ours"), &path("theirs"));
    }
    copy(&from, &format!("oci:{}", path("ours").display())).unwrap();
    skopeo(&["copy", "-q", &from, &format!("oci:{}", path("theirs").display())]);
    assert_same_layout(&path("ours"), &path("theirs"));
    assert_eq!(fs::read(path("ours/oci-layout")).unwrap(), br#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn writes_index_json_with_the_bytes_of_the_current_reference() {
    let place = tempfile::tempdir().unwrap();
    let layout = place.path().join("layout");
    let from = format!("dir:{}", testdata("images/dir-oci").display());
    for _ in 0..2 {
        copy(&from, &format!("oci:{}:v1", layout.display())).unwrap();
        let expected = concat!(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#,
            r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
            r#""digest":"sha256:352fb370f4a9978d04c14127b3b855dcc981475071b5902d8b006a00ca515d6f","#,
            r#""size":739,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}"#
        );
        assert_eq!(fs::read_to_string(layout.join("index.json")).unwrap(), expected);
    }
}

#[test]
fn writes_a_folder_as_skopeo_does() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let plain = format!("oci:{}:plain", testdata("compressed/plain").display());
    let signed = path("signed");
    fs::create_dir(&signed).unwrap();
    for folder in ["images/dir-oci", "trust/signed-both"] {
        for entry in fs::read_dir(testdata(folder)).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), signed.join(entry.file_name())).unwrap();
        }
    }
    let signed = format!("dir:{}", signed.display());
    for from in [&plain, &signed, &plain] {
        copy(from, &format!("dir:{}", path("ours").display())).unwrap();
        skopeo(&["copy", "-q", from, &format!("dir:{}", path("theirs").display())]);
        assert_eq!(tree(&path("ours")), tree(&path("theirs")), "{from}");
    }
}

#[test]
pub(crate) fn skopeo_reads_what_is_written_here() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let (one, two) = (crate::suite::sample::image("one"), crate::suite::sample::image("two"));
    let root = crate::suite::sample::index(&[&one, &two]);
    for to in [format!("oci:{}:list", path("layout")), format!("dir:{}", path("folder"))] {
        let destination = crate::suite::copy::destination(&to).unwrap();
        let writing = destination.begin(&Scope::new()).unwrap();
        for image in [&one, &two] {
            for (descriptor, bytes) in &image.blobs {
                crate::suite::put(writing.as_ref(), descriptor, bytes).unwrap();
            }
            writing.put_manifest(&image.manifest, Place::Child, &Scope::new()).unwrap();
        }
        writing.put_manifest(&root, Place::Root, &Scope::new()).unwrap();
        writing.commit(&[Naming::own(&*destination, &root)], &Scope::new()).unwrap();
        assert_eq!(skopeo(&["inspect", "--raw", &to]), root.bytes().as_ref());
        let back = format!("dir:{}", path("back"));
        skopeo(&["copy", "-q", "--all", &to, &back]);
        let ours = format!("dir:{}", path("ours"));
        copy(&to, &ours).unwrap();
        assert_eq!(tree(Path::new(&path("ours"))), tree(Path::new(&path("back"))), "{to}");
    }
}
