use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::TemplateError;

/// What a template works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// No value where there could be one.
    Nil,
    /// No value where there was to be none: a key that a map does not have.
    Missing,
    /// A truth value.
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// A moment: as it is printed, and as JSON has it.
    Time { shown: String, json: String },
    /// Values in order.
    List(Vec<Self>),
    /// Values by name, where a name need not be known.
    Map(BTreeMap<String, Self>),
    /// Values by name, where the names are known; and how JSON has it, if not by these names.
    Structure(Vec<(&'static str, Self)>, Option<serde_json::Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    pub(crate) fn map<K: Into<String>>(items: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(items.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    pub(crate) fn structure(fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Structure(fields.into_iter().collect(), None)
    }

    /// The same with its own form in JSON.
    #[must_use]
    pub(crate) fn with_json(self, json: serde_json::Value) -> Self {
        match self {
            Self::Structure(fields, _) => Self::Structure(fields, Some(json)),
            other => other,
        }
    }

    /// A field of a structure or a key of a map.
    pub(super) fn field(&self, name: &str) -> Result<Self, TemplateError> {
        let found = match self {
            Self::Structure(fields, _) => {
                fields.iter().find(|(key, _)| *key == name).map(|(_, v)| v)
            }
            Self::Map(items) => Some(items.get(name).unwrap_or(&Self::Missing)),
            _ => None,
        };
        found.cloned().ok_or_else(|| TemplateError::new(format!("can't evaluate field {name}")))
    }

    /// Go's idea of what is not empty.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Nil | Self::Missing => false,
            Self::Switch(value) => *value,
            Self::Number(value) => *value != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(items) => !items.is_empty(),
            Self::Time { .. } | Self::Structure(..) => true,
        }
    }

    /// As JSON, without escaping for HTML.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Nil | Self::Missing => serde_json::Value::Null,
            Self::Switch(value) => (*value).into(),
            Self::Number(value) => (*value).into(),
            Self::Text(text) | Self::Time { json: text, .. } => text.as_str().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(items) => items.iter().map(|(k, v)| (k.clone(), v.to_json())).collect(),
            Self::Structure(_, Some(json)) => json.clone(),
            Self::Structure(fields, None) => {
                fields.iter().map(|(k, v)| ((*k).to_owned(), v.to_json())).collect()
            }
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Missing => f.write_str("<no value>"),
            Self::Switch(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) | Self::Time { shown: text, .. } => f.write_str(text),
            Self::List(items) => spaced(f, "[", items, "]"),
            Self::Map(items) => {
                let pairs: Vec<String> = items.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                write!(f, "map[{}]", pairs.join(" "))
            }
            Self::Structure(fields, _) => spaced(f, "{", fields.iter().map(|(_, v)| v), "}"),
        }
    }
}

fn spaced<'a>(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: impl IntoIterator<Item = &'a Value>,
    close: &str,
) -> fmt::Result {
    let items: Vec<String> = items.into_iter().map(Value::to_string).collect();
    write!(f, "{open}{}{close}", items.join(" "))
}
