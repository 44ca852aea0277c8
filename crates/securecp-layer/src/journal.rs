use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use securecp_oci::{Algorithm, Digest};

/// What a run leaves for the next one, should it be interrupted: a folder of small files of lines, one for each thing
/// under way.
///
/// It is advice and nothing more: whoever reads it must hold what it says to what is there. Nothing that goes wrong with
/// it is a failure; there are then no notes, and a warning says why, once. Any number of processes may use the folder,
/// and it may be deleted at any time.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    swept: AtomicBool,
    /// How much content may still be kept, once that was looked up.
    room: OnceLock<AtomicUsize>,
    complained: AtomicBool,
}

/// The notes about one thing, held by this process alone. Dropped, they stay for the next run if there are any.
#[derive(Debug)]
pub struct Notes {
    file: File,
    path: PathBuf,
    journal: Journal,
    lines: Vec<String>,
    /// The name is gone, and may be another process's by now.
    forgotten: bool,
}

/// What can be wrong with the notes that are there.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("expected {0}, found something else")]
    Foreign(&'static str),
    #[error("the notes are damaged")]
    Damaged,
}

impl Journal {
    /// A journal in `folder`, which is made (for its owner alone) when something is first noted.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let (swept, complained) = (AtomicBool::new(false), AtomicBool::new(false));
        let room = OnceLock::new();
        Self { shared: Arc::new(Shared { folder, swept, room, complained }) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.shared.folder
    }

    pub(crate) fn room(&self) -> &OnceLock<AtomicUsize> {
        &self.shared.room
    }

    /// The notes about `subject`, new or left by an earlier run; `None` if none can be kept, or another process is at
    /// the same thing now.
    pub fn open(&self, subject: &str) -> Option<Notes> {
        let subject: String = subject.chars().filter(|c| !c.is_control()).collect();
        let name = Digest::of(Algorithm::Sha256, subject.as_bytes());
        let path = self.shared.folder.join(name.hex());
        match self.take(&path, &subject) {
            Ok(notes) => notes,
            Err(problem) => {
                self.complain(&path, &problem);
                None
            }
        }
    }

    fn take(&self, path: &Path, subject: &str) -> Result<Option<Notes>, Problem> {
        let folder = &self.shared.folder;
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        check_folder(&fs::metadata(folder)?)?;
        if !self.shared.swept.swap(true, Ordering::Relaxed) {
            sweep(folder);
        }
        let Some(mut file) = locked(path)? else { return Ok(None) };
        let head = format!("{MAGIC} {subject}");
        let lines = self.read_or_begin(&mut file, path, &head)?;
        Ok(Some(Notes {
            file,
            path: path.to_owned(),
            journal: self.clone(),
            lines,
            forgotten: false,
        }))
    }

    fn read_or_begin(
        &self,
        file: &mut File,
        path: &Path,
        head: &str,
    ) -> Result<Vec<String>, Problem> {
        if file.metadata()?.len() > 0 {
            match read(file, head)? {
                Some(lines) => return Ok(lines),
                None => self.complain(path, &Problem::Damaged),
            }
        }
        file.set_len(0)?;
        writeln!(file, "{head}")?;
        Ok(Vec::new())
    }

    fn complain(&self, path: &Path, problem: &Problem) {
        if !self.shared.complained.swap(true, Ordering::Relaxed) {
            let path = path.display();
            tracing::warn!(%path, error = %problem, "not used to continue interrupted copies");
        }
    }
}

impl Notes {
    /// What was noted, oldest first.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Adds a line. What cannot be written is not there for the next run, no more.
    pub fn note(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        if let Err(error) = self.file.write_all(format!("{line}\n").as_bytes()) {
            self.journal.complain(&self.path, &error.into());
        }
        self.lines.push(line);
    }

    /// Forgets everything: the thing is done, or cannot be continued.
    pub fn forget(&mut self) {
        self.lines.clear();
        // The name may only go while it is ours: as long as the file is locked, and once.
        if !std::mem::replace(&mut self.forgotten, true) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.lines.is_empty() {
            self.forget();
        }
    }
}

