//! What single registries do differently, as data. Each row names what was seen, and where.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a host takes blobs in pieces, if one request is too large for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// It does not, whatever the specification says.
    Never,
    /// Of at most this many bytes.
    UpTo(u64),
}

/// One row: hosts that match the pattern and what they do.
struct Row {
    /// The whole host, or `*.` and the end of it; further `*` stand for one label.
    pattern: &'static str,
    pieces: Pieces,
    /// Whether the `Range` of its answers to pieces can be believed.
    range_is_true: bool,
    /// Whether large blobs may go in large pieces, so that they can be continued.
    resumes: bool,
}

/// Where nothing is known: 8 MiB are above the 5 MiB that stores behind registries want and below every limit met.
const USUAL: Row =
    Row { pattern: "", pieces: Pieces::UpTo(8 << 20), range_is_true: true, resumes: true };

const ROWS: &[Row] = &[
    // Only whole blobs; pieces are refused (dotnet/sdk-container-builds#287, kitops#780).
    Row { pattern: "gcr.io", pieces: Pieces::Never, resumes: false, ..USUAL },
    Row { pattern: "*.gcr.io", pieces: Pieces::Never, resumes: false, ..USUAL },
    Row { pattern: "*.pkg.dev", pieces: Pieces::Never, resumes: false, ..USUAL },
    // PATCH bodies from 4 MiB on are answered with 416 (rust-oci-client#35).
    Row { pattern: "ghcr.io", pieces: Pieces::UpTo(3_500 << 10), resumes: false, ..USUAL },
    // The range stays that of the first piece (aws/containers-roadmap#2831).
    Row { pattern: "*.dkr.ecr.*.amazonaws.com", range_is_true: false, resumes: false, ..USUAL },
    Row { pattern: "*.dkr.ecr.*.amazonaws.com.cn", range_is_true: false, resumes: false, ..USUAL },
    Row { pattern: "public.ecr.aws", range_is_true: false, resumes: false, ..USUAL },
];

// What other registries do needs no row because it is done for all: any failure of a mount becomes an upload (Harbor,
// Docker Hub, GitLab), manifests always state their length (Nexus), entries of tag lists that are null or digests are
// left out (Nexus, Artifactory), a missing challenge is asked for at the front door (gcr.io), 201 to a piece is taken
// (ECR), relative locations are resolved (GAR, ACR), http locations behind https are raised (Harbor, GitLab).

/// A host's row, with what was learned on top.
#[derive(Debug)]
pub(crate) struct Profile {
    pieces: Pieces,
    range_is_true: bool,
    /// The size of pieces once one request was too large; 0 before.
    learned: AtomicU64,
    resumes: AtomicBool,
}

impl Profile {
    pub(crate) fn of(host: &str) -> Self {
        let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let row = ROWS.iter().find(|row| matches(row.pattern, &name)).unwrap_or(&USUAL);
        Self {
            pieces: row.pieces,
            range_is_true: row.range_is_true,
            learned: AtomicU64::new(0),
            resumes: AtomicBool::new(row.resumes),
        }
    }

    /// The size of pieces, if blobs must be sent so.
    pub(crate) fn pieces(&self) -> Option<u64> {
        Some(self.learned.load(Ordering::Relaxed)).filter(|size| *size > 0)
    }

    /// One request was too large: whether pieces may help, from now on for every blob.
    pub(crate) fn learn_pieces(&self) -> bool {
        match self.pieces {
            Pieces::Never => false,
            Pieces::UpTo(size) => self.learned.swap(size, Ordering::Relaxed) == 0,
        }
    }

    /// Whether large blobs may go in large pieces. Not where a limit wants small ones.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes.load(Ordering::Relaxed) && self.pieces().is_none()
    }

    /// A large piece was refused: large blobs go whole from now on.
    pub(crate) fn learn_no_resuming(&self) {
        self.resumes.store(false, Ordering::Relaxed);
    }

    pub(crate) fn range_is_true(&self) -> bool {
        self.range_is_true
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            // A star takes at least one character and may take dots only at the very beginning of the pattern.
            (1..=rest.len()).filter(|end| rest.is_char_boundary(*end)).any(|end| {
                let taken = &rest[..end];
                (before.is_empty() || !taken.contains('.')) && matches(after, &rest[end..])
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_row_of_a_host() {
        for (host, pieces, range) in [
            ("gcr.io", Pieces::Never, true),
            ("eu.gcr.io", Pieces::Never, true),
            ("europe-west1-docker.pkg.dev:443", Pieces::Never, true),
            ("GHCR.io", Pieces::UpTo(3_500 << 10), true),
            ("123.dkr.ecr.eu-west-1.amazonaws.com", Pieces::UpTo(8 << 20), false),
            ("evilgcr.io.example", Pieces::UpTo(8 << 20), true),
            ("notgcr.io", Pieces::UpTo(8 << 20), true),
            ("x.dkr.ecr.a.b.amazonaws.com", Pieces::UpTo(8 << 20), true),
            ("127.0.0.1:5000", Pieces::UpTo(8 << 20), true),
        ] {
            let found = Profile::of(host);
            assert_eq!((found.pieces, found.range_is_true), (pieces, range), "{host}");
        }
    }

    #[test]
    fn large_pieces_go_only_where_they_are_known_to_do_no_harm() {
        for host in ["gcr.io", "ghcr.io", "1.dkr.ecr.a.amazonaws.com", "public.ecr.aws"] {
            assert!(!Profile::of(host).resumes(), "{host}");
        }
        let (refusing, limited) = (Profile::of("r.example"), Profile::of("r.example"));
        assert!(refusing.resumes() && limited.resumes());
        refusing.learn_no_resuming();
        assert!(limited.learn_pieces());
        assert!(!refusing.resumes() && !limited.resumes());
    }

    #[test]
    fn pieces_are_learned_once_and_never_where_they_do_not_help() {
        let usual = Profile::of("r.example");
        assert_eq!(usual.pieces(), None);
        assert!(usual.learn_pieces() && !usual.learn_pieces());
        assert_eq!(usual.pieces(), Some(8 << 20));
        let never = Profile::of("gcr.io");
        assert!(!never.learn_pieces() && never.pieces().is_none());
    }
}
