use std::str::FromStr;

/// Reads a whole number, not below zero.
pub(crate) fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_expected() {
        assert_eq!(parse_number("12"), Ok(12_u32));
        for bad in ["x", "-1", "", "1.5", "4294967296"] {
            assert!(parse_number::<u32>(bad).unwrap_err().starts_with("expected"), "{bad}");
        }
    }
}
