//! Any bytes may stand under the tag of an attachment, and be added to.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_oci::{Annotations, Attachment, Declared, Signature};


const CONFIG: &[u8] = include_bytes!(
    "../../testdata/sigstore/attachment-sigstore/blobs/sha256/b43175f293328eedec856ae3582f51317e99f695fad009ebd0a89ec7e1c65354"
);

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(found) = Attachment::read(bytes, Declared::default()) else { return };
    let new = Signature::Sigstore {
        media_type: Signature::SIGSTORE_MEDIA_TYPE.to_owned(),
        payload: Bytes::from_static(b"payload"),
        annotations: Annotations::new(),
    };
    if let Ok(Some(grown)) = found.with(CONFIG, &[new]) {
        let again = Attachment::read(grown.manifest.bytes().clone(), Declared::default());
        assert_eq!(again.expect("what was written").layers().len(), found.layers().len() + 1);
    }
});
