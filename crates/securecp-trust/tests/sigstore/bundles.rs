//! Bundles, made by another tool against a local stand-in, whole and altered.

use bytes::Bytes;
use openssl::pkey::{PKey, Private};
use securecp_oci::{ImageIdentity, RawManifest, Signature, base64};
use securecp_trust::{Evidence, FetchFailure, StoredBundle, TrustFile, TrustVerdict};
use serde_json::{Value, json};

use crate::lab::{new_key, sign};
use crate::material::*;

const RELEASE: &str = "
version: 1
trusted-root: sigstore/bundles/trusted_root.json
signers:
  release: {issuer: 'https://issuer.securecp.test', email: release@securecp.test}
images:
  docker:registry.securecp.test: {accept: bundle, require: release}
default: reject
";

fn vector(name: &str) -> Value {
    serde_json::from_slice(&testdata(&format!("sigstore/bundles/{name}.json"))).unwrap()
}

pub(crate) fn judge_found(
    file: &str,
    manifest: &RawManifest,
    bundles: &Result<Vec<StoredBundle>, FetchFailure>,
    attachments: &Result<Vec<Signature>, FetchFailure>,
) -> TrustVerdict {
    let file = TrustFile::parse(file.as_bytes()).unwrap_or_else(|e| panic!("{e:?}"));
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    file.judge(&image, manifest, Evidence { bundles, attachments }, &read)
}

pub(crate) fn judge_bundles(file: &str, bundles: &[impl AsRef<[u8]>]) -> TrustVerdict {
    let bundles = bundles.iter().map(|b| Bytes::copy_from_slice(b.as_ref()).into()).collect();
    judge_found(file, &manifest(), &Ok(bundles), &Ok(Vec::new()))
}

/// `accepted`, or why the one thing that was found does not count.
pub(crate) fn reason(verdict: &TrustVerdict) -> String {
    if verdict.accepted {
        return "accepted".to_owned();
    }
    let value = serde_json::to_value(verdict).unwrap();
    let found = value.pointer("/found/0/fault/reason").or(value.pointer("/denial/reason"));
    found.unwrap_or_else(|| panic!("{value}")).as_str().unwrap().to_owned()
}

fn one(bundle: &Value) -> TrustVerdict {
    judge_bundles(RELEASE, &[bundle.to_string()])
}

#[test]
fn bundles_of_another_tool_are_accepted() {
    for name in
        ["message-rekor1", "message-rekor1-tsa", "message-rekor2", "sign-rekor1", "sign-rekor2"]
    {
        let verdict = one(&vector(name));
        assert_eq!(reason(&verdict), "accepted", "{name}: {verdict}");
        assert_eq!(
            verdict.found[0].holder.as_deref(),
            Some("release@securecp.test (issuer https://issuer.securecp.test)")
        );
    }
}

type Change = fn(&mut Value);

fn material(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]
}

fn entry(bundle: &mut Value) -> &mut Value {
    &mut material(bundle)["tlogEntries"][0]
}

fn proof(bundle: &mut Value) -> &mut Value {
    &mut entry(bundle)["inclusionProof"]
}

fn timestamps(bundle: &mut Value) -> &mut Value {
    &mut material(bundle)["timestampVerificationData"]
}

/// Signs the checkpoint anew, as a log with this key would.
fn sign_checkpoint(bundle: &mut Value, key: &PKey<Private>) {
    let id = openssl::sha::sha256(&key.public_key_to_der().unwrap());
    sign_checkpoint_as(bundle, key, &id[..4]);
}

/// The same under another log's hint.
fn sign_checkpoint_as(bundle: &mut Value, key: &PKey<Private>, hint: &[u8]) {
    let place = &mut proof(bundle)["checkpoint"]["envelope"];
    let (note, _) = place.as_str().unwrap().split_once("\n\n").unwrap();
    let note = format!("{note}\n");
    let origin = note.split(" - ").next().unwrap();
    let signed = base64::encode(&[hint, &sign(key, note.as_bytes())].concat());
    *place = format!("{note}\n— {origin} {signed}\n").into();
}

fn envelope(bundle: &mut Value) -> &mut Value {
    &mut bundle["dsseEnvelope"]
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key).unwrap();
}

