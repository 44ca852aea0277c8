use std::error::Error;
use std::fmt::{self, Display, Write};
use std::iter::successors;

/// Displays foreign text with control and invisible characters escaped, at most `limit` characters long.
///
/// Registry messages, file names and manifest fields go through this before they reach a terminal or a log.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a> {
    text: &'a str,
    limit: usize,
}

impl<'a> Escaped<'a> {
    /// Wraps `text`, cutting it after 512 characters.
    pub fn new(text: &'a str) -> Self {
        Self { text, limit: 512 }
    }

    /// Cuts after `limit` characters instead.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.text.chars().enumerate() {
            if count == self.limit {
                return f.write_char('…');
            }
            if is_plain(c) {
                f.write_char(c)?;
            } else {
                write!(f, "{}", c.escape_unicode())?;
            }
        }
        Ok(())
    }
}

/// Control characters, whatever turns the direction of text, and what is not seen (zero-width characters, soft hyphens,
/// annotations between the lines, tags) are not plain.
fn is_plain(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{feff}'
    ) || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !invisible
}

/// Displays an error with its causes on one line, for places that have no room for a chain of sources.
#[derive(Debug, Clone, Copy)]
pub struct WithCauses<'a>(pub &'a dyn Error);

impl Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let first = self.0.source();
        let mut causes = successors(first, |error: &&(dyn Error + 'static)| (*error).source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn tells_every_cause_of_an_error() {
        let root = Failed("no such file", None);
        assert_eq!(WithCauses(&root).to_string(), "no such file");
        let outer = Failed("copying", Some(Box::new(Failed("opening x", Some(Box::new(root))))));
        assert_eq!(WithCauses(&outer).to_string(), "copying: opening x: no such file");
    }

    #[test]
    fn escapes_terminal_sequences_and_cuts() {
        assert_eq!(Escaped::new("a\u{1b}[31mb\n").to_string(), "a\\u{1b}[31mb\\u{a}");
        assert_eq!(Escaped::new("a\u{202e}b").to_string(), "a\\u{202e}b");
        assert_eq!(Escaped::new("abcdef").limit(3).to_string(), "abc…");
    }

    #[test]
    fn escapes_what_is_not_seen() {
        for c in
            ['\u{ad}', '\u{61c}', '\u{fff9}', '\u{fffb}', '\u{e0001}', '\u{e0041}', '\u{e007f}']
        {
            let shown = Escaped::new(&format!("a{c}b")).to_string();
            assert_eq!(shown, format!("a\\u{{{:x}}}b", c as u32));
        }
        assert_eq!(Escaped::new("é 日本 🙂").to_string(), "é 日本 🙂");
    }
}
