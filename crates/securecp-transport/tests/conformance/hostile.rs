//! Archives that a hostile hand wrote. Every trick is played in both kinds of archive, and the image goes to a folder and
//! to a registry: it is refused, nothing is written and nothing is pushed.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use securecp_layer::Scope;
use securecp_transport::TransportError;
use tempfile::TempDir;

use crate::archive::shell;
use crate::interop::testdata;
use crate::registry::Repository;
use crate::suite::Fixture;
use crate::suite::copy::{copy, copy_into, source};

/// A member as a hostile hand may write it.
pub(crate) struct Raw<'a> {
    name: &'a str,
    kind: u8,
    link: &'a str,
    size: u64,
    data: &'a [u8],
}

pub(crate) fn file<'a>(name: &'a str, data: &'a [u8]) -> Raw<'a> {
    Raw { name, kind: b'0', link: "", size: data.len() as u64, data }
}

pub(crate) fn link<'a>(name: &'a str, kind: u8, link: &'a str) -> Raw<'a> {
    Raw { name, kind, link, size: 0, data: b"" }
}

impl Raw<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, self.name.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{:011o}", self.size).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

pub(crate) fn tar(members: &[Raw<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    members.iter().for_each(|member| member.write(&mut out));
    out.extend_from_slice(&[0; 1024]);
    out
}

/// A place with one archive in it.
pub(crate) struct Archive {
    place: TempDir,
    pub(crate) path: PathBuf,
}

impl Archive {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("image.tar");
        fs::write(&path, bytes).unwrap();
        Self { place, path }
    }

    pub(crate) fn name(&self, transport: &str, image: &str) -> String {
        format!("{transport}:{}{image}", self.path.display())
    }

    pub(crate) fn root_error(&self, transport: &str) -> TransportError {
        source(&self.name(transport, "")).unwrap().root(&Scope::new()).unwrap_err()
    }

    /// Copying it fails with `expected` in the message and leaves nothing anywhere, neither in a folder nor in a registry.
    pub(crate) fn is_refused(&self, transport: &str, expected: &str) {
        /// One for all tests: nothing is ever put there.
        static REGISTRY: LazyLock<Repository> = LazyLock::new(Repository::new);
        self.is_refused_at(&REGISTRY, transport, expected);
        assert_eq!(REGISTRY.stored(), Vec::<String>::new(), "{transport} {expected}");
    }

    /// Copying it fails and gives no name; good blobs may have arrived in the registry before the bad one.
    pub(crate) fn is_refused_at(&self, registry: &Repository, transport: &str, expected: &str) {
        let from = self.name(transport, "");
        let to = format!("dir:{}", self.place.path().join("to").display());
        let destination = registry.destination();
        for refused in [copy(&from, &to), copy_into(&from, &*destination)] {
            let error = refused.unwrap_err();
            let chain = format!("{error} {:?}", error);
            assert!(chain.contains(expected), "expected {expected:?} in {chain}");
        }
        let left: Vec<_> =
            fs::read_dir(self.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["image.tar"]);
        assert_eq!(destination.current(None, &Scope::new()).unwrap(), None, "no name was given");
        assert_eq!(registry.leftovers(), Vec::<String>::new());
    }
}

/// The members of an OCI archive of the vector.
fn layout_members() -> Vec<(String, Vec<u8>)> {
    let layout = testdata("compressed/plain");
    let mut found = Vec::new();
    for name in ["oci-layout", "index.json"] {
        found.push((name.to_owned(), fs::read(layout.join(name)).unwrap()));
    }
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap().map(Result::unwrap) {
        let name = format!("blobs/sha256/{}", entry.file_name().to_str().unwrap());
        found.push((name, fs::read(entry.path()).unwrap()));
    }
    found
}

/// The two kinds of archive, each with the member that says what is in it.
const KINDS: [(&str, &str); 2] =
    [("oci-archive", "index.json"), ("docker-archive", "manifest.json")];

/// A good archive of each kind without its end.
fn good(transport: &str) -> Vec<u8> {
    if transport == "docker-archive" {
        let mut bytes = fs::read(testdata("images/docker-archive.tar")).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes.truncate(end.next_multiple_of(512));
        return bytes;
    }
    let mut out = Vec::new();
    layout_members().iter().for_each(|(name, data)| file(name, data).write(&mut out));
    out
}

