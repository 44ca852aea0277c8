use std::fs;
use std::io;
use std::path::Path;

use securecp_oci::Digest;

use super::{Kind, Store, keyed, present};
use crate::name::Name;
use crate::refusal::Refusal;

/// One page of a sorted list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Whether more follow.
    pub(crate) more: bool,
}

impl<T> Page<T> {
    /// The first `count` of sorted `items`.
    pub(super) fn cut(mut items: Vec<T>, count: usize) -> Self {
        let more = items.len() > count;
        items.truncate(count);
        Self { items, more }
    }
}

impl Store {
    /// Tags in ASCII order behind `last`.
    pub(crate) fn tags(
        &self,
        name: &Name,
        last: &str,
        count: usize,
    ) -> Result<Page<String>, Refusal> {
        if !self.is_known(name)? {
            return Err(Refusal::NameUnknown);
        }
        let mut tags = file_names(&self.repository(name).join("_tags"))?;
        tags.retain(|tag| tag.as_str() > last && tag.parse::<securecp_oci::Tag>().is_ok());
        tags.sort_unstable();
        Ok(Page::cut(tags, count))
    }

    /// Names of all repositories in ASCII order behind `last`.
    pub(crate) fn catalog(&self, last: &str, count: usize) -> io::Result<Page<String>> {
        let mut names = Vec::new();
        self.each_repository(|name| {
            if name.as_str() > last && self.is_known(name)? {
                names.push(name.to_string());
            }
            Ok(true)
        })?;
        names.sort_unstable();
        Ok(Page::cut(names, count))
    }

    /// Removes content that no repository links any more.
    pub(super) fn collect(&self, digest: &Digest) -> io::Result<()> {
        let mut used = false;
        self.each_repository(|name| {
            used = self.has(name, Kind::Blob, digest)? || self.has(name, Kind::Manifest, digest)?;
            Ok(!used)
        })?;
        if !used {
            present(fs::remove_file(self.content(digest)))?;
        }
        Ok(())
    }

    fn is_known(&self, name: &Name) -> io::Result<bool> {
        let folder = self.repository(name);
        for kind in ["_tags", Kind::Manifest.folder(), Kind::Blob.folder()] {
            if folder.join(kind).try_exists()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Visits every folder that is or leads to a repository, until `visit` says false.
    fn each_repository(&self, mut visit: impl FnMut(&Name) -> io::Result<bool>) -> io::Result<()> {
        let mut waiting = vec![String::new()];
        while let Some(above) = waiting.pop() {
            for part in file_names(&self.repositories().join(&above))? {
                let path = if above.is_empty() { part } else { format!("{above}/{part}") };
                // Folders that begin with an underscore are not names, so links are not descended into.
                let Ok(name) = path.parse::<Name>() else { continue };
                if !visit(&name)? {
                    return Ok(());
                }
                waiting.push(path);
            }
        }
        Ok(())
    }

    /// File names of the referrers of `subject`, in order.
    pub(super) fn referrer_names(&self, name: &Name, subject: &Digest) -> io::Result<Vec<String>> {
        let folder = keyed(self.repository(name).join(Kind::Referrers.folder()), subject);
        let mut names = file_names(&folder)?;
        names.sort_unstable();
        Ok(names)
    }
}

/// Names in a folder; none if it does not exist.
pub(super) fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    let Some(entries) = present(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
