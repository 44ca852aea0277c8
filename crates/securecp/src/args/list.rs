/// Splits one value of a repeatable list option at its commas, as one line of RFC 4180: a part that begins with `"`
/// runs to the closing `"`, and `""` inside stands for one `"`.
pub(crate) fn split_list(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_part(quoted)?
        } else {
            plain_part(rest)?
        };
        parts.push(part);
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(parts),
        }
    }
}

type Part<'a> = (String, Option<&'a str>);

fn plain_part(text: &str) -> Result<Part<'_>, String> {
    let (part, behind) = match text.split_once(',') {
        Some((part, behind)) => (part, Some(behind)),
        None => (text, None),
    };
    if part.contains('"') {
        return Err("a quote may only stand at the beginning of a part".to_owned());
    }
    Ok((part.to_owned(), behind))
}

fn quoted_part(mut rest: &str) -> Result<Part<'_>, String> {
    let mut part = String::new();
    loop {
        let (inner, behind) = rest.split_once('"').ok_or("the closing quote is missing")?;
        part.push_str(inner);
        if let Some(more) = behind.strip_prefix('"') {
            part.push('"');
            rest = more;
        } else if behind.is_empty() {
            return Ok((part, None));
        } else {
            let behind = behind.strip_prefix(',').ok_or("a comma must follow a closing quote")?;
            return Ok((part, Some(behind)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_commas_outside_quotes() {
        assert_eq!(split_list("a,b").unwrap(), ["a", "b"]);
        assert_eq!(split_list("\"a,b\",c").unwrap(), ["a,b", "c"]);
        assert_eq!(split_list("\"a\"\"b\"").unwrap(), ["a\"b"]);
        assert_eq!(split_list("a,").unwrap(), ["a", ""]);
        assert_eq!(split_list("").unwrap(), [""]);
    }

    #[test]
    fn refuses_stray_quotes() {
        for bad in ["a\"b", "\"a", "\"a\"b", "\"a\"b,c"] {
            assert!(split_list(bad).is_err(), "{bad}");
        }
    }
}
