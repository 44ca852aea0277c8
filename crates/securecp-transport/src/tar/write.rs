use std::io::{self, Read, Write};

use super::BLOCK;
use super::header::{CHECKSUM, KIND, LINK, MAGIC, NAME, PREFIX, SIZE, checksum};

/// Longest size that fits into the octal field of a header.
const OCTAL_LIMIT: u64 = 0o777_7777_7777;

/// What a member is.
pub(crate) enum Content<'a> {
    /// A regular file of exactly that many bytes.
    File(u64, &'a mut dyn Read),
    /// A symbolic link.
    Link(&'a str),
    /// A folder.
    Folder,
}

/// Writes an archive in which nothing but names, modes and contents can differ: no times, no owners.
pub(crate) struct TarWriter<W> {
    out: W,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes one member.
    pub(crate) fn add(&mut self, name: &str, mode: u32, content: Content<'_>) -> io::Result<()> {
        let head = |kind, size, link| Head { name, mode, kind, size, link };
        match content {
            Content::File(size, data) => {
                self.head(&head(b'0', size, ""))?;
                self.data(size, data)
            }
            Content::Link(target) => self.head(&head(b'2', 0, target)),
            Content::Folder => self.head(&Head { name: &format!("{name}/"), ..head(b'5', 0, "") }),
        }
    }

    /// Writes the end of the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn head(&mut self, head: &Head<'_>) -> io::Result<()> {
        if head.size > OCTAL_LIMIT {
            let record = pax_record("size", &head.size.to_string());
            let size = record.len() as u64;
            let before = Head { name: "PaxHeader", mode: 0o644, kind: b'x', size, link: "" };
            self.out.write_all(&before.block()?)?;
            self.data(size, &mut record.as_slice())?;
        }
        self.out.write_all(&head.block()?)
    }

    fn data(&mut self, size: u64, data: &mut dyn Read) -> io::Result<()> {
        let copied = io::copy(&mut data.take(size), &mut self.out)?;
        if copied != size {
            return Err(io::Error::other(format!("expected {size} bytes, found {copied}")));
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.out.write_all(&[0; BLOCK][..usize::try_from(padding).unwrap_or_default()])
    }
}

struct Head<'a> {
    name: &'a str,
    mode: u32,
    kind: u8,
    size: u64,
    link: &'a str,
}

impl Head<'_> {
    fn block(&self) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let (prefix, name) = split(self.name)?;
        // A size that does not fit is in the pax header before.
        let size = if self.size > OCTAL_LIMIT { 0 } else { self.size };
        put(&mut block[NAME], name)?;
        put(&mut block[PREFIX], prefix)?;
        put(&mut block[LINK], self.link)?;
        put(&mut block[100..108], &format!("{:07o}", self.mode))?;
        put(&mut block[SIZE], &format!("{size:011o}"))?;
        // Owner, group and device numbers are 0, the time is that of the epoch.
        for zero in [108..116, 116..124, 136..148, 329..337, 337..345] {
            let digits = "0".repeat(zero.len() - 1);
            put(&mut block[zero], &digits)?;
        }
        block[KIND] = self.kind;
        put(&mut block[MAGIC], "ustar\0")?;
        put(&mut block[263..265], "00")?;
        let sum = format!("{:06o}\0 ", checksum(&block));
        put(&mut block[CHECKSUM], &sum)?;
        Ok(block)
    }
}

fn put(field: &mut [u8], text: &str) -> io::Result<()> {
    let place = field.get_mut(..text.len());
    place
        .ok_or_else(|| io::Error::other("too long for a tar header"))?
        .copy_from_slice(text.as_bytes());
    Ok(())
}

/// Splits a name that is too long for its field at a slash.
fn split(name: &str) -> io::Result<(&str, &str)> {
    if name.len() <= NAME.len() {
        return Ok(("", name));
    }
    let fits = |slash: &usize| *slash <= PREFIX.len() && name.len() - slash - 1 <= NAME.len();
    let slash = name.match_indices('/').map(|(at, _)| at).find(fits);
    let slash = slash.ok_or_else(|| io::Error::other("too long for a tar header"))?;
    Ok((&name[..slash], &name[slash + 1..]))
}

/// A record whose length counts its own digits.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Files as _;
    use crate::tar::TarIndex;
    use securecp_layer::Scope;
    use std::path::Path;

    #[test]
    fn writes_what_it_reads_and_what_tar_reads() {
        let mut writer = TarWriter::new(tempfile::NamedTempFile::new().unwrap());
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(90));
        writer.add("folder", 0o755, Content::Folder).unwrap();
        writer.add("folder/file", 0o644, Content::File(3, &mut &b"abc"[..])).unwrap();
        writer.add("link", 0o777, Content::Link("folder/file")).unwrap();
        writer.add(&long, 0o444, Content::File(600, &mut io::repeat(b'x'))).unwrap();
        let file = writer.finish().unwrap();
        let listed =
            std::process::Command::new("tar").arg("tvf").arg(file.path()).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.lines().count(), 4);
        assert!(listed.contains("drwxr-xr-x 0/0               0 1970-01-01"), "{listed}");
        let index = TarIndex::read(file.reopen().unwrap(), Path::new("x"), &Scope::new()).unwrap();
        assert_eq!(index.open(&long).unwrap().unwrap().size, 600);
        assert_eq!(index.open("link").unwrap().unwrap().size, 3);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut writer = TarWriter::new(io::sink());
        assert!(writer.add("short", 0o644, Content::File(4, &mut &b"abc"[..])).is_err());
        assert!(writer.add(&"c".repeat(300), 0o644, Content::Folder).is_err());
        assert!(writer.add("link", 0o777, Content::Link(&"c".repeat(101))).is_err());
    }

    #[test]
    fn says_large_sizes_in_a_pax_header() {
        let size = OCTAL_LIMIT + 1;
        let head = Head { name: "large", mode: 0o644, kind: b'0', size, link: "" };
        let mut writer = TarWriter::new(Vec::new());
        writer.head(&head).unwrap();
        let text = String::from_utf8_lossy(&writer.out);
        assert!(text.contains("19 size=8589934592\n"), "{text}");
        assert_eq!(writer.out.len(), 3 * BLOCK);
    }

    #[test]
    fn counts_the_digits_of_a_record_in_its_length() {
        assert_eq!(pax_record("size", "42"), b"11 size=42\n");
        assert_eq!(pax_record("k", &"v".repeat(94)).len(), 101);
        assert!(pax_record("k", &"v".repeat(94)).starts_with(b"101 "));
        assert!(pax_record("k", &"v".repeat(92)).starts_with(b"98 "));
    }
}
