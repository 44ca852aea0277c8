//! The engine: survey, plan, run.
//!
//! [`copy`] is the one path. It surveys the source (each manifest is read once and its bytes kept), lets the policy
//! admit exactly those bytes, looks at the destination without any effect, makes a [`Plan`] (pure data: the same inputs
//! give the same plan), runs it, reads back what was promised, and moves the names that the user gave last.
//!
//! What it refuses: whatever the policy does not admit, changes of digests that were to be preserved, losing signatures
//! silently, options that cannot take effect.
//!
//! Start at [`Job`] and [`copy`].

mod budget;
mod bundles;
mod cached;
mod chain;
mod edits;
mod error;
mod evidence;
mod follow;
mod job;
mod judge;
mod names;
mod noted;
mod parallel;
mod plan;
mod probe;
mod protection;
mod questions;
mod reach;
mod read_back;
mod record;
mod route;
mod run;
mod schedule;
mod schema1;
mod select;
mod signing;
mod survey;
mod whole;
mod written;

pub use chain::Step;
pub use edits::{BundleSigner, CacheUse, Edits, Encryption, ImageSigner, Recompression, Signing};
pub use error::{Cause, CopyError, Phase, Side};
pub use evidence::{
    Carried, Counts, Evidence, EvidenceBody, EvidenceChoice, EvidenceEdits, EvidenceError,
    EvidenceForm, EvidenceKind, EvidenceOf, EvidenceReceipt, Left, OnOrphaned, ReceiptRow, Skipped,
    Verified,
};
pub use follow::{
    FollowDenial, FollowError, Followed, FollowedManifest, FollowedSource, Following, OpenRecorded,
    follow,
};
pub use job::{Changed, Effort, Job, Outcome, Written, WrittenImage, WrittenName, copy};
pub use judge::{Trial, admit, judge};
pub use names::NameState;
pub use plan::{
    BlobAction, BlobWork, Change, CompressionMemory, EvidenceFate, EvidenceWork, FoundId,
    ManifestWork, Node, NodeId, Plan, PlanError, PlannedAttestation, PlannedEvidence, PlannedName,
    Produced, Reason, RecordWork, SignatureWork, Work,
};
pub use probe::{Name, There};
pub use protection::Protection;
pub use route::{Route, Target};
pub use select::{IndexMode, Select, host_platform};
pub use survey::{Found, FoundManifest};
