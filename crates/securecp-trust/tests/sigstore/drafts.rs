//! Bundles and artifacts that are made here.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Verifier;
use securecp_oci::{Algorithm, Declared, Digest, ImageIdentity, RawManifest, base64};
use securecp_trust::{
    ArtifactFault, BundleArtifact, BundleCheck, BundleDraft, BundleFault, BundleHolder,
    BundleLogEntry, Evidence, LogVersion, SignedDraft, SigstoreKey, SigstoreSignError,
    SigstoreSigner, TrustFile, TrustVerdict,
};
use serde_json::{Value, json};

use crate::lab::*;
use crate::material::{NAME, manifest, testdata};

const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn sha256_hex(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).hex().to_owned()
}

/// What a log of the first version answers to a proposal.
fn rekor_v1(log: &PKey<Private>, proposal: &Value) -> Value {
    let content = &proposal["spec"]["proposedContent"];
    let text = content["envelope"].as_str().unwrap();
    let envelope: Value = serde_json::from_str(text).unwrap();
    let payload = base64::decode(envelope["payload"].as_str().unwrap()).unwrap();
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": sha256_hex(text.as_bytes())},
            "payloadHash": {"algorithm": "sha256", "value": sha256_hex(&payload)},
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"],
                "verifier": content["verifiers"][0],
            }],
        },
    });
    let entry = logged(log, &body, NOW);
    let hex = |value: &Value| {
        let bytes = base64::decode(value.as_str().unwrap()).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let proof = &entry["inclusionProof"];
    json!({"24296fb24b8ad77a": {
        "body": entry["canonicalizedBody"],
        "integratedTime": NOW,
        "logID": hex(&entry["logId"]["keyId"]),
        "logIndex": 0,
        "verification": {
            "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
            "inclusionProof": {
                "logIndex": 0,
                "rootHash": hex(&proof["rootHash"]),
                "treeSize": 2,
                "hashes": [hex(&proof["hashes"][0])],
                "checkpoint": proof["checkpoint"]["envelope"],
            },
        },
    }})
}

fn signed(key: &PKey<Private>, holder: BundleHolder) -> SignedDraft {
    let draft = BundleDraft::new(&manifest());
    let signature = sign(key, &draft.to_sign());
    draft.signed(signature, holder)
}

fn key_holder(key: &PKey<Private>) -> BundleHolder {
    BundleHolder::key(std::str::from_utf8(&public_pem(key)).unwrap()).unwrap()
}

pub(crate) fn entry(log: &PKey<Private>, draft: &SignedDraft) -> BundleLogEntry {
    let answer = rekor_v1(log, &draft.rekor_v1_proposal()).to_string();
    BundleLogEntry::of_rekor_v1(answer.as_bytes()).unwrap()
}

