//! PEM as the reference reads it (RFC 7468, lax about what surrounds a block).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const LINE: usize = 64;

/// One block: what it claims to be, and its content.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) label: String,
    pub(super) contents: Vec<u8>,
}

/// The blocks of a text, in order. Text around blocks and malformed blocks are passed over.
pub(super) struct Blocks<'a> {
    rest: &'a str,
}

impl<'a> Blocks<'a> {
    /// Bytes that are not UTF-8 have no blocks.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: std::str::from_utf8(bytes).unwrap_or_default() }
    }

    /// What stands behind the last block that was returned.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        loop {
            let (label, body) = opening(self.rest)?;
            self.rest = body;
            if let Some((contents, rest)) = content(label, body) {
                self.rest = rest;
                return Some(Block { label: label.to_owned(), contents });
            }
        }
    }
}

/// The only block of a text, with nothing behind it.
pub(super) fn only(bytes: &[u8]) -> Option<Block> {
    let mut blocks = Blocks::of(bytes);
    let block = blocks.next()?;
    blocks.rest().is_empty().then_some(block)
}

/// The next line that opens a block: its label, and what follows it.
fn opening(text: &str) -> Option<(&str, &str)> {
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        let label = line.strip_prefix(BEGIN).and_then(|l| l.trim_end().strip_suffix(DASHES));
        if let Some(label) = label {
            return Some((label, after));
        }
        rest = after;
    }
    None
}

/// The content of a block and what stands behind its end.
fn content<'a>(label: &str, body: &'a str) -> Option<(Vec<u8>, &'a str)> {
    let (mut text, mut rest) = (String::new(), body);
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        if let Some(end) = line.strip_prefix(END) {
            let found = end.trim_end().strip_suffix(DASHES)?;
            let contents = STANDARD.decode(&text).ok().filter(|_| found == label)?;
            return Some((contents, after));
        }
        if line.starts_with(BEGIN) {
            return None;
        }
        // Headers ("Proc-Type: 4,ENCRYPTED") are not content.
        if !line.contains(':') {
            text.extend(line.chars().filter(|c| !c.is_ascii_whitespace()));
        }
        rest = after;
    }
    None
}

fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// A block as every tool writes it: lines of 64 characters, a line feed at the end.
pub(super) fn encode(label: &str, contents: &[u8]) -> String {
    let body = STANDARD.encode(contents);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("{END}{label}{DASHES}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        Blocks::of(text.as_bytes()).map(|block| block.label).collect()
    }

    #[test]
    fn reads_what_it_wrote() {
        let contents: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 47, 48, 49, 256] {
            let text = encode("A KEY", &contents[..length]);
            let block = only(text.as_bytes()).unwrap();
            assert_eq!(
                (block.label.as_str(), block.contents.as_slice()),
                ("A KEY", &contents[..length])
            );
        }
    }

    #[test]
    fn text_around_blocks_does_not_matter() {
        let one = encode("X", b"one");
        let text = format!("subject=x\n{one}between\r\n{}behind", one.replace('\n', "\r\n"));
        let mut blocks = Blocks::of(text.as_bytes());
        assert_eq!(blocks.next().unwrap().contents, b"one");
        assert_eq!(blocks.next().unwrap().contents, b"one");
        assert!(blocks.next().is_none());
        assert!(only(text.as_bytes()).is_none());
        assert!(only(format!("before\n{one}").as_bytes()).is_some());
    }

    #[test]
    fn malformed_blocks_are_passed_over() {
        let good = encode("GOOD", b"x");
        for bad in [
            "-----BEGIN X-----\n",
            "-----BEGIN X-----\n????\n-----END X-----\n",
            "-----BEGIN X-----\neA==\n-----END Y-----\n",
            "-----BEGIN X-----\neA==\n-----END X\n",
            " -----BEGIN X-----\neA==\n-----END X-----\n",
        ] {
            assert_eq!(labels(&format!("{bad}{good}")), ["GOOD"], "{bad}");
        }
        assert!(labels("").is_empty());
        assert!(Blocks::of(b"\xff").next().is_none());
        let headed = "-----BEGIN X-----\nProc-Type: 4\n\neA==\n-----END X-----";
        assert_eq!(only(headed.as_bytes()).unwrap().contents, b"x");
    }
}
