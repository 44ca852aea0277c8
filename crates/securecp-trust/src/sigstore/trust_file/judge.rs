//! The judgement of one manifest under a trust file.

use std::collections::{BTreeMap, BTreeSet};

use securecp_oci::{
    Algorithm, Digest, Escaped, ImageIdentity, RawManifest, SIGNATURE_COUNT_LIMIT, Signature,
};

use super::rule::{Holders, Rule};
use super::signer::{Identity, Signer};
use super::verdict::{Found, FoundVerdict, TrustDenial, TrustFault, TrustVerdict};
use super::{Accept, Demand, TrustFile, shown};
use crate::gate::{FetchFailure, KEY_LIMIT, KeyReader};
use crate::payload::{Payload, PayloadKind};
use crate::signed::not_a_payload;
use crate::sigstore::StoredBundle;
use crate::sigstore::bundle::{BundleFault, Candidate, Wanted};
use crate::sigstore::claims::Claims;
use crate::sigstore::evidence;
use crate::sigstore::public_key::PublicKey;
use crate::sigstore::trusted_root::{TRUSTED_ROOT_LIMIT, TrustedRoot};

/// What was found beside one manifest, in the order of its storage, or why it could not be had.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What was stored as bundles.
    pub bundles: &'a Result<Vec<StoredBundle>, FetchFailure>,
    /// The layers of the attachment manifest.
    pub attachments: &'a Result<Vec<Signature>, FetchFailure>,
}

impl TrustFile {
    /// Judges the exact bytes of one manifest. `files` reads the trusted root and the keys; nothing else is read.
    ///
    /// A form of signatures that counts and could not be fetched denies, whatever the other form says: only what is
    /// known to be absent may be done without.
    pub fn judge(
        &self,
        image: &ImageIdentity,
        manifest: &RawManifest,
        evidence: Evidence<'_>,
        files: KeyReader<'_>,
    ) -> TrustVerdict {
        let (scope, demand) = self.demand_for(image);
        let mut found = Vec::new();
        let outcome = match demand {
            Demand::PolicyOnly => Ok(()),
            Demand::Reject => Err(TrustDenial::Rejected),
            Demand::Signed { accept, rule } => Known::load(self, rule, files).and_then(|known| {
                found = known.judge_all(*accept, manifest, evidence)?;
                known.conclude(rule, &found)
            }),
        };
        let digest = manifest.digest().clone();
        let (accepted, denial) = (outcome.is_ok(), outcome.err());
        TrustVerdict { digest, scope: shown(&scope), accepted, denial, found }
    }
}

/// The signers that a trust file names for an image, to judge evidence one piece at a time.
pub(crate) struct Trusted<'a> {
    accept: Accept,
    known: Known<'a>,
}

/// Evidence that one of the signers made.
pub(crate) struct Endorsed {
    /// Who.
    pub(crate) by: String,
    /// Whether it says that its subject is signed, and nothing else.
    pub(crate) is_signature: bool,
}

impl TrustFile {
    /// Whoever is named for an image; `None` if nobody is.
    pub(crate) fn trusted(
        &self,
        image: &ImageIdentity,
        files: KeyReader<'_>,
    ) -> Result<Option<Trusted<'_>>, TrustDenial> {
        match self.demand_for(image).1 {
            Demand::PolicyOnly | Demand::Reject => Ok(None),
            Demand::Signed { accept, rule } => {
                let known = Known::load(self, rule, files)?;
                Ok(Some(Trusted { accept: *accept, known }))
            }
        }
    }
}

impl Trusted<'_> {
    /// Judges a bundle, which may be a statement of whatever kind.
    pub(crate) fn bundle(
        &self,
        bytes: &[u8],
        subject: &RawManifest,
    ) -> Result<Endorsed, TrustFault> {
        self.require(Accept::Bundle, "bundles")?;
        self.endorsed(&Candidate::read_as(Wanted::Anything, bytes)?, subject)
    }

    /// Judges a layer of an attachment: a signature.
    pub(crate) fn signature(
        &self,
        signature: &Signature,
        subject: &RawManifest,
    ) -> Result<Endorsed, TrustFault> {
        self.require(Accept::Attachment, "attachments")?;
        let judged = self.known.judge_attachment(signature, subject);
        let good = judged.unwrap_or(Err(TrustFault::NotASignature))?;
        Ok(Endorsed { by: good.shown(), is_signature: true })
    }

    /// Judges a layer of an attachment: an attested statement.
    pub(crate) fn attestation(
        &self,
        layer: &Signature,
        subject: &RawManifest,
    ) -> Result<Endorsed, TrustFault> {
        self.require(Accept::Attachment, "attachments")?;
        let evidence = evidence::Evidence::of_envelope(layer)?;
        self.endorsed(&Candidate::of_attestation(&evidence)?, subject)
    }

    fn endorsed(
        &self,
        candidate: &Candidate,
        subject: &RawManifest,
    ) -> Result<Endorsed, TrustFault> {
        let good = self.known.judge_candidate(candidate, subject.bytes())?;
        Ok(Endorsed { by: good.shown(), is_signature: candidate.is_signature() })
    }

    fn require(&self, form: Accept, found: &'static str) -> Result<(), TrustFault> {
        match self.accept == Accept::Any || self.accept == form {
            true => Ok(()),
            false => Err(TrustFault::OtherForm { found }),
        }
    }
}

