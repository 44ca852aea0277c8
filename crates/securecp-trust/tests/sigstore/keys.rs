//! `sigstoreSigned` with public keys.

use bytes::Bytes;
use securecp_oci::{Annotations, Declared, RawManifest, Signature};
use serde_json::json;

use crate::material::*;

#[test]
fn every_algorithm_gets_its_verdict() {
    let payload = testdata("sigstore/algorithms/payload");
    let mut rows = 0;
    for line in text("sigstore/algorithms/verdicts.tsv").lines().filter(|l| !l.starts_with('#')) {
        let [key, signed, expected, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let policy = policy(json!({"keyPath": format!("sigstore/algorithms/{key}.pub")}));
        let encoded = text(&format!("sigstore/algorithms/{signed}.sig"));
        let annotations: Annotations = [(SIGNATURE.to_owned(), encoded)].into();
        let verdict = judge(&policy, vec![signature(payload.clone(), annotations)]);
        assert_eq!(outcome(&verdict), expected, "{key} {signed}: {verdict}");
        rows += 1;
    }
    assert!(rows >= 27);
}

#[test]
fn the_reference_s_vectors_are_accepted() {
    let policy = text("trust/policy-sigstore.json");
    for folder in ["signed-sigstore", "signed-both", "signed-sigstore-rekor"] {
        let verdict = judge_folder(&policy, signatures(folder));
        assert_eq!(outcome(&verdict), "accepted", "{folder}: {verdict}");
    }
    let verdict = judge_folder(&policy, signatures("signed-both"));
    let tried = &verdict.subjects[0].requirements[0].signatures;
    assert_eq!((tried.len(), tried[0].position), (1, 2), "the OpenPGP signature is not tried");
    let signer = tried[0].accepted.clone().unwrap();
    assert!(signer.key.starts_with("ECDSA P-256 key sha256:"), "{}", signer.key);
    assert_eq!(signer.identity, NAME);
}

#[test]
fn openpgp_signatures_are_only_counted() {
    let policy = text("trust/policy-sigstore.json");
    let verdict = judge_folder(&policy, signatures("signed-pgp-alice"));
    assert_eq!(
        words(&verdict),
        "A signature was required, but no signature exists (1 non-sigstore signatures, 0 sigstore \
         non-signature attachments)"
    );
}

#[test]
fn another_key_is_refused() {
    let policy = policy(json!({"keyPath": "sigstore/algorithms/p384.pub"}));
    let verdict = judge(&policy, signatures("signed-sigstore"));
    assert_eq!(outcome(&verdict), "notVerified");
    assert_eq!(
        words(&verdict),
        "cryptographic signature verification failed: invalid signature when validating ASN.1 \
         encoded signature"
    );
}

#[test]
fn an_altered_payload_is_refused() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let (payload, annotations) = parts("signed-sigstore");
    for position in 0..payload.len() {
        let mut altered = payload.clone();
        altered[position] ^= 1;
        let verdict = judge(&policy, vec![signature(altered, annotations.clone())]);
        assert_eq!(outcome(&verdict), "notVerified", "byte {position}");
    }
}

#[test]
fn an_altered_signature_is_refused() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let (payload, annotations) = parts("signed-sigstore");
    let raw = securecp_oci::base64::decode(&annotations[SIGNATURE]).unwrap();
    for position in 0..raw.len() {
        let mut altered = raw.clone();
        altered[position] ^= 1;
        let verdict = judge(&policy, vec![bare(&payload, &altered)]);
        assert_eq!(outcome(&verdict), "notVerified", "byte {position}");
    }
}

#[test]
fn an_altered_manifest_is_refused() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let mut bytes = manifest().bytes().to_vec();
    bytes.push(b'\n');
    let altered = RawManifest::read(Bytes::from(bytes), Declared::default()).unwrap();
    let verdict = judge_as(&policy, NAME, altered, signatures("signed-sigstore"));
    assert_eq!(outcome(&verdict), "digest");
    assert_eq!(
        words(&verdict),
        format!("Signature for digest {} does not match", manifest().digest())
    );
}

#[test]
fn another_identity_is_refused() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let other = "registry.securecp.test/plain:v2";
    let verdict = judge_as(&policy, other, manifest(), signatures("signed-sigstore"));
    assert_eq!(outcome(&verdict), "identity");
    assert_eq!(words(&verdict), format!("Signature for identity \"{NAME}\" is not accepted"));
}

#[test]
fn one_of_several_keys_is_enough_and_all_must_be_readable() {
    let accepted = json!({"keyPaths": ["sigstore/algorithms/p384.pub", "keys/cosign.pub"]});
    assert_eq!(outcome(&judge(&policy(accepted), signatures("signed-sigstore"))), "accepted");
    let neither =
        json!({"keyPaths": ["sigstore/algorithms/p384.pub", "sigstore/algorithms/rsa2048.pub"]});
    let verdict = judge(&policy(neither), signatures("signed-sigstore"));
    assert!(words(&verdict).ends_with("encoded signature, crypto/rsa: verification error"));
    let broken = json!({"keyPaths": ["keys/cosign.pub", "sigstore/algorithms/payload"]});
    let verdict = judge(&policy(broken), signatures("signed-sigstore"));
    assert_eq!(words(&verdict), "parsing public key 2: PEM decoding failed");
    let missing = json!({"keyPaths": ["keys/cosign.pub", "/nonexistent"]});
    let verdict = judge(&policy(missing), signatures("signed-sigstore"));
    assert_eq!(words(&verdict), "open /nonexistent: no such file or directory");
}

