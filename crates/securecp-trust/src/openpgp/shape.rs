use std::io::Read;

use sequoia_openpgp::parse::{
    Dearmor, PacketParser, PacketParserBuilder, PacketParserResult, Parse,
};
use sequoia_openpgp::{KeyHandle, Packet};

use crate::payload::PAYLOAD_LIMIT;
use crate::verdict::SignatureFault;

/// More packets than any message with one signature has.
const PACKET_LIMIT: usize = 16;
/// Largest packet other than the literal and the compressed one, in bytes.
const PACKET_SIZE_LIMIT: u32 = 64 << 10;

/// The packets of a message, by what they are good for.
#[derive(Debug, Default)]
pub(super) struct Shape {
    compressed: usize,
    one_pass: usize,
    literals: usize,
    signatures: usize,
    encrypted: usize,
    /// The signed bytes. Nobody has verified them.
    pub(super) content: Vec<u8>,
    /// The keys that the signature claims to be made with.
    pub(super) issuers: Vec<KeyHandle>,
}

/// Demands the one form that is accepted: at most one compression layer around one literal with one signature.
///
/// Everything is read once with bounds before the verifier sees it: an archive bomb ends at the payload's limit.
pub(super) fn check(message: &[u8]) -> Result<Shape, SignatureFault> {
    if message.first().is_none_or(|first| first & 0x80 == 0) {
        return Err(SignatureFault::NotBinary);
    }
    let shape = Shape::of(message)?;
    match shape {
        Shape { encrypted: 1.., .. } => Err(SignatureFault::Encrypted),
        Shape { compressed: 2.., .. } => Err(malformed("compressed more than once")),
        Shape { literals: 0, signatures: 1.., .. } => Err(SignatureFault::Detached),
        Shape { literals: 0, .. } => Err(malformed("no signed data")),
        Shape { literals: 2.., .. } => Err(malformed("more than one message")),
        Shape { signatures: 0, .. } => Err(SignatureFault::Unsigned),
        Shape { signatures: found @ 2.., .. } => Err(SignatureFault::SignatureCount { found }),
        Shape { one_pass: found @ 2.., .. } => Err(SignatureFault::SignatureCount { found }),
        shape => Ok(shape),
    }
}

impl Shape {
    fn of(message: &[u8]) -> Result<Self, SignatureFault> {
        let mut shape = Self::default();
        let mut next = PacketParserBuilder::from_bytes(message)
            .map(|builder| builder.dearmor(Dearmor::Disabled).max_packet_size(PACKET_SIZE_LIMIT))
            .and_then(PacketParserBuilder::build)
            .map_err(broken)?;
        for _ in 0..PACKET_LIMIT {
            let PacketParserResult::Some(mut parser) = next else { return Ok(shape) };
            if shape.count(&mut parser)? {
                next = parser.recurse().map_err(broken)?.1;
            } else {
                return Ok(shape);
            }
        }
        Err(malformed("too many packets"))
    }

    /// Counts one packet; whether the next one is to be looked at.
    fn count(&mut self, parser: &mut PacketParser<'_>) -> Result<bool, SignatureFault> {
        match &parser.packet {
            Packet::CompressedData(_) => self.compressed += 1,
            Packet::OnePassSig(_) => self.one_pass += 1,
            Packet::Signature(signature) => {
                self.signatures += 1;
                self.issuers = signature.get_issuers();
            }
            Packet::Literal(_) => {
                self.literals += 1;
                self.content = content(parser)?;
            }
            Packet::PKESK(_) | Packet::SKESK(_) | Packet::SEIP(_) => {
                self.encrypted += 1;
                return Ok(false);
            }
            other => return Err(malformed(&format!("unexpected packet {}", other.tag()))),
        }
        Ok(self.compressed < 2)
    }
}

fn content(parser: &mut PacketParser<'_>) -> Result<Vec<u8>, SignatureFault> {
    let mut content = Vec::new();
    let read = parser.take(PAYLOAD_LIMIT as u64 + 1).read_to_end(&mut content);
    match read {
        Ok(_) if content.len() > PAYLOAD_LIMIT => {
            Err(SignatureFault::TooLarge { limit: PAYLOAD_LIMIT })
        }
        Ok(_) => Ok(content),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn broken(error: sequoia_openpgp::anyhow::Error) -> SignatureFault {
    malformed(&error.to_string())
}

pub(super) fn malformed(failure: &str) -> SignatureFault {
    let failure = securecp_oci::Escaped::new(failure).limit(200).to_string();
    SignatureFault::Malformed { failure }
}
