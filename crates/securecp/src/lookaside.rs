//! Where the signatures of registry images live: registries.d, or the usual place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use securecp_net::{HttpClient, Net, TlsOptions};
use securecp_oci::{Escaped, ImageIdentity, ImageName, Reference, Transport};
use securecp_registry::is_there;
use securecp_transport::{
    SignatureLocation, SignatureLocator, SignatureStorage, SignatureStorages,
};
use securecp_trust::{Direction, LookasideBase, REGISTRIES_D_LIMIT, RegistriesD, SignaturePlace};

use crate::failure::Failure;
use crate::files::read_bounded;
use crate::progress::warn;
use crate::request::docker_reference;

/// Of the system, unless the user has one.
const SYSTEM: &str = "/etc/containers/registries.d";

/// What the configuration says about signatures.
#[derive(Debug)]
pub(crate) struct Lookaside(Arc<Places>);

#[derive(Debug)]
struct Places {
    config: RegistriesD,
    /// Where signatures are if the configuration names no place.
    usual: Option<LookasideBase>,
}

impl Lookaside {
    /// Reads the directory given, or the user's, or the system's.
    pub(crate) fn load(given: Option<&Path>) -> Result<Self, Failure> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let user = home.as_ref().map(|home| home.join(".config/containers/registries.d"));
        let folder = match given {
            Some(given) => given.to_owned(),
            None => usual_folder(user).context("looking for registries.d")?,
        };
        if given.is_some() && !folder.is_dir() {
            let text = format!("--registries.d {}: expected a directory", folder.display());
            return Err(Failure::new(text));
        }
        let files = read_folder(&folder);
        let files = files.with_context(|| format!("reading {}", folder.display()))?;
        let config = RegistriesD::parse(files.iter().map(|(n, b)| (n.as_str(), b.as_slice())))?;
        for member in config.ignored() {
            warn(&format!("registries.d: {member} is not known and has no effect"));
        }
        Ok(Self(Arc::new(Places { config, usual: usual_base(home.as_deref()) })))
    }

    /// Where signatures of an image go; only registries need a place.
    pub(crate) fn of(
        &self,
        name: &ImageName,
        net: &Net,
        tls: &TlsOptions,
    ) -> Result<Option<SignatureStorage>, Failure> {
        if name.transport != Transport::Docker {
            return Ok(None);
        }
        Ok(Some(self.0.storage(&docker_reference(name)?, &net.client(tls)?)))
    }

    /// Where signatures of an image are, at each place that it may be read from.
    pub(crate) fn of_source(
        &self,
        name: &ImageName,
        net: &Net,
        tls: &TlsOptions,
    ) -> Result<Option<SignatureStorages>, Failure> {
        if name.transport != Transport::Docker {
            return Ok(None);
        }
        let (places, http) = (Arc::clone(&self.0), net.client(tls)?);
        Ok(Some(SignatureStorages::new(move |place| places.storage(place, &http))))
    }
}

impl Places {
    /// Without HOME there may be no place; what a registry keeps itself or has attached is looked for all the same.
    fn storage(&self, reference: &Reference, http: &HttpClient) -> SignatureStorage {
        let identity = ImageIdentity::docker(reference);
        let place = |direction| {
            let base = self.config.lookaside(&identity, direction).or(self.usual.as_ref());
            base.map(|base| locator(base, reference))
        };
        SignatureStorage {
            read: place(Direction::Read),
            write: place(Direction::Write),
            attachments: self.config.use_sigstore_attachments(&identity),
            http: http.clone(),
        }
    }
}

fn locator(base: &LookasideBase, reference: &Reference) -> SignatureLocator {
    let (base, repository) = (base.clone(), reference.repository().clone());
    Arc::new(move |digest, position| match base.signature(&repository, digest, position) {
        SignaturePlace::File(path) => SignatureLocation::File(path.into()),
        SignaturePlace::Http(url) => SignatureLocation::Http(url),
    })
}

/// The user's folder if there is one, which cannot be passed over because it cannot be looked at.
fn usual_folder(user: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match user {
        Some(folder) if is_there(&folder).with_context(|| folder.display().to_string())? => {
            Ok(folder)
        }
        _ => Ok(PathBuf::from(SYSTEM)),
    }
}

