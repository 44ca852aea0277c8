//! Signatures made and judged: containers-policy.json(5), simple signing, sigstore. Byte slices in, verdicts out; no
//! file and no socket.
//!
//! What it refuses: policies with any foreign, duplicate, empty or mistyped member; images for which a requirement is
//! not met, whose signatures could not be fetched, or of which nothing was there to be judged.
//!
//! Start at [`Policy::parse`] and [`Policy::admit`]: the only way to an [`Admitted`], from which alone copies are
//! planned.
//!
//! ```
//! use securecp_oci::{ImageIdentity, Reference};
//! use securecp_trust::Policy;
//! let policy = Policy::parse(br#"{"default": [{"type": "reject"}]}"#)?;
//! let reference: Reference = "busybox".parse()?;
//! let (scope, requirements) = policy.scope_for(&ImageIdentity::docker(&reference));
//! assert_eq!(scope.to_string(), "default");
//! assert_eq!(requirements[0].kind().name(), "reject");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod gate;
mod openpgp;
mod payload;
mod policy;
mod registries_d;
mod signed;
mod sigstore;
mod simple;
mod verdict;
mod vouch;

pub use gate::{
    Admitted, FetchFailure, Gate, IndexSignature, Judged, KEY_LIMIT, KeyReader, Subject,
};
pub use openpgp::{FreshKey, SignError, SimpleSigner, confirm_simple};
pub use payload::{Payload, PayloadError, PayloadKind, SignIdentityError, sign_identity};
pub use policy::{
    FulcioTrust, KeyType, Material, POLICY_LIMIT, PkiTrust, Policy, PolicyError, PolicyFault,
    Requirement, RequirementKind, ScopeUsed, SignedBy, SignedIdentity, SigstoreSigned,
    SigstoreTrust,
};
pub use registries_d::{
    Direction, LookasideBase, LookasideError, REGISTRIES_D_LIMIT, RegistriesD, RegistriesDError,
    SignaturePlace,
};
pub use sigstore::{
    ArtifactFault, AttachmentCheck, AttachmentDraft, BUNDLE_MEDIA_TYPE, BundleArtifact,
    BundleCheck, BundleDraft, BundleFault, BundleHolder, BundleLogEntry, CertificateFault,
    ChangeRecord, Evidence, Found, FoundVerdict, LogEntryFault, LogVersion, PublicKeyFault,
    RECORD_LIMIT, RECORD_PREDICATE, RecordError, RecordFault, RecordVerdict, RecordedChange,
    RecordedEvidence, RecordedRecipients, RecordedRequirement, RecordedSource, RecordedVerdict,
    RuleFault, SignedDraft, SignerCertificate, SignerFault, SigstoreFault, SigstoreKey,
    SigstoreKeyError, SigstoreKeyFault, SigstoreSignError, SigstoreSigner, StoredBundle,
    StoredRecords, TRUST_FILE_LIMIT, TRUSTED_ROOT_LIMIT, TimestampFault, TimestampQuery,
    TrustDemand, TrustDenial, TrustExplanation, TrustFault, TrustFile, TrustFileError, TrustReport,
    TrustVerdict, TrustedRootError,
};
pub use simple::{
    UnverifiedSimple, VerifiedSimple, VerifyError, dangerous_read_simple_unverified, verify_simple,
};
pub use verdict::{
    Denial, KeyFault, Outcome, Refusal, RequirementVerdict, SignatureFault, SignatureVerdict,
    Signer, SubjectVerdict, Verdict,
};
pub use vouch::{Judgement, NotVouched, Vouched, WitnessError, Witnesses};
