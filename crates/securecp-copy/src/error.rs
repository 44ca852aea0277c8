use std::error::Error;
use std::fmt::{self, Display};

use securecp_layer::{LayerError, Stopped};
use securecp_oci::{Digest, ManifestError, PlatformWish};
use securecp_transport::TransportError;
use securecp_trust::Refusal;

use crate::evidence::EvidenceError;
use crate::names::NameState;
use crate::plan::{PlanError, shown};
use crate::protection::Protection;

/// What was being done when a copy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the manifest that the name stands for.
    Open,
    /// Reading what it names, and signatures.
    Survey,
    /// Asking the policy.
    Admit,
    /// Looking for evidence beside what was admitted.
    Evidence,
    /// Looking at the destination.
    Probe,
    /// Making the plan.
    Plan,
    /// Beginning to write.
    Begin,
    /// Copying blobs.
    Blob,
    /// Writing manifests.
    Manifest,
    /// Writing signatures.
    Signatures,
    /// Looking whether everything arrived.
    ReadBack,
    /// Moving the names that the user gave.
    Commit,
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open | Self::Survey => "initializing",
            Self::Admit => "judging",
            Self::Evidence => "looking for evidence at",
            Self::Probe => "looking at",
            Self::Plan => "planning for",
            Self::Begin => "beginning to write",
            Self::Blob => "writing blob",
            Self::Manifest => "writing manifest",
            Self::Signatures => "writing signatures",
            Self::ReadBack => "reading back from",
            Self::Commit => "committing",
        })
    }
}

/// On which side a copy failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the image is.
    Source,
    /// Where it is to be.
    Destination,
}

