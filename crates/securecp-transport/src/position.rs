use securecp_oci::ImageName;

use crate::TransportError;
use crate::path::name_error;

/// The position behind `@` in a name, counted from 0.
pub(crate) fn parse_position(name: &ImageName, text: &str) -> Result<usize, TransportError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let position = text.parse().ok().filter(|_| digits);
    position.ok_or_else(|| name_error(name, "expected a position after @, counted from 0"))
}
