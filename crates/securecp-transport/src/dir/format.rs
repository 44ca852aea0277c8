use rustix::fs::FileType;
use securecp_oci::{Algorithm, Digest, RawManifest};

use crate::folder::Folder;
use crate::staged::STAGING_PREFIX;
use crate::{Place, TransportError};

pub(super) const VERSION: &str = "version";
pub(super) const MANIFEST: &str = "manifest.json";

const VERSION_PREFIX: &str = "Directory Transport Version: ";
const VERSION_LIMIT: usize = 64;

/// The text of the `version` file; 1.2 is the first that knows other digests than SHA-256.
pub(super) fn version_text(only_sha256: bool) -> String {
    format!("{VERSION_PREFIX}{}\n", if only_sha256 { "1.1" } else { "1.2" })
}

/// Whether the folder has a `version` file; one that is not of a version up to 1.2 is an error.
pub(super) fn check_version(folder: &Folder) -> Result<bool, TransportError> {
    let Some(bytes) = crate::files::read(folder, VERSION, VERSION_LIMIT)? else { return Ok(false) };
    let text = String::from_utf8_lossy(&bytes);
    let version = text.strip_prefix(VERSION_PREFIX).map(|v| v.strip_suffix('\n').unwrap_or(v));
    if matches!(version, Some("1.0" | "1.1" | "1.2")) {
        return Ok(true);
    }
    Err(TransportError::Place {
        path: folder.path().join(VERSION),
        problem: format!(
            "expected \"{VERSION_PREFIX}\" and 1.0, 1.1 or 1.2, found \"{}\"",
            text.chars().take(80).collect::<String>()
        ),
    })
}

/// The name of a blob, and what the names of everything else that belongs to a digest begin with.
pub(super) fn blob_name(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex().to_owned(),
        other => format!("{other}-{}", digest.hex()),
    }
}

pub(super) fn manifest_name(digest: &Digest, place: Place) -> String {
    match place {
        Place::Root => MANIFEST.to_owned(),
        Place::Child => format!("{}.{MANIFEST}", blob_name(digest)),
    }
}

/// The name of signature `position`, counted from 1.
pub(super) fn signature_name(manifest: &RawManifest, place: Place, position: usize) -> String {
    match place {
        Place::Root => format!("signature-{position}"),
        Place::Child => format!("{}.signature-{position}", blob_name(manifest.digest())),
    }
}

/// An entry that no image in this format has; a folder that holds one is not ours to replace.
pub(super) fn is_foreign(name: &str, kind: FileType) -> bool {
    if name.starts_with(STAGING_PREFIX) {
        return false;
    }
    // A file system may not say what an entry is without being asked for each.
    !matches!(kind, FileType::RegularFile | FileType::Unknown) || !is_member(name)
}

fn is_member(name: &str) -> bool {
    if matches!(name, VERSION | MANIFEST) || name.starts_with("dir-put-blob") {
        return true;
    }
    match name.split_once('.') {
        None => is_blob_name(name) || is_signature_name(name),
        Some((stem, rest)) => is_blob_name(stem) && (rest == MANIFEST || is_signature_name(rest)),
    }
}

/// The name of a signature, of the image or of a manifest inside.
pub(super) fn is_signature(name: &str) -> bool {
    is_signature_name(name.rsplit('.').next().unwrap_or_default())
}

fn is_signature_name(name: &str) -> bool {
    let number = name.strip_prefix("signature-").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

fn is_blob_name(name: &str) -> bool {
    let (algorithm, hex) = name.split_once('-').unwrap_or(("sha256", name));
    format!("{algorithm}:{hex}").parse::<Digest>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_members_from_foreign_files() {
        let hex = Digest::of(Algorithm::Sha256, b"");
        let long = blob_name(&Digest::of(Algorithm::Sha512, b""));
        for member in [
            "version",
            "manifest.json",
            "signature-12",
            "dir-put-blob123",
            hex.hex(),
            &long,
            &format!("{}.manifest.json", hex.hex()),
            &format!("{long}.signature-1"),
        ] {
            assert!(!is_foreign(member, FileType::RegularFile), "{member}");
            assert!(is_foreign(member, FileType::Directory), "{member}");
        }
        for foreign in ["notes.txt", "signature-", "signature-x", "thesis", "manifest.json.bak", ""]
        {
            assert!(is_foreign(foreign, FileType::RegularFile), "{foreign}");
        }
    }
}
