//! Which images there are: tags are listed, directories walked, the YAML file read.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use securecp_layer::Scope;
use securecp_oci::{Escaped, ImageName, Reference, Tag, Transport, is_evidence_name};
use securecp_transport::STAGING_PREFIX;

use super::config::{self, Listed, Wanted};
use crate::connect::Doors;
use crate::failure::Failure;
use crate::request::{Globals, Login, SideRequest, SyncRequest, SyncSource};

/// Deepest nesting of directories that is walked.
const DEPTH_LIMIT: usize = 64;

/// Most images of one run.
const IMAGE_LIMIT: usize = 100_000;

/// Everything that is to be copied.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) pairs: Vec<Pair>,
    /// How the registries of the pairs are reached.
    pub(crate) sides: Vec<SideRequest>,
    /// Repositories, directories or lists that images were found in.
    pub(crate) sources: usize,
    /// What could not be found out.
    pub(crate) failures: Vec<Failure>,
}

/// One image, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) from: ImageName,
    pub(crate) to: ImageName,
    /// Which of the sides reaches it.
    pub(crate) side: usize,
}

/// Finds every image that `request` means. What cannot be found out ends the search, unless it is to go on.
pub(crate) fn find(
    request: &SyncRequest,
    doors: &Doors<'_>,
    globals: &Globals,
    scope: &Scope,
) -> Result<Found, Failure> {
    let (found, seen) = (Found::default(), HashSet::new());
    let mut search = Search { request, doors, scope, found, seen };
    match &request.source {
        SyncSource::Repository(reference) => search.repository(reference)?,
        SyncSource::Directory(path) => search.directory(path)?,
        SyncSource::Yaml(file) => {
            for listed in config::read(file, globals)? {
                search.registry(listed)?;
            }
        }
    }
    let found = search.found;
    check_names(&found.pairs)?;
    Ok(found)
}

struct Search<'a> {
    request: &'a SyncRequest,
    doors: &'a Doors<'a>,
    scope: &'a Scope,
    found: Found,
    seen: HashSet<(String, String)>,
}

impl Search<'_> {
    fn repository(&mut self, reference: &Reference) -> Result<(), Failure> {
        self.found.sides.push(self.request.source_side.clone());
        let images = match reference.is_name_only() {
            false => vec![reference.clone()],
            true => self.tagged(reference, &Wanted::All)?,
        };
        if images.is_empty() {
            return Err(Failure::new(format!("No images to sync found in {reference}")));
        }
        self.add_images(&images)
    }

    fn registry(&mut self, listed: Listed) -> Result<(), Failure> {
        self.found.sides.push(with_own(&self.request.source_side, &listed));
        for (repository, wanted) in &listed.repositories {
            let name = format!("{}/{repository}", listed.registry);
            let added = self.listed(&name, wanted).map_err(|failure| failure.context(name.clone()));
            match added {
                Err(failure) if self.request.keep_going => self.found.failures.push(failure),
                added => added?,
            }
        }
        Ok(())
    }

    /// The images of one repository in the file.
    fn listed(&mut self, name: &str, wanted: &Wanted) -> Result<(), Failure> {
        let parsed = Reference::parse_any(name).map_err(|error| anyhow!(error))?;
        if !parsed.is_name_only() {
            return Err(Failure::new("No tag or digest allowed in the name of a repository"));
        }
        let images = match wanted {
            Wanted::Named(names) => {
                names.iter().map(|image| one(&parsed, image)).collect::<Result<_, _>>()?
            }
            wanted => self.tagged(&parsed, wanted)?,
        };
        if images.is_empty() {
            return Err(Failure::new("No refs to sync found"));
        }
        self.add_images(&images)
    }

    /// The tags of a repository that are wanted, in the registry's order.
    fn tagged(&self, repository: &Reference, wanted: &Wanted) -> Result<Vec<Reference>, Failure> {
        let side = self.found.sides.last().unwrap_or(&self.request.source_side);
        let tags = self.doors.registries(side).tags(repository.repository(), self.scope);
        let tags = tags
            .with_context(|| format!("Error determining repository tags for repo {repository}"))
            .map_err(|error| Failure::reaching("--src-", error))?;
        // What cosign and its like keep under tags of their own travels with the image that it is about.
        let wanted = tags
            .into_iter()
            .filter(|tag: &Tag| wanted.admits(tag) && !is_evidence_name(tag.as_str()));
        Ok(wanted.map(|tag| repository.repository().tagged(tag)).collect())
    }

    fn add_images(&mut self, images: &[Reference]) -> Result<(), Failure> {
        self.found.sources += 1;
        images.iter().try_for_each(|image| {
            let from = ImageName { transport: Transport::Docker, rest: format!("//{image}") };
            self.add(from, &image.to_string())
        })
    }

    fn add(&mut self, from: ImageName, full: &str) -> Result<(), Failure> {
        if self.found.pairs.len() == IMAGE_LIMIT {
            return Err(Failure::new(format!("more than {IMAGE_LIMIT} images")));
        }
        let to = self.request.destination.name(full)?;
        let side = self.found.sides.len().saturating_sub(1);
        // Two entries of a list may choose the same image.
        if self.seen.insert((from.to_string(), to.to_string())) {
            self.found.pairs.push(Pair { from, to, side });
        }
        Ok(())
    }

    fn directory(&mut self, root: &Path) -> Result<(), Failure> {
        self.found.sides.push(self.request.source_side.clone());
        let mut images = Vec::new();
        walk(root, DEPTH_LIMIT, &mut images)
            .with_context(|| format!("looking for images in {}", root.display()))?;
        if images.is_empty() {
            return Err(Failure::new(format!("No images to sync found in {}", root.display()))
                .hint("an image is a directory with a file manifest.json"));
        }
        self.found.sources = 1;
        images.iter().try_for_each(|path| {
            let below = path.strip_prefix(root).ok().filter(|below| *below != Path::new(""));
            let full = below.or_else(|| path.file_name().map(Path::new)).and_then(Path::to_str);
            let (full, text) = full.zip(path.to_str()).ok_or_else(|| {
                anyhow!("{}: the path is not Unicode", Escaped::new(&path.to_string_lossy()))
            })?;
            self.add(ImageName { transport: Transport::Dir, rest: text.to_owned() }, full)
        })
    }
}

