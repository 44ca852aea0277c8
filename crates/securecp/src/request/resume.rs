use std::ffi::OsString;
use std::path::PathBuf;

use securecp_layer::Journal;
use securecp_oci::{ImageName, Transport};
use securecp_registry::Uploads;

use super::both;
use crate::args::ResumeArgs;
use crate::failure::Failure;

/// What is kept for the case that a copy is interrupted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resuming {
    pub(crate) uploads: Uploads,
    /// Downloads into layouts that were begun are kept.
    pub(crate) partial: bool,
}

impl Resuming {
    /// What was asked for; `variable` reads the environment.
    pub(crate) fn new(
        args: ResumeArgs,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        if args.no_journal && args.state_dir.is_some() {
            return Err(both("--state-dir", "--no-journal"));
        }
        if args.no_journal && args.upload_piece_size.is_some() {
            return Err(both("--upload-piece-size", "--no-journal"));
        }
        let usual = Uploads::default();
        let folder = args.state_dir.or_else(|| usual_folder(variable));
        let journal = folder.filter(|_| !args.no_journal).map(|folder| folder.join("journal"));
        Ok(Self {
            uploads: Uploads {
                journal: journal.map(Journal::new),
                piece_bytes: args.upload_piece_size.unwrap_or(usual.piece_bytes),
            },
            partial: !args.no_journal,
        })
    }

    /// How to go on after an interruption.
    pub(crate) fn hint(&self, destination: &ImageName) -> Option<&'static str> {
        let keeps = matches!(destination.transport, Transport::Docker | Transport::Oci);
        (self.partial && keeps).then_some(
            "the same command goes on: blobs that have arrived are not sent again, large ones continue where they stopped",
        )
    }
}

/// The user's state folder; none where there is no such thing.
fn usual_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| set("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("securecp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn args() -> ResumeArgs {
        ResumeArgs { state_dir: None, no_journal: false, upload_piece_size: None }
    }

    fn folder(set: &[(&str, &str)]) -> Option<PathBuf> {
        usual_folder(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_state_folder_is_the_users() {
        let home = ("HOME", "/home/a");
        let usual = Some("/home/a/.local/state/securecp".into());
        assert_eq!(folder(&[home]), usual);
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "")]), usual);
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "relative")]), usual);
        assert_eq!(folder(&[home, ("XDG_STATE_HOME", "/s")]), Some("/s/securecp".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn no_journal_goes_with_nothing_that_it_would_undo() {
        let none = Resuming::new(ResumeArgs { no_journal: true, ..args() }, |_| None).unwrap();
        assert!(none.uploads.journal.is_none() && !none.partial);
        for bad in [
            ResumeArgs { no_journal: true, state_dir: Some("s".into()), ..args() },
            ResumeArgs { no_journal: true, upload_piece_size: Some(1 << 20), ..args() },
        ] {
            assert_eq!(Resuming::new(bad, |_| None).unwrap_err().exit(), Exit::Usage);
        }
        let given = Resuming::new(ResumeArgs { state_dir: Some("s".into()), ..args() }, |_| None);
        assert!(given.unwrap().uploads.journal.is_some());
    }
}
