use serde_json::{Map, Value};

use super::{ConvertError, lose};
use crate::{Escaped, go, spelling};

/// Members of one object, read as Go reads a structure: absent and null are the zero value; zero values are not
/// written.
pub(crate) struct Members<'a> {
    map: Option<&'a Map<String, Value>>,
    path: String,
    known: &'static [&'static str],
}

impl<'a> Members<'a> {
    pub(crate) fn of(
        value: &'a Value,
        path: String,
        known: &'static [&'static str],
    ) -> Result<Self, ConvertError> {
        let map = match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            _ => {
                let member = path.trim_end_matches('.').to_owned();
                return Err(ConvertError::ConfigMember { member, expected: "an object" });
            }
        };
        let members = Self { map, path, known };
        members.refuse_other_spellings()?;
        Ok(members)
    }

    /// Go takes `CMD` for `Cmd`; a reader that does not would see another configuration.
    fn refuse_other_spellings(&self) -> Result<(), ConvertError> {
        for key in self.keys() {
            if let Some(expected) = spelling::meant(key, self.known) {
                return Err(ConvertError::Spelling { member: self.name(key), expected });
            }
        }
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.into_iter().flat_map(Map::keys).map(String::as_str)
    }

    pub(crate) fn report(&self, lost: &mut Vec<String>) {
        lose(lost, &self.path, self.keys().filter(|key| !self.known.contains(key)));
    }

    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{}", self.path, Escaped::new(key).limit(80))
    }

    pub(crate) fn wrong(&self, key: &str, expected: &'static str) -> ConvertError {
        ConvertError::ConfigMember { member: self.name(key), expected }
    }

    pub(crate) fn value(&self, key: &str) -> &'a Value {
        self.map.and_then(|map| map.get(key)).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, key: &str) -> Result<&'a str, ConvertError> {
        match self.value(key) {
            Value::Null => Ok(""),
            value => value.as_str().ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, ConvertError> {
        let wrong = || self.wrong(key, "a list of strings");
        match self.value(key) {
            Value::Null => Ok(None),
            Value::Array(items) => {
                let text = |item: &'a Value| match item {
                    Value::Null => Ok(""),
                    item => item.as_str().ok_or_else(wrong),
                };
                items.iter().map(text).collect::<Result<_, _>>().map(Some)
            }
            _ => Err(wrong()),
        }
    }

    /// Entries of a map, in the order in which Go writes them.
    pub(crate) fn sorted(&self, key: &str) -> Result<Vec<(&'a String, &'a Value)>, ConvertError> {
        let mut entries: Vec<_> = match self.value(key) {
            Value::Null => Vec::new(),
            Value::Object(map) => map.iter().collect(),
            _ => return Err(self.wrong(key, "an object")),
        };
        entries.sort_by_key(|(name, _)| *name);
        Ok(entries)
    }

    pub(crate) fn put_time(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        let value = self.value(key);
        if !value.is_null() {
            let time = value.as_str().and_then(go::time);
            let time = time.ok_or_else(|| self.wrong(key, "a time of RFC 3339"))?;
            out.insert(key.to_owned(), time.into());
        }
        Ok(())
    }

    pub(crate) fn put_text(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        let text = self.text(key)?;
        if !text.is_empty() {
            out.insert(key.to_owned(), text.into());
        }
        Ok(())
    }

    pub(crate) fn put_texts(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        if let Some(texts) = self.texts(key)?.filter(|texts| !texts.is_empty()) {
            out.insert(key.to_owned(), texts.into());
        }
        Ok(())
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool, ConvertError> {
        match self.value(key) {
            Value::Null => Ok(false),
            value => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    pub(crate) fn put_flag(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        if self.flag(key)? {
            out.insert(key.to_owned(), true.into());
        }
        Ok(())
    }

    /// A set, which Go keeps as a map to empty structures.
    pub(crate) fn put_set(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        let mut set = Map::new();
        for (name, value) in self.sorted(key)? {
            if !value.is_object() && !value.is_null() {
                return Err(self.wrong(key, "an object of empty objects"));
            }
            set.insert(name.clone(), Map::new().into());
        }
        put_map(out, key, set);
        Ok(())
    }

    pub(crate) fn put_labels(
        &self,
        out: &mut Map<String, Value>,
        key: &str,
    ) -> Result<(), ConvertError> {
        let mut labels = Map::new();
        for (name, value) in self.sorted(key)? {
            let text = match value {
                Value::Null => "",
                value => value.as_str().ok_or_else(|| self.wrong(key, "an object of strings"))?,
            };
            labels.insert(name.clone(), text.into());
        }
        put_map(out, key, labels);
        Ok(())
    }
}

fn put_map(out: &mut Map<String, Value>, key: &str, map: Map<String, Value>) {
    if !map.is_empty() {
        out.insert(key.to_owned(), map.into());
    }
}
