//! A timestamp authority (RFC 3161): openssl itself, with a chain of two certificates.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use super::failed;
use crate::error::{Result, TestkitError, Tried};

/// Extended key usage: time stamping, which has to be critical (RFC 3161 section 2.3).
const USAGE: [u64; 4] = [2, 5, 29, 37];
const TIME_STAMPING: [u8; 12] = [0x30, 0x0a, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8];

/// An authority with its files.
pub(super) struct Stamps {
    folder: tempfile::TempDir,
    chain: Vec<Vec<u8>>,
}

impl Stamps {
    pub(super) fn new() -> Result<Self> {
        let mut params = named("time root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = || KeyPair::generate().map_err(failed);
        let root = CertifiedIssuer::self_signed(params, key()?).map_err(failed)?;
        let mut params = named("time");
        let mut usage = CustomExtension::from_oid_content(&USAGE, TIME_STAMPING.to_vec());
        usage.set_criticality(true);
        params.custom_extensions = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let own = key()?;
        let certificate = params.signed_by(&own, &root).map_err(failed)?;
        let chain = vec![certificate.der().to_vec(), root.der().to_vec()];
        let stamps = Self { folder: tempfile::tempdir().tried("making a folder")?, chain };
        stamps.write("cert.pem", &certificate.pem())?;
        stamps.write("key.pem", &own.serialize_pem())?;
        stamps.write("serial", "01\n")?;
        stamps.write("ts.conf", &stamps.configuration())?;
        Ok(stamps)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name), text).tried("writing a file of the timestamp authority")
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "[tsa]\ndefault_tsa = own\n[own]\nserial = {folder}/serial\nsigner_cert = {folder}/cert.pem\n\
             signer_key = {folder}/key.pem\nsigner_digest = sha256\ndefault_policy = 1.3.6.1.4.1.57264.2\n\
             digests = sha256\naccuracy = secs:1\nordering = no\ntsa_name = no\ness_cert_id_chain = no\n\
             ess_cert_id_alg = sha256\n"
        )
    }

    /// The answer to a query, both DER. One at a time: the serial number is in a file.
    pub(super) fn answer(&self, query: &[u8]) -> Result<Vec<u8>> {
        fs::write(self.path("query"), query).tried("writing a query")?;
        let mut openssl = Command::new("openssl");
        openssl.args(["ts", "-reply", "-config"]).arg(self.path("ts.conf"));
        openssl.arg("-queryfile").arg(self.path("query")).arg("-out").arg(self.path("reply"));
        let output = openssl.stdin(Stdio::null()).output().tried("starting openssl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(TestkitError::Certificate(said));
        }
        fs::read(self.path("reply")).tried("reading the reply")
    }

    /// The authority as a trusted root names it.
    pub(super) fn trusted(&self) -> Value {
        let certificate = |der: &Vec<u8>| json!({"rawBytes": STANDARD.encode(der)});
        json!([{
            "subject": {"organization": "securecp.test", "commonName": "time"},
            "uri": "https://time.securecp.test",
            "certChain": {"certificates": self.chain.iter().map(certificate).collect::<Vec<_>>()},
            "validFor": {"start": "2001-01-01T00:00:00Z"},
        }])
    }
}

/// A query of securecp, which ends with a nonce of eight bytes and the wish for certificates, with another nonce or none.
pub(super) fn other_nonce(query: &[u8], some: bool) -> Vec<u8> {
    const WISH: usize = 3;
    const NONCE: usize = 10;
    let mut query = query.to_vec();
    let end = query.len().saturating_sub(WISH);
    let start = end.saturating_sub(NONCE);
    match some {
        true => query[start..end].iter_mut().skip(2).for_each(|byte| *byte ^= 1),
        false => {
            query.drain(start..end);
            query[1] -= 10;
        }
    }
    query
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
