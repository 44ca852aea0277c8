use securecp_oci::MediaType;

use crate::CryptError;

const SUFFIX: &str = "+encrypted";
const HEADS: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];

/// The type of a layer once it is encrypted. Docker layers become OCI layers, since only those have an encrypted form.
///
/// # Errors
/// The type has no encrypted form: it is not a layer of a known kind, or encrypted already.
pub fn encrypted_type(plain: &MediaType) -> Result<MediaType, CryptError> {
    let oci = match plain {
        docker if *docker == MediaType::DOCKER_LAYER => MediaType::OCI_LAYER,
        docker if *docker == MediaType::DOCKER_LAYER_GZIP => MediaType::OCI_LAYER_GZIP,
        other => other.clone(),
    };
    let (head, compression) = oci.as_str().split_once('+').unwrap_or((oci.as_str(), ""));
    if HEADS.contains(&head) && matches!(compression, "" | "gzip" | "zstd") {
        return Ok(MediaType::new(&format!("{}{SUFFIX}", oci.as_str())));
    }
    Err(CryptError::NotEncryptable(plain.clone()))
}

/// The type of an encrypted layer once it is decrypted; `None` if it is not encrypted, or said to be twice.
pub(crate) fn plain_type(encrypted: &MediaType) -> Option<MediaType> {
    let plain = encrypted.as_str().strip_suffix(SUFFIX)?;
    (!plain.split('+').any(|part| part == "encrypted")).then(|| MediaType::new(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encrypted(text: &str) -> Option<String> {
        encrypted_type(&MediaType::new(text)).ok().map(|t| t.as_str().to_owned())
    }

    #[test]
    fn knows_which_types_have_an_encrypted_form() {
        for head in HEADS {
            for compression in ["", "+gzip", "+zstd"] {
                let plain = format!("{head}{compression}");
                let found = encrypted(&plain).unwrap();
                assert_eq!(found, format!("{plain}+encrypted"));
                assert_eq!(plain_type(&MediaType::new(&found)).unwrap().as_str(), plain);
            }
        }
        let docker = encrypted("application/vnd.docker.image.rootfs.diff.tar.gzip").unwrap();
        assert_eq!(docker, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        for bad in [
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "application/vnd.oci.image.layer.v1.tar+encrypted+gzip",
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "application/vnd.wasm.content.layer.v1+wasm",
            "",
        ] {
            let error = encrypted_type(&MediaType::new(bad)).unwrap_err().to_string();
            assert!(error.contains("no counterpart for mediatype"), "{error}");
        }
    }

    #[test]
    fn strips_exactly_one_suffix() {
        for bad in ["a/b", "a/b+encrypted+encrypted", "a/b+encrypted+gzip+encrypted", "a/b+gzip"] {
            assert!(plain_type(&MediaType::new(bad)).is_none(), "{bad}");
        }
    }
}
