//! Names and facts of container images, without any I/O.
//!
//! Digests, references, media types, descriptors, manifests, platforms and the one strict JSON reader that every other
//! crate of this project uses. Everything here is parsed once into a type that cannot hold an invalid value.
//!
//! What it refuses: documents with duplicate keys, trailing bytes, keys of two manifest formats, a media type that
//! contradicts the transport's, more than [`MANIFEST_LIMIT`] bytes, deep nesting.
//!
//! Start at [`RawManifest`]: exact bytes, their digest and media type, and a parsed view. [`convert_image`] and
//! [`convert_index`] turn it into the other format, with the bytes that the reference would write; [`Schema1`] reads
//! Docker's oldest format.
//!
//! ```
//! use securecp_oci::{Algorithm, Digest, Reference};
//! let reference: Reference = "busybox".parse()?;
//! assert_eq!(reference.to_string(), "docker.io/library/busybox:latest");
//! let digest = Digest::of(Algorithm::Sha256, b"");
//! assert!(digest.to_string().starts_with("sha256:e3b0c44298fc1c14"));
//! # Ok::<(), securecp_oci::ReferenceError>(())
//! ```

mod attachment;
pub mod base64;
mod beside;
mod convert;
mod descriptor;
mod digest;
mod edit;
mod go;
mod identity;
pub mod json;
mod layer_type;
mod manifest;
mod media_type;
mod name;
mod platform;
mod reference;
mod schema1;
mod signature;
mod spelling;
mod text;
mod union;

pub use attachment::{
    ATTACHMENT_LIMIT, Attachment, AttachmentError, Blob, NewAttachment, attachment_tag,
};
pub use beside::{Attached, is_evidence_name, referrers_tag};
pub use convert::{
    ConvertError, Converted, LOST_LIMIT, ManifestFormat, convert_image, convert_index,
};
pub use descriptor::{Annotations, Descriptor};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use edit::Document;
pub use identity::ImageIdentity;
pub use layer_type::{LayerCompression, LayerFamily, LayerType};
pub use manifest::{
    CONFIG_LIMIT, Declared, Image, Index, MANIFEST_LIMIT, ManifestError, RawManifest, View,
};
pub use media_type::{ManifestKind, MediaType};
pub use name::{ImageName, NameError, Transport};
pub use platform::{Platform, PlatformWish};
pub use reference::{Reference, ReferenceError, Repository, Tag};
pub use schema1::{Schema1, Schema1Error};
pub use signature::{SIGNATURE_COUNT_LIMIT, SIGNATURE_LIMIT, Signature, SignatureError};
pub use text::{Escaped, WithCauses};
pub use union::{Joining, Union};
