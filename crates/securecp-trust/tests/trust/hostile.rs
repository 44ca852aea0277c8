//! Bytes from an enemy: nothing may panic, and nothing may be accepted that was not signed.

use bytes::Bytes;
use proptest::prelude::*;
use securecp_oci::{ImageIdentity, Signature};
use securecp_trust::{Gate, Payload, PayloadKind, Policy, RegistriesD, verify_simple};

use crate::changes::{changed, changes};
use crate::simple::{NAME, keys, manifest, signed_by, testdata, then};
use crate::support::{Survey, subject};

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "valid-rsa",
        "valid-ed25519",
        "valid-uncompressed",
        "valid-bzip2",
        "two-signers",
        "encrypted-signed",
    ];
    prop::sample::select(names.to_vec()).prop_map(|name| testdata(&format!("gpg/{name}.sig")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_messages_say_what_was_signed_or_nothing(message in messages(), changes in changes()) {
        let message = changed(message, &changes);
        let rings = [testdata("gpg/key-rsa.gpg"), testdata("gpg/key-ed.gpg")].concat();
        if let Ok(verified) = verify_simple(&message, &rings, then()) {
            prop_assert_eq!(verified.payload.identity, NAME);
            prop_assert_eq!(verified.payload.digest, manifest().digest().clone());
        }
    }

    #[test]
    fn any_bytes_as_a_message(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let ring = testdata("gpg/key-rsa.gpg");
        prop_assert!(verify_simple(&bytes, &ring, then()).is_err());
        let first = [&[0xc4], bytes.as_slice()].concat();
        prop_assert!(verify_simple(&first, &ring, then()).is_err());
    }

    #[test]
    fn any_bytes_as_keys(bytes in prop::collection::vec(any::<u8>(), 0..200), changes in changes()) {
        let message = testdata("gpg/valid-rsa.sig");
        prop_assert!(verify_simple(&message, &bytes, then()).is_err());
        let _ = verify_simple(&message, &changed(testdata("gpg/key-rsa.gpg"), &changes), then());
        let _ = verify_simple(&message, &changed(testdata("keys/pgp-alice.pub.asc"), &changes), then());
    }

    #[test]
    fn stored_signatures_survive_the_round_trip(changes in changes(), both in any::<bool>()) {
        let name = if both { "signed-both/signature-2" } else { "signed-keyless/signature-1" };
        if let Ok(found) = Signature::parse(Bytes::from(changed(testdata(name), &changes))) {
            prop_assert_eq!(Signature::parse(found.to_blob()).unwrap(), found);
        }
    }

    #[test]
    fn changed_stored_signatures_are_never_accepted_for_another_image(changes in changes()) {
        let blob = changed(testdata("signed-pgp-alice/signature-1"), &changes);
        if let Ok(signature) = Signature::parse(Bytes::from(blob)) {
            let identity = ImageIdentity::docker(&"registry.securecp.test/other:v1".parse().unwrap());
            let survey = Survey { identity, subjects: vec![subject(manifest(), vec![signature])] };
            let policy = signed_by("keys/pgp-alice.pub.asc", "");
            prop_assert!(!policy.judge(&survey, &Gate::new(&keys).at(then())).accepted);
        }
    }

    #[test]
    fn changed_policies_are_read_or_refused(changes in changes()) {
        for name in ["policy-alice.json", "policy-keyless.json"] {
            if let Ok(policy) = Policy::parse(&changed(testdata(name), &changes)) {
                let identity = ImageIdentity::docker(&NAME.parse().unwrap());
                let (_, requirements) = policy.scope_for(&identity);
                prop_assert!(!requirements.is_empty());
            }
        }
    }

    #[test]
    fn changed_payloads_are_read_or_refused(changes in changes()) {
        let name = NAME.parse().unwrap();
        let payload = Payload::new(PayloadKind::Simple, manifest().digest(), &name, then()).unwrap();
        let bytes = changed(payload.to_bytes(PayloadKind::Simple), &changes);
        if let Ok(found) = Payload::parse(&bytes, PayloadKind::Simple) {
            prop_assert_eq!(Payload::parse(&found.to_bytes(PayloadKind::Simple), PayloadKind::Simple).unwrap(), found);
        }
    }

    #[test]
    fn changed_registries_d_is_read_or_refused(changes in changes()) {
        let text = b"default-docker: &a\n  lookaside: https://h.test/s\ndocker:\n  r.test: *a\n  '*.x.test': {use-sigstore-attachments: true}\n";
        let bytes = changed(text.to_vec(), &changes);
        let _ = RegistriesD::parse([("a.yaml", bytes.as_slice())]);
    }
}
