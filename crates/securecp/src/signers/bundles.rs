//! Sigstore bundles by the keys and certificates that sign.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use securecp_copy::BundleSigner;
use securecp_keys::KeylessError;
use securecp_trust::{BundleCheck, BundleDraft, BundleHolder, TRUSTED_ROOT_LIMIT};

use super::sigstore::{ByKey, ByNotary};
use crate::failure::Failure;
use crate::files::read_bounded;
use crate::request::BundleWitness;

/// What every new bundle must have.
pub(super) struct Witness {
    check: Arc<BundleCheck>,
    without_log: bool,
}

impl Witness {
    pub(super) fn load(wanted: &BundleWitness) -> Result<Self, Failure> {
        let (check, without_log) = match wanted {
            BundleWitness::TrustedRoot(path) => (against(path)?, false),
            BundleWitness::DangerousNone => (BundleCheck::dangerous_without_log()?, true),
        };
        Ok(Self { check: Arc::new(check), without_log })
    }

    /// Makes bundles with a key of which no log will hear.
    pub(super) fn by_key(&self, key: Arc<ByKey>) -> Result<Arc<dyn BundleSigner>, Failure> {
        if !self.without_log {
            return Err(without_log("--sign-by-sigstore-private-key"));
        }
        Ok(Arc::new(Unlogged { key, check: self.check.clone() }))
    }

    /// Makes bundles that a log sees.
    pub(super) fn by_notary(&self, by: Arc<ByNotary>) -> Result<Arc<dyn BundleSigner>, Failure> {
        if self.without_log {
            let problem = "--dangerous-sign-without-log has no effect on --sign-by-sigstore";
            return Err(Failure::usage(problem)
                .hint("--sign-trusted-root FILE verifies the bundles that its log has seen"));
        }
        match by.notary.check_bundles() {
            Err(KeylessError::NoLog) => {
                Err(without_log("--sign-by-sigstore without rekorURL or rekorV2URL"))
            }
            Err(error) => Err(anyhow::Error::new(error).context("--sign-by-sigstore").into()),
            Ok(()) => Ok(()),
        }?;
        Ok(Arc::new(Logged { by, check: self.check.clone() }))
    }
}

fn without_log(option: &str) -> Failure {
    Failure::usage(format!("a bundle by {option} would have no log entry")).hint(
        "--dangerous-sign-without-log with --sign-by-sigstore-private-key makes bundles without one",
    )
}

fn against(path: &Path) -> Result<BundleCheck, Failure> {
    let bytes = trusted_root(path)?;
    Ok(BundleCheck::against(&bytes).with_context(|| option(path))?)
}

/// The bytes of a trusted root.
pub(super) fn trusted_root(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(read_bounded(path, TRUSTED_ROOT_LIMIT).with_context(|| option(path))?)
}

pub(super) fn option(path: &Path) -> String {
    format!("--sign-trusted-root {}", path.display())
}

type Made<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Makes bundles without a log entry.
struct Unlogged {
    key: Arc<ByKey>,
    check: Arc<BundleCheck>,
}

impl BundleSigner for Unlogged {
    fn name(&self) -> String {
        self.key.0.key_name()
    }

    fn bundle(&self, draft: BundleDraft) -> Made<Bytes> {
        let signature = self.key.0.sign_for_bundle(&draft.to_sign())?;
        let holder = BundleHolder::key(&self.key.0.public_pem())?;
        Ok(draft.signed(signature, holder).finish(&[], &[], &self.check)?)
    }

    fn has_made(&self, draft: &BundleDraft, bundle: &[u8]) -> bool {
        self.check.confirm(bundle, draft, &self.key.0.public_pem()).is_ok()
    }
}

/// Makes bundles that a log sees.
struct Logged {
    by: Arc<ByNotary>,
    check: Arc<BundleCheck>,
}

impl BundleSigner for Logged {
    fn name(&self) -> String {
        self.by.notary.name()
    }

    fn bundle(&self, draft: BundleDraft) -> Made<Bytes> {
        Ok(self.by.notary.bundle(draft, &self.check, &self.by.scope)?)
    }

    /// Whom a new certificate would name is only known once it is made, so a bundle with one is always made anew.
    fn has_made(&self, draft: &BundleDraft, bundle: &[u8]) -> bool {
        let key = self.by.notary.key_pem();
        key.is_some_and(|key| self.check.confirm(bundle, draft, &key).is_ok())
    }
}
