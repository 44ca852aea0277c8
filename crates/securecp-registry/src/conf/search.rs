use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{Environment, is_there};

/// The files that apply, in the order in which they are read; later ones win.
pub(super) fn files(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let of_variable = environment.registries_conf.as_deref();
    if let Some(required) = named.or(of_variable) {
        must_exist(required)?;
        files.push(required.to_owned());
    } else {
        files.extend(first(places(environment, "registries.conf"))?);
    }
    // A file of the environment stands for everything; one of the command line only for the main file.
    if named.is_some() || of_variable.is_none() {
        files.extend(drop_ins(environment)?);
    }
    if let Some(last) = &environment.registries_conf_override {
        must_exist(last)?;
        files.push(last.clone());
    }
    Ok(files)
}

fn must_exist(path: &Path) -> Result<(), String> {
    fs::metadata(path).map(drop).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("reading {}: {error}", path.display())
}

/// The first that is there; one that cannot be looked at ends the search.
fn first(places: Vec<PathBuf>) -> Result<Option<PathBuf>, String> {
    for place in places {
        if is_there(&place).map_err(|error| failed(&place, &error))? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// `containers/NAME` of the user, of this machine, and of the vendor.
fn places(environment: &Environment, name: &str) -> Vec<PathBuf> {
    let system = ["etc/containers", "usr/share/containers"];
    let system = system.map(|dir| environment.system(dir).join(name));
    environment.user(name).into_iter().chain(system).collect()
}

/// The drop-in files: of two with one name only that of the more important directory, all in the order of names.
fn drop_ins(environment: &Environment) -> Result<Vec<PathBuf>, String> {
    let mut directories = Vec::new();
    for name in drop_in_names(environment.uid) {
        directories.push(places(environment, &name));
    }
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    // All of the user's come before all of this machine's, the more special ones first.
    for rank in 0..directories.iter().map(Vec::len).max().unwrap_or_default() {
        for directory in directories.iter().filter_map(|of_name| of_name.get(rank)) {
            for file in list(directory)? {
                let name = file.file_name().unwrap_or_default().to_owned();
                found.entry(name).or_insert(file);
            }
        }
    }
    Ok(found.into_values().collect())
}

fn drop_in_names(uid: u32) -> Vec<String> {
    let own = match uid {
        0 => vec!["registries.rootful.conf.d".to_owned()],
        uid => vec![
            format!("registries.rootless.conf.d/{uid}"),
            "registries.rootless.conf.d".to_owned(),
        ],
    };
    own.into_iter().chain(["registries.conf.d".to_owned()]).collect()
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, String> {
    try_list(directory).map_err(|error| failed(directory, &error))
}

/// Every `*.conf` but directories, as the reference has it: what then cannot be read is an error.
fn try_list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    if !is_there(directory)? {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let named_so = path.extension().is_some_and(|extension| extension == "conf");
        if named_so && !entry.file_type()?.is_dir() {
            files.push(path);
        }
    }
    Ok(files)
}