impl Good {
    fn shown(&self) -> String {
        let signers: Vec<String> = self.signers.iter().map(|name| shown(name)).collect();
        format!("{} ({})", signers.join(", "), self.holder)
    }
}

/// The signers of one rule, with everything that is needed to know them.
pub(super) struct Known<'a> {
    root: TrustedRoot,
    without_certificate_log: bool,
    keys: Vec<Key<'a>>,
    identities: Vec<(&'a str, &'a Identity)>,
}

struct Key<'a> {
    signer: &'a str,
    key: PublicKey,
    without_log: bool,
}

/// A good signature: who made it, and which signers that is.
pub(super) struct Good {
    pub(super) holder: String,
    pub(super) signers: Vec<String>,
}

impl<'a> Known<'a> {
    pub(super) fn load(
        file: &'a TrustFile,
        rule: &'a Rule,
        files: KeyReader<'_>,
    ) -> Result<Self, TrustDenial> {
        let (mut keys, mut identities) = (Vec::new(), Vec::new());
        let names = rule.names();
        let signers = file.signers.iter().filter(|(name, _)| names.contains(name.as_str()));
        for (name, signer) in signers {
            match signer {
                Signer::Identity(identity) => identities.push((name.as_str(), identity.as_ref())),
                Signer::Key { path, without_log } => {
                    let key = read_key(path, files)?;
                    keys.push(Key { signer: name, key, without_log: *without_log });
                }
            }
        }
        check_distinct(&keys)?;
        let root = read_root(file.trusted_root(), files)?;
        let without_certificate_log = file.without_certificate_log;
        Ok(Self { root, without_certificate_log, keys, identities })
    }

    fn judge_all(
        &self,
        accept: Accept,
        manifest: &RawManifest,
        evidence: Evidence<'_>,
    ) -> Result<Vec<FoundVerdict>, TrustDenial> {
        let mut found = Vec::new();
        if accept != Accept::Attachment {
            let bundles = available("bundles", evidence.bundles)?;
            found.extend((1..).zip(bundles).map(|(position, bundle)| {
                verdict(Found::Bundle, position, self.judge_bundle(bundle, manifest))
            }));
        }
        if accept != Accept::Bundle {
            let attachments = available("attachments", evidence.attachments)?;
            let sigstore = (1..).zip(attachments).filter_map(|(position, signature)| {
                let outcome = self.judge_attachment(signature, manifest)?;
                Some(verdict(Found::Attachment, position, outcome))
            });
            found.extend(sigstore);
        }
        if found.is_empty() { Err(TrustDenial::NoSignature) } else { Ok(found) }
    }

    fn judge_bundle(
        &self,
        bundle: &StoredBundle,
        manifest: &RawManifest,
    ) -> Result<Good, TrustFault> {
        match bundle {
            StoredBundle::Content(bytes) => {
                self.judge_candidate(&Candidate::read(bytes)?, manifest.digested())
            }
            StoredBundle::Odd(fault) => {
                Err(BundleFault::Format { failure: shown(&fault.to_string()) }.into())
            }
        }
    }

    /// `None` for signatures of another family.
    fn judge_attachment(
        &self,
        signature: &Signature,
        manifest: &RawManifest,
    ) -> Option<Result<Good, TrustFault>> {
        let Signature::Sigstore { media_type, payload, .. } = signature else { return None };
        if media_type != Signature::SIGSTORE_MEDIA_TYPE {
            return Some(Err(TrustFault::NotASignature));
        }
        let judge = || {
            let evidence = evidence::Evidence::of(signature)?;
            let candidate = Candidate::of_attachment(&evidence)?;
            let good = self.judge_candidate(&candidate, manifest.digested())?;
            check_payload(payload, manifest)?;
            Ok(good)
        };
        Some(judge())
    }

    pub(super) fn judge_candidate(
        &self,
        candidate: &Candidate,
        manifest: &[u8],
    ) -> Result<Good, TrustFault> {
        if candidate.has_certificate() {
            if self.identities.is_empty() {
                return Err(TrustFault::OtherKind { found: "certificate" });
            }
            let log = self.without_certificate_log;
            let signer = candidate.verify_certificate(manifest, &self.root, log)?;
            return self.identify(signer.claims());
        }
        if self.keys.is_empty() {
            return Err(TrustFault::OtherKind { found: "key" });
        }
        let mut failures = Vec::new();
        for Key { signer, key, without_log } in &self.keys {
            match candidate.verify_key(manifest, &self.root, key, *without_log) {
                Ok(()) => {
                    return Ok(Good { holder: key.name(), signers: vec![(*signer).to_owned()] });
                }
                // With one key there is no doubt whose fault it is.
                Err(fault) if self.keys.len() == 1 => return Err(fault.into()),
                Err(fault) => failures.push(format!("{}: {fault}", shown(signer))),
            }
        }
        Err(TrustFault::NoKey { failures })
    }

