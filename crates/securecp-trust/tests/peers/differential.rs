//! Generated policies, names and signatures, judged by securecp and by skopeo: the verdicts must be the same.
//!
//! Only what skopeo 1.9.3 knows is generated, and no case in which securecp is stricter on purpose (docs/policy.md).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use securecp_oci::{Declared, ImageIdentity, RawManifest, Signature, Transport, base64};
use securecp_trust::{Gate, Judged, Payload, PayloadKind, Policy, SimpleSigner, Subject};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::KeyFlags;

use crate::{registry, testdata};

const CASES: u64 = 400;

/// A small generator of numbers (xorshift64*): the same cases in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// A key as signers and policies see it.
struct Party {
    signer: SimpleSigner,
    signs_at: SystemTime,
    public: Vec<u8>,
}

struct World {
    registry: String,
    manifest: RawManifest,
    parties: BTreeMap<&'static str, Party>,
    now: SystemTime,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Outcome {
    Accepted,
    Refused,
    Invalid,
}

struct Case {
    policy: String,
    signatures: Vec<Signature>,
    /// `None` is the directory itself.
    name: Option<String>,
}

fn party(secret: &[u8], public: Vec<u8>, signs_at: SystemTime) -> Party {
    let signer = SimpleSigner::from_key(secret, None, signs_at).unwrap();
    Party { signer, signs_at, public }
}

fn generated(made: SystemTime, valid: Option<Duration>, revoke: bool) -> Party {
    let flags = KeyFlags::empty().set_certification().set_signing();
    let builder = CertBuilder::new().add_userid("party").set_primary_key_flags(flags);
    let (cert, revocation) =
        builder.set_creation_time(made).set_validity_period(valid).generate().unwrap();
    let public: Cert =
        if revoke { cert.clone().insert_packets(revocation).unwrap().0 } else { cert.clone() };
    let secret = cert.as_tsk().to_vec().unwrap();
    party(&secret, public.to_vec().unwrap(), made + Duration::from_secs(60))
}

impl World {
    fn new() -> Self {
        let now = SystemTime::now();
        let past = now - Duration::from_secs(400 * 86400);
        let read = |path: &str| std::fs::read(testdata(path)).unwrap();
        let file = |who: &str| {
            let secret = read(&format!("keys/pgp-{who}.sec.asc"));
            party(&secret, read(&format!("keys/pgp-{who}.pub.asc")), now)
        };
        let year = Some(Duration::from_secs(365 * 86400));
        let parties = [
            ("alice", file("alice")),
            ("bob", file("bob")),
            ("curve", generated(past, None, false)),
            ("expired", generated(past, year, false)),
            ("revoked", generated(past, None, true)),
        ];
        let manifest = Bytes::from(registry::manifest());
        Self {
            registry: registry::start(),
            manifest: RawManifest::read(manifest, Declared::default()).unwrap(),
            parties: parties.into(),
            now,
        }
    }

    /// The names that images have and signatures claim.
    fn names(&self) -> Vec<String> {
        let registry = &self.registry;
        vec![
            format!("{registry}/ns/app:v1"),
            format!("{registry}/ns/app:v2"),
            format!("{registry}/ns/app@{}", self.manifest.digest()),
            format!("{registry}/other:v1"),
        ]
    }

    fn case(&self, dice: &mut Dice, folder: &Path) -> Case {
        let names = self.names();
        let name = (!dice.one_in(4)).then(|| names[dice.below(names.len())].clone());
        let count = dice.below(4);
        Case {
            policy: self.policy(dice, folder),
            signatures: (0..count).map(|_| self.signature(dice, name.as_deref())).collect(),
            name,
        }
    }

    fn signed_name(&self, dice: &mut Dice) -> String {
        let names = self.names();
        match dice.below(12) {
            0 => format!("elsewhere.test/ns/app:v{}", dice.below(2) + 1),
            1 => format!("{}/ns/app", self.registry),
            2 if dice.one_in(3) => "UPPER".to_owned(),
            _ => names[dice.below(names.len())].clone(),
        }
    }

    fn signature(&self, dice: &mut Dice, image: Option<&str>) -> Signature {
        let who = dice.pick(&["alice", "alice", "alice", "bob", "curve", "expired", "revoked"]);
        let party = &self.parties[who];
        let any = "any.test/x:1".parse().unwrap();
        let digest = self.manifest.digest();
        let mut payload = Payload::new(PayloadKind::Simple, digest, &any, party.signs_at).unwrap();
        payload.identity = match image {
            Some(image) if !image.contains('@') && dice.one_in(2) => image.to_owned(),
            _ => self.signed_name(dice),
        };
        if dice.one_in(8) {
            payload.digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        }
        party.signer.sign(&payload, party.signs_at).unwrap()
    }

