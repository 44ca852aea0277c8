//! HTTP/1.1 messages on the wire (RFC 9112), no more of it than a proxy for tests needs.

use std::io::{self, BufRead, Read, Write};

const HEAD_LIMIT: u64 = 256 << 10;
const PIECE: u64 = 64 << 10;

/// The first line and the header section.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) first: String,
    pub(super) headers: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads a head; `None` if the peer closed before it began.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut limited = reader.take(HEAD_LIMIT);
        let mut first = String::new();
        if limited.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if limited.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Self { first: first.trim_end().to_owned(), headers }))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| n != name);
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The second word of the first line as a status code; 0 if it is none.
    pub(super) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// How a body behind this head ends if nothing is said about it.
    pub(super) fn framing(&self, unsaid: Framing) -> Framing {
        let coding = self.header("transfer-encoding");
        if coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunked;
        }
        self.length().map_or(unsaid, Framing::Length)
    }

    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        writer.write_all(text.as_bytes())
    }
}

/// A body in pieces, without its framing.
#[derive(Debug)]
pub(super) struct Pieces<'a, R> {
    reader: &'a mut R,
    framing: Framing,
    /// Bytes left of the body, or of the current chunk.
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> Pieces<'a, R> {
    pub(super) fn new(reader: &'a mut R, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked => 0,
            Framing::UntilClose => u64::MAX,
        };
        Self { reader, framing, left, ended: left == 0 && framing != Framing::Chunked }
    }

    /// The next piece; `None` after a proper end.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.framing == Framing::Chunked && self.left == 0 && !self.ended {
            self.begin_chunk()?;
        }
        if self.ended {
            return Ok(None);
        }
        let mut piece = vec![0; usize::try_from(self.left.min(PIECE)).unwrap_or_default()];
        let read = self.reader.read(&mut piece)?;
        piece.truncate(read);
        if read == 0 {
            self.ended = true;
            let whole = self.framing == Framing::UntilClose;
            return if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        self.left -= read as u64;
        self.close_chunk()?;
        Ok(Some(piece))
    }

    fn begin_chunk(&mut self) -> io::Result<()> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        if self.left == 0 {
            self.ended = true;
            while !self.line()?.is_empty() {}
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> io::Result<()> {
        if self.left == 0 {
            match self.framing {
                Framing::Chunked => drop(self.line()?),
                _ => self.ended = true,
            }
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.reader).take(1024).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Writes one piece in the framing given.
pub(super) fn write_piece(
    writer: &mut impl Write,
    framing: Framing,
    piece: &[u8],
) -> io::Result<()> {
    if framing != Framing::Chunked {
        return writer.write_all(piece);
    }
    if piece.is_empty() {
        return Ok(());
    }
    writer.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
    writer.write_all(piece)?;
    writer.write_all(b"\r\n")
}

/// Writes what ends a body in the framing given.
pub(super) fn write_end(writer: &mut impl Write, framing: Framing) -> io::Result<()> {
    match framing {
        Framing::Chunked => writer.write_all(b"0\r\n\r\n"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(mut wire: &[u8], framing: Framing) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut pieces = Pieces::new(&mut wire, framing);
        let mut body = Vec::new();
        while let Some(piece) = pieces.next()? {
            body.extend(piece);
        }
        Ok((body, wire.to_vec()))
    }

    #[test]
    fn reads_heads_and_bodies() {
        let mut wire = b"PUT /x HTTP/1.1\r\nA: b\r\nContent-Length: 3\r\n\r\nabcnext".as_slice();
        let head = Head::read(&mut wire).unwrap().unwrap();
        assert_eq!((head.header("a"), head.length()), (Some("b"), Some(3)));
        let framing = head.framing(Framing::Length(0));
        assert_eq!(whole(wire, framing).unwrap(), (b"abc".to_vec(), b"next".to_vec()));
        let chunked = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext";
        let (body, rest) = whole(chunked, Framing::Chunked).unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (b"abcde".as_slice(), b"next".as_slice()));
        assert_eq!(whole(b"rest", Framing::UntilClose).unwrap().0, b"rest");
        assert!(Head::read(&mut b"".as_slice()).unwrap().is_none());
    }

    #[test]
    fn tells_early_ends() {
        assert!(whole(b"ab", Framing::Length(3)).is_err());
        assert!(whole(b"3\r\nab", Framing::Chunked).is_err());
        assert!(whole(b"3\r\nabc\r\n", Framing::Chunked).is_err());
        assert!(Head::read(&mut b"GET / HTTP/1.1\r\nA: b\r\n".as_slice()).is_err());
    }
}
