//! The certificate that an authority has issued for a new key.

use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::certificate::{self, CHAIN_LIMIT, CertificateFault, LABEL, Roots, Signer};
use super::claims::Claims;
use super::pem;
use super::private_key::SigstoreKey;

const ANSWER: &str = "the authority's answer";

/// A certificate for the holder of a key, with the path to its root, as the authority answered.
#[derive(Debug, Clone)]
pub struct SignerCertificate {
    leaf: CertificateDer<'static>,
    /// Up to and with the root.
    path: Vec<CertificateDer<'static>>,
    holder: String,
    expires: SystemTime,
}

impl SignerCertificate {
    /// Reads PEM, the signer's certificate first and the root last, and holds it to the key that it was asked for.
    ///
    /// # Errors
    /// There is no path, a part of it is malformed, or it is for another key.
    pub fn read(answer: &[u8], key: &SigstoreKey) -> Result<Self, CertificateFault> {
        let mut all = certificate::read_all(ANSWER, answer, CHAIN_LIMIT)?.into_iter();
        let leaf = all.next().ok_or(CertificateFault::NoCertificate { subject: ANSWER })?;
        let path: Vec<_> = all.collect();
        if path.is_empty() {
            return Err(CertificateFault::NoPath);
        }
        if certificate::key_of(&leaf)?.spki() != key.public().spki() {
            return Err(CertificateFault::OtherKey);
        }
        let malformed = CertificateFault::CertificateMalformed { subject: ANSWER, position: 1 };
        let claims = Claims::read(&leaf).map_err(|_| malformed)?;
        Ok(Self { holder: claims.holder()?, expires: claims.expires(), leaf, path })
    }

    /// Whom it names, and who vouched for them.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// From when on nothing can be signed with it any more.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// The certificate alone, PEM.
    pub fn pem(&self) -> String {
        pem::encode(LABEL, &self.leaf)
    }

    /// What follows it, up to and with the root, PEM.
    pub(super) fn chain_pem(&self) -> String {
        self.path.iter().map(|der| pem::encode(LABEL, der)).collect()
    }

    /// Checks that the path is whole, and that all of it was valid `at` a time. Whether anybody trusts its root is up to
    /// those who verify.
    pub(super) fn check(&self, at: SystemTime) -> Result<(), CertificateFault> {
        let mut links = self.path.clone();
        let root = links.pop().into_iter().collect();
        let roots = Roots::of(ANSWER, root)?;
        Signer::verify_der(self.leaf.clone(), &links, &roots, at).map(drop)
    }
}
