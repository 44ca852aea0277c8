use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use securecp_oci::json::{self, Limits};
use securecp_oci::{Descriptor, Digest, MediaType, RawManifest, Tag, View};
use serde_json::Value;

use super::walk::file_names;
use super::{Kind, Page, SMALL_FILE, Store, damaged, keyed, present, read_small};
use crate::name::{Name, Target};
use crate::refusal::Refusal;

/// Largest stored manifest that is served. What was pushed is smaller; a larger one was put there by other means, and a
/// client has to cope with it.
const READ_LIMIT: u64 = 16 << 20;

/// A manifest as stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
}

impl Stored {
    pub(crate) fn read(&self) -> io::Result<Bytes> {
        if self.size > READ_LIMIT {
            return Err(damaged("stored manifest is larger than any that was accepted"));
        }
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(READ_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// What must hold of a tag before it is written (RFC 9110, 13.1); digests are the entity tags.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// The tag must name this digest.
    pub(crate) unchanged: Option<String>,
    /// The tag must not exist.
    pub(crate) absent: bool,
}

/// A manifest to be stored.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) manifest: RawManifest,
    pub(crate) target: Target,
    pub(crate) conditions: Conditions,
}

impl Store {
    pub(crate) fn manifest(&self, name: &Name, target: &Target) -> Result<Stored, Refusal> {
        let digest = match target {
            Target::Digest(digest) => digest.clone(),
            Target::Tag(tag) => self.tagged(name, tag)?.ok_or(Refusal::ManifestUnknown)?,
        };
        let link = present(read_small(&self.link(name, Kind::Manifest, &digest)))?;
        let media_type = String::from_utf8(link.ok_or(Refusal::ManifestUnknown)?)
            .map_err(|_| damaged("media type of a manifest is not UTF-8"))?;
        let path = self.content(&digest);
        let size = present(fs::metadata(&path))?.ok_or(Refusal::ManifestUnknown)?.len();
        Ok(Stored { digest, media_type, path, size })
    }

