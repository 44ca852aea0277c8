//! The annotations of a sigstore attachment's layer (cosign's SIGNATURE_SPEC).

use securecp_oci::Annotations;

use super::fault::SigstoreFault;

/// The signature, base64.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The log entry with the log's promise to include it, JSON.
pub(super) const BUNDLE: &str = "dev.sigstore.cosign/bundle";
/// The signer's certificate, PEM.
pub(super) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The certificates between the signer's and the root, and the root, PEM.
pub(super) const CHAIN: &str = "dev.sigstore.cosign/chain";

/// The value of an annotation without which there is nothing to judge.
pub(super) fn required<'a>(
    annotations: &'a Annotations,
    annotation: &'static str,
) -> Result<&'a str, SigstoreFault> {
    let found = annotations.get(annotation).map(String::as_str);
    found.ok_or(SigstoreFault::MissingAnnotation { annotation })
}
