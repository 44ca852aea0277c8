//! Certificate authorities, signers and a log of one's own, for the cases that no tool would make.

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder};
use securecp_oci::{Algorithm, Annotations, Digest, Signature, base64};
use serde_json::json;

use crate::material::{SIGNATURE, signature};

pub(crate) const BUNDLE: &str = "dev.sigstore.cosign/bundle";
pub(crate) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
pub(crate) const CHAIN: &str = "dev.sigstore.cosign/chain";
pub(crate) const EMAIL: &str = "release@securecp.test";
pub(crate) const ISSUER: &str = "https://issuer.securecp.test";
/// When things are signed here.
pub(crate) const NOW: i64 = 1_750_000_000;
pub(crate) const DAY: i64 = 86_400;

/// A key with a certificate.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) key: PKey<Private>,
    pub(crate) certificate: X509,
}

/// What a certificate says.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) authority: bool,
    pub(crate) path_length: Option<u32>,
    pub(crate) may_sign_certificates: bool,
    pub(crate) emails: Vec<&'static str>,
    pub(crate) hosts: Vec<&'static str>,
    pub(crate) uris: Vec<&'static str>,
    pub(crate) code_signing: bool,
    pub(crate) server_auth: bool,
    /// Extensions by object identifier.
    pub(crate) extensions: Vec<(&'static str, Vec<u8>)>,
}

impl Wish {
    pub(crate) fn authority(name: &'static str) -> Self {
        Self {
            name,
            from: NOW - 100 * DAY,
            until: NOW + 1000 * DAY,
            authority: true,
            path_length: None,
            may_sign_certificates: true,
            emails: Vec::new(),
            hosts: Vec::new(),
            uris: Vec::new(),
            code_signing: false,
            server_auth: false,
            extensions: Vec::new(),
        }
    }

    /// A signer's certificate as Fulcio makes it, for ten minutes.
    pub(crate) fn signer() -> Self {
        Self {
            from: NOW - 60,
            until: NOW + 540,
            authority: false,
            may_sign_certificates: false,
            emails: vec![EMAIL],
            code_signing: true,
            extensions: vec![(ISSUER_V1, ISSUER.into()), (ISSUER_V2, utf8(ISSUER))],
            ..Self::authority("signer")
        }
    }
}

pub(crate) const ISSUER_V1: &str = "1.3.6.1.4.1.57264.1.1";
pub(crate) const ISSUER_V2: &str = "1.3.6.1.4.1.57264.1.8";

