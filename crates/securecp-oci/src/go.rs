//! JSON and times as Go's standard library writes them: conversions have to give the reference's bytes.

use std::ops::Range;

use serde_json::Value;

/// Compact JSON with `<`, `>`, `&` and the two line separators of Unicode escaped, as `encoding/json` does.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                separate(out, n);
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (n, (key, member)) in members.iter().enumerate() {
                separate(out, n);
                write_string(out, key);
                out.push(':');
                write_value(out, member);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn separate(out: &mut String, position: usize) {
    if position > 0 {
        out.push(',');
    }
}

/// One string; backspace and form feed in the short form that Go has used since 1.22.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || is_html(c) => escape(out, c),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn is_html(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

fn escape(out: &mut String, c: char) {
    out.push_str(&format!("\\u{:04x}", u32::from(c)));
}

/// What Go makes of raw JSON that it only passes on: space between tokens is dropped, [`is_html`] characters are
/// escaped (inside strings, the only place where they can stand), all else stays as it was written.
///
/// `raw` has to be well-formed.
pub(crate) fn compact(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let (mut inside, mut escaped) = (false, false);
    for c in raw.chars() {
        if is_html(c) {
            escape(&mut out, c);
        } else if inside || !c.is_ascii_whitespace() {
            out.push(c);
        }
        inside ^= c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
    }
    out
}

/// A time of RFC 3339 as Go's `time.Time` writes it after reading it: no trailing zeros in the fraction, which has at
/// most nine digits, and `Z` for every offset of zero. `None` if it is not such a time.
pub(crate) fn time(text: &str) -> Option<String> {
    let date = text.get(..DATE.len()).filter(|date| fits(date, DATE))?;
    let number = |range: Range<usize>| date.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let clock = (number(11..13)?, number(14..16)?, number(17..19)?);
    if day == 0 || day > days(year, month) || clock.0 > 23 || clock.1 > 59 || clock.2 > 59 {
        return None;
    }
    let (fraction, zone) = fraction(&text[DATE.len()..])?;
    Some(format!("{date}{fraction}{}", offset(zone)?))
}

const DATE: &str = "0000-00-00T00:00:00";
const OFFSET: &str = "+00:00";

/// Whether `text` has a digit wherever `form` has `0`, and the characters of `form` elsewhere; `+` stands for a sign.
fn fits(text: &str, form: &str) -> bool {
    let fit = |(c, f): (char, char)| match f {
        '0' => c.is_ascii_digit(),
        '+' => c == '+' || c == '-',
        f => c == f,
    };
    text.len() == form.len() && text.chars().zip(form.chars()).all(fit)
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// The fraction as Go writes it, point included, and what follows it.
fn fraction(text: &str) -> Option<(String, &str)> {
    let Some(behind) = text.strip_prefix('.') else { return Some((String::new(), text)) };
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    let (digits, zone) = behind.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let kept = digits[..digits.len().min(9)].trim_end_matches('0');
    Some((if kept.is_empty() { String::new() } else { format!(".{kept}") }, zone))
}

fn offset(zone: &str) -> Option<&str> {
    if zone == "Z" {
        return Some(zone);
    }
    let digits = zone.get(1..).filter(|_| fits(zone, OFFSET))?;
    match digits {
        "00:00" => Some("Z"),
        _ if &digits[..2] < "24" && &digits[3..] < "60" => Some(zone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn escapes_as_go_does() {
        let value = json!({"b<": "a&\u{2028}é\u{1}\t\u{7f}\"\\/", "a": [1, -2, true, null, {}]});
        assert_eq!(
            write(&value),
            "{\"b\\u003c\":\"a\\u0026\\u2028é\\u0001\\t\u{7f}\\\"\\\\/\",\"a\":[1,-2,true,null,{}]}"
        );
    }

    #[test]
    fn compacts_without_touching_strings() {
        let raw = " { \"a b\" : [ 1.0 , \"x \\\" y\\\\\" , \"\\u00e9 <\" ] ,\n \"c\":\t{ } } ";
        assert_eq!(compact(raw), r#"{"a b":[1.0,"x \" y\\","\u00e9 \u003c"],"c":{}}"#);
    }

    #[test]
    fn writes_times_as_go_does() {
        for (read, written) in [
            ("2024-02-03T04:05:06Z", "2024-02-03T04:05:06Z"),
            ("2024-02-03T04:05:06.120000000+02:00", "2024-02-03T04:05:06.12+02:00"),
            ("2024-02-03T04:05:06.000Z", "2024-02-03T04:05:06Z"),
            ("2024-02-03T04:05:06.1234567891234Z", "2024-02-03T04:05:06.123456789Z"),
            ("2024-02-29T23:59:59-00:00", "2024-02-29T23:59:59Z"),
            ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(read).as_deref(), Some(written));
        }
        for bad in [
            "",
            "2024-02-03",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+1:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00Zé",
            "２024-01-01T00:00:00Z",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