/// Every `*.yaml` in a folder, by name; a folder that does not exist is empty.
fn read_folder(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    if !is_there(folder)? {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = read_bounded(&path, REGISTRIES_D_LIMIT)?;
        Ok((Escaped::new(&path.to_string_lossy()).to_string(), bytes))
    };
    paths.into_iter().map(read).collect()
}

/// The reference's own place.
fn usual_base(home: Option<&Path>) -> Option<LookasideBase> {
    let folder = match rustix::process::getuid().is_root() {
        true => PathBuf::from("/var/lib/containers/sigstore"),
        false => home?.join(".local/share/containers/sigstore"),
    };
    // Percent signs would be taken for escapes.
    let path = folder.to_str()?.replace('%', "%25");
    format!("file://{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(base: &LookasideBase) -> String {
        let reference: Reference = "h.example/ns/app:v1".parse().unwrap();
        let digest = securecp_oci::Digest::of(securecp_oci::Algorithm::Sha256, b"");
        match locator(base, &reference)(&digest, 2) {
            SignatureLocation::File(path) => path.display().to_string(),
            SignatureLocation::Http(url) => url,
        }
    }

    #[test]
    fn reads_yaml_files_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.yaml"), "docker: {h.example: {lookaside: 'file:///sigs'}}")
            .unwrap();
        fs::write(folder.path().join("a.yaml"), "").unwrap();
        fs::write(folder.path().join("c.yml"), "[not: read").unwrap();
        let names: Vec<String> =
            read_folder(folder.path()).unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names[0].ends_with("/a.yaml") && names[1].ends_with("/b.yaml"), "{names:?}");
        let lookaside = Lookaside::load(Some(folder.path())).unwrap();
        let identity = ImageIdentity::docker(&"h.example/ns/app:v1".parse().unwrap());
        let base = lookaside.0.config.lookaside(&identity, Direction::Read).unwrap();
        assert!(place(base).starts_with("/sigs/ns/app@sha256="), "{}", place(base));
        assert!(place(base).ends_with("/signature-2"));
        assert!(Lookaside::load(Some(Path::new("/nonexistent"))).is_err(), "it was named");
        fs::write(folder.path().join("d.yaml"), "docker: [").unwrap();
        assert!(Lookaside::load(Some(folder.path())).unwrap_err().to_string().contains("d.yaml"));
    }

    #[test]
    fn a_folder_that_leads_nowhere_is_no_empty_one() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("registries.d");
        assert_eq!(usual_folder(Some(folder.clone())).unwrap(), Path::new(SYSTEM));
        assert!(read_folder(&folder).unwrap().is_empty());
        std::os::unix::fs::symlink("/nowhere/registries.d", &folder).unwrap();
        assert_eq!(usual_folder(Some(folder.clone())).unwrap(), folder);
        read_folder(&folder).unwrap_err();
        usual_folder(Some(folder.join("below"))).unwrap_err();
    }

    /// Signatures that a registry keeps or has attached do not depend on a home.
    #[test]
    fn without_a_place_there_is_still_a_storage() {
        let files =
            [("x.yaml", "docker: {h.example: {use-sigstore-attachments: true}}".as_bytes())];
        let places = Places { config: RegistriesD::parse(files).unwrap(), usual: None };
        let http = Net::default().client(&TlsOptions::default()).unwrap();
        for (reference, attachments) in [("h.example/a:1", true), ("other.example/a:1", false)] {
            let storage = places.storage(&reference.parse().unwrap(), &http);
            assert!(storage.read.is_none() && storage.write.is_none());
            assert_eq!(storage.attachments, attachments, "{reference}");
        }
    }

    #[test]
    fn every_user_has_a_usual_place() {
        let base = usual_base(Some(Path::new("/home/a%41 b"))).unwrap();
        let place = place(&base);
        let expected =
            ["/var/lib/containers/sigstore/", "/home/a%41 b/.local/share/containers/sigstore/"];
        assert!(expected.iter().any(|start| place.starts_with(start)), "{place}");
    }
}
