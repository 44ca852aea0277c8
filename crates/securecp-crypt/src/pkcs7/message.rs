use super::content::Sealed;
use crate::der::{self, Element, write};

pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0x80;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
/// What the reference's libraries write around GCM parameters: a sequence that is not marked as constructed.
pub(crate) const PRIMITIVE_SEQUENCE: u8 = 0x10;

/// 1.2.840.113549.1.7.3
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Most recipients of one message.
pub(crate) const RECIPIENT_LIMIT: usize = 256;

/// A message, not yet opened.
pub(crate) struct Envelope<'a> {
    pub(crate) recipients: Vec<Recipient<'a>>,
    pub(crate) algorithm: &'a [u8],
    pub(crate) parameters: Element<'a>,
    pub(crate) content: Vec<u8>,
}

/// One recipient and the content key encrypted for it.
pub(crate) struct Recipient<'a> {
    pub(crate) issuer: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) encrypted_key: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads a message; `None` if it is none, or has more recipients than are allowed.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let [kind, wrapped] = inside(der::single(bytes)?, SEQUENCE)?;
        is_oid(kind, ENVELOPED_DATA)?;
        let [enveloped] = inside(wrapped, CONTEXT_0_CONSTRUCTED)?;
        let [version, recipients, content] = inside(enveloped, SEQUENCE)?;
        let known = version.raw == [INTEGER, 1, 0] && recipients.tag == SET;
        let recipients = known.then(|| recipients.children())??;
        if recipients.len() > RECIPIENT_LIMIT {
            return None;
        }
        let [kind, algorithm, content] = inside(content, SEQUENCE)?;
        is_oid(kind, DATA)?;
        let [algorithm, parameters] = inside(algorithm, SEQUENCE)?;
        Some(Self {
            recipients: recipients.into_iter().filter_map(Recipient::read).collect(),
            algorithm: (algorithm.tag == OID).then_some(algorithm.body)?,
            parameters,
            content: read_content(content)?,
        })
    }
}

impl<'a> Recipient<'a> {
    /// Reads a recipient; `None` for kinds that the reference does not write.
    fn read(element: Element<'a>) -> Option<Self> {
        let [version, name, algorithm, key] = inside(element, SEQUENCE)?;
        let [issuer, serial] = inside(name, SEQUENCE)?;
        let algorithm = algorithm.children()?.into_iter().next()?;
        is_oid(algorithm, RSA_ENCRYPTION)?;
        let known = version.raw == [INTEGER, 1, 0] && key.tag == OCTET_STRING;
        let encrypted_key = key.body;
        known.then_some(Self { issuer: issuer.raw, serial: serial.raw, encrypted_key })
    }
}

/// The encrypted content: bare as newer libraries write it, or in octet strings as older ones do.
fn read_content(element: Element<'_>) -> Option<Vec<u8>> {
    match element.tag {
        CONTEXT_0 => Some(element.body.to_vec()),
        CONTEXT_0_CONSTRUCTED => {
            let parts = element.children()?;
            let whole = parts.iter().all(|part| part.tag == OCTET_STRING);
            whole.then(|| parts.iter().flat_map(|part| part.body).copied().collect())
        }
        _ => None,
    }
}

/// The children of an element of a given tag, if there are exactly so many.
pub(crate) fn inside<'a, const N: usize>(
    element: Element<'a>,
    tag: u8,
) -> Option<[Element<'a>; N]> {
    (element.tag == tag).then(|| element.children())??.try_into().ok()
}

fn is_oid(element: Element<'_>, expected: &[u8]) -> Option<()> {
    (element.tag == OID && element.body == expected).then_some(())
}

/// One RecipientInfo; the algorithm has no NULL parameter, as the reference writes it.
pub(crate) fn write_recipient(issuer: &[u8], serial: &[u8], encrypted_key: &[u8]) -> Vec<u8> {
    let version = write(INTEGER, &[&[0]]);
    let name = write(SEQUENCE, &[issuer, serial]);
    let algorithm = write(SEQUENCE, &[&write(OID, &[RSA_ENCRYPTION])]);
    let key = write(OCTET_STRING, &[encrypted_key]);
    write(SEQUENCE, &[&version, &name, &algorithm, &key])
}

/// The whole message; a DER set is sorted.
pub(crate) fn write_envelope(mut recipients: Vec<Vec<u8>>, sealed: &Sealed) -> Vec<u8> {
    recipients.sort_unstable();
    let recipients: Vec<_> = recipients.iter().map(Vec::as_slice).collect();
    let content = write(
        SEQUENCE,
        &[&write(OID, &[DATA]), &sealed.algorithm(), &write(CONTEXT_0, &[&sealed.ciphertext])],
    );
    let version = write(INTEGER, &[&[0]]);
    let enveloped = write(SEQUENCE, &[&version, &write(SET, &recipients), &content]);
    let wrapped = write(CONTEXT_0_CONSTRUCTED, &[&enveloped]);
    write(SEQUENCE, &[&write(OID, &[ENVELOPED_DATA]), &wrapped])
}