fn judged(file: &str, bundle: Bytes, files: &[(&str, Vec<u8>)]) -> TrustVerdict {
    let file = TrustFile::parse(file.as_bytes()).unwrap();
    let read = |path: &str| {
        let found = files.iter().find(|(name, _)| *name == path);
        found.map(|(_, bytes)| bytes.clone()).ok_or(std::io::ErrorKind::NotFound.into())
    };
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    let bundles = Ok(vec![bundle.into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    file.judge(&image, &manifest(), evidence, &read)
}

#[test]
fn a_key_s_bundle_has_cosign_s_form_and_is_accepted() {
    let (lab, key) = (Keyless::new(), new_key());
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let draft = signed(&key, key_holder(&key));
    let check = BundleCheck::against(&root).unwrap();
    let bundle = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap();
    let value: Value = serde_json::from_slice(&bundle).unwrap();
    assert_eq!(value["mediaType"], BUNDLE_TYPE);
    let material = &value["verificationMaterial"];
    let spki = key.public_key_to_der().unwrap();
    let hint = base64::encode(&openssl::sha::sha256(&spki));
    assert_eq!(material["publicKey"], json!({"hint": hint}));
    assert_eq!(material["tlogEntries"].as_array().unwrap().len(), 1);
    let envelope = &value["dsseEnvelope"];
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let statement = base64::decode(envelope["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(
        statement,
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": sha256_hex(manifest().bytes())}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        })
    );
    let files = [("root", root), ("key", public_pem(&key))];
    let file = "version: 1\ntrusted-root: root\nsigners: {a: {key: key}}\ndefault: {require: a, accept: bundle}\n";
    let verdict = judged(file, bundle, &files);
    assert!(verdict.accepted, "{verdict}");
}

#[test]
fn a_bundle_without_a_log_entry_is_made_only_where_that_is_said() {
    let (lab, key) = (Keyless::new(), new_key());
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let draft = signed(&key, key_holder(&key));
    let fault = draft.finish(&[], &[], &BundleCheck::against(&root).unwrap()).unwrap_err();
    assert!(matches!(fault, BundleFault::NoLogEntry { .. }), "{fault}");
    let bundle = draft.finish(&[], &[], &BundleCheck::dangerous_without_log().unwrap()).unwrap();
    let files = [("root", root), ("key", public_pem(&key))];
    let bare = "version: 1\nsigners: {a: {key: key, dangerous-no-log: true}}\ndefault: {require: a, accept: bundle}\n";
    assert!(judged(bare, bundle.clone(), &files).accepted);
    let logged = "version: 1\ntrusted-root: root\nsigners: {a: {key: key}}\ndefault: {require: a, accept: bundle}\n";
    assert!(!judged(logged, bundle, &files).accepted);
    let certificate = BundleHolder::certificate(&pem(&[&lab.signer])).unwrap();
    let draft = signed(&lab.signer.key, certificate);
    let fault = draft.finish(&[], &[], &BundleCheck::dangerous_without_log().unwrap()).unwrap_err();
    assert!(matches!(fault, BundleFault::NoLogEntry { .. }), "a certificate needs a time: {fault}");
}

/// What a signer takes for a bundle of its own: the same key, the same manifest, and witnessed as a new one.
#[test]
fn a_bundle_is_confirmed_only_by_its_own_key() {
    let (lab, key, other) = (Keyless::new(), new_key(), new_key());
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let check = BundleCheck::against(&root).unwrap();
    let pem = |key| String::from_utf8(public_pem(key)).unwrap();
    let draft = signed(&key, key_holder(&key));
    let bundle = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap();
    check.confirm(&bundle, &BundleDraft::new(&manifest()), &pem(&key)).unwrap();
    assert!(check.confirm(&bundle, &BundleDraft::new(&manifest()), &pem(&other)).is_err());
    assert!(check.confirm(&bundle, &BundleDraft::new(&manifest()), "no key").is_err());
    let text = String::from_utf8(manifest().bytes().to_vec()).unwrap();
    let another = RawManifest::read(format!("{text} ").into(), Declared::default()).unwrap();
    assert!(check.confirm(&bundle, &BundleDraft::new(&another), &pem(&key)).is_err());
    let bare = BundleCheck::dangerous_without_log().unwrap();
    let unlogged = draft.finish(&[], &[], &bare).unwrap();
    bare.confirm(&unlogged, &BundleDraft::new(&manifest()), &pem(&key)).unwrap();
    assert!(
        check.confirm(&unlogged, &BundleDraft::new(&manifest()), &pem(&key)).is_err(),
        "no log has seen it"
    );
    let certified =
        signed(&lab.signer.key, BundleHolder::certificate(&self::pem(&[&lab.signer])).unwrap());
    let certified = certified.finish(&[entry(&lab.log, &certified)], &[], &check).unwrap();
    let leaf = pem(&lab.signer.key);
    assert!(
        check.confirm(&certified, &BundleDraft::new(&manifest()), &leaf).is_err(),
        "a certificate is no key"
    );
}

#[test]
fn a_certificate_s_bundle_is_accepted() {
    let lab = Keyless::new();
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let draft = signed(&lab.signer.key, BundleHolder::certificate(&pem(&[&lab.signer])).unwrap());
    let check = BundleCheck::against(&root).unwrap();
    let bundle = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap();
    let file = format!(
        "version: 1\ntrusted-root: root\ndangerous-no-certificate-log: true\nsigners: {{a: {{issuer: '{ISSUER}', email: {EMAIL}}}}}\ndefault: {{require: a, accept: bundle}}\n"
    );
    let verdict = judged(&file, bundle, &[("root", root)]);
    assert!(verdict.accepted, "{verdict}");
}

/// Nothing that would be refused is handed out.
#[test]
fn what_would_be_refused_is_not_made() {
    let (lab, key, other) = (Keyless::new(), new_key(), new_key());
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let check = BundleCheck::against(&root).unwrap();
    let good = signed(&key, key_holder(&key));
    let broken = signed(&other, key_holder(&key));
    let fault = broken.finish(&[entry(&lab.log, &broken)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::Broken { .. }), "{fault}");
    let again = signed(&key, key_holder(&key));
    let fault = good.finish(&[entry(&lab.log, &again)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::LogEntryNotBound { .. }), "{fault}");
    let fault = good.finish(&[entry(&new_key(), &good)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::UntrustedLog { .. }), "{fault}");
    let fault = good.finish(&[entry(&lab.log, &good)], &[vec![1, 2, 3]], &check).unwrap_err();
    assert!(
        matches!(fault, BundleFault::NoTrustedTime { .. } | BundleFault::Format { .. }),
        "{fault}"
    );
    let stranger = Keyless::new();
    let holder = BundleHolder::certificate(&pem(&[&stranger.signer])).unwrap();
    let foreign = signed(&stranger.signer.key, holder);
    let fault = foreign.finish(&[entry(&lab.log, &foreign)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::UntrustedCertificate { .. }), "{fault}");
}

#[test]
fn answers_of_a_log_are_read_strictly() {
    let (lab, key) = (Keyless::new(), new_key());
    let draft = signed(&key, key_holder(&key));
    let good = rekor_v1(&lab.log, &draft.rekor_v1_proposal());
    let entry = good["24296fb24b8ad77a"].clone();
    assert!(BundleLogEntry::of_rekor_v1(entry.to_string().as_bytes()).is_ok(), "without its name");
    let mut cases =
        vec![String::new(), "[]".into(), "{}".into(), "{\"a\":1}".into(), "null".into()];
    cases.push(json!({"a": entry.clone(), "b": entry.clone()}).to_string());
    for pointer in [
        "/body",
        "/integratedTime",
        "/logID",
        "/logIndex",
        "/verification/signedEntryTimestamp",
        "/verification/inclusionProof/hashes",
        "/verification/inclusionProof/rootHash",
        "/verification/inclusionProof/treeSize",
        "/verification/inclusionProof/checkpoint",
    ] {
        let mut bad = entry.clone();
        *bad.pointer_mut(pointer).unwrap() = json!({"odd": true});
        cases.push(bad.to_string());
    }
    for case in cases {
        let found = BundleLogEntry::of_rekor_v1(case.as_bytes());
        assert!(matches!(found, Err(BundleFault::LogEntryNotProven { .. })), "{case}");
    }
    assert!(BundleLogEntry::of_rekor_v2(b"no").is_err());
}

#[test]
fn a_log_of_version_2_is_asked_in_its_own_words() {
    let key = new_key();
    let draft = signed(&key, key_holder(&key));
    let proposal = draft.rekor_v2_proposal().unwrap();
    let request = &proposal["hashedRekordRequestV002"];
    let digest = openssl::sha::sha256(&BundleDraft::new(&manifest()).to_sign());
    assert_eq!(request["digest"], base64::encode(&digest));
    assert_eq!(request["signature"]["content"], base64::encode(draft.signature()));
    let verifier = &request["signature"]["verifier"];
    assert_eq!(verifier["keyDetails"], "PKIX_ECDSA_P256_SHA_256");
    assert_eq!(
        verifier["publicKey"]["rawBytes"],
        base64::encode(&key.public_key_to_der().unwrap())
    );
    let ed25519 = PKey::generate_ed25519().unwrap();
    let draft = BundleDraft::new(&manifest()).signed(vec![0], key_holder(&ed25519));
    assert!(matches!(draft.rekor_v2_proposal(), Err(BundleFault::Unsupported { .. })));
}

/// A signer with a key of the vectors.
fn signer(name: &str) -> SigstoreSigner {
    let file = testdata(&format!("sigstore/private-keys/{name}.key"));
    let key = SigstoreKey::from_encrypted_pem(&file, Some(b"correct horse")).unwrap();
    SigstoreSigner::new(key)
}

fn holder(signer: &SigstoreSigner) -> BundleHolder {
    BundleHolder::key(&signer.public_pem()).unwrap()
}

type SignedBy = Result<Vec<u8>, SigstoreSignError>;

fn signed_by(
    signer: &SigstoreSigner,
    sign: impl Fn(&SigstoreSigner, &[u8]) -> SignedBy,
) -> SignedDraft {
    let draft = BundleDraft::new(&manifest());
    let signature = sign(signer, &draft.to_sign()).unwrap();
    draft.signed(signature, holder(signer))
}

/// Bundles hash by the size of the key, as cosign 3 does; a log then sees what everybody else verifies.
#[test]
fn keys_on_p384_sign_bundles_with_their_own_hash_and_a_log() {
    let (lab, signer) = (Keyless::new(), signer("p384"));
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let check = BundleCheck::against(&root).unwrap();
    holder(&signer).check_log(LogVersion::First).unwrap();
    let draft = signed_by(&signer, SigstoreSigner::sign_for_bundle);
    let public = PKey::public_key_from_pem(signer.public_pem().as_bytes()).unwrap();
    let mut openssl = Verifier::new(MessageDigest::sha384(), &public).unwrap();
    let message = BundleDraft::new(&manifest()).to_sign();
    assert!(openssl.verify_oneshot(draft.signature(), &message).unwrap(), "SHA-384");
    let bundle = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap();
    let file = "version: 1\ntrusted-root: root\nsigners: {a: {key: key}}\ndefault: {require: a, accept: bundle}\n";
    let files = [("root", root.clone()), ("key", signer.public_pem().into_bytes())];
    let verdict = judged(file, bundle, &files);
    assert!(verdict.accepted, "{verdict}");
    // SHA-256, as attachments have it, is not what bundles with a log entry are verified with.
    let draft = signed_by(&signer, SigstoreSigner::sign_bytes);
    let fault = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::Broken { .. }), "{fault}");
}

#[test]
fn keys_that_a_log_does_not_take_are_known_before_anything_is_signed() {
    for (name, first, second) in [
        ("p256", true, true),
        ("p384", true, false),
        ("p521", false, false),
        ("rsa2048", true, true),
        ("ed25519", true, false),
    ] {
        for (version, good) in [(LogVersion::First, first), (LogVersion::Second, second)] {
            let found = holder(&signer(name)).check_log(version);
            assert_eq!(found.is_ok(), good, "{name} {version:?}");
            let unsupported = matches!(found, Ok(()) | Err(BundleFault::Unsupported { .. }));
            assert!(unsupported, "{name}: {found:?}");
        }
    }
}

/// What was not foreseen is not handed out either.
#[test]
fn a_log_entry_of_a_key_on_p521_is_not_understood() {
    let (lab, signer) = (Keyless::new(), signer("p521"));
    let root = lab.trusted_root(&lab.log).to_string().into_bytes();
    let check = BundleCheck::against(&root).unwrap();
    let draft = signed_by(&signer, SigstoreSigner::sign_for_bundle);
    let fault = draft.finish(&[entry(&lab.log, &draft)], &[], &check).unwrap_err();
    assert!(matches!(fault, BundleFault::Unsupported { .. }), "{fault}");
}

/// Without a log both hashes verify: that of the key's size, and SHA-256, which cosign 2 and the reference sign with.
#[test]
fn bare_bundles_of_large_curves_verify_with_either_hash() {
    let check = BundleCheck::dangerous_without_log().unwrap();
    for name in ["p384", "p521"] {
        let signer = signer(name);
        signed_by(&signer, SigstoreSigner::sign_for_bundle).finish(&[], &[], &check).unwrap();
        signed_by(&signer, SigstoreSigner::sign_bytes).finish(&[], &[], &check).unwrap();
        let broken = BundleDraft::new(&manifest()).signed(vec![0x30, 0], holder(&signer));
        assert!(
            matches!(broken.finish(&[], &[], &check), Err(BundleFault::Broken { .. })),
            "{name}"
        );
    }
}

#[test]
fn answers_of_a_log_of_version_2_are_read_strictly() {
    let bundle: Value =
        serde_json::from_slice(&testdata("sigstore/bundles/sign-rekor2.json")).unwrap();
    let good = bundle["verificationMaterial"]["tlogEntries"][0].clone();
    let read = |value: &Value| BundleLogEntry::of_rekor_v2(value.to_string().as_bytes());
    read(&good).unwrap();
    // protojson leaves zeros and empty lists out, or writes them.
    let mut short = good.clone();
    for (parent, member) in
        [("", "logIndex"), ("/inclusionProof", "logIndex"), ("/inclusionProof", "hashes")]
    {
        short.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member).unwrap();
    }
    short["inclusionPromise"] = Value::Null;
    read(&short).unwrap();
    for pointer in [
        "/logIndex",
        "/logId/keyId",
        "/kindVersion/kind",
        "/kindVersion/version",
        "/inclusionProof/hashes",
        "/inclusionProof/checkpoint/envelope",
        "/canonicalizedBody",
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = json!({"odd": true});
        assert!(matches!(read(&bad), Err(BundleFault::LogEntryNotProven { .. })), "{pointer}");
    }
    // Root and size are those that the log has signed, whatever stands beside them.
    let mut other = good.clone();
    other["inclusionProof"]["rootHash"] = json!("AAAA");
    other["inclusionProof"]["treeSize"] = json!("77");
    assert_eq!(format!("{:?}", read(&other).unwrap()), format!("{:?}", read(&good).unwrap()));
    for bad in [json!({}), json!([]), json!({"uuid": good})] {
        assert!(read(&bad).is_err(), "{bad}");
    }
}