/// An item of a list: a digest if it is written as one, else a tag.
fn one(repository: &Reference, image: &str) -> Result<Reference, Failure> {
    let repository = repository.repository();
    if image.contains(':') {
        let digest = image.parse().with_context(|| format!("\"{}\"", Escaped::new(image)))?;
        return Ok(repository.digested(digest));
    }
    let tag: Tag = image.parse().with_context(|| format!("\"{}\"", Escaped::new(image)))?;
    Ok(repository.tagged(tag))
}

/// What the file says of a registry goes before what the command line says of all of them.
fn with_own(side: &SideRequest, listed: &Listed) -> SideRequest {
    let login = listed
        .credentials
        .as_ref()
        .map(|(name, password)| Login::User { name: name.clone(), password: password.clone() });
    SideRequest {
        login: login.unwrap_or_else(|| side.login.clone()),
        tls_verify: listed.tls_verify.or(side.tls_verify),
        cert_dir: listed.cert_dir.clone().or_else(|| side.cert_dir.clone()),
        ..side.clone()
    }
}

/// Directories with a manifest, in lexical order; links are not followed, images hold no further images, and what a copy
/// that was killed has left is none.
fn walk(folder: &Path, depth: usize, images: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.join("manifest.json").is_file() {
        images.push(folder.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Err(io::Error::other(format!("directories nest deeper than {DEPTH_LIMIT}")));
    }
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut folders = Vec::new();
    for entry in entries {
        let unfinished = entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX);
        if entry.file_type()?.is_dir() && !unfinished {
            folders.push(entry.path());
        }
    }
    folders.sort();
    folders.iter().try_for_each(|folder| walk(folder, depth - 1, images))
}

/// Two images under one name would be one image.
fn check_names(pairs: &[Pair]) -> Result<(), Failure> {
    let mut names = BTreeMap::new();
    for pair in pairs {
        match names.insert(pair.to.to_string(), &pair.from) {
            Some(other) if *other != pair.from => {
                let problem = format!("{} and {other} would both be {}", pair.from, pair.to);
                return Err(Failure::new(problem).hint("--scoped keeps their whole names"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_walked_in_order_and_images_end_the_way_down() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b/v1", "a", "b/v1/below", "c/d/e", "b/.securecp-dir-x1y2z3"] {
            let folder = place.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("manifest.json"), "{}").unwrap();
        }
        std::os::unix::fs::symlink(place.path(), place.path().join("loop")).unwrap();
        let mut images = Vec::new();
        walk(place.path(), DEPTH_LIMIT, &mut images).unwrap();
        let names: Vec<_> = images.iter().map(|p| p.strip_prefix(place.path()).unwrap()).collect();
        assert_eq!(names, ["a", "b/v1", "c/d/e"].map(Path::new));
        assert!(walk(place.path(), 2, &mut Vec::new()).is_err());
        assert!(walk(&place.path().join("none"), 2, &mut Vec::new()).is_err());
    }

    #[test]
    fn two_images_never_get_one_name() {
        let pair = |from: &str, to: &str| Pair {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            side: 0,
        };
        assert!(check_names(&[pair("dir:a/x", "dir:u/x"), pair("dir:b/y", "dir:u/y")]).is_ok());
        let error =
            check_names(&[pair("dir:a/x", "dir:u/x"), pair("dir:b/x", "dir:u/x")]).unwrap_err();
        assert_eq!(error.to_string(), "dir:b/x and dir:a/x would both be dir:u/x");
    }

    #[test]
    fn items_are_tags_or_digests() {
        let repository = Reference::parse_any("h.example/a").unwrap();
        assert_eq!(one(&repository, "v1").unwrap().to_string(), "h.example/a:v1");
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(one(&repository, &digest).unwrap().to_string(), format!("h.example/a@{digest}"));
        for bad in ["", "a/b", "sha256:12"] {
            assert!(one(&repository, bad).is_err(), "{bad}");
        }
    }
}
