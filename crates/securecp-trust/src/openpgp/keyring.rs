use sequoia_openpgp::cert::CertParser;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::{Cert, KeyHandle};

use crate::verdict::KeyFault;

const ARMOUR: &[u8] = b"-----BEGIN PGP ";

/// The certificates that one requirement trusts, and no others.
#[derive(Debug)]
pub(crate) struct Keyring {
    certs: Vec<Cert>,
}

impl Keyring {
    /// Reads certificates, binary or armoured, any number in each blob.
    ///
    /// What is not a certificate is passed over, as GnuPG's import does; a requirement whose files hold none at all
    /// accepts nothing.
    pub(crate) fn read(blobs: &[Vec<u8>]) -> Result<Self, KeyFault> {
        let certs: Vec<Cert> = blobs.iter().flat_map(|blob| certs(blob)).collect();
        if certs.is_empty() { Err(KeyFault::NoneImported) } else { Ok(Self { certs }) }
    }

    /// One certificate.
    pub(super) fn of(cert: Cert) -> Self {
        Self { certs: vec![cert.strip_secret_key_material()] }
    }

    /// The certificates that have one of the keys.
    pub(super) fn with_keys(&self, handles: &[KeyHandle]) -> Vec<Cert> {
        let has = |cert: &&Cert| {
            cert.keys().any(|key| handles.iter().any(|h| h.aliases(key.key().key_handle())))
        };
        self.certs.iter().filter(has).cloned().collect()
    }
}

fn certs(blob: &[u8]) -> Vec<Cert> {
    let blocks = if blob.first().is_some_and(|first| first & 0x80 != 0) {
        vec![blob]
    } else {
        armoured_blocks(blob)
    };
    let parsed = blocks.into_iter().filter_map(|block| CertParser::from_bytes(block).ok());
    parsed.flatten().filter_map(Result::ok).map(Cert::strip_secret_key_material).collect()
}

/// Each armoured block of a text, up to where the next one starts.
fn armoured_blocks(text: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = text
        .windows(ARMOUR.len())
        .enumerate()
        .filter(|(_, w)| *w == ARMOUR)
        .map(|(n, _)| n)
        .collect();
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| text.get(*start..end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &[u8] = include_bytes!("../../../../testdata/trust/keys/pgp-alice.pub.asc");
    const BOB: &[u8] = include_bytes!("../../../../testdata/trust/keys/pgp-bob.pub.asc");

    fn count(blobs: &[&[u8]]) -> Option<usize> {
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|b| b.to_vec()).collect();
        Keyring::read(&blobs).ok().map(|ring| ring.certs.len())
    }

    #[test]
    fn reads_several_certificates_from_one_and_several_files() {
        assert_eq!(count(&[ALICE]), Some(1));
        assert_eq!(count(&[ALICE, BOB]), Some(2));
        let joined = [b"a word before\n".as_slice(), ALICE, b"\n\nand between\n", BOB].concat();
        assert_eq!(count(&[&joined]), Some(2));
    }

    #[test]
    fn garbage_gives_no_keys() {
        let pem = include_bytes!("../../../../testdata/trust/keys/cosign.pub");
        for blobs in
            [&[][..], &[b"".as_slice()], &[b"garbage"], &[b"\xff\xff\xff"], &[pem.as_slice()]]
        {
            assert_eq!(count(blobs), None, "{blobs:?}");
        }
        assert_eq!(count(&[b"garbage", ALICE]), Some(1), "passed over, as by GnuPG");
    }

    #[test]
    fn secret_keys_are_stripped() {
        let secret = include_bytes!("../../../../testdata/trust/keys/pgp-alice.sec.asc");
        let ring = Keyring::read(&[secret.to_vec()]).unwrap();
        assert!(ring.certs.iter().all(|cert| !cert.is_tsk()));
    }
}
