//! Files that share what they hold: a copy of a blob that costs no writing where the file system can do that.

use std::fs::File;

use rustix::io::Errno;
use securecp_layer::{FileChunks, Layer, Prefix, Scope};
use securecp_oci::Descriptor;

use crate::staged::{Staged, check_promise};
use crate::{BlobPut, TransportError};

/// The file that a blob is, at its source. It is not verified, and nothing can be read from it: its bytes can only be
/// shared into a new file, which is then held to the blob's digest.
#[derive(Debug)]
pub struct BlobFile(File);

impl BlobFile {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }
}

/// Smaller blobs are written sooner than they are shared.
const WORTHWHILE: u64 = 64 << 10;

/// Lets `staged`, which is empty, share the bytes of the blob's file and reads them all. `None`, and `staged` as it was:
/// there is no such file, or it cannot be shared here.
///
/// What is read and verified is `staged` itself, which nobody else can write: the source's file may change meanwhile, but
/// not what was taken from it. It passes through the same chain as bytes that are copied.
pub(crate) fn share(
    staged: &Staged,
    blob: &BlobPut<'_>,
    scope: &Scope,
) -> Result<Option<Descriptor>, TransportError> {
    share_by(&|to, from| rustix::fs::ioctl_ficlone(to, from), staged, blob, scope)
}

/// Gives the first file the bytes of the second.
type Clone<'a> = &'a dyn Fn(&File, &File) -> Result<(), Errno>;

fn share_by(
    clone: Clone<'_>,
    staged: &Staged,
    blob: &BlobPut<'_>,
    scope: &Scope,
) -> Result<Option<Descriptor>, TransportError> {
    let (Some(known), Some(open_file), Some(open)) = (blob.known, blob.file, blob.open_after)
    else {
        return Ok(None);
    };
    if known.size < WORTHWHILE {
        return Ok(None);
    }
    scope.check()?;
    let Some(BlobFile(source)) = open_file()? else { return Ok(None) };
    match clone(staged.file(), &source) {
        Ok(()) => {}
        Err(errno) if cannot(errno) => return Ok(None),
        Err(errno) => return Err(staged.error("sharing a file in", errno.into())),
    }
    let shared = Prefix::new(FileChunks::new(staged.reader()?), known.size);
    match open(shared)? {
        Some(layer) => verify(layer, staged, known, scope).map(Some),
        None => staged.cut(0).map(|()| None),
    }
}

/// Reads `layer`, which is what `staged` holds.
fn verify(
    mut layer: Layer<'_>,
    staged: &Staged,
    known: &Descriptor,
    scope: &Scope,
) -> Result<Descriptor, TransportError> {
    let mut size = 0;
    while let Some(chunk) = layer.next()? {
        scope.check()?;
        size += chunk.len() as u64;
    }
    let found = layer.finish()?;
    check_promise(Some(known), &found, size)?;
    // The source's file may have had more when it was shared.
    staged.cut(size)?;
    Ok(found)
}