/// Flips one bit in the middle of a member in base64.
fn flip(value: &mut Value) {
    let mut bytes = base64::decode(value.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *value = base64::encode(&bytes).into();
}

/// Flips one bit at the end.
fn flip_last(value: &mut Value) {
    let mut bytes = base64::decode(value.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *value = base64::encode(&bytes).into();
}

fn add(value: &mut Value, amount: i64) {
    let number: i64 = value.as_str().unwrap().parse().unwrap();
    *value = (number + amount).to_string().into();
}

fn repeat(value: &mut Value, count: usize) {
    let first = value[0].clone();
    *value = vec![first; count].into();
}

fn edit(value: &mut Value, from: &str, to: &str) {
    let text = value.as_str().unwrap();
    assert!(text.contains(from), "{text}");
    *value = text.replacen(from, to, 1).into();
}

const ALTERED: &[(&str, &str, Change, &str)] = &[
    // what the document is
    (
        "sign-rekor1",
        "media type 0.1",
        |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.1"),
        "format",
    ),
    (
        "sign-rekor1",
        "media type 0.2",
        |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2"),
        "format",
    ),
    (
        "sign-rekor1",
        "media type 0.4",
        |b| b["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v0.4+json"),
        "format",
    ),
    ("sign-rekor1", "no media type", |b| remove(b, "mediaType"), "format"),
    ("sign-rekor1", "no material", |b| remove(b, "verificationMaterial"), "format"),
    ("sign-rekor1", "no content", |b| remove(b, "dsseEnvelope"), "format"),
    ("sign-rekor1", "content is null", |b| b["dsseEnvelope"] = json!(null), "format"),
    ("sign-rekor1", "a list", |b| *b = json!([b.clone()]), "format"),
    // the certificate
    ("sign-rekor1", "no certificate", |b| remove(material(b), "certificate"), "format"),
    (
        "sign-rekor1",
        "certificate is not DER",
        |b| material(b)["certificate"]["rawBytes"] = json!("AAAA"),
        "certificateFormat",
    ),
    (
        "sign-rekor1",
        "certificate is empty",
        |b| material(b)["certificate"]["rawBytes"] = json!(""),
        "certificateFormat",
    ),
    (
        "sign-rekor1",
        "certificate is not base64",
        |b| material(b)["certificate"]["rawBytes"] = json!("%"),
        "format",
    ),
    (
        "sign-rekor1",
        "signature of the certificate",
        |b| flip_last(&mut material(b)["certificate"]["rawBytes"]),
        "untrustedCertificate",
    ),
    (
        "sign-rekor1",
        "certificate of another bundle",
        |b| {
            material(b)["certificate"] =
                vector("message-rekor1")["verificationMaterial"]["certificate"].clone()
        },
        "broken",
    ),
    (
        "sign-rekor1",
        "chain in place of the certificate",
        |b| {
            let certificate = material(b)["certificate"].clone();
            remove(material(b), "certificate");
            material(b)["x509CertificateChain"] = json!({"certificates": [certificate]});
        },
        "format",
    ),
    (
        "sign-rekor1",
        "key in place of the certificate",
        |b| {
            remove(material(b), "certificate");
            material(b)["publicKey"] = json!({"hint": "x"});
        },
        "otherKind",
    ),
    // the log entry
    ("sign-rekor1", "no entries", |b| material(b)["tlogEntries"] = json!([]), "noLogEntry"),
    ("sign-rekor1", "no list of entries", |b| remove(material(b), "tlogEntries"), "noLogEntry"),
    ("sign-rekor1", "no proof", |b| remove(entry(b), "inclusionProof"), "noLogEntry"),
    (
        "sign-rekor1",
        "one entry without proof",
        |b| {
            let mut second = entry(b).clone();
            remove(&mut second, "inclusionProof");
            material(b)["tlogEntries"].as_array_mut().unwrap().push(second);
        },
        "noLogEntry",
    ),
    (
        "sign-rekor1",
        "no promise and no timestamp",
        |b| remove(entry(b), "inclusionPromise"),
        "noTrustedTime",
    ),
    (
        "sign-rekor1",
        "promise altered",
        |b| flip(&mut entry(b)["inclusionPromise"]["signedEntryTimestamp"]),
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "promise of another entry",
        |b| {
            entry(b)["inclusionPromise"] = vector("message-rekor1")["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"].clone()
        },
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "time altered",
        |b| add(&mut entry(b)["integratedTime"], 1),
        "logEntryNotProven",
    ),
    ("sign-rekor1", "index altered", |b| add(&mut entry(b)["logIndex"], 1), "logEntryNotProven"),
    ("sign-rekor1", "log altered", |b| flip(&mut entry(b)["logId"]["keyId"]), "untrustedLog"),
    (
        "sign-rekor1",
        "body altered",
        |b| flip(&mut entry(b)["canonicalizedBody"]),
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "kind altered",
        |b| entry(b)["kindVersion"]["kind"] = json!("hashedrekord"),
        "unsupported",
    ),
    ("sign-rekor1", "kind unknown", |b| entry(b)["kindVersion"]["kind"] = json!("x"), "format"),
    ("sign-rekor1", "root hash altered", |b| flip(&mut proof(b)["rootHash"]), "logEntryNotProven"),
    (
        "sign-rekor1",
        "tree size altered",
        |b| add(&mut proof(b)["treeSize"], 1),
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "place in the tree altered",
        |b| add(&mut proof(b)["logIndex"], 1),
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "hash too many",
        |b| {
            let root = proof(b)["rootHash"].clone();
            proof(b)["hashes"] = json!([root]);
        },
        "logEntryNotProven",
    ),
    ("sign-rekor1", "no checkpoint", |b| remove(proof(b), "checkpoint"), "noLogEntry"),
    (
        "sign-rekor1",
        "checkpoint altered",
        |b| edit(&mut proof(b)["checkpoint"]["envelope"], "\n1\n", "\n2\n"),
        "logEntryNotProven",
    ),
    (
        "sign-rekor1",
        "checkpoint without signature",
        |b| {
            let text = proof(b)["checkpoint"]["envelope"]
                .as_str()
                .unwrap()
                .split('—')
                .next()
                .unwrap()
                .to_owned();
            proof(b)["checkpoint"]["envelope"] = json!(text);
        },
        "format",
    ),
    ("sign-rekor1", "too many entries", |b| repeat(&mut material(b)["tlogEntries"], 9), "tooLong"),
    (
        "sign-rekor1",
        "too many hashes",
        |b| {
            let root = proof(b)["rootHash"].clone();
            proof(b)["hashes"] = vec![root; 65].into();
        },
        "tooLong",
    ),
    // the statement
    ("sign-rekor1", "payload altered", |b| flip(&mut envelope(b)["payload"]), "broken"),
    (
        "sign-rekor1",
        "payload of another bundle",
        |b| envelope(b)["payload"] = vector("sign-other")["dsseEnvelope"]["payload"].clone(),
        "broken",
    ),
    (
        "sign-rekor1",
        "payload type altered",
        |b| envelope(b)["payloadType"] = json!("application/json"),
        "unsupported",
    ),
    (
        "sign-rekor1",
        "signature altered",
        |b| flip(&mut envelope(b)["signatures"][0]["sig"]),
        "broken",
    ),
    (
        "sign-rekor1",
        "signature empty",
        |b| envelope(b)["signatures"][0]["sig"] = json!(""),
        "broken",
    ),
    ("sign-rekor1", "no signature", |b| envelope(b)["signatures"] = json!([]), "format"),
    ("sign-rekor1", "two signatures", |b| repeat(&mut envelope(b)["signatures"], 2), "format"),
    ("sign-other", "for another manifest", |_| (), "otherArtifact"),
    ("attest-rekor1", "an attestation", |_| (), "otherPredicate"),
    ("sign-workflow", "by somebody else", |_| (), "otherSigner"),
    // message signatures
    (
        "message-rekor1",
        "digest altered",
        |b| flip(&mut b["messageSignature"]["messageDigest"]["digest"]),
        "otherArtifact",
    ),
    (
        "message-rekor1",
        "digest of another kind",
        |b| b["messageSignature"]["messageDigest"]["algorithm"] = json!("SHA2_512"),
        "unsupported",
    ),
    (
        "message-rekor1",
        "signature altered",
        |b| flip(&mut b["messageSignature"]["signature"]),
        "broken",
    ),
    (
        "message-rekor1",
        "no signature",
        |b| remove(&mut b["messageSignature"], "signature"),
        "format",
    ),
    // timestamps
    (
        "message-rekor2",
        "no timestamp",
        |b| remove(material(b), "timestampVerificationData"),
        "noTrustedTime",
    ),
    (
        "message-rekor2",
        "timestamp altered",
        |b| {
            flip_last(
                &mut material(b)["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"],
            )
        },
        "noTrustedTime",
    ),
    (
        "message-rekor2",
        "timestamp of another bundle",
        |b| {
            let other =
                vector("message-rekor1-tsa")["verificationMaterial"]["timestampVerificationData"]
                    .clone();
            material(b)["timestampVerificationData"] = other;
        },
        "noTrustedTime",
    ),
    (
        "message-rekor2",
        "too many timestamps",
        |b| repeat(&mut material(b)["timestampVerificationData"]["rfc3161Timestamps"], 9),
        "tooLong",
    ),
    ("message-rekor2", "index altered", |b| add(&mut entry(b)["logIndex"], 1), "logEntryNotProven"),
    (
        "message-rekor2",
        "checkpoint altered",
        |b| edit(&mut proof(b)["checkpoint"]["envelope"], "\n1\n", "\n2\n"),
        "logEntryNotProven",
    ),
    // a log of the second version
    ("sign-rekor2", "no proof", |b| remove(entry(b), "inclusionProof"), "noLogEntry"),
    ("sign-rekor2", "no checkpoint", |b| remove(proof(b), "checkpoint"), "noLogEntry"),
    ("sign-rekor2", "log altered", |b| flip(&mut entry(b)["logId"]["keyId"]), "untrustedLog"),
    (
        "sign-rekor2",
        "body altered",
        |b| flip(&mut entry(b)["canonicalizedBody"]),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "hash too many",
        |b| proof(b)["hashes"] = json!([base64::encode(&[7; 32])]),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "checkpoint of another log",
        |b| sign_checkpoint(b, &new_key()),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "checkpoint of another log under the trusted one's name",
        |b| {
            let hint = base64::decode(entry(b)["logId"]["keyId"].as_str().unwrap()).unwrap();
            sign_checkpoint_as(b, &new_key(), &hint[..4]);
        },
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "checkpoint of another tree",
        |b| {
            let other = vector("message-rekor2")["verificationMaterial"]["tlogEntries"][0]
                ["inclusionProof"]["checkpoint"]
                .clone();
            proof(b)["checkpoint"] = other;
        },
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "entry of another signature",
        |b| {
            material(b)["tlogEntries"] =
                vector("message-rekor2")["verificationMaterial"]["tlogEntries"].clone()
        },
        "otherArtifact",
    ),
    (
        "sign-rekor2",
        "called an entry of the first version",
        |b| entry(b)["kindVersion"] = json!({"kind": "dsse", "version": "0.0.1"}),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "a kind that no log of the second version has",
        |b| entry(b)["kindVersion"] = json!({"kind": "dsse", "version": "0.0.2"}),
        "format",
    ),
    (
        "sign-rekor2",
        "signature altered",
        |b| flip(&mut envelope(b)["signatures"][0]["sig"]),
        "noTrustedTime",
    ),
    // its timestamps
    (
        "sign-rekor2",
        "no timestamp",
        |b| remove(material(b), "timestampVerificationData"),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "a time that only the entry claims",
        |b| {
            remove(material(b), "timestampVerificationData");
            entry(b)["integratedTime"] = json!("1795245157");
        },
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "no timestamp in the list",
        |b| timestamps(b)["rfc3161Timestamps"] = json!([]),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp of another signature",
        |b| {
            *timestamps(b) =
                vector("message-rekor2")["verificationMaterial"]["timestampVerificationData"]
                    .clone()
        },
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp of another signature beside the good one",
        |b| {
            let other = vector("message-rekor2")["verificationMaterial"]
                ["timestampVerificationData"]["rfc3161Timestamps"][0]
                .clone();
            timestamps(b)["rfc3161Timestamps"].as_array_mut().unwrap().push(other);
        },
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "what the timestamp is about altered",
        |b| {
            let sig = envelope(b)["signatures"][0]["sig"].as_str().unwrap().to_owned();
            let about = openssl::sha::sha256(&base64::decode(&sig).unwrap());
            let place = &mut timestamps(b)["rfc3161Timestamps"][0]["signedTimestamp"];
            let mut der = base64::decode(place.as_str().unwrap()).unwrap();
            let at = der.windows(32).position(|window| window == about).unwrap();
            der[at] ^= 1;
            *place = base64::encode(&der).into();
        },
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp is not DER",
        |b| timestamps(b)["rfc3161Timestamps"][0]["signedTimestamp"] = json!("AAAA"),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp is not base64",
        |b| timestamps(b)["rfc3161Timestamps"][0]["signedTimestamp"] = json!("%"),
        "format",
    ),
    (
        "message-rekor1-tsa",
        "timestamp altered beside a good promise",
        |b| {
            flip_last(
                &mut material(b)["timestampVerificationData"]["rfc3161Timestamps"][0]["signedTimestamp"],
            )
        },
        "noTrustedTime",
    ),
];

#[test]
fn altered_bundles_are_refused_for_the_right_reason() {
    let mut wrong = Vec::new();
    for (name, what, change, expected) in ALTERED {
        let mut bundle = vector(name);
        change(&mut bundle);
        let verdict = one(&bundle);
        if reason(&verdict) != *expected {
            wrong.push(format!("{name}, {what}: expected {expected}, found {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ALTERED.len() >= 40);
}

/// What a trusted root that is not quite the right one makes of good bundles.
const OTHER_ROOTS: &[(&str, &str, Change, &str)] = &[
    (
        "sign-rekor2",
        "no timestamp authority",
        |r| r["timestampAuthorities"] = json!([]),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp authority retired before",
        |r| r["timestampAuthorities"][0]["validFor"] = retired(),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "timestamp authority not yet at work",
        |r| r["timestampAuthorities"][0]["validFor"] = json!({"start": "2031-01-01T00:00:00Z"}),
        "noTrustedTime",
    ),
    (
        "sign-rekor2",
        "another timestamp authority",
        |r| {
            let other = r["certificateAuthorities"][0]["certChain"].clone();
            r["timestampAuthorities"][0]["certChain"] = other;
        },
        "noTrustedTime",
    ),
    (
        "message-rekor1-tsa",
        "timestamp authority retired, beside a good promise",
        |r| r["timestampAuthorities"][0]["validFor"] = retired(),
        "noTrustedTime",
    ),
    ("sign-rekor2", "no log", |r| r["tlogs"] = json!([]), "untrustedLog"),
    (
        "sign-rekor2",
        "log not yet at work",
        |r| r["tlogs"][0]["publicKey"]["validFor"] = json!({"start": "2099-01-01T00:00:00Z"}),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "another key under the log's identifier",
        |r| {
            r["tlogs"][0]["publicKey"]["rawBytes"] = r["ctlogs"][0]["publicKey"]["rawBytes"].clone()
        },
        "logEntryNotProven",
    ),
    ("sign-rekor1", "no log", |r| r["tlogs"] = json!([]), "untrustedLog"),
    (
        "sign-rekor1",
        "log retired before",
        |r| r["tlogs"][0]["publicKey"]["validFor"] = retired(),
        "logEntryNotProven",
    ),
    (
        "sign-rekor2",
        "no authority",
        |r| r["certificateAuthorities"] = json!([]),
        "untrustedCertificate",
    ),
    (
        "sign-rekor2",
        "authority retired before",
        |r| r["certificateAuthorities"][0]["validFor"] = retired(),
        "untrustedCertificate",
    ),
    ("sign-rekor2", "no log of certificates", |r| r["ctlogs"] = json!([]), "certificateNotLogged"),
];

/// A time that was over before any vector was made.
fn retired() -> Value {
    json!({"start": "2001-01-01T00:00:00Z", "end": "2002-01-01T00:00:00Z"})
}

#[test]
fn good_bundles_are_refused_under_other_trusted_roots() {
    let root: Value =
        serde_json::from_slice(&testdata("sigstore/bundles/trusted_root.json")).unwrap();
    let file = TrustFile::parse(RELEASE.as_bytes()).unwrap();
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    let mut wrong = Vec::new();
    for (name, what, change, expected) in OTHER_ROOTS {
        let mut root = root.clone();
        change(&mut root);
        let read = |_: &str| Ok(root.to_string().into_bytes());
        let bundles = Ok(vec![Bytes::from(vector(name).to_string()).into()]);
        let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
        let verdict = file.judge(&image, &manifest(), evidence, &read);
        if reason(&verdict) != *expected {
            wrong.push(format!("{name}, {what}: expected {expected}, found {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn documents_are_read_strictly() {
    let good = vector("sign-rekor1").to_string();
    let twice = good.replacen("{\"mediaType\"", "{\"dsseEnvelope\":{},\"mediaType\"", 1);
    let depth = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for bad in [String::new(), "{".to_owned(), format!("{good}x"), twice, depth, "\u{0}".to_owned()]
    {
        assert_eq!(reason(&judge_bundles(RELEASE, &[bad])), "format");
    }
    let large = format!("{good}{}", " ".repeat(4 << 20));
    assert_eq!(reason(&judge_bundles(RELEASE, &[large])), "format");
}

/// CVE-2022-36056, CVE-2026-22703: a valid entry of the log that is about another signature.
#[test]
fn cve_2026_22703_a_valid_log_entry_of_another_bundle_is_refused() {
    for (name, other, expected) in [
        ("sign-rekor1", "sign-other", "logEntryNotBound"),
        ("sign-rekor1", "attest-rekor1", "logEntryNotBound"),
        ("message-rekor1", "sign-rekor1", "unsupported"),
        ("message-rekor1", "message-rekor1-tsa", "logEntryNotBound"),
    ] {
        let mut bundle = vector(name);
        let entries = vector(other)["verificationMaterial"]["tlogEntries"].clone();
        material(&mut bundle)["tlogEntries"] = entries;
        let verdict = one(&bundle);
        assert_eq!(reason(&verdict), expected, "{name} {other}: {verdict}");
    }
    let mut both = vector("sign-rekor1");
    let foreign = vector("sign-other")["verificationMaterial"]["tlogEntries"][0].clone();
    material(&mut both)["tlogEntries"].as_array_mut().unwrap().push(foreign);
    assert_eq!(reason(&one(&both)), "logEntryNotBound", "beside the right one too");
}

#[test]
fn another_manifest_is_refused() {
    let mut bytes = manifest().bytes().to_vec();
    bytes.push(b'\n');
    let other = RawManifest::read(Bytes::from(bytes), securecp_oci::Declared::default()).unwrap();
    for name in ["message-rekor1", "sign-rekor1", "message-rekor2", "sign-rekor2"] {
        let bundle = Bytes::from(vector(name).to_string());
        let verdict = judge_found(RELEASE, &other, &Ok(vec![bundle.into()]), &Ok(Vec::new()));
        assert_eq!(reason(&verdict), "otherArtifact", "{name}");
    }
}

#[test]
fn another_root_is_refused() {
    let lab = crate::lab::Keyless::new();
    let root = lab.trusted_root(&lab.log);
    let files = |path: &str| match path {
        "root" => Ok(root.to_string().into_bytes()),
        path => read(path),
    };
    let file = RELEASE.replace("sigstore/bundles/trusted_root.json", "root");
    let file = TrustFile::parse(file.as_bytes()).unwrap();
    let image = ImageIdentity::docker(&NAME.parse().unwrap());
    let bundles = Ok(vec![Bytes::from(vector("message-rekor2").to_string()).into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    assert_eq!(reason(&file.judge(&image, &manifest(), evidence, &files)), "untrustedLog");
    let bundles = Ok(vec![Bytes::from(vector("sign-rekor1").to_string()).into()]);
    let evidence = Evidence { bundles: &bundles, attachments: &Ok(Vec::new()) };
    assert_eq!(reason(&file.judge(&image, &manifest(), evidence, &files)), "untrustedLog");
}

/// Verification cannot reach a network: nothing that this crate is made of could open a connection to one, and no second
/// provider of cryptography comes along.
#[test]
fn nothing_here_knows_a_network() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "securecp-trust", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{lib}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let linked: Vec<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    assert!(linked.contains(&"sigstore_verify") && linked.contains(&"ring"), "{text}");
    for stranger in [
        "tokio",
        "mio",
        "socket2",
        "hyper",
        "h2",
        "reqwest",
        "ureq",
        "curl",
        "rustls",
        "native_tls",
        "async_std",
        "smol",
        "polling",
        "aws_lc_rs",
        "aws_lc_sys",
    ] {
        assert!(!linked.contains(&stranger), "{stranger}");
    }
}