#[test]
fn an_artifact_has_cosign_s_form() {
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000);
    let artifact =
        BundleArtifact::new(&manifest(), Bytes::from_static(b"bundle"), created).unwrap();
    let [(config, empty), (layer, bundle)] = &artifact.blobs;
    assert_eq!((&empty[..], &bundle[..]), (&b"{}"[..], &b"bundle"[..]));
    let (subject, digest) = (manifest(), sha256_hex(b"bundle"));
    let value: Value = serde_json::from_slice(artifact.manifest.bytes()).unwrap();
    assert_eq!(
        value,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
                "artifactType": BUNDLE_TYPE,
            },
            "layers": [{
                "mediaType": BUNDLE_TYPE,
                "digest": format!("sha256:{digest}"),
                "size": 6,
                "annotations": {"org.opencontainers.image.title": format!("sha256-{digest}.sigstore.json")},
            }],
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
                "org.opencontainers.image.created": "2025-06-15T15:06:40Z",
            },
            "subject": {
                "mediaType": subject.media_type().as_str(),
                "digest": subject.digest().to_string(),
                "size": subject.size(),
            },
            "artifactType": BUNDLE_TYPE,
        })
    );
    assert_eq!(
        config.digest.hex(),
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
    let found = BundleArtifact::bundle_of(&artifact.manifest, subject.digest()).unwrap();
    assert_eq!(found.digest, layer.digest);
}