/// A good archive with further members.
fn with(transport: &str, tricks: &[Raw<'_>]) -> Archive {
    let mut out = good(transport);
    tricks.iter().for_each(|trick| trick.write(&mut out));
    out.extend_from_slice(&[0; 1024]);
    Archive::new(&out)
}

fn refused(tricks: &[Raw<'_>], expected: &str) {
    for (transport, _) in KINDS {
        with(transport, tricks).is_refused(transport, expected);
    }
}

#[test]
fn the_archives_that_the_tricks_are_played_on_are_good() {
    for (transport, _) in KINDS {
        let archive = with(transport, &[file("harmless", b"x"), link("also", b'2', "harmless")]);
        let to = format!("dir:{}", archive.place.path().join("to").display());
        copy(&archive.name(transport, ""), &to).unwrap();
        let registry = Repository::new();
        copy_into(&archive.name(transport, ""), &*registry.destination()).unwrap();
        assert_ne!(registry.stored(), Vec::<String>::new(), "the registry shows what is pushed");
    }
}

#[test]
fn refuses_names_that_leave_the_archive() {
    for name in ["../evil", "/etc/evil", "blobs/../../evil", "a/..", "..", "//etc/evil"] {
        refused(&[file(name, b"x")], "archive refused: member");
    }
}

#[test]
fn refuses_links_that_leave_the_archive() {
    for target in ["../../etc/passwd", "/etc/passwd", ".."] {
        refused(&[link("trick", b'2', target)], "leads out of the archive");
    }
    for target in ["../x", "/etc/passwd"] {
        refused(&[link("trick", b'1', target)], "archive refused");
    }
    refused(&[link("trick", b'1', "missing")], "no regular file before it");
}

#[test]
fn refuses_devices_and_unknown_members() {
    for kind in [b'3', b'4', b'6'] {
        refused(&[link("trick", kind, "")], "device or FIFO");
    }
    for kind in [b'V', b'M', b'D', b'N', b'8', 0xff] {
        refused(&[link("trick", kind, "")], "unknown kind");
    }
}

#[test]
fn refuses_duplicate_members() {
    for (transport, name) in KINDS {
        let twice = |trick: Raw<'_>| {
            with(transport, &[trick]).is_refused(transport, &format!("{name:?} appears twice"));
        };
        twice(file(name, b"{}"));
        twice(file(&format!("./{name}"), b"{}"));
        twice(link(name, b'5', ""));
        twice(link(name, b'2', "oci-layout"));
    }
}

#[test]
fn refuses_sizes_that_lie() {
    for size in [1 << 20, 1 << 32, 0o777_7777_7777] {
        refused(&[Raw { size, ..file("trick", b"x") }], "ends in the middle of a member");
    }
    for kind in [b'1', b'2', b'5'] {
        let lie = Raw { size: 512, data: &[0; 512], ..link("trick", kind, "index.json") };
        refused(&[lie], "has data but is no regular file");
    }
    let record = b"30 size=99999999999999999999\n\n";
    refused(&[pax(record), file("trick", b"x")], "archive refused");
    refused(&[pax(b"13 size=9999\n"), file("trick", b"x")], "in the middle");
}

fn pax(records: &[u8]) -> Raw<'_> {
    Raw { kind: b'x', ..file("PaxHeader", records) }
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length);
    format!("{}{rest}", length.unwrap()).into_bytes()
}

#[test]
fn refuses_headers_that_two_readers_could_read_differently() {
    for (tricks, expected) in [
        (vec![pax(b"16 path=../evil\n"), file("trick", b"x")], "leaves the archive"),
        (vec![pax(b"9 path=a\n"), pax(b"9 path=b\n"), file("c", b"")], "describe the same member"),
        (vec![pax(b"9 path=a\n9 path=b\n"), file("c", b"")], "says the same thing twice"),
        (
            vec![pax(b"9 path=a\n"), Raw { kind: b'L', ..file("long", b"b") }, file("c", b"")],
            "describe the same member",
        ),
        (
            vec![Raw { kind: b'L', ..file("long", b"../evil") }, file("c", b"")],
            "leaves the archive",
        ),
        (vec![Raw { kind: b'g', ..file("global", b"9 path=a\n") }], "global header"),
        (vec![pax(&[b'x'; 70_000]), file("c", b"")], "the limit is 65536"),
        (vec![pax(b"nonsense"), file("c", b"")], "pax header is malformed"),
    ] {
        refused(&tricks, expected);
    }
}

