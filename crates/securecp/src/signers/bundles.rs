//! Sigstore bundles by the keys that sign.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use securecp_copy::BundleSigner;
use securecp_oci::RawManifest;
use securecp_trust::{BundleCheck, BundleDraft, BundleHolder, TRUSTED_ROOT_LIMIT};

use super::sigstore::ByKey;
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
    pub(super) fn bundler(&self, key: Arc<ByKey>) -> Result<Arc<dyn BundleSigner>, Failure> {
        if !self.without_log {
            return Err(Failure::usage(
                "a bundle by --sign-by-sigstore-private-key would have no log entry",
            )
            .hint(
                "--dangerous-sign-without-log in place of --sign-trusted-root makes bundles without one",
            ));
        }
        Ok(Arc::new(Unlogged { key, check: self.check.clone() }))
    }
}

fn against(path: &Path) -> Result<BundleCheck, Failure> {
    let name = || format!("--sign-trusted-root {}", path.display());
    let bytes = read_bounded(path, TRUSTED_ROOT_LIMIT).with_context(name)?;
    Ok(BundleCheck::against(&bytes).with_context(name)?)
}

/// Makes bundles without a log entry.
struct Unlogged {
    key: Arc<ByKey>,
    check: Arc<BundleCheck>,
}

impl BundleSigner for Unlogged {
    fn name(&self) -> String {
        self.key.0.key_name()
    }

    fn bundle(
        &self,
        manifest: &RawManifest,
    ) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
        let draft = BundleDraft::new(manifest);
        let signature = self.key.0.sign_bytes(&draft.to_sign())?;
        let holder = BundleHolder::key(&self.key.0.public_pem())?;
        Ok(draft.signed(signature, holder).finish(&[], &[], &self.check)?)
    }
}
