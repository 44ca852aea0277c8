//! The one conformance suite, run against every transport, and what is particular to each.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod archive;
mod daemon;
mod dir;
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

    fn make_unwritable(&self) -> bool {
        // The one thing that stops even root, who runs these tests in a container.
        fs::write(self.place.path().join("image"), "a file").unwrap();
        true
    }

    fn keeps_manifests(&self) -> bool {
        self.transport != "docker-archive"
    }

    fn keeps_blobs(&self) -> bool {
        self.keeps_blobs
    }
}

conformance!(dir_place, crate::OnDisk::dir());
conformance!(
    dir_place_in_an_empty_folder,
    crate::OnDisk::dir().in_existing_folder(),
    reads_back_what_was_copied_in,
    leaves_nothing_when_dropped,
    replaces_an_image
);
conformance!(oci_place, crate::OnDisk::oci());
conformance!(
    oci_place_in_an_empty_folder,
    crate::OnDisk::oci().in_existing_folder(),
    reads_back_what_was_copied_in,
    leaves_nothing_when_dropped,
    replaces_an_image,
    looking_has_no_effect,
    refuses_bytes_that_are_not_as_promised
);
conformance!(
    oci_place_with_shared_blobs,
    crate::OnDisk::oci_with_shared_blobs(),
    reads_back_what_was_copied_in,
    reads_back_an_index_with_its_children,
    replaces_an_image,
    says_not_found_for_what_is_missing
);
conformance!(oci_archive_place, crate::OnDisk::oci_archive());
conformance!(
    docker_archive_place,
    crate::OnDisk::docker_archive(),
    reads_back_what_was_copied_in,
    says_not_found_for_what_is_missing,
    leaves_nothing_when_dropped,
    looking_has_no_effect,
    refuses_bytes_that_are_not_as_promised,
    refuses_to_commit_what_is_not_there,
    ends_with_its_scope,
    says_that_it_cannot_write
);
conformance!(
    docker_daemon_place,
    crate::daemon::StandIn::new(),
    reads_back_what_was_copied_in,
    says_not_found_for_what_is_missing,
    leaves_nothing_when_dropped,
    looking_has_no_effect,
    replaces_an_image,
    refuses_bytes_that_are_not_as_promised,
    refuses_to_commit_what_is_not_there,
    ends_with_its_scope
);
// A registry takes a manifest together with its tag, so committing what was not put before is no failure there.
conformance!(
    docker_place,
    crate::registry::Repository::new(),
    reads_back_what_was_copied_in,
    reads_back_an_index_with_its_children,
    says_not_found_for_what_is_missing,
    leaves_nothing_when_dropped,
    looking_has_no_effect,
    tells_the_truth_about_what_is_there,
    replaces_an_image,
    refuses_bytes_that_are_not_as_promised,
    a_failure_leaves_the_image_that_is_there,
    puts_blobs_in_parallel,
    carries_signatures_or_refuses_them,
    ends_with_its_scope
);
conformance!(
    docker_place_with_signatures,
    crate::registry::Repository::with_signatures(),
    reads_back_what_was_copied_in,
    carries_signatures_or_refuses_them
);
