//! What a timestamp authority is asked (RFC 3161 section 2.4.1), and whether its answer is one to that question.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const EXPLICIT_0: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };

/// Bytes of the nonce.
const NONCE: usize = 8;

/// Why an answer of a timestamp authority is none to the question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampFault {
    /// It does not say that a timestamp was granted.
    #[error("PKIStatus is {status}, expected 0 or 1 (granted)")]
    NotGranted {
        /// The status (RFC 3161 section 2.4.2): 2 is a rejection.
        status: u8,
    },
    /// It is no timestamp.
    #[error("expected a TimeStampResp with a TSTInfo (RFC 3161) in DER, found something else")]
    Malformed,
    /// It is about something else than was asked.
    #[error("its timestamp is of another message than was sent")]
    OtherMessage,
    /// It repeats another nonce, or none: an answer to somebody else, or of another day.
    #[error("expected the nonce {expected} that was sent, found {found}")]
    OtherNonce {
        /// Hexadecimal.
        expected: String,
        /// Hexadecimal, or "none".
        found: String,
    },
}

/// A question to a timestamp authority.
#[derive(Debug, Clone)]
pub struct TimestampQuery {
    imprint: [u8; 32],
    nonce: [u8; NONCE],
}

impl TimestampQuery {
    /// Asks for a timestamp of the SHA-256 of `message`. `random` must be new for each question.
    pub fn new(message: &[u8], random: [u8; NONCE]) -> Self {
        let mut imprint = [0; 32];
        imprint.copy_from_slice(digest(&SHA256, message).as_ref());
        let mut nonce = random;
        // A positive INTEGER of just these eight bytes.
        nonce[0] = (nonce[0] & 0x7f) | 0x40;
        Self { imprint, nonce }
    }

    /// TimeStampReq in DER: version 1, the imprint, the nonce, and the wish for certificates.
    pub fn to_der(&self) -> Vec<u8> {
        const HEAD: [u8; 5] = [0x30, 0x43, 0x02, 0x01, 0x01];
        const IMPRINT: [u8; 19] = [
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ];
        const CERTIFICATES: [u8; 3] = [0x01, 0x01, 0xff];
        [&HEAD[..], &IMPRINT, &self.imprint, &[0x02, NONCE as u8], &self.nonce, &CERTIFICATES]
            .concat()
    }

    /// Checks that `answer` (TimeStampResp, DER) grants a timestamp of this message and repeats this nonce. Whether it is
    /// signed by an authority that is trusted is asked where the bundle is judged.
    ///
    /// # Errors
    /// See [`TimestampFault`].
    pub fn check(&self, answer: &[u8]) -> Result<(), TimestampFault> {
        let answer = Answer::read(answer)?;
        if answer.imprint != self.imprint {
            return Err(TimestampFault::OtherMessage);
        }
        match answer.nonce {
            Some(nonce) if nonce == self.nonce => Ok(()),
            other => Err(TimestampFault::OtherNonce {
                expected: hex(&self.nonce),
                found: other.map_or_else(|| "none".to_owned(), hex),
            }),
        }
    }
}

/// What is asked of an answer.
struct Answer<'a> {
    imprint: &'a [u8],
    nonce: Option<&'a [u8]>,
}

impl<'a> Answer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, TimestampFault> {
        let answer = Element(AnyRef::from_der(der).map_err(|_| TimestampFault::Malformed)?);
        let status = answer.status().ok_or(TimestampFault::Malformed)?;
        match status {
            0 | 1 => answer.timestamp().ok_or(TimestampFault::Malformed),
            status => Err(TimestampFault::NotGranted { status }),
        }
    }
}

#[derive(Clone, Copy)]
struct Element<'a>(AnyRef<'a>);

impl<'a> Element<'a> {
    /// The elements inside of one with this tag.
    fn within(self, tag: Tag) -> Option<Vec<Self>> {
        let mut reader = SliceReader::new(self.bytes(tag)?).ok()?;
        let mut found = Vec::new();
        while !reader.is_finished() {
            found.push(Self(reader.decode().ok()?));
        }
        Some(found)
    }

