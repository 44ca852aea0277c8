//! The one conformance suite, run against every transport, and what is particular to each.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod archive;
mod daemon;
mod dir;
mod hostile;
mod interop;
mod layout_evidence;
mod oci;
mod partial;
mod registry;
mod suite;

use std::fs;
use std::path::PathBuf;

use securecp_transport::{
    Destination, DestinationOptions, Source, SourceOptions, TransportError, open_destination,
    open_source,
};
use suite::Fixture;
use tempfile::TempDir;

/// A transport whose images live at a path: `TRANSPORT:PLACE/image SUFFIX`.
struct OnDisk {
    place: TempDir,
    transport: &'static str,
    suffix: &'static str,
    keeps_blobs: bool,
    shared: Option<PathBuf>,
}

impl OnDisk {
    fn dir() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { place, transport: "dir", suffix: "", keeps_blobs: false, shared: None }
    }

    fn oci() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { place, transport: "oci", suffix: ":v1", keeps_blobs: true, shared: None }
    }

    fn oci_with_shared_blobs() -> Self {
        let mut found = Self::oci();
        let shared = found.place.path().join("shared");
        fs::create_dir(&shared).unwrap();
        found.shared = Some(shared);
        found
    }

    fn oci_archive() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self { place, transport: "oci-archive", suffix: ":v1", keeps_blobs: false, shared: None }
    }

    fn docker_archive() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self {
            place,
            transport: "docker-archive",
            suffix: ":x:v1",
            keeps_blobs: false,
            shared: None,
        }
    }

    fn in_existing_folder(self) -> Self {
        fs::create_dir(self.place.path().join("image")).unwrap();
        self
    }

    fn name(&self) -> securecp_oci::ImageName {
        let path = self.place.path().join("image");
        format!("{}:{}{}", self.transport, path.display(), self.suffix).parse().unwrap()
    }
}

impl Fixture for OnDisk {
    fn source(&self) -> Result<Box<dyn Source>, TransportError> {
        open_source(
            &self.name(),
            &SourceOptions { shared_blob_dir: self.shared.clone(), ..SourceOptions::default() },
        )
    }

    fn destination(&self) -> Box<dyn Destination> {
        let options = DestinationOptions {
            shared_blob_dir: self.shared.clone(),
            ..DestinationOptions::default()
        };
        open_destination(&self.name(), &options).unwrap()
    }

    fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.place.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with('.') {
                    found.push(name);
                } else if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        found
    }

    fn make_unwritable(&mut self) {
        // The one thing that stops even root, who runs these tests in a container.
        let path = self.place.path().join("image");
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        fs::write(path, "a file").unwrap();
    }

    fn refuses_to_replace(&self) -> Option<&'static str> {
        let never = self.transport == "docker-archive";
        never.then_some("docker-archive doesn't support modifying existing images")
    }

    fn keeps_manifests(&self) -> bool {
        self.transport != "docker-archive"
    }

    fn keeps_blobs(&self) -> bool {
        self.keeps_blobs
    }
}

conformance!(dir_place, crate::OnDisk::dir());
conformance!(dir_place_in_an_empty_folder, crate::OnDisk::dir().in_existing_folder());
conformance!(oci_place, crate::OnDisk::oci());
conformance!(oci_place_in_an_empty_folder, crate::OnDisk::oci().in_existing_folder());
conformance!(oci_place_with_shared_blobs, crate::OnDisk::oci_with_shared_blobs());
conformance!(oci_archive_place, crate::OnDisk::oci_archive());
conformance!(docker_archive_place, crate::OnDisk::docker_archive());
conformance!(docker_daemon_place, crate::daemon::StandIn::new());
conformance!(docker_place, crate::registry::Repository::new());
conformance!(docker_place_with_signatures, crate::registry::Repository::with_signatures());
