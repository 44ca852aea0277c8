use securecp_oci::{Escaped, base64};
use serde_json::{Map, Value};

use super::PolicyFault;

/// The members of one object of a policy, none of them foreign.
///
/// `null` is a member that is present and empty, never an absent one: the reference reads it so.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    members: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value, known: &[&str]) -> Result<Self, PolicyFault> {
        let members = object(value)?;
        match members.keys().find(|key| !known.contains(&key.as_str())) {
            Some(foreign) => Err(PolicyFault::UnknownKey(shown(foreign))),
            None => Ok(Self { members }),
        }
    }

    pub(super) fn member(self, key: &str) -> Option<&'a Value> {
        self.members.get(key)
    }

    /// Those of `keys` that are present.
    pub(super) fn present<'k>(self, keys: &[&'k str]) -> Vec<&'k str> {
        keys.iter().copied().filter(|key| self.members.contains_key(*key)).collect()
    }

    /// A text; empty when absent or `null`.
    pub(super) fn text(self, key: &'static str) -> Result<&'a str, PolicyFault> {
        self.member(key).map_or(Ok(""), |value| text(value, key))
    }

    /// A list of texts; `None` when absent or `null`.
    pub(super) fn texts(self, key: &'static str) -> Result<Option<Vec<String>>, PolicyFault> {
        self.list(key, |value| text(value, key).map(str::to_owned))
    }

    /// Bytes in base64; `None` when absent or `null`.
    pub(super) fn data(self, key: &'static str) -> Result<Option<Vec<u8>>, PolicyFault> {
        self.member(key).filter(|value| !value.is_null()).map(|value| bytes(value, key)).transpose()
    }

    /// A list of bytes in base64; `None` when absent or `null`.
    pub(super) fn datas(self, key: &'static str) -> Result<Option<Vec<Vec<u8>>>, PolicyFault> {
        self.list(key, |value| bytes(value, key))
    }

    fn list<T>(
        self,
        key: &'static str,
        read: impl Fn(&'a Value) -> Result<T, PolicyFault>,
    ) -> Result<Option<Vec<T>>, PolicyFault> {
        match self.member(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => items.iter().map(read).collect::<Result<_, _>>().map(Some),
            Some(_) => Err(PolicyFault::Type { key, expected: "an array" }),
        }
    }
}

pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, PolicyFault> {
    value.as_object().ok_or_else(|| PolicyFault::ObjectExpected(kind(value)))
}

/// The text of `type`, by which objects are told apart. A member that differs only in case is foreign.
pub(super) fn type_name(value: &Value) -> Result<&str, PolicyFault> {
    let members = match value {
        Value::Null => return Ok(""),
        value => object(value)?,
    };
    if let Some(foreign) =
        members.keys().find(|key| *key != "type" && key.eq_ignore_ascii_case("type"))
    {
        return Err(PolicyFault::UnknownKey(shown(foreign)));
    }
    members.get("type").map_or(Ok(""), |value| text(value, "type"))
}

pub(super) fn shown(text: &str) -> String {
    Escaped::new(text).limit(300).to_string()
}

fn text<'a>(value: &'a Value, key: &'static str) -> Result<&'a str, PolicyFault> {
    match value {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        _ => Err(PolicyFault::Type { key, expected: "a string" }),
    }
}

fn bytes(value: &Value, key: &'static str) -> Result<Vec<u8>, PolicyFault> {
    base64::decode(text(value, key)?).map_err(|source| PolicyFault::Base64 { key, source })
}

/// How the reference names a value that is not an object.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
