//! What tests of signatures begin with: an image of two platforms, and where its signatures are kept.

use serde_json::Value;

use super::{Place, image};

/// Makes an image of two platforms in `oci:image:v1`; gives the digests of its index and of its images.
pub(crate) fn signable(place: &Place) -> Vec<String> {
    let index = image::two_platforms(&place.path("image"));
    let bytes = std::fs::read(image::blob(&place.path("image"), &index)).unwrap();
    let read: Value = serde_json::from_slice(&bytes).unwrap();
    let entries = read["manifests"].as_array().unwrap().clone();
    let images = entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned());
    [index].into_iter().chain(images).collect()
}

/// Writes `registries.d`: whether registries have attachments. Other signatures lie in `lookaside`.
pub(crate) fn attachments(place: &Place, used: bool) {
    let store = place.path("lookaside");
    let text = format!(
        "default-docker:\n  use-sigstore-attachments: {used}\n  lookaside: file://{}\n",
        store.display()
    );
    place.write("registries.d/default.yaml", text);
}
