use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// JSON as Go's encoder writes it with an indent of four spaces: `<`, `>`, `&` and the two line separators of
/// JavaScript are escaped, and a line break stands at the end.
pub(crate) fn to_go_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer)?;
    Ok(escaped(&String::from_utf8_lossy(&bytes)).into_bytes())
}

/// These characters can only stand inside strings, so that the whole text may be searched.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => text.push(c),
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn looks_like_gos() {
        let value = json!({"a": "<b> & \u{2028}\"", "c": [], "d": {}, "e": ["x"], "f": null});
        let text = String::from_utf8(to_go_json(&value).unwrap()).unwrap();
        let expected = "{\n    \"a\": \"\\u003cb\\u003e \\u0026 \\u2028\\\"\",\n    \"c\": [],\n    \
                        \"d\": {},\n    \"e\": [\n        \"x\"\n    ],\n    \"f\": null\n}\n";
        assert_eq!(text, expected);
    }
}
