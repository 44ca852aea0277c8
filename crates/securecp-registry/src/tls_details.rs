use std::path::Path;

use securecp_net::{TlsOptions, TlsVersion};
use serde::Deserialize;

use crate::{Operation, Problem, RegistryError};

/// The file of `--tls-details`. Unknown keys are errors: a misspelt restriction must not silently be none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Details {
    min_version: Option<String>,
    #[serde(default)]
    cipher_suites: Vec<String>,
    #[serde(default)]
    named_groups: Vec<String>,
}

/// Reads restrictions of TLS from a YAML file: `minVersion`, `cipherSuites`, `namedGroups`.
///
/// # Errors
/// The file cannot be read, has unknown keys or values, or leaves nothing to use.
pub fn tls_details(file: &Path) -> Result<TlsOptions, RegistryError> {
    let shown = file.display().to_string();
    let failed = |why: String| {
        let problem = Problem::Settings(format!("{shown}: {why}"));
        RegistryError::new(Operation::Configure, "TLS", None, problem)
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    read(&text).map_err(failed)
}

fn read(text: &str) -> Result<TlsOptions, String> {
    let details: Option<Details> = serde_norway::from_str(text).map_err(|e| e.to_string())?;
    let Some(details) = details else { return Ok(TlsOptions::default()) };
    let mut options = TlsOptions::default();
    match details.min_version.as_deref() {
        None => {}
        // Versions before 1.2 do not exist here, so a lower bound below it is met.
        Some("1.0" | "1.1" | "1.2") => options = options.oldest(TlsVersion::V1_2),
        Some("1.3") => options = options.oldest(TlsVersion::V1_3),
        Some(other) => {
            return Err(format!(
                "minVersion {other:?}, expected \"1.0\", \"1.1\", \"1.2\" or \"1.3\""
            ));
        }
    }
    let options = options.cipher_suites(&details.cipher_suites).map_err(|e| e.to_string())?;
    options.named_groups(&details.named_groups).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_restrictions_and_refuses_what_it_does_not_know() {
        assert_eq!(read("").unwrap(), TlsOptions::default());
        assert_eq!(
            read("minVersion: \"1.3\"").unwrap(),
            TlsOptions::default().oldest(TlsVersion::V1_3)
        );
        read("cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\nnamedGroups: [x25519]")
            .unwrap();
        let left_out = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_RC4_128_SHA";
        read(&format!("cipherSuites: [{left_out}]")).unwrap();
        read("namedGroups: [X25519MLKEM768, secp256r1]").unwrap();
        for bad in [
            "minVersion: \"1.4\"",
            "minVersions: \"1.3\"",
            "cipherSuites: [RC4]",
            "cipherSuites: [TLS_RSA_WITH_RC4_128_SHA]",
            "cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GMC_SHA256]",
            "cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, '']",
            "namedGroups: [p256]",
            "namedGroups: [X25519MLKEM768]",
            "[",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
