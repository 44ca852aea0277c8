//! Any bytes may be stored as a sigstore signature: payload, log entry, certificate and chain are judged.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Signature, Transport};
use securecp_trust::{Gate, Judged, Policy, Subject};

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/signed-keyless/manifest.json");
const POLICY: &[u8] = include_bytes!("../../testdata/trust/policy-keyless.json");
const ROOT: &[u8] =
    include_bytes!("../../testdata/trust/keys/sigstore-mock/fulcio-root.pem");
const LOG: &[u8] = include_bytes!("../../testdata/trust/keys/sigstore-mock/rekor.pub");
const SIGNED: &[u8] = include_bytes!("../../testdata/trust/signed-keyless/signature-1");

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

fn payload(signature: &Signature) -> &[u8] {
    match signature {
        Signature::Simple(_) => b"",
        Signature::Sigstore { payload, .. } => payload,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(signature) = Signature::parse(Bytes::copy_from_slice(bytes)) else { return };
    let signed = Signature::parse(Bytes::from_static(SIGNED)).expect("the vector can be read");
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let keys = |path: &str| Ok(if path.ends_with("rekor.pub") { LOG } else { ROOT }.to_vec());
    let survey = Survey {
        identity: ImageIdentity::path(Transport::Dir, "/somewhere"),
        subject: Subject::new(
            manifest.expect("the vector can be read"),
            Ok(vec![signature.clone()]),
        ),
    };
    let policy = Policy::parse(POLICY).expect("the vector can be read");
    if policy.judge(&survey, &Gate::new(&keys)).accepted {
        assert_eq!(payload(&signature), payload(&signed));
    }
});