#[test]
fn a_list_of_referrers_can_name_anything() {
    let subject = manifest();
    let artifact =
        BundleArtifact::new(&subject, Bytes::from_static(b"b"), SystemTime::now()).unwrap();
    let altered = |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(artifact.manifest.bytes()).unwrap();
        change(&mut value);
        let read = RawManifest::read(Bytes::from(value.to_string()), Declared::default()).unwrap();
        BundleArtifact::bundle_of(&read, subject.digest()).map(|_| ()).unwrap_err()
    };
    let no_subject = altered(|v| drop(v.as_object_mut().unwrap().remove("subject")));
    assert!(matches!(no_subject, ArtifactFault::NotAbout { .. }));
    let other = altered(|v| v["subject"]["digest"] = v["config"]["digest"].clone());
    assert!(matches!(other, ArtifactFault::NotAbout { .. }));
    let none = altered(|v| v["layers"] = json!([]));
    assert_eq!(none, ArtifactFault::Layers { found: 0 });
    let two = altered(|v| v["layers"] = json!([v["layers"][0], v["layers"][0]]));
    assert_eq!(two, ArtifactFault::Layers { found: 2 });
    let sbom = altered(|v| v["layers"][0]["mediaType"] = json!("application/spdx+json"));
    assert_eq!(sbom, ArtifactFault::MediaType { found: "application/spdx+json".to_owned() });
    let large = altered(|v| v["layers"][0]["size"] = json!(u64::from(u32::MAX)));
    assert!(matches!(large, ArtifactFault::TooLarge { .. }));
}
