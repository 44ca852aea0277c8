use std::collections::BTreeMap;

use securecp_oci::Escaped;
use sequoia_openpgp::packet::{Signature, Tag};
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, Fingerprint, KeyHandle, Packet, PacketPile, anyhow};

use crate::verdict::KeyFault;

const ARMOUR: &[u8] = b"-----BEGIN PGP ";
const KEY_BLOCKS: [&[u8]; 2] = [b"PUBLIC KEY BLOCK-----", b"PRIVATE KEY BLOCK-----"];

/// The certificates that one requirement trusts, and no others.
#[derive(Debug)]
pub(crate) struct Keyring {
    certs: Vec<Cert>,
}

impl Keyring {
    /// Reads certificates, binary or armoured, any number in each blob.
    ///
    /// What several copies say of one certificate counts together, and so does a revocation that stands alone: whoever
    /// adds a file can take trust away, whatever stood there before. Text without any key is passed over, as GnuPG's
    /// import does, and so are keys of unknown versions; a requirement whose files hold none at all accepts nothing.
    pub(crate) fn read(blobs: &[Vec<u8>]) -> Result<Self, KeyFault> {
        let mut found = Found::default();
        for block in blobs.iter().flat_map(|blob| blocks(blob)) {
            found.read(block).map_err(|error| unreadable(&error))?;
        }
        found.attach_all()?;
        let certs: Vec<Cert> = found.certs.into_values().collect();
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

/// What was read so far.
#[derive(Default)]
struct Found {
    certs: BTreeMap<Fingerprint, Cert>,
    /// Signatures before any key: they must belong to one of the certificates.
    alone: Vec<Signature>,
    /// Revocations behind a key, which may be about another one if files were put together.
    revocations: Vec<Signature>,
}

impl Found {
    fn read(&mut self, block: &[u8]) -> anyhow::Result<()> {
        let packets = PacketPile::from_bytes(block)?.into_children();
        // RFC 9580 sections 5.8 and 5.14: these say nothing.
        let mut packets =
            packets.filter(|p| !matches!(p.tag(), Tag::Marker | Tag::Padding)).peekable();
        while let Some(Packet::Signature(signature)) =
            packets.next_if(|packet| matches!(packet, Packet::Signature(_)))
        {
            self.alone.push(signature);
        }
        let mut one: Vec<Packet> = Vec::new();
        for packet in packets {
            if is_primary(&packet) && !one.is_empty() {
                self.add(std::mem::take(&mut one))?;
            }
            one.push(packet);
        }
        if one.is_empty() { Ok(()) } else { self.add(one) }
    }

    /// Adds the packets of one certificate.
    fn add(&mut self, packets: Vec<Packet>) -> anyhow::Result<()> {
        // The version or the algorithm is unknown: nothing can be signed with it here.
        if matches!(packets.first(), Some(Packet::Unknown(_))) {
            return Ok(());
        }
        let revocations = packets.iter().filter_map(revocation).cloned();
        self.revocations.extend(revocations);
        let cert = Cert::from_packets(packets.into_iter())?.strip_secret_key_material();
        let fingerprint = cert.fingerprint();
        let merged = match self.certs.remove(&fingerprint) {
            Some(known) => known.merge_public(cert)?,
            None => cert,
        };
        self.certs.insert(fingerprint, merged);
        Ok(())
    }

    fn attach_all(&mut self) -> Result<(), KeyFault> {
        for signature in std::mem::take(&mut self.revocations) {
            self.attach(&signature);
        }
        for signature in std::mem::take(&mut self.alone) {
            if !self.attach(&signature) {
                let key = signature.get_issuers().first().map(KeyHandle::to_hex);
                return Err(KeyFault::Alone { key: key.unwrap_or_else(|| "unknown".to_owned()) });
            }
        }
        Ok(())
    }

    /// Puts a signature into the certificate that made it; whether there is one.
    fn attach(&mut self, signature: &Signature) -> bool {
        let issuers = signature.get_issuers();
        let by = |cert: &Cert| {
            issuers.is_empty() || issuers.iter().any(|issuer| issuer.aliases(cert.key_handle()))
        };
        let mut attached = false;
        for cert in self.certs.values_mut().filter(|cert| by(cert)) {
            let bad = cert.bad_signatures().count();
            let with = cert.clone().insert_packets([Packet::from(signature.clone())]);
            // The library sorts out what the key has not made.
            if let Ok((with, _)) = with
                && with.bad_signatures().count() == bad
            {
                *cert = with;
                attached = true;
            }
        }
        attached
    }
}

/// Whether a certificate starts here.
fn is_primary(packet: &Packet) -> bool {
    matches!(packet.tag(), Tag::PublicKey | Tag::SecretKey)
}

fn revocation(packet: &Packet) -> Option<&Signature> {
    let Packet::Signature(signature) = packet else { return None };
    let kinds = [
        SignatureType::KeyRevocation,
        SignatureType::SubkeyRevocation,
        SignatureType::CertificationRevocation,
    ];
    kinds.contains(&signature.typ()).then_some(signature)
}

fn unreadable(error: &anyhow::Error) -> KeyFault {
    KeyFault::Certificate { failure: Escaped::new(&error.to_string()).limit(200).to_string() }
}

/// What can be read as keys: a binary blob, or each armoured block of keys in a text up to where the next block starts.
fn blocks(blob: &[u8]) -> Vec<&[u8]> {
    if blob.first().is_some_and(|first| first & 0x80 != 0) {
        return vec![blob];
    }
    let starts: Vec<usize> = blob
        .windows(ARMOUR.len())
        .enumerate()
        .filter(|(_, w)| *w == ARMOUR)
        .map(|(n, _)| n)
        .collect();
    let ends = starts.iter().copied().skip(1).chain([blob.len()]);
    let blocks = starts.iter().zip(ends).filter_map(|(start, end)| blob.get(*start..end));
    blocks
        .filter(|block| KEY_BLOCKS.iter().any(|kind| block[ARMOUR.len()..].starts_with(kind)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use securecp_oci::{Algorithm, Digest};
    use sequoia_openpgp::armor::{Kind, Writer};
    use sequoia_openpgp::cert::CertBuilder;
    use sequoia_openpgp::policy::StandardPolicy;
    use sequoia_openpgp::serialize::{Serialize as _, SerializeInto as _};
    use sequoia_openpgp::types::KeyFlags;

    use super::*;
    use crate::verdict::SignatureFault;
    use crate::{Payload, PayloadKind, SimpleSigner};

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

    fn armoured(packets: Vec<Packet>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), Kind::PublicKey).unwrap();
        PacketPile::from(packets).serialize(&mut writer).unwrap();
        writer.finalize().unwrap()
    }

    /// A certificate that could sign an hour ago, its secret key, and its revocation, made now.
    fn revoked() -> (Cert, Signature) {
        let then = SystemTime::now() - Duration::from_secs(3600);
        CertBuilder::new()
            .add_userid("A <a@x.test>")
            .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
            .set_creation_time(then)
            .generate()
            .unwrap()
    }

    /// What comes of a message that the key signed before it was revoked.
    fn verdict(cert: &Cert, blobs: &[&[u8]]) -> Result<(), SignatureFault> {
        let now = SystemTime::now();
        let secret = cert.as_tsk().armored().to_vec().unwrap();
        let signer = SimpleSigner::from_key(&secret, None, now).unwrap();
        let digest = Digest::of(Algorithm::Sha256, b"{}");
        let payload =
            Payload::new(PayloadKind::Simple, &digest, &"h.test/x:1".parse().unwrap(), now);
        let securecp_oci::Signature::Simple(message) = signer.sign(&payload.unwrap(), now).unwrap()
        else {
            unreachable!("made by a simple signer")
        };
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|b| b.to_vec()).collect();
        let ring = Keyring::read(&blobs).unwrap();
        crate::openpgp::verify(&message, &ring, now).map(|_| ())
    }

    fn is_revoked(cert: &Cert, blobs: &[&[u8]]) -> bool {
        matches!(verdict(cert, blobs), Err(SignatureFault::KeyRevoked { .. }))
    }

    #[test]
    fn a_revocation_counts_wherever_it_stands() {
        let (cert, revocation) = revoked();
        let old = cert.armored().to_vec().unwrap();
        let updated = cert.clone().insert_packets([revocation.clone()]).unwrap().0;
        let new = updated.armored().to_vec().unwrap();
        let alone = armoured(vec![revocation.clone().into()]);
        assert_eq!(verdict(&cert, &[&old]), Ok(()));
        assert!(is_revoked(&cert, &[&new]));
        for blobs in [[&old, &new], [&new, &old], [&old, &alone], [&alone, &old]] {
            assert!(is_revoked(&cert, &blobs.map(Vec::as_slice)));
            assert!(is_revoked(&cert, &[&blobs.map(Vec::as_slice).concat()]));
        }
        let guarded = [&old[..], b":", &alone].concat();
        assert!(is_revoked(&cert, &[&guarded]), "GnuPG writes revocations so");
    }

    #[test]
    fn a_revocation_behind_another_certificate_counts() {
        let (cert, revocation) = revoked();
        let (other, _) = revoked();
        let binary = |packets: &mut dyn Iterator<Item = Packet>| {
            PacketPile::from(packets.collect::<Vec<_>>()).to_vec().unwrap()
        };
        let certs = || cert.clone().into_packets().chain(other.clone().into_packets());
        let plain = binary(&mut certs());
        let revoked = binary(&mut certs().chain([revocation.into()]));
        assert_eq!(verdict(&cert, &[&plain]), Ok(()));
        assert!(is_revoked(&cert, &[&revoked]));
        assert_eq!(verdict(&other, &[&revoked]), Ok(()));
    }

    #[test]
    fn a_shortened_life_counts_wherever_it_stands() {
        let (cert, _) = revoked();
        let old = cert.armored().to_vec().unwrap();
        let mut key = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair();
        let policy = StandardPolicy::new();
        let ended = SystemTime::now() - Duration::from_secs(60);
        let shortened = cert
            .set_expiration_time(&policy, None, key.as_mut().unwrap(), Some(ended))
            .and_then(|signatures| Ok(cert.clone().insert_packets(signatures)?.0));
        let new = shortened.unwrap().armored().to_vec().unwrap();
        for blobs in [[&old, &new], [&new, &old]] {
            let found = verdict(&cert, &blobs.map(Vec::as_slice));
            assert!(matches!(found, Err(SignatureFault::KeyExpired { .. })), "{found:?}");
        }
    }

    #[test]
    fn what_is_broken_or_belongs_to_nobody_is_an_error() {
        let (cert, revocation) = revoked();
        let alone = armoured(vec![revocation.clone().into()]);
        let ring = |blobs: &[&[u8]]| {
            let blobs: Vec<Vec<u8>> = blobs.iter().map(|b| b.to_vec()).collect();
            Keyring::read(&blobs).map(|_| ())
        };
        let fault = ring(&[ALICE, &alone]).unwrap_err();
        assert!(matches!(&fault, KeyFault::Alone { key } if *key == cert.fingerprint().to_hex()));
        let broken = String::from_utf8(cert.armored().to_vec().unwrap()).unwrap();
        let cut: String = broken.lines().take(6).map(|line| format!("{line}\n")).collect();
        let fault = ring(&[ALICE, cut.as_bytes()]).unwrap_err();
        assert!(matches!(fault, KeyFault::Certificate { .. }), "{fault:?}");
        let message = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nour keys\n";
        assert_eq!(ring(&[&[message, ALICE].concat()]), Ok(()));
    }

    /// A key of version 3, as old rings still have, and a marker.
    #[test]
    fn keys_of_unknown_versions_are_passed_over() {
        let body = [3, 0, 0, 0, 1, 0, 0, 1, 0, 8, 0xff, 0, 2, 3];
        let old = [&[0x99, 0, body.len() as u8][..], &body].concat();
        let marker = [0xca, 3, b'P', b'G', b'P'];
        let (cert, _) = revoked();
        let good = cert.to_vec().unwrap();
        for ring in [[&old[..], &good, &marker].concat(), [&marker[..], &good, &old].concat()] {
            assert_eq!(verdict(&cert, &[&ring]), Ok(()));
        }
        assert_eq!(count(&[&old]), None);
    }

    #[test]
    fn secret_keys_are_stripped() {
        let secret = include_bytes!("../../../../testdata/trust/keys/pgp-alice.sec.asc");
        let ring = Keyring::read(&[secret.to_vec()]).unwrap();
        assert!(ring.certs.iter().all(|cert| !cert.is_tsk()));
    }
}
