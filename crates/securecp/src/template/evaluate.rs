use super::functions::call;
use super::parse::{Command, Node, Operand, Pipeline};
use super::{TemplateError, Value};

/// One filling-in of a template.
pub(super) struct Run {
    dot: Value,
    /// The innermost last.
    variables: Vec<(String, Value)>,
}

impl Run {
    pub(super) fn over(data: &Value) -> Self {
        Self { dot: data.clone(), variables: vec![(String::new(), data.clone())] }
    }

    pub(super) fn text(&mut self, nodes: &[Node]) -> Result<String, TemplateError> {
        let mut out = String::new();
        let outer = self.variables.len();
        nodes.iter().try_for_each(|node| self.node(node, &mut out))?;
        self.variables.truncate(outer);
        Ok(out)
    }

    fn node(&mut self, node: &Node, out: &mut String) -> Result<(), TemplateError> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&self.value(pipeline)?.to_string()),
            Node::Set(name, pipeline) => {
                let value = self.value(pipeline)?;
                self.variables.push((name.clone(), value));
            }
            Node::If { condition, then, otherwise } => {
                let holds = self.value(condition)?.holds();
                out.push_str(&self.text(if holds { then } else { otherwise })?);
            }
            Node::With { value, then, otherwise } => {
                let value = self.value(value)?;
                match value.holds() {
                    true => out.push_str(&self.under(value, then)?),
                    false => out.push_str(&self.text(otherwise)?),
                }
            }
            Node::Range { names, over, each, otherwise } => {
                let items = items(self.value(over)?)?;
                if items.is_empty() {
                    out.push_str(&self.text(otherwise)?);
                }
                for (key, value) in items {
                    out.push_str(&self.one(names, key, value, each)?);
                }
            }
        }
        Ok(())
    }

    /// One turn of a range.
    fn one(
        &mut self,
        names: &[String],
        key: Value,
        value: Value,
        each: &[Node],
    ) -> Result<String, TemplateError> {
        let outer = self.variables.len();
        match names {
            [name] => self.variables.push((name.clone(), value.clone())),
            [first, second] => {
                self.variables.push((first.clone(), key));
                self.variables.push((second.clone(), value.clone()));
            }
            _ => {}
        }
        let text = self.under(value, each);
        self.variables.truncate(outer);
        text
    }

    fn under(&mut self, dot: Value, nodes: &[Node]) -> Result<String, TemplateError> {
        let outer = std::mem::replace(&mut self.dot, dot);
        let text = self.text(nodes);
        self.dot = outer;
        text
    }

    fn value(&self, pipeline: &Pipeline) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in pipeline {
            last = Some(self.command(command, last)?);
        }
        last.ok_or_else(|| TemplateError::new("missing value in an action"))
    }

    fn command(&self, command: &Command, last: Option<Value>) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else {
            return Err(TemplateError::new("missing value in an action"));
        };
        if let Operand::Function(name) = first {
            let arguments: Result<Vec<Value>, _> = rest.iter().map(|o| self.operand(o)).collect();
            let mut arguments = arguments?;
            arguments.extend(last);
            return call(name, &arguments);
        }
        if !rest.is_empty() || last.is_some() {
            return Err(TemplateError::new("only a function takes arguments"));
        }
        self.operand(first)
    }

    fn operand(&self, operand: &Operand) -> Result<Value, TemplateError> {
        let follow = |value: Value, names: &[String]| {
            names.iter().try_fold(value, |value, name| value.field(name))
        };
        match operand {
            Operand::Function(name) => call(name, &[]),
            Operand::Field(names) => follow(self.dot.clone(), names),
            Operand::Variable(name, names) => follow(self.variable(name)?, names),
            Operand::Text(text) => Ok(Value::text(text)),
            Operand::Number(number) => Ok(Value::Number(*number)),
            Operand::Inner(pipeline) => self.value(pipeline),
        }
    }

    fn variable(&self, name: &str) -> Result<Value, TemplateError> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let unknown = || TemplateError::new(format!("undefined variable \"${name}\""));
        found.map(|(_, value)| value.clone()).ok_or_else(unknown)
    }
}

/// What a range goes through: positions or keys, with values.
fn items(value: Value) -> Result<Vec<(Value, Value)>, TemplateError> {
    match value {
        Value::Nil | Value::Missing => Ok(Vec::new()),
        Value::List(items) => Ok((0..).map(Value::Number).zip(items).collect()),
        Value::Map(items) => Ok(items.into_iter().map(|(k, v)| (Value::Text(k), v)).collect()),
        // The reference puts the one image into a list, so that `{{range .}}` works.
        whole @ Value::Structure(..) => Ok(vec![(Value::Number(0), whole)]),
        other => Err(TemplateError::new(format!("cannot range over {other}"))),
    }
}
