//! What `inspect` shows: the reference's fields in the reference's order and form.

mod config;
mod go_json;
mod summary;
mod time;

pub(crate) use config::ImageConfig;
pub(crate) use go_json::to_go_json;
pub(crate) use summary::Summary;