/// A short UTF8String in DER.
pub(crate) fn utf8(text: &str) -> Vec<u8> {
    [&[0x0c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

pub(crate) fn new_key() -> PKey<Private> {
    EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)
        .and_then(|group| EcKey::generate(&group))
        .and_then(PKey::from_ec_key)
        .unwrap()
}

pub(crate) fn sign(key: &PKey<Private>, message: &[u8]) -> Vec<u8> {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.sign_oneshot_to_vec(message).unwrap()
}

pub(crate) fn public_pem(key: &PKey<Private>) -> Vec<u8> {
    key.public_key_to_pem().unwrap()
}

/// A certificate by `issuer`, or by itself.
pub(crate) fn issue(issuer: Option<&Holder>, wish: &Wish) -> Holder {
    let key = new_key();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", wish.name).unwrap();
    let name = name.build();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    let issuer_name = issuer.map_or(name.as_ref(), |issuer| issuer.certificate.subject_name());
    builder.set_issuer_name(issuer_name).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(wish.from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(wish.until).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    extend(&mut builder, issuer, wish);
    let signing = issuer.map_or(&key, |issuer| &issuer.key);
    builder.sign(signing, MessageDigest::sha256()).unwrap();
    Holder { key, certificate: builder.build() }
}

fn extend(builder: &mut X509Builder, issuer: Option<&Holder>, wish: &Wish) {
    let mut usage = KeyUsage::new();
    usage.critical();
    if wish.may_sign_certificates {
        usage.key_cert_sign();
    } else {
        usage.digital_signature();
    }
    builder.append_extension(usage.build().unwrap()).unwrap();
    if wish.authority {
        let mut constraints = BasicConstraints::new();
        constraints.critical().ca();
        if let Some(length) = wish.path_length {
            constraints.pathlen(length);
        }
        builder.append_extension(constraints.build().unwrap()).unwrap();
    }
    if wish.code_signing || wish.server_auth {
        let mut usage = ExtendedKeyUsage::new();
        if wish.code_signing {
            usage.code_signing();
        }
        if wish.server_auth {
            usage.server_auth();
        }
        builder.append_extension(usage.build().unwrap()).unwrap();
    }
    let mut names = SubjectAlternativeName::new();
    for email in &wish.emails {
        names.email(email);
    }
    for host in &wish.hosts {
        names.dns(host);
    }
    for uri in &wish.uris {
        names.uri(uri);
    }
    if !(wish.emails.is_empty() && wish.hosts.is_empty() && wish.uris.is_empty()) {
        let issuer = issuer.map(|issuer| issuer.certificate.as_ref());
        let names = names.build(&builder.x509v3_context(issuer, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    for (oid, content) in &wish.extensions {
        let oid = Asn1Object::from_str(oid).unwrap();
        let content = Asn1OctetString::new_from_bytes(content).unwrap();
        builder
            .append_extension(X509Extension::new_from_der(&oid, false, &content).unwrap())
            .unwrap();
    }
}

pub(crate) fn pem(holders: &[&Holder]) -> String {
    let one = |holder: &&Holder| String::from_utf8(holder.certificate.to_pem().unwrap()).unwrap();
    holders.iter().map(one).collect()
}

/// The body of a log entry.
pub(crate) fn body(payload: &[u8], raw: &[u8], signer_pem: &str) -> serde_json::Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {
                "algorithm": "sha256",
                "value": Digest::of(Algorithm::Sha256, payload).hex(),
            }},
            "signature": {
                "content": base64::encode(raw),
                "publicKey": {"content": base64::encode(signer_pem.as_bytes())},
            },
        },
    })
}

/// The annotation with a log's promise over a body.
pub(crate) fn promise(log: &PKey<Private>, body: &serde_json::Value, time: i64) -> String {
    let promised = json!({
        "body": base64::encode(body.to_string().as_bytes()),
        "integratedTime": time,
        "logID": "00",
        "logIndex": 7,
    });
    let set = sign(log, promised.to_string().as_bytes());
    json!({"SignedEntryTimestamp": base64::encode(&set), "Payload": promised}).to_string()
}

/// Everything that a keyless signature needs.
pub(crate) struct Keyless {
    pub(crate) root: Holder,
    pub(crate) link: Holder,
    pub(crate) signer: Holder,
    pub(crate) log: PKey<Private>,
    pub(crate) time: i64,
}

impl Keyless {
    pub(crate) fn new() -> Self {
        Self::of(Wish::authority("root"), Wish::authority("link"), Wish::signer())
    }

    pub(crate) fn of(root: Wish, link: Wish, signer: Wish) -> Self {
        let root = issue(None, &root);
        let link = issue(Some(&root), &link);
        let signer = issue(Some(&link), &signer);
        Self { root, link, signer, log: new_key(), time: NOW }
    }

    /// The members of `fulcio` and the log's key for a policy that trusts all this.
    pub(crate) fn trust(&self) -> serde_json::Value {
        json!({
            "fulcio": {
                "caData": base64::encode(pem(&[&self.root]).as_bytes()),
                "oidcIssuer": ISSUER,
                "subjectEmail": EMAIL,
            },
            "rekorPublicKeyData": base64::encode(&public_pem(&self.log)),
        })
    }

    pub(crate) fn annotations(&self, payload: &[u8]) -> Annotations {
        let raw = sign(&self.signer.key, payload);
        let signer_pem = pem(&[&self.signer]);
        let entry = promise(&self.log, &body(payload, &raw, &signer_pem), self.time);
        [
            (SIGNATURE, base64::encode(&raw)),
            (BUNDLE, entry),
            (CERTIFICATE, signer_pem),
            (CHAIN, pem(&[&self.link, &self.root])),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    pub(crate) fn signature(&self, payload: &[u8]) -> Signature {
        signature(payload, self.annotations(payload))
    }
}

impl Keyless {
    /// A trusted root with this authority and a log.
    pub(crate) fn trusted_root(&self, log: &PKey<Private>) -> serde_json::Value {
        let der = |holder: &Holder| json!({"rawBytes": base64::encode(&holder.certificate.to_der().unwrap())});
        let start = "2001-01-01T00:00:00Z";
        let spki = log.public_key_to_der().unwrap();
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": "http://log.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": base64::encode(&spki),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": start},
                },
                "logId": {"keyId": base64::encode(&openssl::sha::sha256(&spki))},
            }],
            "certificateAuthorities": [{
                "subject": {"organization": "lab", "commonName": "lab"},
                "uri": "http://authority.test",
                "certChain": {"certificates": [der(&self.link), der(&self.root)]},
                "validFor": {"start": start},
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        })
    }
}

