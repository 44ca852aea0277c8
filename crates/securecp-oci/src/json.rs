//! The strict JSON reader: one document, no duplicate keys, bounded size, depth and number of values, nothing behind it
//! (RFC 8259).
//!
//! `serde_json` alone keeps the last of two equal keys silently; two readers of one document could then see two
//! different manifests. Everything untrusted in this project is read through [`parse`].

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Bounds of one document.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest document, in bytes.
    pub bytes: usize,
    /// Deepest nesting of objects and arrays.
    pub depth: usize,
    /// One value (member, element, object, array …) is allowed for so many bytes of the document, and [`FREE_VALUES`] in any.
    ///
    /// In memory a value takes up to about 200 bytes, though two may be enough to write it.
    pub bytes_per_value: usize,
}

/// Values that every document may have, however short it is.
pub const FREE_VALUES: usize = 4096;

impl Limits {
    /// Bounds for a document of at most `bytes` bytes, nested at most 64 deep, with a value for every 8 bytes.
    pub const fn bytes(bytes: usize) -> Self {
        Self { bytes, depth: 64, bytes_per_value: 8 }
    }

    /// Most values of a document of `length` bytes.
    const fn values(self, length: usize) -> usize {
        let bytes_per_value = if self.bytes_per_value == 0 { 1 } else { self.bytes_per_value };
        FREE_VALUES + length / bytes_per_value
    }
}

/// Why bytes are not one strict JSON document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The document is larger than allowed.
    #[error("JSON document has {found} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The document has more values than allowed for its size.
    #[error("JSON document of {bytes} bytes has more than {limit} values")]
    TooManyValues {
        /// Bytes of the document.
        bytes: usize,
        /// Values allowed.
        limit: usize,
    },
    /// Not well-formed, not UTF-8, nested too deep, followed by other bytes, or with a key twice in one object.
    #[error("not one strict JSON document")]
    Malformed(#[source] serde_json::Error),
}

/// Reads one document; key order is kept.
///
/// # Errors
/// See [`JsonError`].
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError::TooLarge { found: bytes.len(), limit: limits.bytes });
    }
    let limit = limits.values(bytes.len());
    let left = Cell::new(Some(limit));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { depth: limits.depth, left: &left }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| match left.get() {
        None => JsonError::TooManyValues { bytes: bytes.len(), limit },
        Some(_) => JsonError::Malformed(error),
    })
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    /// Values that may still come; none once there was one too many.
    left: &'a Cell<Option<usize>>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth, ..self }).ok_or_else(|| E::custom("nested too deep"))
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(1)));
        self.left.get().map(drop).ok_or_else(|| E::custom("too many values"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if members.contains_key(&key) {
                let shown = crate::Escaped::new(&key).limit(80).to_string();
                return Err(A::Error::custom(format!("Duplicate key \"{shown}\"")));
            }
            let value = access.next_value_seed(seed)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, JsonError> {
        parse(text.as_bytes(), Limits { depth: 4, ..Limits::bytes(1000) })
    }

    #[test]
    fn keeps_key_order_and_values() {
        let text = r#"{"b":1,"a":[true,null,-2,1.5,"x"],"c":{}}"#;
        assert_eq!(read(text).unwrap().to_string(), text);
    }

    #[test]
    fn refuses_duplicates_trailing_bytes_depth_size_and_bad_text() {
        for bad in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":[{"a":1,"\u0061":2}]}"#,
            r#"{} {}"#,
            r#"{}x"#,
            "[[[[[]]]]]",
            r#"{"a":{"a":{"a":{"a":{}}}}}"#,
            "",
            "\u{feff}{}",
            "{'a':1}",
            "NaN",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("[[[[]]]]").is_ok());
        assert!(parse(b"\"\xff\"", Limits::bytes(10)).is_err());
        assert!(matches!(
            parse(&[b' '; 11], Limits::bytes(10)),
            Err(JsonError::TooLarge { found: 11, limit: 10 })
        ));
        let deep = "[".repeat(100_000);
        assert!(
            parse(deep.as_bytes(), Limits { depth: 1_000_000, ..Limits::bytes(1 << 20) }).is_err()
        );
    }

    fn list(count: usize, item: &str) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    #[test]
    fn bounds_the_number_of_values_by_the_length() {
        let read = |text: &str| parse(text.as_bytes(), Limits::bytes(1 << 20));
        // The list itself is a value too.
        assert!(read(&list(FREE_VALUES - 1, "0")).is_ok());
        assert!(read(&list(5_400, "0")).is_ok() && read(&list(5_500, "0")).is_err());
        for item in ["0", "{}", r#"{"":0}"#, r#""""#, "[]"] {
            let refused = read(&list(100_000, item)).unwrap_err();
            assert!(matches!(refused, JsonError::TooManyValues { .. }), "{item}: {refused}");
        }
        let members: Vec<_> = (0..100_000).map(|n| format!(r#""{n:x}":0"#)).collect();
        let members = format!("{{{}}}", members.join(","));
        let narrow = Limits { bytes_per_value: 16, ..Limits::bytes(1 << 20) };
        let refused = parse(members.as_bytes(), narrow).unwrap_err();
        assert!(matches!(refused, JsonError::TooManyValues { limit, .. } if limit > FREE_VALUES));
        assert!(read(&members).is_ok());
        assert!(read(&list(100_000, r#""8 bytes""#)).is_ok());
        // What is malformed before there are too many is malformed.
        assert!(matches!(read("[0,,]"), Err(JsonError::Malformed(_))));
    }
}
