//! Sigstore: signatures by keys and by short-lived certificates, their log entries, and bundles. Judged exactly as containers/image does, made in the form that it writes.
//!
//! Nothing here reads a file or a socket: keys, certificates and trusted roots come in as bytes, and so does the time.

mod annotation;
mod artifact;
mod attachment_check;
mod bundle;
mod certificate;
mod claims;
mod draft;
mod evidence;
mod fault;
mod issued;
mod log_entry;
mod pem;
mod private_key;
mod provider;
mod public_key;
mod record;
mod requirement;
mod signer;
mod timestamp;
mod trust_file;
mod trusted_root;

pub use artifact::{ArtifactFault, BundleArtifact, StoredBundle};
pub use attachment_check::AttachmentCheck;
pub use bundle::{BUNDLE_MEDIA_TYPE, BundleFault};
pub(crate) use bundle::{Candidate, Wanted};
pub use certificate::CertificateFault;
pub use draft::{BundleCheck, BundleDraft, BundleHolder, BundleLogEntry, LogVersion, SignedDraft};
pub(crate) use evidence::Evidence as AttachedEvidence;
pub use fault::{SigstoreFault, SigstoreKeyFault};
pub use issued::SignerCertificate;
pub use log_entry::LogEntryFault;
pub use private_key::{SigstoreKey, SigstoreKeyError};
pub(crate) use public_key::PublicKey;
pub use public_key::PublicKeyFault;
pub use record::{
    ChangeRecord, RECORD_LIMIT, RECORD_PREDICATE, RecordError, RecordedChange, RecordedEvidence,
    RecordedRecipients, RecordedRequirement, RecordedSource, RecordedVerdict,
};
pub(crate) use requirement::{lone_keys, sigstore_signed};
pub use signer::{AttachmentDraft, SigstoreSignError, SigstoreSigner};
pub use timestamp::{TimestampFault, TimestampQuery};
pub(crate) use trust_file::{Endorsed, Trusted};
pub use trust_file::{
    Evidence, Found, FoundVerdict, RecordFault, RecordVerdict, RuleFault, SignerFault,
    StoredRecords, TRUST_FILE_LIMIT, TrustDemand, TrustDenial, TrustExplanation, TrustFault,
    TrustFile, TrustFileError, TrustReport, TrustVerdict,
};
pub(crate) use trusted_root::TrustedRoot;
pub use trusted_root::{TRUSTED_ROOT_LIMIT, TrustedRootError};
