//! A transparency log that speaks both versions of Rekor's interface; each has a tree of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData, SigningKey};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Odd, failed, now};
use crate::error::Result;

/// What the log of the second version calls itself in its checkpoints.
const ORIGIN: &str = "log.securecp.test";

type Hash = [u8; 32];

/// Keys and entries of both logs.
pub(super) struct Log {
    /// Of the first version, on P-256.
    pub(super) key: KeyPair,
    /// Of the second version, Ed25519 as in the public instance.
    second: KeyPair,
    /// Another log's, for one that lies.
    foreign: KeyPair,
}

/// The trees, and what was answered.
#[derive(Default)]
pub(super) struct Trees {
    first: Vec<Hash>,
    second: Vec<Hash>,
    /// The answers of the first version.
    pub(super) entries: Vec<Value>,
    /// The digests of the second version, and what was answered.
    pub(super) entries_v2: Vec<(Value, Value)>,
}

impl Log {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            key: KeyPair::generate().map_err(failed)?,
            second: KeyPair::generate_for(&PKCS_ED25519).map_err(failed)?,
            foreign: KeyPair::generate().map_err(failed)?,
        })
    }

    /// Both logs as a trusted root names them.
    pub(super) fn trusted(&self) -> Value {
        let log = |key: &KeyPair, id: &[u8], details: &str| {
            json!({
                "baseUrl": "https://log.securecp.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.subject_public_key_info()),
                    "keyDetails": details,
                    "validFor": {"start": "2001-01-01T00:00:00Z"},
                },
                "logId": {"keyId": STANDARD.encode(id)},
            })
        };
        json!([
            log(&self.key, &id_of(&self.key), "PKIX_ECDSA_P256_SHA_256"),
            log(&self.second, &self.second_id(), "PKIX_ED25519"),
        ])
    }

    /// The identifier of an Ed25519 key in a checkpoint (C2SP signed-note).
    fn second_id(&self) -> Hash {
        let name = [ORIGIN.as_bytes(), b"\n\x01", self.second.public_key_raw()].concat();
        hash(&name)
    }

    /// Takes an entry; gives the answer of the first version, with promise and proof.
    pub(super) fn record(&self, trees: &mut Trees, proposal: &Value, odd: Option<Odd>) -> Value {
        let content = content(proposal).to_string();
        let index = trees.first.len();
        trees.first.push(leaf(content.as_bytes()));
        let key = if odd == Some(Odd::ForeignPromise) { &self.foreign } else { &self.key };
        let (body, id, time) = (STANDARD.encode(&content), hex(&id_of(&self.key)), now());
        let promised = format!(
            r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#
        );
        let root = root(&trees.first);
        let hashes: Vec<String> = path(index, &trees.first).iter().map(|hash| hex(hash)).collect();
        let note = format!("{ORIGIN} - 1\n{}\n{}\n", trees.first.len(), STANDARD.encode(root));
        let answer = json!({format!("24296fb2{index:056x}"): {
            "body": body, "integratedTime": time, "logID": id, "logIndex": index,
            "verification": {
                "signedEntryTimestamp": STANDARD.encode(sign(key, promised.as_bytes())),
                "inclusionProof": {
                    "logIndex": index,
                    "rootHash": hex(&root),
                    "treeSize": trees.first.len(),
                    "hashes": hashes,
                    "checkpoint": checkpoint(&note, key, &id_of(&self.key)),
                },
            },
        }});
        trees.entries.push(answer.clone());
        answer
    }

    /// The same in the second version: a proof and no promise.
    pub(super) fn record_v2(
        &self,
        trees: &mut Trees,
        proposal: &Value,
        odd: Option<Odd>,
    ) -> Option<Value> {
        let request = proposal.get("hashedRekordRequestV002")?;
        let content = json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {"hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": request["digest"]},
                "signature": request["signature"],
            }},
        })
        .to_string();
        let index = trees.second.len();
        trees.second.push(leaf(content.as_bytes()));
        let root = root(&trees.second);
        let key = if odd == Some(Odd::ForeignCheckpoint) { &self.foreign } else { &self.second };
        let note = format!("{ORIGIN}\n{}\n{}\n", trees.second.len(), STANDARD.encode(root));
        let mut hashes = path(index, &trees.second);
        if odd == Some(Odd::OtherProof) {
            hashes.push(root);
        }
        let hashes: Vec<String> = hashes.iter().map(|hash| STANDARD.encode(hash)).collect();
        let answer = json!({
            "logIndex": index.to_string(),
            "logId": {"keyId": STANDARD.encode(self.second_id())},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
            "integratedTime": "0",
            "inclusionPromise": null,
            "inclusionProof": {
                "logIndex": index.to_string(),
                "rootHash": STANDARD.encode(root),
                "treeSize": trees.second.len().to_string(),
                "hashes": hashes,
                "checkpoint": {"envelope": checkpoint(&note, key, &self.second_id())},
            },
            "canonicalizedBody": STANDARD.encode(content),
        });
        trees.entries_v2.push((request["digest"].clone(), answer.clone()));
        Some(answer)
    }
}

/// What the first version stores of a proposal: of an envelope its hashes and signatures, anything else as it is.
fn content(proposal: &Value) -> Value {
    let proposed = &proposal["spec"]["proposedContent"];
    let Some(text) = proposed["envelope"].as_str() else { return proposal.clone() };
    let envelope: Value = serde_json::from_str(text).unwrap_or_default();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap_or_default());
    let sha256 = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex(&hash(bytes))});
    json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": sha256(text.as_bytes()),
            "payloadHash": sha256(&payload.unwrap_or_default()),
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"],
                "verifier": proposed["verifiers"][0],
            }],
        },
    })
}

fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    key.sign(message).unwrap_or_default()
}

fn checkpoint(note: &str, key: &KeyPair, id: &Hash) -> String {
    let signed = [&id[..4], &sign(key, note.as_bytes())].concat();
    format!("{note}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signed))
}

fn id_of(key: &KeyPair) -> Hash {
    hash(&key.subject_public_key_info())
}

fn hash(bytes: &[u8]) -> Hash {
    let mut found = [0; 32];
    found.copy_from_slice(digest(&SHA256, bytes).as_ref());
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of an entry (RFC 6962 section 2.1).
fn leaf(content: &[u8]) -> Hash {
    hash(&[&[0], content].concat())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left.as_slice(), right].concat())
}

/// The largest power of two below a size of at least two.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The hashes that lead from an entry to the root (RFC 6962 section 2.1.1).
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut found, sibling) = match index < middle {
        true => (path(index, left), root(right)),
        false => (path(index - middle, right), root(left)),
    };
    found.push(sibling);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the proof up as a verifier does.
    fn proven(index: usize, size: usize, hash: Hash, path: &[Hash]) -> Hash {
        match path.split_last() {
            None => hash,
            Some((sibling, below)) => {
                let middle = split(size);
                match index < middle {
                    true => node(&proven(index, middle, hash, below), sibling),
                    false => node(sibling, &proven(index - middle, size - middle, hash, below)),
                }
            }
        }
    }

    #[test]
    fn every_entry_is_proven_in_trees_of_every_size() {
        let leaves: Vec<Hash> = (0..20_u8).map(|n| leaf(&[n])).collect();
        for size in 1..=leaves.len() {
            let tree = &leaves[..size];
            for (index, leaf) in tree.iter().enumerate() {
                assert_eq!(proven(index, size, *leaf, &path(index, tree)), root(tree));
            }
        }
        assert_eq!(split(2), 1);
        assert_eq!((split(3), split(4), split(5)), (2, 2, 4));
    }
}
