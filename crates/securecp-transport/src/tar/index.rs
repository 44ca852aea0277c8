use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use securecp_layer::{FileChunks, Scope};

use super::BLOCK;
use super::header::Header;
use super::name::{member_name, shown, symlink_target};
use super::pax::Pax;
use crate::TransportError;
use crate::files::{Files, Opened};
use crate::range::Range;

/// Most members of an archive, and most bytes of all their names together.
const MEMBER_LIMIT: usize = 1 << 16;
const NAMES_LIMIT: usize = 16 << 20;
/// Largest pax header or long name, in bytes.
const EXTENSION_LIMIT: u64 = 64 << 10;

/// Where a regular member's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Regular(Member),
    Link(String),
    Folder,
}

/// The members of an uncompressed archive, by name.
#[derive(Debug)]
pub(crate) struct TarIndex {
    file: Arc<File>,
    path: PathBuf,
    entries: HashMap<String, Entry>,
}

impl TarIndex {
    /// Reads every header of the archive in `file`, which is called `path` in messages.
    pub(crate) fn read(file: File, path: &Path, scope: &Scope) -> Result<Self, TransportError> {
        let io =
            |source| TransportError::Io { operation: "reading", path: path.to_owned(), source };
        let length = file.metadata().map_err(io)?.len();
        let mut scan = Scan { file: &file, length, offset: 0, entries: HashMap::new(), names: 0 };
        loop {
            scope.check()?;
            match scan.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::Io(source)) => return Err(io(source)),
                Err(Fault::Refused(problem)) => return Err(refused(path, problem)),
            }
        }
        let entries = scan.entries;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), entries })
    }

    /// The regular member called `name`; one link is followed.
    pub(crate) fn member(&self, name: &str) -> Result<Option<Member>, TransportError> {
        match self.entries.get(name) {
            Some(Entry::Link(target)) => match self.entries.get(target) {
                Some(Entry::Regular(member)) => Ok(Some(*member)),
                None => Ok(None),
                Some(_) => Err(self.not_a_file(name)),
            },
            Some(Entry::Regular(member)) => Ok(Some(*member)),
            Some(Entry::Folder) => Err(self.not_a_file(name)),
            None => Ok(None),
        }
    }

    /// The bytes of a member, from its start; as often as wanted, also at the same time.
    pub(crate) fn reader(&self, member: Member) -> Range {
        Range::new(&self.file, member.offset, member.size)
    }

    fn not_a_file(&self, name: &str) -> TransportError {
        refused(&self.path, format!("member {:?} is not a regular file", shown(name)))
    }
}

impl Files for TarIndex {
    fn place(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str) -> Result<Option<Opened>, TransportError> {
        Ok(self.member(name)?.map(|member| Opened {
            size: member.size,
            chunks: Box::new(FileChunks::new(self.reader(member))),
        }))
    }
}

pub(crate) fn refused(path: &Path, problem: String) -> TransportError {
    TransportError::Place { path: path.to_owned(), problem: format!("archive refused: {problem}") }
}

enum Fault {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::Refused(problem)
    }
}

impl From<&str> for Fault {
    fn from(problem: &str) -> Self {
        Self::Refused(problem.to_owned())
    }
}

/// One pass over the headers.
struct Scan<'a> {
    file: &'a File,
    length: u64,
    offset: u64,
    entries: HashMap<String, Entry>,
    names: usize,
}

