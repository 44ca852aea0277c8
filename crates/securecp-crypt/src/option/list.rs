use crate::CryptError;

/// Splits an option's value at commas, as the reference does: a part in double quotes may hold commas, and a doubled
/// quote in it stands for one.
///
/// # Errors
/// A quote inside an unquoted part, or one that is never closed.
pub fn split_list(option: &'static str, value: &str) -> Result<Vec<String>, CryptError> {
    let fail = |problem: &str| CryptError::Option { option, problem: problem.to_owned() };
    let mut parts = Vec::new();
    let mut rest = value;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(|| fail("a quote is not closed"))?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && part.contains('"') {
            return Err(fail("a quote stands inside a part that does not begin with one"));
        }
        parts.push(part);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(fail("something follows a closing quote, expected a comma")),
        }
    }
}

/// The part up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                part.push('"');
                rest = next;
            }
            None => return Some((part, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Option<Vec<String>> {
        split_list("--x", value).ok()
    }

    #[test]
    fn splits_as_the_reference_does() {
        for (value, expected) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,", vec!["a", ""]),
            ("", vec![""]),
            (r#""a,b",c"#, vec!["a,b", "c"]),
            (r#""a""b""#, vec!["a\"b"]),
            (r#""""#, vec![""]),
        ] {
            assert_eq!(split(value).unwrap(), expected, "{value}");
        }
        for bad in [r#"a"b"#, r#""a"#, r#""a"b"#, r#"a,""#] {
            assert!(split(bad).is_none(), "{bad}");
        }
    }
}