    fn policy(&self, dice: &mut Dice, folder: &Path) -> String {
        let registry = &self.registry;
        let mut docker = vec![String::new(), registry.clone(), format!("{registry}/ns")];
        docker.extend(self.names());
        docker.extend(["*.0.0.1", "127.0.0.1", "docker.io", "UPPER *"].map(str::to_owned));
        docker.push(format!("{registry}/ns/app"));
        let folder = folder.to_str().unwrap();
        let mut dir = vec![
            String::new(),
            folder.to_owned(),
            format!("{folder}/image"),
            format!("{folder}/x"),
        ];
        if dice.one_in(12) {
            dir.extend(["relative".to_owned(), format!("{folder}/")]);
        }
        let docker = self.scopes(dice, &docker);
        let dir = self.scopes(dice, &dir);
        let default = self.requirements(dice);
        let text = format!(
            r#"{{"default":{default},"transports":{{"docker":{{{docker}}},"dir":{{{dir}}},"unknown":{{"?":[{{"type":"reject"}}]}}}}}}"#
        );
        if dice.one_in(12) { mutated(dice, &text) } else { text }
    }

    fn scopes(&self, dice: &mut Dice, from: &[String]) -> String {
        let chosen: std::collections::BTreeSet<&String> =
            (0..dice.below(5)).map(|_| &from[dice.below(from.len())]).collect();
        let one = |scope: &String| format!(r#""{scope}":{}"#, self.requirements(dice));
        let scopes: Vec<String> = chosen.into_iter().map(one).collect();
        scopes.join(",")
    }

    fn requirements(&self, dice: &mut Dice) -> String {
        let count = if dice.one_in(4) { 2 } else { 1 };
        let all: Vec<String> = (0..count).map(|_| self.requirement(dice)).collect();
        format!("[{}]", all.join(","))
    }

    fn requirement(&self, dice: &mut Dice) -> String {
        match dice.below(10) {
            0 => r#"{"type":"insecureAcceptAnything"}"#.to_owned(),
            1 => r#"{"type":"reject"}"#.to_owned(),
            _ => {
                let key = match dice.pick(&[
                    "alice", "alice", "alice", "both", "bob", "curve", "expired", "revoked", "none",
                ]) {
                    "both" => {
                        [&self.parties["alice"].public[..], &self.parties["bob"].public].concat()
                    }
                    "none" => b"garbage".to_vec(),
                    who => self.parties[who].public.clone(),
                };
                let key = base64::encode(&key);
                let identity = self.identity(dice);
                format!(r#"{{"type":"signedBy","keyType":"GPGKeys","keyData":"{key}"{identity}}}"#)
            }
        }
    }

    fn identity(&self, dice: &mut Dice) -> String {
        let name = self.signed_name(dice);
        let rule = match dice.below(12) {
            0 => r#"{"type":"matchExact"}"#.to_owned(),
            1 => r#"{"type":"matchRepoDigestOrExact"}"#.to_owned(),
            2 => r#"{"type":"matchRepository"}"#.to_owned(),
            3 => format!(r#"{{"type":"exactReference","dockerReference":"{name}"}}"#),
            4 => format!(r#"{{"type":"exactRepository","dockerRepository":"{name}"}}"#),
            5 => {
                let from = dice.pick(&["", "/ns", "/n", "/ns/app"]);
                let to =
                    dice.pick(&["elsewhere.test", "elsewhere.test/ns", "elsewhere.test/ns/app"]);
                let registry = &self.registry;
                format!(
                    r#"{{"type":"remapIdentity","prefix":"{registry}{from}","signedPrefix":"{to}"}}"#
                )
            }
            _ => return String::new(),
        };
        format!(r#","signedIdentity":{rule}"#)
    }
}

/// A text that is probably not a policy any more.
fn mutated(dice: &mut Dice, text: &str) -> String {
    match dice.below(10) {
        0 => text.replacen(r#""type""#, r#""Type""#, 1),
        1 => text.replacen(r#""type":"#, r#""x":1,"type":"#, 1),
        2 => text.replacen(r#""type":"#, r#""type":"reject","type":"#, 1),
        3 => text.replacen(r#"{"default":"#, r#"{"default":[],"x":"#, 1),
        4 => format!("{text}x"),
        5 => text.replacen("GPGKeys", "Keys", 1),
        6 => text.replacen(r#""keyData":"#, r#""keyPath":"","keyData":"#, 1),
        7 => text.replacen(r#""signedIdentity":{"#, r#""signedIdentity":null,"x":{"#, 1),
        8 => text.replacen(r#""docker":{"#, r#""docker":{"r.test":[],"#, 1),
        _ => text.replacen(r#""docker":{"#, r#""docker":null,"x":{"#, 1),
    }
}

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

fn ours(world: &World, case: &Case, folder: &Path) -> Outcome {
    let Ok(policy) = Policy::parse(case.policy.as_bytes()) else { return Outcome::Invalid };
    let identity = match &case.name {
        Some(name) => ImageIdentity::docker(&name.parse().unwrap()),
        None => ImageIdentity::path(Transport::Dir, folder.join("image").to_str().unwrap()),
    };
    let signatures = Ok(case.signatures.clone());
    let survey = Survey { identity, subject: Subject::new(world.manifest.clone(), signatures) };
    let no_files = |_: &str| Err(std::io::Error::other("no key files in these policies"));
    let verdict = policy.judge(&survey, &Gate::new(&no_files).at(world.now));
    if verdict.accepted { Outcome::Accepted } else { Outcome::Refused }
}

/// Lays the image out for skopeo and asks it to copy.
fn theirs(world: &World, case: &Case, folder: &Path) -> Outcome {
    let digest = world.manifest.digest();
    let write = |path: &Path, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let config = world.manifest.image().unwrap().config.digest.hex().to_owned();
    let source = match &case.name {
        Some(name) => {
            let path = name.split_once('/').unwrap().1.split([':', '@']).next().unwrap().to_owned();
            for (n, signature) in (1..).zip(&case.signatures) {
                let below = format!("lookaside/{path}@sha256={}/signature-{n}", digest.hex());
                write(&folder.join(below), &signature.to_blob());
            }
            format!("docker://{name}")
        }
        None => {
            let image = folder.join("image");
            write(&image.join("version"), b"Directory Transport Version: 1.1\n");
            write(&image.join("manifest.json"), world.manifest.bytes());
            write(&image.join(config), registry::CONFIG.as_bytes());
            for (n, signature) in (1..).zip(&case.signatures) {
                write(&image.join(format!("signature-{n}")), &signature.to_blob());
            }
            format!("dir:{}", image.display())
        }
    };
    let lookaside =
        format!("default-docker:\n  sigstore: file://{}\n", folder.join("lookaside").display());
    write(&folder.join("registries.d/default.yaml"), lookaside.as_bytes());
    write(&folder.join("policy.json"), case.policy.as_bytes());
    let output = Command::new("skopeo")
        .env("HOME", folder)
        .arg("--policy")
        .arg(folder.join("policy.json"))
        .arg("--registries.d")
        .arg(folder.join("registries.d"))
        .args(["copy", "--src-tls-verify=false", &source])
        .arg(format!("dir:{}", folder.join("copied").display()))
        .output()
        .unwrap_or_else(|error| panic!("skopeo is needed for this test: {error}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match () {
        () if output.status.success() => Outcome::Accepted,
        () if text.contains("Source image rejected") => Outcome::Refused,
        () if text.contains("Error loading trust policy") => Outcome::Invalid,
        () => panic!("skopeo failed for another reason: {text}"),
    }
}

#[test]
fn generated_cases_get_the_same_verdict_from_skopeo() {
    let world = World::new();
    let root = tempfile::tempdir().unwrap();
    let next = Mutex::new(0);
    let counts = Mutex::new([0; 3]);
    let work = || {
        loop {
            let number = {
                let mut next = next.lock().unwrap();
                *next += 1;
                *next
            };
            if number > CASES {
                return;
            }
            let folder = root.path().join(number.to_string());
            std::fs::create_dir(&folder).unwrap();
            let case = world.case(&mut Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &folder);
            let (ours, theirs) = (ours(&world, &case, &folder), theirs(&world, &case, &folder));
            let said: Vec<_> = case.signatures.iter().map(Signature::to_blob).collect();
            assert_eq!(
                ours,
                theirs,
                "case {number}: {:?}\n{}\n{} signatures",
                case.name,
                case.policy,
                said.len()
            );
            counts.lock().unwrap()[ours as usize] += 1;
            std::fs::remove_dir_all(&folder).unwrap();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let counts = counts.into_inner().unwrap();
    assert!(counts.iter().all(|count| *count >= 40), "all outcomes occur: {counts:?}");
    println!("accepted, refused, invalid: {counts:?}");
}
