use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::summary::pairs;
use super::time::Timestamp;
use crate::template::Value;

/// An image configuration (OCI image-spec, "Image Configuration"); unknown members are left out, as in the reference.
///
/// A member that is missing and one that is `null` mean the same.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ImageConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_empty")]
    author: Option<String>,
    #[serde(serialize_with = "text")]
    pub(crate) architecture: Option<String>,
    #[serde(serialize_with = "text")]
    pub(crate) os: Option<String>,
    #[serde(rename = "os.version", skip_serializing_if = "is_empty")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "is_none_or_empty")]
    os_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_empty")]
    variant: Option<String>,
    #[serde(serialize_with = "or_default")]
    pub(crate) config: Option<Execution>,
    #[serde(serialize_with = "or_default")]
    rootfs: Option<RootFs>,
    #[serde(skip_serializing_if = "is_none_or_empty")]
    history: Option<Vec<History>>,
    /// Docker's; shown in the summary only.
    #[serde(skip_serializing)]
    pub(crate) docker_version: Option<String>,
}

/// How a container of the image is started.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Execution {
    #[serde(rename = "User", skip_serializing_if = "is_empty")]
    user: Option<String>,
    #[serde(rename = "ExposedPorts", skip_serializing_if = "is_no_set")]
    exposed_ports: Set,
    #[serde(rename = "Env", skip_serializing_if = "is_none_or_empty")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(rename = "Entrypoint", skip_serializing_if = "is_none_or_empty")]
    entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd", skip_serializing_if = "is_none_or_empty")]
    cmd: Option<Vec<String>>,
    #[serde(rename = "Volumes", skip_serializing_if = "is_no_set")]
    volumes: Set,
    #[serde(rename = "WorkingDir", skip_serializing_if = "is_empty")]
    working_dir: Option<String>,
    #[serde(rename = "Labels", skip_serializing_if = "is_no_map")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "StopSignal", skip_serializing_if = "is_empty")]
    stop_signal: Option<String>,
    #[serde(rename = "ArgsEscaped", skip_serializing_if = "is_false")]
    args_escaped: Option<bool>,
}

/// Names whose values say nothing.
type Set = Option<BTreeMap<String, serde_json::Value>>;

#[derive(Debug, Default, Deserialize, Serialize)]
struct RootFs {
    #[serde(rename = "type", serialize_with = "text")]
    kind: Option<String>,
    diff_ids: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "is_empty")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    author: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    empty_layer: Option<bool>,
}

impl ImageConfig {
    /// The configuration for templates, under the names that Go gives its members.
    pub(crate) fn value(&self) -> Result<Value, serde_json::Error> {
        let value = Value::structure([
            ("Created", self.created.map_or(Value::Nil, Timestamp::value)),
            ("Author", string(&self.author)),
            ("Architecture", string(&self.architecture)),
            ("OS", string(&self.os)),
            ("OSVersion", string(&self.os_version)),
            ("OSFeatures", strings(&self.os_features)),
            ("Variant", string(&self.variant)),
            ("Config", self.config.as_ref().unwrap_or(&Execution::default()).value()?),
            ("RootFS", self.rootfs.as_ref().unwrap_or(&RootFs::default()).value()?),
            ("History", self.history()?),
        ]);
        Ok(value.with_json(serde_json::to_value(self)?))
    }

    fn history(&self) -> Result<Value, serde_json::Error> {
        let entries: Result<Vec<Value>, _> =
            self.history.iter().flatten().map(History::value).collect();
        Ok(Value::list(entries?))
    }
}

impl Execution {
    fn value(&self) -> Result<Value, serde_json::Error> {
        let value = Value::structure([
            ("User", string(&self.user)),
            ("ExposedPorts", set(&self.exposed_ports)),
            ("Env", strings(&self.env)),
            ("Entrypoint", strings(&self.entrypoint)),
            ("Cmd", strings(&self.cmd)),
            ("Volumes", set(&self.volumes)),
            ("WorkingDir", string(&self.working_dir)),
            ("Labels", Value::map(pairs(self.labels.iter().flatten()))),
            ("StopSignal", string(&self.stop_signal)),
            ("ArgsEscaped", Value::Switch(self.args_escaped.unwrap_or_default())),
        ]);
        Ok(value.with_json(serde_json::to_value(self)?))
    }
}