/// The authenticated bytes of a DSSE envelope.
pub(crate) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    [head, payload.to_vec()].concat()
}

/// A statement that says "signed" and nothing else, in its envelope.
pub(crate) fn envelope(key: &PKey<Private>, manifest: &[u8]) -> serde_json::Value {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "", "digest": {"sha256": Digest::of(Algorithm::Sha256, manifest).hex()}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    signed_statement(key, &statement)
}

/// A statement in its envelope.
pub(crate) fn signed_statement(
    key: &PKey<Private>,
    statement: &serde_json::Value,
) -> serde_json::Value {
    let payload = statement.to_string();
    let payload_type = "application/vnd.in-toto+json";
    json!({
        "payload": base64::encode(payload.as_bytes()),
        "payloadType": payload_type,
        "signatures": [{"sig": base64::encode(&sign(key, &pae(payload_type, payload.as_bytes())))}],
    })
}

/// An entry of a log that has two of them, with promise and proof, as bundles carry it.
pub(crate) fn logged(
    log: &PKey<Private>,
    body: &serde_json::Value,
    time: i64,
) -> serde_json::Value {
    let id = openssl::sha::sha256(&log.public_key_to_der().unwrap());
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let content = body.to_string();
    let promised = json!({
        "body": base64::encode(content.as_bytes()),
        "integratedTime": time,
        "logID": hex,
        "logIndex": 0,
    });
    let leaf = openssl::sha::sha256(&[&[0], content.as_bytes()].concat());
    let sibling = openssl::sha::sha256(b"another entry");
    let root = openssl::sha::sha256(&[[1].as_slice(), &leaf, &sibling].concat());
    let note = format!("log.test - 1\n2\n{}\n", base64::encode(&root));
    let signed = [&id[..4], &sign(log, note.as_bytes())].concat();
    json!({
        "logIndex": "0",
        "logId": {"keyId": base64::encode(&id)},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": time.to_string(),
        "inclusionPromise": {
            "signedEntryTimestamp": base64::encode(&sign(log, promised.to_string().as_bytes())),
        },
        "inclusionProof": {
            "logIndex": "0",
            "rootHash": base64::encode(&root),
            "treeSize": "2",
            "hashes": [base64::encode(&sibling)],
            "checkpoint": {"envelope": format!("{note}\n— log.test {}\n", base64::encode(&signed))},
        },
        "canonicalizedBody": base64::encode(content.as_bytes()),
    })
}

/// A bundle of its parts.
pub(crate) fn bundle(
    material: serde_json::Value,
    entries: Vec<serde_json::Value>,
    content: (&str, serde_json::Value),
) -> serde_json::Value {
    let mut material = material;
    material["tlogEntries"] = entries.into();
    let mut bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
    });
    bundle[content.0] = content.1;
    bundle
}

/// A signature over the manifest itself.
pub(crate) fn message(key: &PKey<Private>, manifest: &[u8]) -> (Vec<u8>, serde_json::Value) {
    let raw = sign(key, manifest);
    let digest = openssl::sha::sha256(manifest);
    let value = json!({
        "messageDigest": {"algorithm": "SHA2_256", "digest": base64::encode(&digest)},
        "signature": base64::encode(&raw),
    });
    (raw, value)
}

impl Keyless {
    /// A bundle with this signer's certificate over a manifest.
    pub(crate) fn bundle(&self, manifest: &[u8]) -> serde_json::Value {
        let (raw, content) = message(&self.signer.key, manifest);
        let entry = logged(&self.log, &body(manifest, &raw, &pem(&[&self.signer])), self.time);
        let der = base64::encode(&self.signer.certificate.to_der().unwrap());
        let material = json!({"certificate": {"rawBytes": der}});
        bundle(material, vec![entry], ("messageSignature", content))
    }
}

/// A bundle by a key, with a log entry if there is a log.
pub(crate) fn key_bundle(
    key: &PKey<Private>,
    manifest: &[u8],
    log: Option<&PKey<Private>>,
) -> serde_json::Value {
    let (raw, content) = message(key, manifest);
    let signer = String::from_utf8(public_pem(key)).unwrap();
    let entry = log.map(|log| logged(log, &body(manifest, &raw, &signer), NOW));
    let material = json!({"publicKey": {"hint": "lab"}});
    bundle(material, entry.into_iter().collect(), ("messageSignature", content))
}