/// The start of each file; a new number for a new form.
const MAGIC: &str = "securecp journal 1";
/// The most that is read of a file, in bytes: its last lines count.
const LIMIT: u64 = 64 << 10;
/// Notes that nobody has touched for so long are of no use: registries forget uploads sooner.
const STALE: Duration = Duration::from_secs(8 * 24 * 3600);
/// The most names that are looked at for stale notes.
const SWEPT: usize = 10_000;

/// Opens and locks the file under `path`, new or old; `None` if somebody else has it.
fn locked(path: &Path) -> Result<Option<File>, Problem> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = options.custom_flags(flags.bits() as i32).open(path)?;
        check_file(&file.metadata()?)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // Whoever had it before may have removed it meanwhile.
        match fs::symlink_metadata(path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The whole lines after the first, which must be `head`; `None` if the file is damaged.
fn read(file: &mut File, head: &str) -> io::Result<Option<Vec<String>>> {
    let mut start = vec![0; head.len() + 1];
    file.seek(SeekFrom::Start(0))?;
    if file.read_exact(&mut start).is_err() || start != format!("{head}\n").as_bytes() {
        return Ok(None);
    }
    let size = file.metadata()?.len();
    let from = (start.len() as u64).max(size.saturating_sub(LIMIT));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(LIMIT).read_to_end(&mut bytes)?;
    // A line that was not written to its end is none, and neither is what is left of one that was not read whole.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if whole < bytes.len() {
        file.set_len(from + whole as u64)?;
        bytes.truncate(whole);
    }
    let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
    let skipped = usize::from(from > start.len() as u64);
    Ok(Some(text.lines().skip(skipped).map(str::to_owned).collect()))
}

fn check_folder(found: &Metadata) -> Result<(), Problem> {
    let ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    let expected = "a folder of yours that nobody else can write";
    if ours { Ok(()) } else { Err(Problem::Foreign(expected)) }
}

fn check_file(found: &Metadata) -> Result<(), Problem> {
    let ours = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    let expected = "a plain file of yours that nobody else can read";
    let good = found.is_file() && found.nlink() <= 1 && ours;
    if good { Ok(()) } else { Err(Problem::Foreign(expected)) }
}