    fn bytes(self, tag: Tag) -> Option<&'a [u8]> {
        (self.0.tag() == tag).then(|| self.0.value())
    }

    /// The content of an object with a type before it, as CMS nests them (RFC 5652 sections 3 and 5.2).
    fn content(self, kind: ObjectIdentifier) -> Option<Self> {
        let [found, content] = self.within(Tag::Sequence)?[..] else { return None };
        let known = found.0.decode_as::<ObjectIdentifier>().ok()? == kind;
        let [inner] = content.within(EXPLICIT_0)?[..] else { return None };
        known.then_some(inner)
    }

    fn status(self) -> Option<u8> {
        let first = *self.within(Tag::Sequence)?.first()?;
        first.within(Tag::Sequence)?.first()?.0.decode_as().ok()
    }

    fn timestamp(self) -> Option<Answer<'a>> {
        let [_, token] = self.within(Tag::Sequence)?[..] else { return None };
        let signed = token.content(SIGNED_DATA)?.within(Tag::Sequence)?;
        let [_version, _algorithms, encapsulated, ..] = signed[..] else { return None };
        let octets = encapsulated.content(TST_INFO)?.bytes(Tag::OctetString)?;
        let info = Self(AnyRef::from_der(octets).ok()?).within(Tag::Sequence)?;
        let [_version, _policy, imprint, _serial, _time, optional @ ..] = &info[..] else {
            return None;
        };
        let [_algorithm, imprint] = imprint.within(Tag::Sequence)?[..] else { return None };
        let imprint = imprint.bytes(Tag::OctetString)?;
        // Of the members behind the time only the nonce is an INTEGER.
        let mut nonces = optional.iter().filter_map(|member| member.bytes(Tag::Integer));
        let nonce = nonces.next();
        nonces.next().is_none().then_some(Answer { imprint, nonce })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(32).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &[u8] = b"message";
    const NONCE_FIELD: &[u8] = &[0x02, 8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

    fn query() -> TimestampQuery {
        TimestampQuery::new(MESSAGE, [0xff; 8])
    }

    /// One element of less than 64 KiB.
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let length = match body.len() {
            0..=127 => vec![length[1]],
            128..=255 => vec![0x81, length[1]],
            _ => [&[0x82], &length[..]].concat(),
        };
        [&[tag], &length[..], &body].concat()
    }

    fn content(kind: ObjectIdentifier, inner: &[u8]) -> Vec<u8> {
        let inner = element(0xa0, &[inner]);
        element(0x30, &[&element(0x06, &[kind.as_bytes()]), &inner])
    }

    /// An answer about `message`, with these members behind the time.
    fn answer(status: u8, message: &[u8], behind: &[&[u8]]) -> Vec<u8> {
        let imprint = element(0x04, &[digest(&SHA256, message).as_ref()]);
        let imprint = element(0x30, &[&element(0x30, &[]), &imprint]);
        let time = element(0x18, &[b"20260101000000Z"]);
        let head = [&[2, 1, 1, 0x06, 1, 0x2a][..], &imprint, &[2, 1, 7], &time].concat();
        let info = element(0x30, &[&head, &behind.concat()]);
        let octets = content(TST_INFO, &element(0x04, &[&info]));
        let signed =
            element(0x30, &[&[2, 1, 3], &element(0x31, &[]), &octets, &element(0x31, &[])]);
        let status = element(0x30, &[&[2, 1, status]]);
        element(0x30, &[&status, &content(SIGNED_DATA, &signed)])
    }

    #[test]
    fn openssl_reads_the_query() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("query");
        std::fs::write(&file, query().to_der()).unwrap();
        let mut openssl = std::process::Command::new("openssl");
        let output = openssl.args(["ts", "-query", "-text", "-in"]).arg(&file).output();
        let output = output.expect("openssl is needed for this test");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for says in ["Version: 1", "Hash Algorithm: sha256", "Nonce: 0x7FFFFFFFFFFFFFFF", "yes"] {
            assert!(text.contains(says), "{says}: {text}");
        }
        assert!(text.contains("ab 53 0a 13 e4 59 14 98-2b 79 f9 b7 e3 fb a9 94"), "{text}");
    }

    #[test]
    fn takes_the_answer_to_its_own_question_only() {
        let (accuracy, ordering) = (&[0x30, 3, 2, 1, 1][..], &[1, 1, 0xff][..]);
        let authority = &[0xa0, 0][..];
        let check = |answer: &[u8]| query().check(answer).map_err(|fault| fault.to_string());
        for behind in [
            &[NONCE_FIELD][..],
            &[accuracy, NONCE_FIELD],
            &[accuracy, ordering, NONCE_FIELD, authority],
        ] {
            assert_eq!(check(&answer(0, MESSAGE, behind)), Ok(()));
            assert_eq!(check(&answer(1, MESSAGE, behind)), Ok(()));
        }
        for (answer, says) in [
            (
                answer(0, MESSAGE, &[]),
                "expected the nonce 7fffffffffffffff that was sent, found none",
            ),
            (answer(0, MESSAGE, &[accuracy]), "found none"),
            (answer(0, MESSAGE, &[&[2, 1, 5]]), "that was sent, found 05"),
            (
                answer(0, MESSAGE, &[&[&[2, 9, 0][..], &NONCE_FIELD[2..]].concat()]),
                "that was sent, found 007fffffffffffffff",
            ),
            (answer(0, MESSAGE, &[NONCE_FIELD, NONCE_FIELD]), "something else"),
            (answer(0, b"another", &[NONCE_FIELD]), "of another message"),
            (answer(2, MESSAGE, &[NONCE_FIELD]), "PKIStatus is 2"),
            (vec![0x30, 5, 0x30, 3, 2, 1, 2], "PKIStatus is 2"),
            (vec![0x30, 5, 0x30, 3, 2, 1, 0], "something else"),
            (vec![0x30, 0], "something else"),
            (Vec::new(), "something else"),
            (b"<html>".to_vec(), "something else"),
        ] {
            let fault = check(&answer).unwrap_err();
            assert!(fault.contains(says), "{says}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn altered_answers_do_no_harm(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut altered = answer(0, MESSAGE, &[NONCE_FIELD]);
            let (at, cut) = (at.index(altered.len()), cut.index(altered.len()));
            altered[at] = byte;
            let _ = query().check(&altered);
            prop_assert!(query().check(&altered[..cut]).is_err());
        }
    }
}
