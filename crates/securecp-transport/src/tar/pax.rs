/// What the records of a pax extended header change about the next member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

impl Pax {
    /// Reads the records `LENGTH KEY=VALUE\n`. Times, owners and comments are passed over.
    pub(super) fn read(mut records: &[u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "a pax header is malformed";
        let mut found = Self::default();
        while !records.is_empty() {
            let space = records.iter().take(8).position(|b| *b == b' ').ok_or(MALFORMED)?;
            let length = decimal(&records[..space]).ok_or(MALFORMED)?;
            let length = usize::try_from(length).map_err(|_| MALFORMED)?;
            let record = records.get(space + 1..length).ok_or(MALFORMED)?;
            let record = record.strip_suffix(b"\n").ok_or(MALFORMED)?;
            let split = record.iter().position(|b| *b == b'=').ok_or(MALFORMED)?;
            found.apply(&record[..split], &record[split + 1..])?;
            records = &records[length..];
        }
        Ok(found)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        const SPARSE: &str = "sparse members are not supported";
        const TWICE: &str = "a pax header says the same thing twice";
        let once = |place: &mut Option<Vec<u8>>| match place.replace(value.to_vec()) {
            None => Ok(()),
            Some(_) => Err(TWICE),
        };
        match key {
            b"path" => once(&mut self.path),
            b"linkpath" => once(&mut self.link),
            b"size" => {
                let size = decimal(value).ok_or("the size in a pax header is not a number")?;
                self.size.replace(size).map_or(Ok(()), |_| Err(TWICE))
            }
            // The second is what star calls the length of a member with its holes, the third that it has some.
            key if key.starts_with(b"GNU.sparse.") => Err(SPARSE),
            b"SCHILY.realsize" => Err(SPARSE),
            b"SCHILY.filetype" if value == b"sparse" => Err(SPARSE),
            _ => Ok(()),
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters() {
        let found = Pax::read(b"12 path=a/b\n11 size=42\n16 mtime=1.2345\n").unwrap();
        assert_eq!(found.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!((found.size, found.link), (Some(42), None));
        assert_eq!(Pax::read(b"").unwrap(), Pax::default());
    }

    #[test]
    fn refuses_what_is_malformed_or_ambiguous() {
        for bad in [
            &b"path=a\n"[..],
            b"99 path=a\n",
            b"3 path=a\n",
            b"0 path=a\n",
            b"10 path=a",
            b"9 path:a\n",
            b"99999999999999999999 path=a\n",
            b"10 path=a\n\n",
            b"11 size=-1\n",
            b"9 path=a\n9 path=b\n",
            b"22 GNU.sparse.major=1\n",
        ] {
            assert!(Pax::read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