    /// Which signers the holder of a verified certificate is.
    fn identify(&self, claims: &Claims) -> Result<Good, TrustFault> {
        let holder = claims.holder().map_err(BundleFault::from)?;
        let (mut signers, mut mismatches) = (Vec::new(), Vec::new());
        for (name, identity) in &self.identities {
            match identity.mismatch(claims).map_err(BundleFault::from)? {
                None => signers.push((*name).to_owned()),
                Some(member) => mismatches.push(format!("{}: other {member}", shown(name))),
            }
        }
        if signers.is_empty() {
            return Err(TrustFault::OtherSigner { holder, mismatches });
        }
        Ok(Good { holder, signers })
    }

    fn conclude(&self, rule: &Rule, found: &[FoundVerdict]) -> Result<(), TrustDenial> {
        let mut holders: Holders<'_> = BTreeMap::new();
        for one in found {
            for signer in &one.signers {
                let names = holders.entry(signer.as_str()).or_default();
                names.extend(one.holder.as_deref());
            }
        }
        if rule.holds(&holders) {
            return Ok(());
        }
        let signed = holders.keys().map(|name| shown(name)).collect();
        Err(TrustDenial::NotMet { expected: rule.to_string(), signed })
    }
}

fn verdict(kind: Found, position: usize, outcome: Result<Good, TrustFault>) -> FoundVerdict {
    match outcome {
        Ok(Good { holder, signers }) => {
            FoundVerdict { kind, position, holder: Some(holder), signers, fault: None }
        }
        Err(fault) => {
            FoundVerdict { kind, position, holder: None, signers: Vec::new(), fault: Some(fault) }
        }
    }
}

/// What was found, unless it could not be had or is too much.
fn available<'a, T>(
    what: &'static str,
    found: &'a Result<Vec<T>, FetchFailure>,
) -> Result<&'a [T], TrustDenial> {
    match found {
        Err(failure) => Err(TrustDenial::NotFetched { what, failure: failure.to_string() }),
        Ok(found) if found.len() > SIGNATURE_COUNT_LIMIT => {
            let (found, limit) = (found.len(), SIGNATURE_COUNT_LIMIT);
            Err(TrustDenial::TooMany { what, found, limit })
        }
        Ok(found) => Ok(found),
    }
}

/// The name in the payload is policy.json's business; a bundle has none.
fn check_payload(payload: &[u8], manifest: &RawManifest) -> Result<(), TrustFault> {
    let payload = Payload::parse(payload, PayloadKind::Sigstore)
        .map_err(|error| TrustFault::Payload { failure: not_a_payload(&error).to_string() })?;
    if payload.digest != Digest::of(Algorithm::Sha256, manifest.digested()) {
        return Err(TrustFault::Digest { signed: payload.digest.to_string() });
    }
    Ok(())
}

/// One key under two names would make one signature out of two.
fn check_distinct(keys: &[Key<'_>]) -> Result<(), TrustDenial> {
    let mut seen = BTreeSet::new();
    match keys.iter().find(|key| !seen.insert(key.key.spki())) {
        None => Ok(()),
        Some(key) => Err(TrustDenial::Material {
            subject: format!("key of signer {}", shown(key.signer)),
            failure: "another signer has the same".to_owned(),
        }),
    }
}

fn read_key(path: &str, files: KeyReader<'_>) -> Result<PublicKey, TrustDenial> {
    let bytes = read_file(path, files, KEY_LIMIT)?;
    PublicKey::from_pem(&bytes).map_err(|fault| material(path, &fault))
}

fn read_root(path: Option<&str>, files: KeyReader<'_>) -> Result<TrustedRoot, TrustDenial> {
    let root = match path {
        None => TrustedRoot::empty(),
        Some(path) => TrustedRoot::parse(&read_file(path, files, TRUSTED_ROOT_LIMIT)?),
    };
    root.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|e| format!(": {e}"));
        let failure = format!("{error}{}", cause.unwrap_or_default());
        material(path.unwrap_or("the empty trusted root"), &failure)
    })
}

fn read_file(path: &str, files: KeyReader<'_>, limit: usize) -> Result<Vec<u8>, TrustDenial> {
    let bytes = files(path).map_err(|error| material(path, &error))?;
    if bytes.len() > limit {
        return Err(material(path, &format!("more than {limit} bytes")));
    }
    Ok(bytes)
}

fn material(path: &str, failure: &dyn std::fmt::Display) -> TrustDenial {
    let failure = Escaped::new(&failure.to_string()).to_string();
    TrustDenial::Material { subject: shown(path), failure }
}
