//! What one attachment brings along to be judged.

use rustls_pki_types::CertificateDer;
use securecp_oci::{Annotations, Signature, base64};

use super::annotation;
use super::certificate;
use super::fault::SigstoreFault;
use super::log_entry::Claim;
use super::public_key::PublicKey;

/// What one attachment brings along.
pub(crate) struct Evidence<'a> {
    pub(super) payload: &'a [u8],
    annotations: &'a Annotations,
    pub(super) signature: Vec<u8>,
}

impl<'a> Evidence<'a> {
    pub(super) fn of(signature: &'a Signature) -> Result<Self, SigstoreFault> {
        let Signature::Sigstore { payload, annotations, .. } = signature else {
            // The gate hands on sigstore signatures only.
            return Err(SigstoreFault::MissingAnnotation { annotation: annotation::SIGNATURE });
        };
        let encoded = annotation::required(annotations, annotation::SIGNATURE)?;
        let signature = base64::decode(encoded)
            .map_err(|error| SigstoreFault::Base64 { failure: error.to_string() })?;
        Ok(Self { payload, annotations, signature })
    }

    /// A layer whose signature stands in what it holds.
    pub(crate) fn of_envelope(signature: &'a Signature) -> Result<Self, SigstoreFault> {
        let Signature::Sigstore { payload, annotations, .. } = signature else {
            return Err(SigstoreFault::MissingAnnotation { annotation: annotation::SIGNATURE });
        };
        Ok(Self { payload, annotations, signature: Vec::new() })
    }

    pub(super) fn annotation(&self, key: &'static str) -> Result<&'a str, SigstoreFault> {
        annotation::required(self.annotations, key)
    }

    /// The intermediate certificates that came along.
    pub(super) fn links(&self) -> Result<Vec<CertificateDer<'static>>, SigstoreFault> {
        let chain = self.annotations.get(annotation::CHAIN).map(String::as_str);
        Ok(certificate::links(chain)?)
    }

    /// What a log entry must be about.
    pub(super) fn claim<'c>(&'c self, signer_pem: &'c str) -> Claim<'c> {
        let (payload, signature) = (self.payload, self.signature.as_slice());
        Claim { payload, signature, signer_pem: signer_pem.as_bytes() }
    }

    /// The first of `keys` that made the signature.
    pub(super) fn made_by<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Result<&'k PublicKey, SigstoreFault> {
        let mut failures = Vec::new();
        for key in keys {
            if key.verifies(self.payload, &self.signature) {
                return Ok(key);
            }
            failures.push(key.refusal());
        }
        Err(SigstoreFault::NotVerified { failures })
    }
}