impl Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// A copy that failed: phase, side, place and cause.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
pub struct CopyError {
    /// What was being done.
    pub phase: Phase,
    /// On which side, where it can be told.
    pub side: Option<Side>,
    /// `TRANSPORT:REST` of that side, empty if there is none.
    pub place: String,
    /// Why.
    #[source]
    pub cause: Cause,
}

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// A source or destination failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Some names did not move.
    #[error("{}", names_left(names))]
    Names {
        /// Every name of the job, and what became of it.
        names: Vec<(String, NameState)>,
        /// Why.
        source: Box<Cause>,
    },
    /// A name stands for what must not be replaced.
    #[error("{name} is expected to stand for {expected}, but stands for {}", shown(found.as_ref()))]
    Protected {
        /// The name.
        name: String,
        /// What it may stand for.
        expected: Protection,
        /// What it stands for.
        found: Option<Digest>,
    },
    /// Somebody else moved a name at the same time.
    #[error("{name} was moved to {wanted} and stands for {} now: another writer was faster", shown(found.as_ref()))]
    LostRace {
        /// The name.
        name: String,
        /// What it was moved to.
        wanted: Digest,
        /// What it stands for.
        found: Option<Digest>,
    },
    /// The policy refused the image.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The request cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A manifest could not be edited.
    #[error("editing manifest")]
    Edit(#[from] ManifestError),
    /// A manifest could not be converted.
    #[error("converting manifest")]
    Convert(#[from] securecp_oci::ConvertError),
    /// No manifest of the index serves the platform.
    #[error(
        "no image found in manifest list for architecture {:?}, variant {:?}, OS {:?}",
        wish.architecture, wish.variant.as_deref().unwrap_or_default(), wish.os
    )]
    NoPlatform {
        /// What was asked for.
        wish: PlatformWish,
        /// The platforms that there are.
        there: Vec<String>,
    },
    /// Two descriptions of one thing do not agree.
    #[error("descriptors of {digest} contradict each other: {said}, and {found}")]
    Contradiction {
        /// What is described.
        digest: securecp_oci::Digest,
        /// One description.
        said: String,
        /// The other, or what was found.
        found: String,
    },
    /// An index names more manifests, or nests deeper, than is read.
    #[error("index is too large: {0}")]
    TooMany(String),
    /// Evidence cannot be carried.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A manifest came out with another digest than planned.
    #[error("manifest changed: planned {planned}, made {made}")]
    Changed {
        /// The digest that the plan promised.
        planned: securecp_oci::Digest,
        /// The digest that came out.
        made: securecp_oci::Digest,
    },
    /// A new signature could not be made.
    #[error("signing with {signer}")]
    Signing {
        /// The signer.
        signer: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Of a manifest that was not admitted, or does not change, there is nothing to record.
    #[error("there is nothing to record of {digest}")]
    NothingToRecord {
        /// The manifest.
        digest: Digest,
    },
    /// The job was stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl CopyError {
    pub(crate) fn transport(
        phase: Phase,
        side: Side,
        place: String,
        cause: TransportError,
    ) -> Self {
        Self { phase, side: Some(side), place, cause: cause.into() }
    }

    /// On no side.
    pub(crate) fn local(phase: Phase, cause: Cause) -> Self {
        Self { phase, side: None, place: String::new(), cause }
    }

    /// `place` is said only where it is one of many.
    pub(crate) fn refused(place: String, refusal: Refusal) -> Self {
        Self {
            phase: Phase::Admit,
            side: Some(Side::Source),
            place,
            cause: Cause::Refused(Box::new(refusal)),
        }
    }

    pub(crate) fn plan(error: PlanError) -> Self {
        Self { phase: Phase::Plan, side: None, place: String::new(), cause: error.into() }
    }

    fn headline(&self) -> String {
        match (self.side, self.place.is_empty(), self.phase) {
            (Some(side), false, phase) => format!("{phase} {side} {}", self.place),
            (_, _, Phase::Admit) => "the policy does not admit this image".to_owned(),
            (_, _, phase @ (Phase::Blob | Phase::Manifest | Phase::Signatures)) => {
                format!("{phase} of this copy")
            }
            (_, _, phase) => format!("{phase} this copy"),
        }
    }

    /// Whether the image asked for definitely does not exist.
    pub fn is_not_found(&self) -> bool {
        let missing = matches!(&self.cause, Cause::Transport(error) if error.is_not_found());
        missing && self.phase == Phase::Open
    }

    /// Whether the command line asks for what nobody could do.
    pub fn is_usage(&self) -> bool {
        matches!(&self.cause, Cause::Evidence(error) if error.is_usage())
    }

    /// Whether the policy refused the image.
    pub fn is_refused(&self) -> bool {
        self.refusal().is_some()
    }

    /// What the policy found, if it refused the image.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether somebody asked to stop, or the time was over.
    pub fn is_stopped(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if matches!(error.downcast_ref(), Some(Stopped::Cancelled | Stopped::Deadline { .. })) {
                return true;
            }
            next = error.source();
        }
        matches!(self.cause, Cause::Stopped(_))
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(&self.cause, Cause::Transport(error) if error.is_transient())
    }

    /// What became of each name, where they could not all be given.
    pub fn names(&self) -> Option<&[(String, NameState)]> {
        match &self.cause {
            Cause::Names { names, .. } => Some(names),
            _ => None,
        }
    }
}

/// Which names moved and which did not.
fn names_left(names: &[(String, NameState)]) -> String {
    let list = |wanted: &[NameState]| {
        let names = names.iter().filter(|(_, state)| wanted.contains(state));
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let lists = [
        ("moved", list(&[NameState::Moved, NameState::Stands])),
        ("lost to another writer", list(&[NameState::Lost])),
        ("not known", list(&[NameState::Unclear])),
        ("not moved", list(&[NameState::NotMoved])),
    ];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    lists.map(|(what, names)| format!("{what}: {names}")).collect::<Vec<_>>().join("; ")
}

/// The side that an error of a blob on its way belongs to: what the chain says is the source's.
pub(crate) fn side_of(error: &TransportError) -> Side {
    match error {
        TransportError::Layer(LayerError::Spool(_)) => Side::Destination,
        TransportError::Layer(_) => Side::Source,
        _ => Side::Destination,
    }
}
