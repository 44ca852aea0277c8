use std::fs::{self, File};
use std::io;

use securecp_oci::Digest;
use tempfile::NamedTempFile;

use super::{Kind, Store, present};
use crate::name::Name;
use crate::refusal::Refusal;

impl Store {
    /// Opens a blob of the repository, with its length in bytes.
    pub(crate) fn blob(&self, name: &Name, digest: &Digest) -> Result<(File, u64), Refusal> {
        if !self.has(name, Kind::Blob, digest)? {
            return Err(Refusal::BlobUnknown);
        }
        let file = present(File::open(self.content(digest)))?.ok_or(Refusal::BlobUnknown)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    /// The length of a blob of the repository, if it has it.
    pub(crate) fn blob_size(&self, name: &Name, digest: &Digest) -> io::Result<Option<u64>> {
        if !self.has(name, Kind::Blob, digest)? {
            return Ok(None);
        }
        Ok(present(fs::metadata(self.content(digest)))?.map(|found| found.len()))
    }

    /// Gives a verified file its name and links it to the repository.
    pub(crate) fn add_blob(
        &self,
        name: &Name,
        digest: &Digest,
        file: NamedTempFile,
    ) -> io::Result<()> {
        let _linking = self.linking();
        self.place(file, &self.content(digest))?;
        self.link_blob(name, digest)
    }

    /// Links a blob that `from` has to `name`; says whether `from` has it.
    pub(crate) fn mount(&self, name: &Name, from: &Name, digest: &Digest) -> io::Result<bool> {
        let _linking = self.linking();
        let known = self.blob_size(from, digest)?.is_some();
        if known {
            self.link_blob(name, digest)?;
        }
        Ok(known)
    }

    pub(crate) fn delete_blob(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let _alone = self.alone();
        let removed = present(fs::remove_file(self.link(name, Kind::Blob, digest)))?;
        removed.ok_or(Refusal::BlobUnknown)?;
        Ok(self.collect(digest)?)
    }

    pub(super) fn has(&self, name: &Name, kind: Kind, digest: &Digest) -> io::Result<bool> {
        self.link(name, kind, digest).try_exists()
    }

    fn link_blob(&self, name: &Name, digest: &Digest) -> io::Result<()> {
        let link = self.link(name, Kind::Blob, digest);
        if present(File::create(&link))?.is_none() {
            if let Some(folder) = link.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(&link)?;
        }
        Ok(())
    }
}
