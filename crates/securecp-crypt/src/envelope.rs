use securecp_oci::{Descriptor, MediaType, base64};

use crate::media::plain_type;
use crate::options::PublicOptions;
use crate::scheme::{ENC, PUBOPTS};
use crate::{CryptError, Scheme};

/// Most wrapped keys that one layer may carry.
const ITEM_LIMIT: usize = 256;
/// Most bytes that the annotations of one layer may have together.
const BYTE_LIMIT: usize = 1 << 20;

/// What the descriptor of an encrypted layer says of its encryption, readable without any key.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub(crate) items: Vec<Item>,
    pub(crate) public: PublicOptions,
    pub(crate) plain: MediaType,
}

/// One wrapped key: what one wrapping operation has made, for one or more recipients.
#[derive(Debug, Clone)]
pub struct Item {
    /// How it was wrapped.
    pub scheme: Scheme,
    /// The wrapped key, in the scheme's own encoding.
    pub bytes: Vec<u8>,
}

impl Envelope {
    /// Reads the annotations of `layer`; `None` if the layer is plain.
    ///
    /// # Errors
    /// Media type and annotations contradict each other, or an annotation is malformed, oversized or of another
    /// cipher.
    pub fn of(layer: &Descriptor) -> Result<Option<Self>, CryptError> {
        let annotated = layer.annotations.keys().any(|key| is_encryption(key));
        let contradiction = |problem| {
            let digest = layer.digest.clone();
            Err(CryptError::Contradiction { digest, problem })
        };
        match (plain_type(&layer.media_type), annotated) {
            (None, _) if layer.media_type.is_encrypted() => {
                contradiction("media type says twice that it is encrypted")
            }
            (None, false) => Ok(None),
            (None, true) => {
                contradiction("has encryption annotations, but its media type is not +encrypted")
            }
            (Some(plain), _) => Self::read(layer, plain).map(Some),
        }
    }

    /// The wrapped keys.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The schemes in use, each once, in the order of their annotations.
    pub fn schemes(&self) -> Vec<&Scheme> {
        let mut schemes: Vec<_> = self.items.iter().map(|item| &item.scheme).collect();
        schemes.dedup();
        schemes
    }

    fn read(layer: &Descriptor, plain: MediaType) -> Result<Self, CryptError> {
        let malformed = |annotation: &str, problem: String| CryptError::Annotation {
            digest: layer.digest.clone(),
            annotation: securecp_oci::Escaped::new(annotation).limit(120).to_string(),
            problem,
        };
        check_size(layer).map_err(|problem| malformed(ENC, problem))?;
        let mut items = Vec::new();
        for (key, value) in &layer.annotations {
            let Some(scheme) = Scheme::of_annotation(key) else { continue };
            for bytes in split(value).map_err(|problem| malformed(key, problem))? {
                items.push(Item { scheme: scheme.clone(), bytes });
            }
        }
        if items.is_empty() {
            let problem = "media type is +encrypted, but there are no wrapped keys";
            return Err(CryptError::Contradiction { digest: layer.digest.clone(), problem });
        }
        let public = layer.annotations.get(PUBOPTS).map_or("e30=", String::as_str);
        let public = read_public(public).map_err(|problem| malformed(PUBOPTS, problem))?;
        Ok(Self { items, public, plain })
    }
}

/// Whether an annotation belongs to encryption.
pub(crate) fn is_encryption(key: &str) -> bool {
    key.strip_prefix(ENC).is_some_and(|rest| rest.starts_with('.'))
}

pub(crate) fn check_size(layer: &Descriptor) -> Result<(), String> {
    let own = || layer.annotations.iter().filter(|(key, _)| is_encryption(key));
    let bytes: usize = own().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > BYTE_LIMIT {
        return Err(format!("{bytes} bytes, the limit is {BYTE_LIMIT}"));
    }
    let keys = own().filter(|(key, _)| Scheme::of_annotation(key).is_some());
    let count: usize = keys.map(|(_, value)| value.split(',').count()).sum();
    if count > ITEM_LIMIT {
        return Err(format!("{count} wrapped keys, the limit is {ITEM_LIMIT}"));
    }
    Ok(())
}