impl RootFs {
    fn value(&self) -> Result<Value, serde_json::Error> {
        let fields = [("Type", string(&self.kind)), ("DiffIDs", strings(&self.diff_ids))];
        Ok(Value::structure(fields).with_json(serde_json::to_value(self)?))
    }
}

impl History {
    fn value(&self) -> Result<Value, serde_json::Error> {
        let value = Value::structure([
            ("Created", self.created.map_or(Value::Nil, Timestamp::value)),
            ("CreatedBy", string(&self.created_by)),
            ("Author", string(&self.author)),
            ("Comment", string(&self.comment)),
            ("EmptyLayer", Value::Switch(self.empty_layer.unwrap_or_default())),
        ]);
        Ok(value.with_json(serde_json::to_value(self)?))
    }
}

fn string(text: &Option<String>) -> Value {
    Value::text(text.as_deref().unwrap_or_default())
}

fn strings(list: &Option<Vec<String>>) -> Value {
    Value::list(list.iter().flatten().map(Value::text))
}

/// Names whose values say nothing.
fn set(names: &Set) -> Value {
    Value::map(names.iter().flatten().map(|(name, _)| (name, Value::structure([]))))
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

fn is_none_or_empty<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn is_no_set(set: &Set) -> bool {
    set.as_ref().is_none_or(BTreeMap::is_empty)
}

fn is_no_map(map: &Option<BTreeMap<String, String>>) -> bool {
    map.as_ref().is_none_or(BTreeMap::is_empty)
}

fn is_false(flag: &Option<bool>) -> bool {
    !flag.unwrap_or_default()
}

/// A missing text is written as an empty one.
fn text<S: serde::Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.as_deref().unwrap_or_default())
}

/// A missing part is written with nothing in it.
fn or_default<T: Serialize + Default, S: serde::Serializer>(
    part: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match part {
        Some(part) => part.serialize(serializer),
        None => T::default().serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(json: &str) -> String {
        let config: ImageConfig = serde_json::from_str(json).unwrap();
        serde_json::to_string(&config).unwrap()
    }

    #[test]
    fn writes_the_members_that_the_reference_writes() {
        assert_eq!(
            rewritten(
                r#"{"os":"linux","architecture":"arm","variant":"v7","extra":1,"created":"2024-01-02T03:04:05.60Z",
                "docker_version":"1","config":{"Env":["A=<b>"],"Cmd":[],"ExposedPorts":{"80/tcp":{}},"Labels":{"z":"1","a":"2"}},
                "rootfs":{"type":"layers","diff_ids":["sha256:0"]},"history":[{"created_by":"x","empty_layer":true},{}]}"#
            ),
            concat!(
                r#"{"created":"2024-01-02T03:04:05.6Z","architecture":"arm","os":"linux","variant":"v7","#,
                r#""config":{"ExposedPorts":{"80/tcp":{}},"Env":["A=<b>"],"Labels":{"a":"2","z":"1"}},"#,
                r#""rootfs":{"type":"layers","diff_ids":["sha256:0"]},"history":[{"created_by":"x","empty_layer":true},{}]}"#
            )
        );
    }

    #[test]
    fn missing_and_null_members_are_empty() {
        let empty =
            r#"{"architecture":"","os":"","config":{},"rootfs":{"type":"","diff_ids":null}}"#;
        assert_eq!(rewritten("{}"), empty);
        assert_eq!(
            rewritten(r#"{"os":null,"config":null,"rootfs":null,"history":null,"created":null}"#),
            empty
        );
    }

    #[test]
    fn refuses_members_of_another_type() {
        for bad in [r#"{"os":1}"#, r#"{"config":{"Env":"A"}}"#, r#"{"created":"now"}"#, "[]"] {
            assert!(serde_json::from_str::<ImageConfig>(bad).is_err(), "{bad}");
        }
    }
}
