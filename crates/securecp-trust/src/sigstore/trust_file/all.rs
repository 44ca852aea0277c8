//! A trust file over everything that one copy would bring along.

use securecp_oci::ImageIdentity;

use super::{Evidence, TrustFile, TrustReport, TrustVerdict};
use crate::gate::{Gate, IndexSignature, Subject, names};

impl TrustFile {
    /// Judges everything that was found. An index counts as the gate says.
    pub(crate) fn judge_all(
        &self,
        image: &ImageIdentity,
        subjects: &[&Subject],
        gate: &Gate<'_>,
    ) -> TrustReport {
        let (accepted, manifests) = Bench { file: self, image, gate }.judge_all(subjects);
        TrustReport { accepted, manifests }
    }
}

struct Bench<'a> {
    file: &'a TrustFile,
    image: &'a ImageIdentity,
    gate: &'a Gate<'a>,
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
        let Subject { manifest, signatures, bundles } = subject;
        let evidence = Evidence { bundles, attachments: signatures };
        self.file.judge(self.image, manifest, evidence, self.gate.keys)
    }
}