/// One bad item spoils the annotation, as in the reference; a good one that no key fits does not.
fn split(value: &str) -> Result<Vec<Vec<u8>>, String> {
    let decode = |item| {
        base64::decode(item)
            .map_err(|error| format!("could not base64 decode the annotation: {error}"))
    };
    value.split(',').map(decode).collect()
}

fn read_public(value: &str) -> Result<PublicOptions, String> {
    let bytes = base64::decode(value).map_err(|error| error.to_string())?;
    PublicOptions::from_json(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use securecp_oci::{Algorithm, Digest};

    fn layer(media_type: &str, annotations: &[(&str, &str)]) -> Descriptor {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let mut layer = Descriptor::new(MediaType::new(media_type), digest, 0);
        let own =
            annotations.iter().map(|(key, value)| (format!("{ENC}.{key}"), value.to_string()));
        layer.annotations.extend(own);
        layer
    }

    const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
    const SEALED: &str = "application/vnd.oci.image.layer.v1.tar+encrypted";

    fn public() -> String {
        base64::encode(PublicOptions { hmac: [1; 32] }.to_json().as_bytes())
    }

    #[test]
    fn tells_plain_from_encrypted() {
        assert!(Envelope::of(&layer(PLAIN, &[])).unwrap().is_none());
        let other = layer(PLAIN, &[("oding", "x")]);
        assert!(Envelope::of(&other).is_err(), "enc.oding is ours");
        let public = public();
        let sealed = layer(
            SEALED,
            &[("pubopts", &public), ("keys.jwe", "YQ==,Yg\n=="), ("keys.provider.x", "")],
        );
        let envelope = Envelope::of(&sealed).unwrap().unwrap();
        let items: Vec<_> = envelope.items().iter().map(|i| i.bytes.as_slice()).collect();
        assert_eq!(items, [b"a".as_slice(), b"b", b""]);
        assert_eq!(envelope.schemes(), [&Scheme::Jwe, &Scheme::Provider("x".to_owned())]);
        assert_eq!(envelope.public.hmac, [1; 32]);
    }

    #[test]
    fn refuses_contradictions() {
        let public = public();
        let good = [("pubopts", public.as_str()), ("keys.jwe", "YQ==")];
        assert!(Envelope::of(&layer(SEALED, &good)).is_ok());
        let twice = format!("{SEALED}+encrypted");
        for bad in [
            layer(PLAIN, &good),
            layer(SEALED, &[]),
            layer(SEALED, &good[..1]),
            layer(SEALED, &good[1..]),
            layer(&twice, &good),
            layer(SEALED, &[good[0], ("keys.jwe", "!!!,YQ==")]),
            layer(SEALED, &[good[0], ("keys.jwe", "YQ==, YQ==")]),
            layer(SEALED, &[good[0], ("keys.jwe", "YQ")]),
            layer(SEALED, &[good[1], ("pubopts", "YQ")]),
        ] {
            let shown = format!("{bad:?}").chars().take(300).collect::<String>();
            assert!(Envelope::of(&bad).is_err(), "{shown}");
        }
    }

    /// CVE-2025-27144, CVE-2026-34986: a message full of separators, or simply a long one, exhausted memory.
    #[test]
    fn cve_2025_27144_wrapped_keys_are_bounded() {
        let public = public();
        let options = ("pubopts", public.as_str());
        let of = |items: &str| Envelope::of(&layer(SEALED, &[options, ("keys.jwe", items)]));
        let allowed = ["YQ=="; ITEM_LIMIT].join(",");
        assert_eq!(of(&allowed).unwrap().unwrap().items().len(), ITEM_LIMIT);
        assert!(of(&format!("{allowed},YQ==")).is_err());
        assert!(of(&"A".repeat(BYTE_LIMIT)).is_err());
        assert!(of(&",".repeat(BYTE_LIMIT)).is_err());
    }
}
