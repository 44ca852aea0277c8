//! What can be said of an image without keys.

use securecp_crypt::{CryptError, LayerSelection, encrypted_layers, layers_to_encrypt};

use crate::layout::{Layout, testdata};

fn listed(vector: &str) -> Vec<(usize, Vec<String>)> {
    let layout = Layout::open(&testdata(vector));
    let found = encrypted_layers(layout.manifest.image().unwrap()).unwrap();
    let shown = |envelope: securecp_crypt::Envelope| {
        envelope.recipients().iter().map(ToString::to_string).collect()
    };
    found.into_iter().map(|(position, envelope)| (position, shown(envelope))).collect()
}

#[test]
fn lists_encrypted_layers_and_their_recipients() {
    assert_eq!(listed("plain"), []);
    let rsa = "jwe RSA-OAEP (2048-bit key)".to_owned();
    assert_eq!(listed("enc-jwe-layer1"), [(1, vec![rsa.clone()])]);
    assert_eq!(listed("enc-jwe-last"), [(2, vec![rsa.clone()])]);
    assert_eq!(listed("enc-jwe-two-recipients")[0].1, [rsa.clone(), rsa.clone()]);
    assert_eq!(listed("enc-jwe-ec")[0].1, ["jwe ECDH-ES+A256KW (P-256)"]);
    let mixed = listed("enc-mixed");
    assert_eq!(mixed.len(), 3);
    let [jwe, pgp, pkcs7] = &mixed[2].1[..] else { panic!("{mixed:?}") };
    assert_eq!(jwe, &rsa);
    assert!(pgp.starts_with("pgp key id ") && pgp.len() == "pgp key id ".len() + 16, "{pgp}");
    assert!(pkcs7.starts_with("pkcs7 securecp test b, serial 3b1e0c93d4f267e3"), "{pkcs7}");
}

#[test]
fn chooses_only_layers_that_can_be_encrypted() {
    let choose = |vector: &str, values: &[&str]| {
        let layout = Layout::open(&testdata(vector));
        let selection = LayerSelection::parse(values).unwrap();
        layers_to_encrypt(layout.manifest.image().unwrap(), &selection)
    };
    assert_eq!(choose("plain", &[]).unwrap().len(), 3);
    assert_eq!(choose("enc-jwe-layer1", &["0,-1"]).unwrap().len(), 2);
    for values in [&[][..], &["1"]] {
        let error = choose("enc-jwe-layer1", values).unwrap_err();
        assert!(matches!(error, CryptError::AlreadyEncrypted { .. }));
    }
    assert!(matches!(choose("plain", &["3"]), Err(CryptError::LayerIndex { index: 3, count: 3 })));
}

#[test]
fn refuses_an_encrypted_configuration() {
    let layout = Layout::open(&testdata("enc-jwe"));
    let mut image = layout.manifest.image().unwrap().clone();
    assert_eq!(encrypted_layers(&image).unwrap().len(), 3);
    image.config = image.layers[0].clone();
    assert!(matches!(encrypted_layers(&image), Err(CryptError::Contradiction { .. })));
}
