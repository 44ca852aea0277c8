use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::template::Value;

/// A time as image configurations state it (RFC 3339), written back with as many digits of a second as it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timestamp(OffsetDateTime);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = OffsetDateTime::parse(&text, &Rfc3339);
        parsed.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl Timestamp {
    /// The time for templates: printed as Go prints one.
    pub(crate) fn value(self) -> Value {
        let text = |found: Result<String, time::error::Format>| found.unwrap_or_default();
        let offset = self.0.offset();
        let (hours, minutes, _) = offset.as_hms();
        let sign = if offset.is_negative() { '-' } else { '+' };
        let number = format!("{sign}{:02}{:02}", hours.unsigned_abs(), minutes.unsigned_abs());
        let zone = if offset.is_utc() { "UTC" } else { &number };
        let json = text(self.0.format(&Rfc3339));
        let clock = json.get(..json.len().saturating_sub(if offset.is_utc() { 1 } else { 6 }));
        let shown = format!("{} {number} {zone}", clock.unwrap_or_default().replace('T', " "));
        Value::Time { shown, json }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_offset_and_only_the_digits_that_say_something() {
        for (given, expected) in [
            ("2019-03-15T21:20:01.123456789Z", "2019-03-15T21:20:01.123456789Z"),
            ("2019-03-15T21:20:01.120000000Z", "2019-03-15T21:20:01.12Z"),
            ("2019-03-15T21:20:01.000Z", "2019-03-15T21:20:01Z"),
            ("2019-03-15T21:20:01+02:00", "2019-03-15T21:20:01+02:00"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            let time: Timestamp = serde_json::from_value(given.into()).unwrap();
            assert_eq!(serde_json::to_value(time).unwrap(), expected);
        }
        let shown = |text: &str| {
            serde_json::from_value::<Timestamp>(text.into()).unwrap().value().to_string()
        };
        assert_eq!(shown("2019-03-15T21:20:01.120Z"), "2019-03-15 21:20:01.12 +0000 UTC");
        assert_eq!(shown("2019-03-15T21:20:01-02:30"), "2019-03-15 21:20:01 -0230 -0230");
        assert!(serde_json::from_value::<Timestamp>("yesterday".into()).is_err());
    }
}
