//! The keyless signature of the vectors with other annotations, judged.

use bytes::Bytes;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Signature, Transport};
use securecp_trust::{Gate, Judged, Policy, Subject};

const MANIFEST: &[u8] = include_bytes!("../../../testdata/trust/signed-keyless/manifest.json");
const POLICY: &[u8] = include_bytes!("../../../testdata/trust/policy-keyless.json");
const ROOT: &[u8] = include_bytes!("../../../testdata/trust/keys/sigstore-mock/fulcio-root.pem");
const LOG: &[u8] = include_bytes!("../../../testdata/trust/keys/sigstore-mock/rekor.pub");
const SIGNED: &[u8] = include_bytes!("../../../testdata/trust/signed-keyless/signature-1");

struct Survey {
    identity: ImageIdentity,
    subject: Subject,
}

impl Judged for Survey {
    fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    fn subjects(&self) -> Vec<&Subject> {
        vec![&self.subject]
    }
}

/// The signature with other texts for some of its annotations.
pub fn with(changes: &[(&str, &[u8])]) -> Signature {
    let signature = Signature::parse(Bytes::from_static(SIGNED)).expect("the vector can be read");
    let Signature::Sigstore { media_type, payload, mut annotations } = signature else {
        panic!("the vector is a sigstore signature")
    };
    for (key, text) in changes {
        let text = String::from_utf8_lossy(text).into_owned();
        assert!(annotations.insert((*key).to_owned(), text).is_some(), "{key}");
    }
    Signature::Sigstore { media_type, payload, annotations }
}

/// Whether it is accepted by those who trust this log and this root, the vectors' own if none is given.
pub fn accepted(signature: Signature, log: Option<&[u8]>, root: Option<&[u8]>) -> bool {
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let keys = |path: &str| {
        let own = if path.ends_with("rekor.pub") { log.unwrap_or(LOG) } else { root.unwrap_or(ROOT) };
        Ok(own.to_vec())
    };
    let survey = Survey {
        identity: ImageIdentity::path(Transport::Dir, "/somewhere"),
        subject: Subject::new(manifest.expect("the vector can be read"), Ok(vec![signature])),
    };
    let policy = Policy::parse(POLICY).expect("the vector can be read");
    policy.judge(&survey, &Gate::new(&keys)).accepted
}