/// What the special members before a member said about it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Scan<'_> {
    /// Reads one member with everything that belongs to it; `false` at the end of the archive.
    fn step(&mut self) -> Result<bool, Fault> {
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                return Ok(false);
            };
            if !self.extend(&header, &mut extensions)? {
                self.enter(header, extensions)?;
                return Ok(true);
            }
        }
    }

    /// The next header; `None` where the archive ends.
    fn header(&mut self) -> Result<Option<Header>, Fault> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().any(|b| *b != 0) {
            return Ok(Some(Header::read(&block)?));
        }
        // Readers differ in whether one empty block ends an archive.
        match self.block()? {
            Some(next) if next.iter().any(|b| *b != 0) => {
                Err("something follows a single empty block".into())
            }
            _ => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Fault> {
        if self.offset == self.length {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.within(BLOCK as u64)?;
        self.file.read_exact_at(&mut block, self.offset)?;
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    /// Checks that `size` bytes are there.
    fn within(&self, size: u64) -> Result<(), Fault> {
        match self.offset.checked_add(size) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err("it ends in the middle of a member".into()),
        }
    }

    /// Passes over `size` bytes of data and their padding, which the last member may lack.
    fn skip(&mut self, size: u64) -> Result<(), Fault> {
        self.within(size)?;
        let padded = size.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64);
        self.offset = self.offset.saturating_add(padded).min(self.length);
        Ok(())
    }

    fn small(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > EXTENSION_LIMIT {
            return Err(format!("a header has {size} bytes, the limit is {EXTENSION_LIMIT}").into());
        }
        self.within(size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, self.offset)?;
        self.skip(size)?;
        Ok(bytes)
    }

    /// Takes a member that only says something about the next one; `false` if it is not one of those.
    fn extend(&mut self, header: &Header, extensions: &mut Extensions) -> Result<bool, Fault> {
        let place = match header.kind {
            b'L' => &mut extensions.name,
            b'K' => &mut extensions.link,
            b'x' => {
                let pax = Pax::read(&self.small(header.size)?)?;
                return match extensions.pax.replace(pax) {
                    None => Ok(true),
                    Some(_) => Err(TWICE.into()),
                };
            }
            b'g' => {
                let global = Pax::read(&self.small(header.size)?)?;
                return match global == Pax::default() {
                    true => Ok(true),
                    false => Err("a global header gives names or sizes".into()),
                };
            }
            _ => return Ok(false),
        };
        let text = self.small(header.size)?;
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        match place.replace(text[..end].to_vec()) {
            None => Ok(true),
            Some(_) => Err(TWICE.into()),
        }
    }

    fn enter(&mut self, header: Header, extensions: Extensions) -> Result<(), Fault> {
        let pax = extensions.pax.unwrap_or_default();
        let name = one(extensions.name, pax.path)?.unwrap_or(header.name);
        let link = one(extensions.link, pax.link)?.unwrap_or(header.link);
        let size = pax.size.unwrap_or(header.size);
        let name = member_name(&name)?;
        let entry = self.entry(header.kind, &name, &link, size)?;
        self.note(name, entry)
    }

    fn entry(&mut self, kind: u8, name: &str, link: &[u8], size: u64) -> Result<Entry, Fault> {
        if matches!(kind, 0 | b'0' | b'7') {
            let member = Member { offset: self.offset, size };
            self.skip(size)?;
            return Ok(Entry::Regular(member));
        }
        if size != 0 && matches!(kind, b'1' | b'2' | b'5') {
            return Err(format!("member {:?} has data but is no regular file", shown(name)).into());
        }
        match kind {
            b'1' => self.hard_link(name, link),
            b'2' => Ok(Entry::Link(symlink_target(name, link)?)),
            b'5' => Ok(Entry::Folder),
            b'S' => {
                Err(format!("member {:?} is sparse, which is not supported", shown(name)).into())
            }
            b'3' | b'4' | b'6' => {
                Err(format!("member {:?} is a device or FIFO", shown(name)).into())
            }
            _ => Err(format!("member {:?} is of an unknown kind {kind:#04x}", shown(name)).into()),
        }
    }

    /// A hard link is another name for a member that came before.
    fn hard_link(&self, name: &str, link: &[u8]) -> Result<Entry, Fault> {
        match self.entries.get(&member_name(link)?) {
            Some(Entry::Regular(member)) => Ok(Entry::Regular(*member)),
            _ => {
                let link = String::from_utf8_lossy(link);
                let problem = format!("{:?} is a hard link to {:?}", shown(name), shown(&link));
                Err(format!("{problem}, which is no regular file before it").into())
            }
        }
    }

    fn note(&mut self, name: String, entry: Entry) -> Result<(), Fault> {
        self.names += name.len();
        if self.entries.len() >= MEMBER_LIMIT || self.names > NAMES_LIMIT {
            return Err(format!("it has more than {MEMBER_LIMIT} members or too long names").into());
        }
        if name.is_empty() && entry != Entry::Folder {
            return Err("a member has no name".into());
        }
        match self.entries.get(&name) {
            Some(Entry::Folder) if entry == Entry::Folder => Ok(()),
            Some(_) => Err(format!("member {:?} appears twice", shown(&name)).into()),
            None => {
                self.entries.insert(name, entry);
                Ok(())
            }
        }
    }
}

const TWICE: &str = "two headers describe the same member";

fn one(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Fault> {
    match (gnu, pax) {
        (Some(_), Some(_)) => Err(TWICE.into()),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}