/// Whether it is the file system that cannot share these files, or not now: ioctl_ficlone(2), and what systems without
/// that call say.
fn cannot(errno: Errno) -> bool {
    const SAID_BY_SYSTEMS: [Errno; 8] = [
        Errno::OPNOTSUPP,
        Errno::XDEV,
        Errno::INVAL,
        Errno::NOTTY,
        Errno::NOSYS,
        Errno::BADF,
        Errno::TXTBSY,
        // OpenZFS, while what is to be shared is not on the disk yet.
        Errno::AGAIN,
    ];
    SAID_BY_SYSTEMS.contains(&errno)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use bytes::Bytes;
    use securecp_layer::{LayerError, Once};
    use securecp_oci::{Algorithm, Digest, MediaType};

    use super::*;
    use crate::folder::Folder;

    fn bytes() -> Bytes {
        (0..100_000_u32).map(|n| (n / 251) as u8).collect()
    }

    /// Shares by `clone` a source's file that holds `held`, for a descriptor of [`bytes`]; what came of it and what is in
    /// the new file then. A copy, were one made, would bring the right bytes.
    fn shared(
        held: &[u8],
        clone: &dyn Fn(&File, &Path) -> Result<(), Errno>,
    ) -> (Result<Option<Descriptor>, TransportError>, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("source");
        fs::write(&path, held).unwrap();
        let digest = Digest::of(Algorithm::Sha256, &bytes());
        let known = Descriptor::new(MediaType::OCI_LAYER, digest, bytes().len() as u64);
        let open = || Ok(Layer::verified(known.clone(), Once::new(bytes())));
        let open_after = |prefix: Prefix| {
            let rest = bytes().slice(prefix.size_bytes() as usize..);
            Ok(Some(Layer::verified_after(known.clone(), prefix, Once::new(rest))))
        };
        let open_file = || Ok(Some(BlobFile::new(File::open(&path).unwrap())));
        let blob = BlobPut {
            known: Some(&known),
            mount_from: &[],
            open: &open,
            open_after: Some(&open_after),
            file: Some(&open_file),
        };
        let staged = Staged::create(&Folder::open(place.path()).unwrap()).unwrap();
        let found = share_by(&|to, _| clone(to, &path), &staged, &blob, &Scope::new());
        let mut written = Vec::new();
        let mut chunks = vec![0; 200_000];
        let read = staged.file().read_at(&mut chunks, 0).unwrap();
        written.extend_from_slice(&chunks[..read]);
        (found, written)
    }

    /// Stands for a file system that shares.
    fn clone(to: &File, from: &Path) -> Result<(), Errno> {
        to.write_all_at(&fs::read(from).unwrap(), 0).unwrap();
        Ok(())
    }

    #[test]
    fn what_is_shared_is_what_is_verified() {
        let (found, written) = shared(&bytes(), &clone);
        assert_eq!(found.unwrap().unwrap().size, 100_000);
        assert!(written == bytes());
        let mut altered = bytes().to_vec();
        altered[99_999] ^= 1;
        let (found, _) = shared(&altered, &clone);
        let error = found.unwrap_err();
        assert!(matches!(error, TransportError::Layer(LayerError::Altered { .. })), "{error:?}");
    }

    /// Shares where TMPDIR is on XFS (made with reflink=1) or Btrfs.
    #[test]
    fn the_system_shares_or_leaves_it_to_be_copied() {
        let (found, written) =
            shared(&bytes(), &|to, from| rustix::fs::ioctl_ficlone(to, File::open(from).unwrap()));
        match found.unwrap() {
            Some(_) => assert!(written == bytes()),
            None => assert!(written.is_empty()),
        }
    }

    #[test]
    fn a_source_that_changes_afterwards_changes_nothing() {
        let (found, written) = shared(&bytes(), &|to, from| {
            clone(to, from)?;
            fs::write(from, "something else").unwrap();
            Ok(())
        });
        assert!(found.unwrap().is_some() && written == bytes());
    }

    #[test]
    fn a_file_that_has_more_or_less_is_cut_or_refused() {
        let longer = [&bytes(), &b"more"[..]].concat();
        let (found, written) = shared(&longer, &clone);
        assert!(found.unwrap().is_some() && written == bytes(), "the source has the right bytes");
        let (found, _) = shared(&bytes()[..99_999], &clone);
        assert!(found.is_err());
    }

    #[test]
    fn where_it_cannot_be_it_is_left_to_be_copied_and_failures_are_told() {
        for errno in [Errno::OPNOTSUPP, Errno::XDEV, Errno::INVAL, Errno::NOTTY, Errno::NOSYS] {
            let (found, written) = shared(&bytes(), &|_, _| Err(errno));
            assert!(found.unwrap().is_none() && written.is_empty(), "{errno}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::PERM] {
            let error = shared(&bytes(), &|_, _| Err(errno)).0.unwrap_err();
            assert!(matches!(error, TransportError::Io { .. }), "{errno}");
        }
    }
}
