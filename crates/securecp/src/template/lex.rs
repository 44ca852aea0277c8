use super::TemplateError;

/// A piece of a template: text, or what stands between `{{` and `}}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `.A.B`; no names means `.` alone.
    Field(Vec<String>),
    /// `$x.A.B`; the first name is empty for `$` alone.
    Variable(String, Vec<String>),
    Text(String),
    Number(i64),
    /// A function or keyword.
    Word(String),
    Pipe,
    Open,
    Close,
    Comma,
    /// `:=` or `=`
    Assign,
}

/// Cuts a template into pieces; `{{-` and `-}}` take the white space beside them away.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, action)) = rest.split_once("{{") {
        let (trim_before, action) = match action.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (true, inner),
            _ => (false, action),
        };
        let before = if trim { before.trim_start() } else { before };
        push_text(&mut pieces, if trim_before { before.trim_end() } else { before });
        let (tokens, behind, trim_behind) = action_tokens(action)?;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        (rest, trim) = (behind, trim_behind);
    }
    push_text(&mut pieces, if trim { rest.trim_start() } else { rest });
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// The words of an action (none for a comment), what follows it, and whether white space there goes.
type Action<'a> = (Option<Vec<Token>>, &'a str, bool);

fn action_tokens(text: &str) -> Result<Action<'_>, TemplateError> {
    let unclosed = || TemplateError::new("unclosed action");
    if let Some(comment) = text.trim_start().strip_prefix("/*") {
        let (_, behind) = comment.split_once("*/").ok_or_else(unclosed)?;
        let (behind, trim) = end(behind).ok_or_else(unclosed)?;
        return Ok((None, behind, trim));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        if let Some((behind, trim)) = end(rest) {
            return Ok((Some(tokens), behind, trim));
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            return Err(unclosed());
        }
        let (token, behind) = token(rest)?;
        tokens.push(token);
        rest = behind;
    }
}

/// What follows the end of an action, if it ends here.
fn end(text: &str) -> Option<(&str, bool)> {
    let bare = text.trim_start();
    if let Some(behind) = bare.strip_prefix("}}") {
        return Some((behind, false));
    }
    let spaced = bare.len() < text.len();
    bare.strip_prefix("-}}").filter(|_| spaced).map(|behind| (behind, true))
}

fn token(text: &str) -> Result<(Token, &str), TemplateError> {
    for (sign, token) in [
        ("|", Token::Pipe),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
        (":=", Token::Assign),
        ("=", Token::Assign),
    ] {
        if let Some(behind) = text.strip_prefix(sign) {
            return Ok((token, behind));
        }
    }
    match text.as_bytes()[0] {
        b'"' => quoted(&text[1..]),
        b'`' => raw(&text[1..]),
        b'.' => {
            let (names, behind) = names(text)?;
            Ok((Token::Field(names), behind))
        }
        b'$' => {
            let (name, behind) = word(&text[1..]);
            let (names, behind) = names_behind(behind)?;
            Ok((Token::Variable(name.to_owned(), names), behind))
        }
        b'0'..=b'9' | b'-' => number(text),
        _ => bare_word(text),
    }
}

/// `.A.B`, or `.` alone.
fn names(text: &str) -> Result<(Vec<String>, &str), TemplateError> {
    let (first, _) = word(&text[1..]);
    if first.is_empty() { Ok((Vec::new(), &text[1..])) } else { names_behind(text) }
}

fn names_behind(text: &str) -> Result<(Vec<String>, &str), TemplateError> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(behind) = rest.strip_prefix('.') {
        let (name, behind) = word(behind);
        if name.is_empty() {
            return Err(TemplateError::new("a name is missing behind a dot"));
        }
        names.push(name.to_owned());
        rest = behind;
    }
    Ok((names, rest))
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn number(text: &str) -> Result<(Token, &str), TemplateError> {
    let end = text[1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| end + 1);
    let (digits, behind) = text.split_at(end);
    let number = digits.parse();
    let number = number.map_err(|_| TemplateError::new(format!("bad number {digits:?}")))?;
    Ok((Token::Number(number), behind))
}

/// A function or keyword; a dot behind it begins the next word (`json.` means `json .`).
fn bare_word(text: &str) -> Result<(Token, &str), TemplateError> {
    let (name, behind) = word(text);
    match text.chars().next() {
        Some(c) if name.is_empty() => {
            Err(TemplateError::new(format!("unexpected {c:?} in an action")))
        }
        _ => Ok((Token::Word(name.to_owned()), behind)),
    }
}

fn raw(text: &str) -> Result<(Token, &str), TemplateError> {
    let (inner, behind) = text.split_once('`').ok_or_else(unterminated)?;
    Ok((Token::Text(inner.to_owned()), behind))
}

fn quoted(text: &str) -> Result<(Token, &str), TemplateError> {
    let mut inner = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(inner), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, c @ ('"' | '\\' | '\''))) => inner.push(c),
                _ => return Err(TemplateError::new("unknown escape in a string")),
            },
            _ => inner.push(c),
        }
    }
    Err(unterminated())
}

fn unterminated() -> TemplateError {
    TemplateError::new("unterminated string")
}