    /// Stores a manifest: content, link, entry among the referrers of its subject, and the tag last.
    pub(crate) fn put_manifest(&self, name: &Name, put: &Put) -> Result<(), Refusal> {
        let _alone = self.alone();
        self.check_content(name, put.manifest.view())?;
        if let Target::Tag(tag) = &put.target {
            self.check_tag(name, tag, put)?;
        }
        let digest = put.manifest.digest();
        let mut file = self.temporary()?;
        file.write_all(put.manifest.bytes())?;
        self.place(file, &self.content(digest))?;
        let link = self.link(name, Kind::Manifest, digest);
        self.write_small(&link, put.manifest.media_type().as_str().as_bytes())?;
        if let Some(subject) = put.manifest.view().subject() {
            let entry = Value::from(&referrer(&put.manifest)).to_string();
            let path = self.referrer_path(name, &subject.digest, digest);
            self.write_small(&path, entry.as_bytes())?;
        }
        if let Target::Tag(tag) = &put.target {
            self.write_small(&self.tag_path(name, tag), digest.to_string().as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn delete_manifest(&self, name: &Name, target: &Target) -> Result<(), Refusal> {
        let _alone = self.alone();
        match target {
            Target::Tag(tag) => {
                present(fs::remove_file(self.tag_path(name, tag)))?.ok_or(Refusal::ManifestUnknown)
            }
            Target::Digest(digest) => self.delete_by_digest(name, digest),
        }
    }

    /// Descriptors of the manifests that refer to `subject`, in order of digest, behind `last`.
    pub(crate) fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
        wanted: Wanted<'_>,
    ) -> io::Result<Page<Value>> {
        let mut found = Vec::new();
        for digest in self.referrer_names(name, subject)? {
            if digest.as_str() <= wanted.last {
                continue;
            }
            let Some(entry) = self.referrer(name, subject, &digest)? else { continue };
            if wanted.accepts(&entry) {
                found.push(entry);
            }
            if found.len() > wanted.count {
                break;
            }
        }
        Ok(Page::cut(found, wanted.count))
    }

    fn referrer(&self, name: &Name, subject: &Digest, digest: &str) -> io::Result<Option<Value>> {
        let folder = keyed(self.repository(name).join(Kind::Referrers.folder()), subject);
        let Some(bytes) = present(read_small(&folder.join(digest)))? else { return Ok(None) };
        let limit = Limits::bytes(usize::try_from(SMALL_FILE).unwrap_or(usize::MAX));
        let entry = json::parse(&bytes, limit);
        entry.map(Some).map_err(|_| damaged("entry of a referrer is not JSON"))
    }

    fn delete_by_digest(&self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        let stored = self.manifest(name, &Target::Digest(digest.clone()))?;
        let subject = self.subject(&stored)?;
        for tag in self.tags_of(name, digest)? {
            present(fs::remove_file(self.tag_path(name, &tag)))?;
        }
        if let Some(subject) = subject {
            present(fs::remove_file(self.referrer_path(name, &subject, digest)))?;
        }
        present(fs::remove_file(self.link(name, Kind::Manifest, digest)))?;
        Ok(self.collect(digest)?)
    }

    fn subject(&self, stored: &Stored) -> Result<Option<Digest>, Refusal> {
        let bytes = stored.read()?;
        let declared =
            securecp_oci::Declared { media_type: Some(&stored.media_type), ..Default::default() };
        // A damaged manifest has no entry to be found by; it can be deleted all the same.
        let manifest = RawManifest::read(bytes, declared).ok();
        Ok(manifest.and_then(|m| m.view().subject().map(|subject| subject.digest.clone())))
    }

    fn tags_of(&self, name: &Name, digest: &Digest) -> io::Result<Vec<Tag>> {
        let mut found = Vec::new();
        for text in file_names(&self.repository(name).join("_tags"))? {
            let Ok(tag) = text.parse::<Tag>() else { continue };
            if self.tagged(name, &tag)?.as_ref() == Some(digest) {
                found.push(tag);
            }
        }
        Ok(found)
    }

    fn tagged(&self, name: &Name, tag: &Tag) -> io::Result<Option<Digest>> {
        let Some(bytes) = present(read_small(&self.tag_path(name, tag)))? else {
            return Ok(None);
        };
        let digest = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        digest.map(Some).ok_or_else(|| damaged("tag does not hold a digest"))
    }

    fn check_tag(&self, name: &Name, tag: &Tag, put: &Put) -> Result<(), Refusal> {
        let found = self.tagged(name, tag)?;
        let moves = found.as_ref().is_some_and(|found| found != put.manifest.digest());
        let differs = |wanted: &String| found.as_ref().is_none_or(|f| f.to_string() != *wanted);
        if self.options.immutable_tags && moves {
            return Err(Refusal::TagImmutable);
        }
        let conditions = &put.conditions;
        if (conditions.absent && found.is_some())
            || conditions.unchanged.as_ref().is_some_and(differs)
        {
            return Err(Refusal::TagChanged);
        }
        Ok(())
    }

    fn check_content(&self, name: &Name, view: &View) -> Result<(), Refusal> {
        match view {
            View::Image(image) => {
                let here = |d: &&Descriptor| !is_elsewhere(&d.media_type);
                let mut needed = image.layers.iter().filter(here).chain([&image.config]);
                needed.try_for_each(|wanted| self.check_blob(name, wanted))
            }
            View::Index(index) if self.options.require_children => {
                index.manifests.iter().try_for_each(|child| self.check_child(name, child))
            }
            View::Index(_) => Ok(()),
            View::Schema1(_) => Err(Refusal::ManifestType),
        }
    }

    fn check_blob(&self, name: &Name, wanted: &Descriptor) -> Result<(), Refusal> {
        let digest = &wanted.digest;
        match self.blob_size(name, digest)? {
            None => Err(Refusal::ManifestBlobUnknown(digest.clone())),
            Some(size) => check_size(wanted, size),
        }
    }

    fn check_child(&self, name: &Name, child: &Descriptor) -> Result<(), Refusal> {
        match self.manifest(name, &Target::Digest(child.digest.clone())) {
            Ok(stored) => check_size(child, stored.size),
            Err(Refusal::ManifestUnknown) => {
                Err(Refusal::ManifestBlobUnknown(child.digest.clone()))
            }
            Err(other) => Err(other),
        }
    }

    fn tag_path(&self, name: &Name, tag: &Tag) -> PathBuf {
        self.repository(name).join("_tags").join(tag.as_str())
    }

    fn referrer_path(&self, name: &Name, subject: &Digest, digest: &Digest) -> PathBuf {
        self.link(name, Kind::Referrers, subject).join(digest.to_string())
    }
}

/// Which referrers are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) artifact_type: Option<&'a str>,
    pub(crate) last: &'a str,
    pub(crate) count: usize,
}

impl Wanted<'_> {
    fn accepts(&self, entry: &Value) -> bool {
        let found = entry.get("artifactType").and_then(Value::as_str);
        self.artifact_type.is_none_or(|wanted| found == Some(wanted))
    }
}

fn check_size(wanted: &Descriptor, found: u64) -> Result<(), Refusal> {
    if wanted.size == found {
        return Ok(());
    }
    Err(Refusal::ManifestSize { digest: wanted.digest.clone(), expected: wanted.size, found })
}

/// The entry of a referrers list (distribution-spec, "Listing Referrers").
fn referrer(manifest: &RawManifest) -> Descriptor {
    let (artifact_type, annotations) = match manifest.view() {
        View::Image(image) => {
            let config = || Some(image.config.media_type.as_str().to_owned());
            (image.artifact_type.clone().or_else(config), image.annotations.clone())
        }
        View::Index(index) => (index.artifact_type.clone(), index.annotations.clone()),
        View::Schema1(_) => Default::default(),
    };
    Descriptor { artifact_type, annotations, ..manifest.descriptor() }
}

/// Layers that are fetched from elsewhere and need not be pushed.
fn is_elsewhere(media_type: &MediaType) -> bool {
    let text = media_type.as_str();
    text.contains(".nondistributable.") || text.contains(".foreign.")
}