/// Removes what is too old to be of use.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(SWEPT).flatten() {
        let name = entry.file_name();
        let ours = name.len() == 64 && name.to_str().is_some_and(|n| n.bytes().all(is_hex));
        let age = entry.metadata().and_then(|found| found.modified());
        let age = age.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if ours && age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("state/not/yet"));
        (folder, journal)
    }

    fn files(journal: &Journal) -> Vec<PathBuf> {
        let entries = fs::read_dir(&journal.shared.folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Notes `lines` about `subject` and leaves them.
    fn leave(journal: &Journal, subject: &str, lines: &[&str]) {
        let mut notes = journal.open(subject).unwrap();
        lines.iter().for_each(|line| notes.note(line));
    }

    #[test]
    fn the_next_run_finds_what_was_noted_and_nobody_else_can_read_it() {
        let (_folder, journal) = journal();
        leave(&journal, "upload a", &["one", "two\nthree"]);
        leave(&journal, "upload b", &["other"]);
        assert_eq!(journal.open("upload a").unwrap().lines(), ["one", "twothree"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&journal.shared.folder), 0o700);
        assert!(files(&journal).iter().all(|file| mode(file) == 0o600));
    }

    #[test]
    fn nothing_stays_of_what_is_done_or_never_began() {
        let (_folder, journal) = journal();
        leave(&journal, "a", &["one"]);
        journal.open("a").unwrap().forget();
        leave(&journal, "b", &[]);
        assert_eq!(files(&journal), [] as [PathBuf; 0]);
        assert!(journal.open("a").unwrap().lines().is_empty());
    }

    #[test]
    fn one_run_at_a_time_has_the_notes_of_a_thing() {
        let (_folder, journal) = journal();
        let first = journal.open("a").unwrap();
        assert!(journal.open("a").is_none());
        assert!(Journal::new(&journal.shared.folder).open("a").is_none());
        assert!(journal.open("b").is_some());
        drop(first);
        assert!(journal.open("a").is_some());
    }

    #[test]
    fn damaged_notes_are_as_good_as_none_and_are_written_anew() {
        for damage in [
            &b"something else\n"[..],
            b"securecp journal 1 b\nof another thing\n",
            b"securecp journal 2 a\nof another form\n",
            b"securecp jour",
            b"securecp journal 1 a\n\xff\xfe\n",
            &[0; 5000],
        ] {
            let (_folder, journal) = journal();
            leave(&journal, "a", &["one"]);
            fs::write(&files(&journal)[0], damage).unwrap();
            assert!(journal.open("a").unwrap().lines().is_empty(), "{damage:?}");
            leave(&journal, "a", &["two"]);
            assert_eq!(journal.open("a").unwrap().lines(), ["two"]);
            assert!(journal.shared.complained.load(Ordering::Relaxed), "{damage:?}");
        }
    }

    #[test]
    fn a_torn_line_is_none_and_does_not_spoil_the_next() {
        let (_folder, journal) = journal();
        leave(&journal, "a", &["one"]);
        let mut file = OpenOptions::new().append(true).open(&files(&journal)[0]).unwrap();
        file.write_all(b"tw").unwrap();
        leave(&journal, "a", &["three"]);
        assert_eq!(journal.open("a").unwrap().lines(), ["one", "three"]);
    }

    #[test]
    fn of_very_many_lines_the_last_count() {
        let (_folder, journal) = journal();
        let lines: Vec<String> = (0..900).map(|n| format!("{n} {}", "x".repeat(100))).collect();
        leave(&journal, "a", &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let notes = journal.open("a").unwrap();
        assert_eq!(notes.lines().last(), lines.last());
        assert!(notes.lines().len() < 700);
        assert!(notes.lines().iter().all(|line| lines.contains(line)));
    }

    #[test]
    fn what_others_could_have_put_there_is_not_used() {
        let opened = |spoil: &dyn Fn(&Path, &Path)| {
            let (folder, journal) = journal();
            leave(&journal, "a", &["one"]);
            let file = files(&journal).remove(0);
            spoil(&journal.shared.folder, &file);
            let outside = folder.path().join("outside");
            let found = journal.open("a").is_some();
            assert!(!outside.exists() || fs::read(&outside).unwrap() == b"mine");
            found
        };
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(opened(&|_, _| {}));
        assert!(!opened(&|folder, _| mode(folder, 0o777)));
        assert!(!opened(&|_, file| mode(file, 0o644)));
        assert!(!opened(&|folder, file| {
            let outside = folder.join("../../../outside");
            fs::write(&outside, b"mine").unwrap();
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink(outside, file).unwrap();
        }));
        assert!(!opened(&|folder, file| {
            let outside = folder.join("../../../outside");
            fs::write(&outside, b"mine").unwrap();
            mode(&outside, 0o600);
            fs::remove_file(file).unwrap();
            fs::hard_link(outside, file).unwrap();
        }));
        assert!(!opened(&|_, file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }));
    }

    #[test]
    fn forgets_only_its_own_notes() {
        let (_folder, journal) = journal();
        let mut first = journal.open("a").unwrap();
        first.forget();
        leave(&Journal::new(&journal.shared.folder), "a", &["of another process"]);
        first.forget();
        drop(first);
        assert_eq!(journal.open("a").unwrap().lines(), ["of another process"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_means_no_notes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let journal = Journal::new(file.join("below"));
        assert!(journal.open("a").is_none());
        assert!(journal.shared.complained.load(Ordering::Relaxed));
    }

    #[test]
    fn stale_notes_are_swept_and_what_is_not_ours_stays() {
        let (_folder, journal) = journal();
        leave(&journal, "a", &["one"]);
        leave(&journal, "b", &["two"]);
        let old = files(&journal).remove(0);
        let other = journal.shared.folder.join("README");
        fs::write(&other, "").unwrap();
        let long_ago = SystemTime::now() - STALE - Duration::from_secs(60);
        for path in [&old, &other] {
            File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
        }
        drop(Journal::new(&journal.shared.folder).open("c"));
        assert!(!old.exists() && other.exists());
        assert_eq!(files(&journal).len(), 2);
    }
}
