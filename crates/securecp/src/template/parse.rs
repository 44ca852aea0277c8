use super::TemplateError;
use super::lex::{Piece, Token, pieces};

/// Deepest nesting of blocks and parentheses.
const DEPTH: usize = 64;

/// What a template does.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `{{$x := …}}`
    Set(String, Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        names: Vec<String>,
        over: Pipeline,
        each: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each of which gets what the one before it gave as its last argument.
pub(super) type Pipeline = Vec<Command>;

/// A function with its arguments, or one value.
pub(super) type Command = Vec<Operand>;

/// A value in a command.
#[derive(Debug)]
pub(super) enum Operand {
    Function(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Number(i64),
    Inner(Pipeline),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), depth: 0 };
    match parser.block()? {
        (nodes, Ending::Text) => Ok(nodes),
        (_, Ending::End) => Err(TemplateError::new("unexpected {{end}}")),
        (_, Ending::Else(_)) => Err(TemplateError::new("unexpected {{else}}")),
    }
}

/// What ended a block.
enum Ending {
    Text,
    End,
    /// With the words behind `else`.
    Else(Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    depth: usize,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Ending), TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(too_deep());
        }
        let mut nodes = Vec::new();
        let ending = loop {
            let tokens = match self.pieces.next() {
                None => break Ending::Text,
                Some(Piece::Text(text)) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Some(Piece::Action(tokens)) => tokens,
            };
            match tokens.split_first() {
                Some((Token::Word(word), [])) if word == "end" => break Ending::End,
                Some((Token::Word(word), rest)) if word == "else" => {
                    break Ending::Else(rest.to_vec());
                }
                _ => nodes.push(self.node(&tokens)?),
            }
        };
        self.depth -= 1;
        Ok((nodes, ending))
    }

    fn node(&mut self, tokens: &[Token]) -> Result<Node, TemplateError> {
        match tokens.split_first() {
            Some((Token::Word(word), rest)) => match word.as_str() {
                "if" => {
                    let condition = pipeline(rest)?;
                    let (then, otherwise) = self.branches()?;
                    Ok(Node::If { condition, then, otherwise })
                }
                "with" => {
                    let value = pipeline(rest)?;
                    let (then, otherwise) = self.branches()?;
                    Ok(Node::With { value, then, otherwise })
                }
                "range" => self.range(rest),
                "block" | "define" | "template" | "break" | "continue" => {
                    Err(TemplateError::new(format!("{{{{{word}}}}} is not supported")))
                }
                _ => Ok(Node::Print(pipeline(tokens)?)),
            },
            Some((Token::Variable(name, fields), [Token::Assign, rest @ ..]))
                if fields.is_empty() =>
            {
                Ok(Node::Set(name.clone(), pipeline(rest)?))
            }
            _ => Ok(Node::Print(pipeline(tokens)?)),
        }
    }

    fn range(&mut self, tokens: &[Token]) -> Result<Node, TemplateError> {
        let (names, tokens) = match tokens {
            [
                Token::Variable(a, _),
                Token::Comma,
                Token::Variable(b, _),
                Token::Assign,
                rest @ ..,
            ] => (vec![a.clone(), b.clone()], rest),
            [Token::Variable(a, _), Token::Assign, rest @ ..] => (vec![a.clone()], rest),
            rest => (Vec::new(), rest),
        };
        let over = pipeline(tokens)?;
        let (each, otherwise) = self.branches()?;
        Ok(Node::Range { names, over, each, otherwise })
    }

    /// Both branches of a block; `{{else if …}}` and `{{else with …}}` are a block of their own in the second.
    fn branches(&mut self) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
        let missing = || TemplateError::new("unexpected end, expected {{end}}");
        let (then, ending) = self.block()?;
        match ending {
            Ending::Text => Err(missing()),
            Ending::End => Ok((then, Vec::new())),
            Ending::Else(tokens) if tokens.is_empty() => match self.block()? {
                (otherwise, Ending::End) => Ok((then, otherwise)),
                (_, Ending::Text) => Err(missing()),
                (_, Ending::Else(_)) => Err(TemplateError::new("unexpected {{else}}")),
            },
            Ending::Else(tokens) => {
                self.depth += 1;
                if self.depth > DEPTH {
                    return Err(too_deep());
                }
                let node = self.node(&tokens)?;
                self.depth -= 1;
                match node {
                    Node::If { .. } | Node::With { .. } => Ok((then, vec![node])),
                    _ => Err(TemplateError::new("unexpected words behind {{else}}")),
                }
            }
        }
    }
}

fn too_deep() -> TemplateError {
    TemplateError::new("nested too deeply")
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut words = Words { tokens, at: 0, depth: 0 };
    let found = words.pipeline()?;
    match words.next() {
        None => Ok(found),
        Some(_) => Err(TemplateError::new("unexpected word in an action")),
    }
}

struct Words<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Reads up to the end or to a closing parenthesis, which is left.
    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut commands = Vec::new();
        loop {
            let command = self.command()?;
            if command.is_empty() {
                return Err(TemplateError::new("missing value in an action"));
            }
            commands.push(command);
            if self.tokens.get(self.at) != Some(&Token::Pipe) {
                return Ok(commands);
            }
            self.at += 1;
        }
    }

    fn command(&mut self) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        while let Some(token) = self.tokens.get(self.at) {
            if matches!(token, Token::Pipe | Token::Close) {
                break;
            }
            operands.push(self.operand()?);
        }
        Ok(operands)
    }

    fn operand(&mut self) -> Result<Operand, TemplateError> {
        match self.next() {
            Some(Token::Field(names)) => Ok(Operand::Field(names)),
            Some(Token::Variable(name, names)) => Ok(Operand::Variable(name, names)),
            Some(Token::Text(text)) => Ok(Operand::Text(text)),
            Some(Token::Number(number)) => Ok(Operand::Number(number)),
            Some(Token::Word(word)) => Ok(Operand::Function(word)),
            Some(Token::Open) => self.inner(),
            _ => Err(TemplateError::new("unexpected word in an action")),
        }
    }

    fn inner(&mut self) -> Result<Operand, TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(too_deep());
        }
        let found = self.pipeline()?;
        self.depth -= 1;
        match self.next() {
            Some(Token::Close) => Ok(Operand::Inner(found)),
            _ => Err(TemplateError::new("a closing parenthesis is missing")),
        }
    }
}
