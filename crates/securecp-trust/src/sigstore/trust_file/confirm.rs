//! A trust file over everything that a policy has admitted.

use std::fmt::{self, Display};

use bytes::Bytes;
use securecp_oci::{Digest, ImageIdentity};

use super::{Evidence, TrustFile, TrustVerdict};
use crate::gate::{Admitted, FetchFailure, Gate, IndexSignature, Judged, Subject, names};

/// The content of the bundles that refer to a manifest, or why they could not be had.
pub type BundleReader<'a> = &'a dyn Fn(&Digest) -> Result<Vec<Bytes>, FetchFailure>;

/// What a trust file does not let through, with everything that it judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRefusal(Vec<TrustVerdict>);

impl TrustRefusal {
    /// What was judged.
    pub fn verdicts(&self) -> &[TrustVerdict] {
        &self.0
    }
}

impl std::error::Error for TrustRefusal {}

impl Display for TrustRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("source image rejected by the trust file: ")?;
        let refused = self.0.iter().find(|verdict| !verdict.accepted);
        match refused.map(|verdict| (&verdict.digest, &verdict.denial)) {
            Some((digest, Some(denial))) => write!(f, "{digest}: {denial}"),
            _ => f.write_str("nothing was there to be judged"),
        }
    }
}

impl TrustFile {
    /// Judges everything that was admitted, and lets it through, whole or not at all. An index counts as the gate says.
    ///
    /// # Errors
    /// A manifest is not signed by those who must have signed it.
    pub fn confirm<F: Judged>(
        &self,
        admitted: Admitted<F>,
        gate: &Gate<'_>,
        bundles: BundleReader<'_>,
    ) -> Result<(Admitted<F>, Vec<TrustVerdict>), TrustRefusal> {
        let found = admitted.found();
        let bench = Bench { file: self, image: found.identity(), gate, bundles };
        let (accepted, verdicts) = bench.judge_all(&found.subjects());
        if accepted { Ok((admitted, verdicts)) } else { Err(TrustRefusal(verdicts)) }
    }
}

struct Bench<'a> {
    file: &'a TrustFile,
    image: &'a ImageIdentity,
    gate: &'a Gate<'a>,
    bundles: BundleReader<'a>,
}

impl Bench<'_> {
    /// Whether everything may pass, and what was judged to find out.
    fn judge_all(&self, subjects: &[&Subject]) -> (bool, Vec<TrustVerdict>) {
        let mode = self.gate.index_signature;
        let has_instances = |index: &Subject| subjects.iter().any(|other| names(index, other));
        let (indexes, leaves): (Vec<&Subject>, Vec<&Subject>) = subjects
            .iter()
            .copied()
            .partition(|s| s.manifest.index().is_some() && has_instances(s));
        let mut verdicts = Vec::new();
        let mut accepted = !subjects.is_empty();
        let mut vouching: Vec<&Subject> = Vec::new();
        if mode != IndexSignature::Ignore {
            for index in indexes {
                let verdict = self.judge(index);
                match mode {
                    IndexSignature::Require => accepted &= verdict.accepted,
                    _ if verdict.accepted => vouching.push(index),
                    _ => {}
                }
                verdicts.push(verdict);
            }
        }
        for leaf in leaves {
            if !vouching.iter().any(|index| names(index, leaf)) {
                let verdict = self.judge(leaf);
                accepted &= verdict.accepted;
                verdicts.push(verdict);
            }
        }
        (accepted, verdicts)
    }

    fn judge(&self, subject: &Subject) -> TrustVerdict {
        let (wants_bundles, _) = self.file.wants(self.image);
        let bundles = match wants_bundles {
            true => (self.bundles)(subject.manifest.digest()),
            false => Ok(Vec::new()),
        };
        let evidence = Evidence { bundles: &bundles, attachments: &subject.signatures };
        self.file.judge(self.image, &subject.manifest, evidence, self.gate.keys)
    }
}
