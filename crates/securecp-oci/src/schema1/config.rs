use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::entry::{Entry, ZERO_TIME};
use crate::convert::members::Members;
use crate::json::{self, Limits};
use crate::{ConvertError, Digest, MANIFEST_LIMIT, go};

/// The v2s2 configuration that the reference makes of a schema 1 history: the members of the newest entry as they
/// stand, sorted by name, without those that belong to the old format, with `rootfs` and `history` added.
pub(super) fn build(base_first: &[Entry], diff_ids: &[Digest]) -> Result<String, ConvertError> {
    let newest = base_first.last().map(|entry| entry.text.as_str()).unwrap_or_default();
    let mut members = members_of(newest)?;
    for dropped in ["id", "parent", "parent_id", "layer_id", "throwaway", "Size"] {
        members.remove(dropped);
    }
    members.insert("rootfs".to_owned(), rootfs(diff_ids));
    let history: Vec<Value> = base_first.iter().map(|entry| entry.history.clone()).collect();
    members.insert("history".to_owned(), go::write(&history.into()));
    let mut out = String::from("{");
    for (n, (key, raw)) in members.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        go::write_string(&mut out, key);
        out.push(':');
        out.push_str(raw);
    }
    out.push('}');
    Ok(out)
}

fn rootfs(diff_ids: &[Digest]) -> String {
    let mut rootfs = Map::new();
    rootfs.insert("type".to_owned(), "layers".into());
    if !diff_ids.is_empty() {
        let ids: Vec<Value> = diff_ids.iter().map(|id| id.to_string().into()).collect();
        rootfs.insert("diff_ids".to_owned(), ids.into());
    }
    go::write(&rootfs.into())
}

/// Name and raw value of each member. Docker before 1.8.3 left members out that its successors always wrote, so the
/// reference writes such a configuration anew from its own structure.
fn members_of(text: &str) -> Result<BTreeMap<String, String>, ConvertError> {
    let value = json::parse(text.as_bytes(), Limits::bytes(MANIFEST_LIMIT))
        .map_err(ConvertError::ConfigJson)?;
    let image = Members::of(&value, String::new(), IMAGE)?;
    let version = image.text("docker_version")?;
    if !version.is_empty() && is_before_1_8_3(version) {
        let rewritten = rewrite(&image)?;
        return Ok(rewritten.iter().map(|(key, value)| (key.clone(), go::write(value))).collect());
    }
    let raw: BTreeMap<String, &RawValue> = serde_json::from_str(text)
        .map_err(|error| ConvertError::ConfigJson(json::JsonError::Malformed(error)))?;
    Ok(raw.into_iter().map(|(key, raw)| (key, go::compact(raw.get()))).collect())
}

/// Part by part as numbers; what is not a number counts as zero.
fn is_before_1_8_3(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<i64>().unwrap_or(0));
    for wanted in [1, 8, 3] {
        let part = parts.next().unwrap_or(0);
        if part != wanted {
            return part < wanted;
        }
    }
    false
}

const IMAGE: &[&str] = &[
    "id",
    "parent",
    "comment",
    "created",
    "container",
    "container_config",
    "docker_version",
    "author",
    "config",
    "architecture",
    "variant",
    "os",
    "Size",
];

fn rewrite(image: &Members<'_>) -> Result<Map<String, Value>, ConvertError> {
    let mut out = Map::new();
    image.put_time(&mut out, "created")?;
    out.entry("created").or_insert_with(|| ZERO_TIME.into());
    for text in
        ["comment", "container", "docker_version", "author", "architecture", "variant", "os"]
    {
        image.put_text(&mut out, text)?;
    }
    out.insert("container_config".to_owned(), settings(image, "container_config")?);
    if !image.value("config").is_null() {
        out.insert("config".to_owned(), settings(image, "config")?);
    }
    Ok(out)
}

const SETTINGS: &[&str] = &[
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "ExposedPorts",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "Healthcheck",
    "ArgsEscaped",
    "Image",
    "Volumes",
    "WorkingDir",
    "Entrypoint",
    "NetworkDisabled",
    "MacAddress",
    "OnBuild",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Shell",
];

/// A container's settings with every member that the structure always writes, in its order.
fn settings(image: &Members<'_>, key: &str) -> Result<Value, ConvertError> {
    let found = Members::of(image.value(key), format!("{key}."), SETTINGS)?;
    let mut out = Map::new();
    for name in SETTINGS {
        match *name {
            "Hostname" | "Domainname" | "User" | "Image" | "WorkingDir" => {
                out.insert((*name).to_owned(), found.text(name)?.into());
            }
            "AttachStdin" | "AttachStdout" | "AttachStderr" | "Tty" | "OpenStdin" | "StdinOnce" => {
                out.insert((*name).to_owned(), found.flag(name)?.into());
            }
            "Env" | "OnBuild" => put_list(&mut out, name, found.texts(name)?),
            "Cmd" | "Entrypoint" => put_list(&mut out, name, words(&found, name)?),
            "Shell" => {
                let shell = words(&found, name)?.filter(|words| !words.is_empty());
                if shell.is_some() {
                    put_list(&mut out, name, shell);
                }
            }
            "ExposedPorts" => found.put_set(&mut out, name)?,
            "Volumes" => {
                found.put_set(&mut out, name)?;
                put_empty(&mut out, name, &found);
            }
            "Labels" => {
                found.put_labels(&mut out, name)?;
                put_empty(&mut out, name, &found);
            }
            "ArgsEscaped" | "NetworkDisabled" => found.put_flag(&mut out, name)?,
            "MacAddress" | "StopSignal" => found.put_text(&mut out, name)?,
            "StopTimeout" => put_number(&mut out, name, &found)?,
            // Health checks came years later; their durations have a form of their own.
            _ if found.value(name).is_null() => {}
            _ => return Err(found.wrong(name, "absent before Docker 1.12")),
        }
    }
    Ok(out.into())
}

/// A list of words, which the reference also takes as one text.
fn words<'a>(found: &Members<'a>, key: &str) -> Result<Option<Vec<&'a str>>, ConvertError> {
    match found.value(key) {
        Value::String(text) => Ok(Some(vec![text])),
        _ => found.texts(key),
    }
}

fn put_list(out: &mut Map<String, Value>, key: &str, list: Option<Vec<&str>>) {
    out.insert(key.to_owned(), list.map_or(Value::Null, Value::from));
}

/// A map that is written even when empty: as null if it was absent, as it is otherwise.
fn put_empty(out: &mut Map<String, Value>, key: &str, found: &Members<'_>) {
    let empty = if found.value(key).is_null() { Value::Null } else { Map::new().into() };
    out.entry(key).or_insert(empty);
}

fn put_number(
    out: &mut Map<String, Value>,
    key: &str,
    found: &Members<'_>,
) -> Result<(), ConvertError> {
    let value = found.value(key);
    if !value.is_null() {
        let number = value.as_i64().ok_or_else(|| found.wrong(key, "a whole number"))?;
        out.insert(key.to_owned(), number.into());
    }
    Ok(())
}
