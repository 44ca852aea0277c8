//! Whoever can wrap keys for us chooses the options that come out: cipher, key, nonce, digest.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use securecp_crypt::{
    Budget, CryptError, KeyUnwrapper, Keys, Scheme, Secret, Unwrapped, encrypted_layers,
};
use securecp_oci::{Declared, RawManifest};

const MANIFEST: &[u8] = include_bytes!("../seeds/encrypted_image/jwe");

/// Opens everything with these bytes.
struct Says(Secret);

impl KeyUnwrapper for Says {
    fn scheme(&self) -> Scheme {
        Scheme::Jwe
    }

    fn unwrap(&self, _: &[u8], _: &Budget) -> Result<Unwrapped, CryptError> {
        Ok(Unwrapped::Mine(self.0.clone()))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let manifest = RawManifest::read(Bytes::from_static(MANIFEST), Declared::default());
    let manifest = manifest.expect("a valid manifest");
    let image = manifest.image().expect("an image");
    let found = encrypted_layers(image).expect("valid annotations");
    let (position, _) = found.first().expect("an encrypted layer");
    let keys = Keys::new(vec![Box::new(Says(Secret::new(bytes.to_vec())))], Budget::default());
    if let Ok(unlocked) = keys.unlock(&image.layers[*position]) {
        assert_eq!(unlocked.ciphertext().digest, image.layers[*position].digest);
    }
});