#[test]
fn keys_may_stand_in_the_policy() {
    let data = |path: &str| securecp_oci::base64::encode(&testdata(path));
    let one = json!({"keyData": data("keys/cosign.pub")});
    assert_eq!(outcome(&judge(&policy(one), signatures("signed-sigstore"))), "accepted");
    let two = json!({"keyDatas": [data("sigstore/algorithms/p521.pub"), data("keys/cosign.pub")]});
    assert_eq!(outcome(&judge(&policy(two), signatures("signed-sigstore"))), "accepted");
    let verdict = judge(&policy(json!({"keyData": "eA=="})), signatures("signed-sigstore"));
    assert_eq!(words(&verdict), "parsing public key 1: PEM decoding failed");
    let private = testdata("trust/keys/cosign.private");
    let private = json!({"keyData": securecp_oci::base64::encode(&private)});
    let verdict = judge(&policy(private), signatures("signed-sigstore"));
    assert_eq!(
        words(&verdict),
        "parsing public key 1: unknown Public key PEM file type: ENCRYPTED COSIGN PRIVATE KEY. Are \
         you passing the correct public key?"
    );
}

#[test]
fn the_signature_is_base64_with_line_breaks_at_most() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let (payload, annotations) = parts("signed-sigstore");
    let with = |text: String| {
        let annotations = [(SIGNATURE.to_owned(), text)].into();
        judge(&policy, vec![signature(payload.clone(), annotations)])
    };
    let good = &annotations[SIGNATURE];
    assert_eq!(outcome(&with(format!("{}\r\n{}\n", &good[..8], &good[8..]))), "accepted");
    for bad in [format!("{good} "), good.trim_end_matches('=').to_owned(), format!("%{good}")] {
        assert_eq!(outcome(&with(bad)), "base64");
    }
    assert!(words(&with(format!("%{good}"))).ends_with("illegal base64 data at input byte 0"));
    assert_eq!(outcome(&with(String::new())), "notVerified");
    let none = judge(&policy, vec![signature(payload.clone(), Annotations::new())]);
    assert_eq!(words(&none), format!("missing {SIGNATURE} annotation"));
}

#[test]
fn a_payload_of_the_other_family_is_refused() {
    let key = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1)
        .and_then(|group| openssl::ec::EcKey::generate(&group))
        .and_then(openssl::pkey::PKey::from_ec_key)
        .unwrap();
    let sign = |payload: &str| {
        let digest = openssl::hash::MessageDigest::sha256();
        let mut signer = openssl::sign::Signer::new(digest, &key).unwrap();
        let raw = signer.sign_oneshot_to_vec(payload.as_bytes()).unwrap();
        bare(payload.as_bytes(), &raw)
    };
    let data = securecp_oci::base64::encode(&key.public_key_to_pem().unwrap());
    let policy = policy(json!({"keyData": data}));
    let payload = String::from_utf8(parts("signed-sigstore").0).unwrap();
    assert_eq!(outcome(&judge(&policy, vec![sign(&payload)])), "accepted");
    for (altered, phrase) in [
        (
            payload.replace("cosign container image", "atomic container"),
            "Unrecognized signature type \"atomic container signature\"",
        ),
        (payload.replace("\"optional\"", "\"Optional\""), "Unknown key \"Optional\""),
        (format!("{payload}x"), "payload cannot be read: not one strict JSON document"),
        (String::new(), "payload cannot be read"),
    ] {
        let verdict = judge(&policy, vec![sign(&altered)]);
        assert_eq!(outcome(&verdict), "payload", "{altered}");
        assert!(words(&verdict).contains(phrase), "{}", words(&verdict));
    }
    let null = format!("{}\"optional\":null}}", payload.split("\"optional\"").next().unwrap());
    assert_eq!(outcome(&judge(&policy, vec![sign(&null)])), "accepted", "cosign writes null");
}

/// CVE-2022-35929: an attachment of another kind must not satisfy the requirement, nor spoil it.
#[test]
fn cve_2022_35929_other_attachments_are_never_signatures() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let (payload, annotations) = parts("signed-sigstore");
    let as_type = |media_type: &str| Signature::Sigstore {
        media_type: media_type.to_owned(),
        payload: Bytes::from(payload.clone()),
        annotations: annotations.clone(),
    };
    for other in [
        "application/vnd.dsse.envelope.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
        "application/vnd.dev.cosign.simplesigning.v1+json; x=1",
        "APPLICATION/VND.DEV.COSIGN.SIMPLESIGNING.V1+JSON",
        "",
    ] {
        let verdict = judge(&policy, vec![as_type(other)]);
        assert_eq!(
            words(&verdict),
            "A signature was required, but no signature exists (0 non-sigstore signatures, 1 \
             sigstore non-signature attachments)",
            "{other}"
        );
        let mixed = vec![as_type(other), as_type(Signature::SIGSTORE_MEDIA_TYPE)];
        assert_eq!(outcome(&judge(&policy, mixed)), "accepted");
    }
}

#[test]
fn the_first_good_signature_decides_and_all_bad_ones_are_named() {
    let policy = policy(json!({"keyPath": "keys/cosign.pub"}));
    let (payload, annotations) = parts("signed-sigstore");
    let good = signature(payload.clone(), annotations);
    let bad = bare(&payload, b"x");
    let verdict = judge(&policy, vec![bad.clone(), good]);
    assert_eq!(outcome(&verdict), "accepted");
    assert_eq!(verdict.subjects[0].requirements[0].signatures.len(), 2);
    let verdict = judge(&policy, vec![bad, signature(payload, Annotations::new())]);
    assert_eq!(
        words(&verdict),
        format!(
            "None of the signatures were accepted, reasons: cryptographic signature verification \
             failed: invalid signature when validating ASN.1 encoded signature; missing {SIGNATURE} \
             annotation"
        )
    );
}