/// Members of which only a part is stored: how long they are and what they are called then stands elsewhere.
#[test]
fn refuses_sparse_members() {
    for size in [0, 1, 1 << 40] {
        refused(&[Raw { kind: b'S', size, ..file("sparse", b"") }], "sparse");
    }
    for (key, value) in [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "../../etc/passwd"),
        ("GNU.sparse.size", "99999999999"),
        ("GNU.sparse.realsize", "1"),
        ("GNU.sparse.map", "0,1,5,1"),
        ("GNU.sparse.numblocks", "1"),
        ("GNU.sparse.offset", "0"),
        ("GNU.sparse.numbytes", "1"),
        ("SCHILY.realsize", "99999999999"),
        ("SCHILY.filetype", "sparse"),
    ] {
        let record = record(key, value);
        refused(&[pax(&record), file("trick", b"x")], "sparse members are not supported");
        refused(&[Raw { kind: b'g', ..file("global", &record) }], "sparse members");
    }
}

/// The same from a tar that really writes them.
#[test]
fn refuses_sparse_members_as_tar_writes_them() {
    for (transport, document) in KINDS {
        for format in [
            "--format=gnu",
            "--format=posix --sparse-version=0.0",
            "--format=posix --sparse-version=0.1",
            "--format=posix --sparse-version=1.0",
        ] {
            let archive = with(transport, &[]);
            let place = archive.place.path();
            let holes = format!(
                "mkdir in && tar -C in -xf image.tar && chmod -R u+w in && truncate -s 4M in/{document} && \
                 tar -C in --sparse {format} -cf image.tar $(ls in) && rm -r in"
            );
            shell(&holes, place);
            archive.is_refused(transport, "sparse");
        }
    }
}

#[test]
fn refuses_broken_archives() {
    for (transport, _) in KINDS {
        let bytes = fs::read(&with(transport, &[]).path).unwrap();
        let is_refused = |bytes: &[u8], expected: &str| {
            Archive::new(bytes).is_refused(transport, expected);
        };
        is_refused(&bytes[..520], "ends in the middle");
        let mut altered = bytes.clone();
        altered[3] ^= 1;
        is_refused(&altered, "checksum");
        let mut hole = vec![0; 512];
        hole.extend_from_slice(&bytes);
        is_refused(&hole, "single empty block");
        is_refused(b"not a tar", "archive refused");
        let missing = if transport == "oci-archive" { "not found" } else { "no manifest.json" };
        is_refused(b"", missing);
        is_refused(&[0; 10_240], missing);
    }
}

#[test]
fn refuses_blobs_that_are_not_what_they_are_called() {
    for (victim, expected) in
        [("08875b3c", "Altered"), ("352fb370", "DigestMismatch"), ("62264ab4", "Altered")]
    {
        let mut out = Vec::new();
        for (name, mut data) in layout_members() {
            if name.contains(victim) {
                data[10] ^= 1;
            }
            file(&name, &data).write(&mut out);
        }
        let registry = Repository::new();
        Archive::new(&out).is_refused_at(&registry, "oci-archive", expected);
        let pushed = registry.stored();
        assert!(pushed.iter().all(|path| !path.contains(victim)), "{pushed:?}");
    }
}

#[test]
fn does_not_read_gigabytes_of_zeros() {
    for (transport, document) in
        [("oci-archive", "oci-layout"), ("docker-archive", "manifest.json")]
    {
        let archive = Archive::new(b"");
        let file = fs::File::options().write(true).open(&archive.path).unwrap();
        file.set_len(1 << 40).unwrap();
        let start = std::time::Instant::now();
        archive.root_error(transport);
        // A member of four gibibytes where a small document is expected.
        let mut head = tar(&[Raw { size: 1 << 32, ..self::file(document, b"") }]);
        head.truncate(512);
        std::os::unix::fs::FileExt::write_all_at(&file, &head, 0).unwrap();
        let error = archive.root_error(transport);
        assert!(!error.is_not_found() || error.to_string().contains("index"), "{error}");
        assert!(start.elapsed() < std::time::Duration::from_secs(5));
    }
}

#[test]
fn limits_the_number_of_members() {
    let mut out = Vec::new();
    for number in 0..=65_536 {
        link(&format!("f{number}"), b'5', "").write(&mut out);
    }
    for (transport, _) in KINDS {
        Archive::new(&out).is_refused(transport, "more than 65536 members");
    }
}
