//! What annotations of a hostile manifest cost in memory. One test: the peak is that of the whole process.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use securecp_crypt::Envelope;
use securecp_oci::{Algorithm, Descriptor, Digest, MediaType, base64};

const PUBLIC: &str = r#"{"cipher":"AES_256_CTR_HMAC_SHA256","hmac":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","cipheroptions":{}}"#;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn layer(jwe: &str) -> Descriptor {
    let media_type = MediaType::new("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    let mut layer = Descriptor::new(media_type, Digest::of(Algorithm::Sha256, b"x"), 1);
    for (key, bytes) in [("keys.jwe", jwe), ("pubopts", PUBLIC)] {
        let value = base64::encode(bytes.as_bytes());
        layer.annotations.insert(format!("org.opencontainers.image.enc.{key}"), value);
    }
    layer
}

fn numbers(count: usize) -> String {
    vec!["0"; count].join(",")
}

#[test]
fn one_annotation_does_not_cost_hundreds_of_megabytes() {
    let parts = vec!["{}"; 256].join(",");
    let protected = base64::encode(format!(r#"{{"a":[{}]}}"#, numbers(5_000)).as_bytes());
    let protected = protected.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let own = format!(r#"{{"header":{{"a":[{}]}}}}"#, numbers(1_000));
    for jwe in [
        format!(r#"{{"unprotected":{{"a":[{}]}},"recipients":[{parts}]}}"#, numbers(261_000)),
        format!(r#"{{"unprotected":{{"a":[{}]}},"recipients":[{parts}]}}"#, numbers(8_000)),
        format!(r#"{{"protected":"{protected}","recipients":[{parts}]}}"#),
        format!(r#"{{"recipients":[{}]}}"#, vec![own.as_str(); 250].join(",")),
    ] {
        assert!(jwe.len() <= 540 << 10);
        let (layer, before) = (layer(&jwe), peak_kib());
        let found = Envelope::of(&layer).unwrap().unwrap().recipients().len();
        let grown = peak_kib() - before;
        assert!(grown < 32 << 10, "{} bytes, {found} recipients: {grown} KiB", jwe.len());
    }
}
