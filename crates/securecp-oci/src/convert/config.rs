use bytes::Bytes;
use serde_json::{Map, Value};

use super::ConvertError;
use super::members::Members;
use crate::json::{self, Limits};
use crate::{Digest, MANIFEST_LIMIT, go};

/// Writes a Docker configuration as the OCI configuration that the reference makes of it: only members that OCI knows,
/// in the order of its structures (image-spec 1.0, which skopeo 1.9.3 links), in Go's JSON. Other members are named in
/// `lost`.
pub(super) fn to_oci(config: &[u8], lost: &mut Vec<String>) -> Result<Bytes, ConvertError> {
    let value =
        json::parse(config, Limits::bytes(MANIFEST_LIMIT)).map_err(ConvertError::ConfigJson)?;
    let root = Members::of(&value, String::new(), ROOT)?;
    root.report(lost);
    let mut out = Map::new();
    root.put_time(&mut out, "created")?;
    root.put_text(&mut out, "author")?;
    out.insert("architecture".to_owned(), root.text("architecture")?.into());
    root.put_text(&mut out, "variant")?;
    out.insert("os".to_owned(), root.text("os")?.into());
    root.put_text(&mut out, "os.version")?;
    root.put_texts(&mut out, "os.features")?;
    out.insert("config".to_owned(), settings(&root, lost)?);
    out.insert("rootfs".to_owned(), rootfs(&root, lost)?);
    let history = history(&root, lost)?;
    if !history.is_empty() {
        out.insert("history".to_owned(), history.into());
    }
    Ok(go::write(&out.into()).into())
}

const ROOT: &[&str] = &[
    "created",
    "author",
    "architecture",
    "variant",
    "os",
    "os.version",
    "os.features",
    "config",
    "rootfs",
    "history",
];
const SETTINGS: &[&str] = &[
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
];
const ROOTFS: &[&str] = &["type", "diff_ids"];
const HISTORY: &[&str] = &["created", "created_by", "author", "comment", "empty_layer"];

fn settings(root: &Members<'_>, lost: &mut Vec<String>) -> Result<Value, ConvertError> {
    let found = Members::of(root.value("config"), "config.".to_owned(), SETTINGS)?;
    found.report(lost);
    let mut out = Map::new();
    found.put_text(&mut out, "User")?;
    found.put_set(&mut out, "ExposedPorts")?;
    for list in ["Env", "Entrypoint", "Cmd"] {
        found.put_texts(&mut out, list)?;
    }
    found.put_set(&mut out, "Volumes")?;
    found.put_text(&mut out, "WorkingDir")?;
    found.put_labels(&mut out, "Labels")?;
    found.put_text(&mut out, "StopSignal")?;
    found.put_flag(&mut out, "ArgsEscaped")?;
    Ok(out.into())
}

fn rootfs(root: &Members<'_>, lost: &mut Vec<String>) -> Result<Value, ConvertError> {
    let found = Members::of(root.value("rootfs"), "rootfs.".to_owned(), ROOTFS)?;
    found.report(lost);
    let mut out = Map::new();
    out.insert("type".to_owned(), found.text("type")?.into());
    let ids = found.texts("diff_ids")?;
    for id in ids.iter().flatten() {
        id.parse::<Digest>().map_err(|_| found.wrong("diff_ids", "a list of digests"))?;
    }
    out.insert("diff_ids".to_owned(), ids.map_or(Value::Null, Value::from));
    Ok(out.into())
}

fn history(root: &Members<'_>, lost: &mut Vec<String>) -> Result<Vec<Value>, ConvertError> {
    let items = match root.value("history") {
        Value::Null => &[],
        Value::Array(items) => items.as_slice(),
        _ => return Err(root.wrong("history", "a list")),
    };
    let entry = |(n, value)| -> Result<Value, ConvertError> {
        let found = Members::of(value, format!("history[{n}]."), HISTORY)?;
        found.report(lost);
        let mut out = Map::new();
        found.put_time(&mut out, "created")?;
        found.put_text(&mut out, "created_by")?;
        found.put_text(&mut out, "author")?;
        found.put_text(&mut out, "comment")?;
        found.put_flag(&mut out, "empty_layer")?;
        Ok(out.into())
    };
    items.iter().enumerate().map(entry).collect()
}
