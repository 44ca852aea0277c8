use super::{TemplateError, Value};

/// Widest padding, in characters.
const WIDEST: i64 = 1 << 16;

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let wrong = |expected: &str| TemplateError::new(format!("{name}: expected {expected}"));
    match (name, arguments) {
        ("true", []) => Ok(Value::Switch(true)),
        ("false", []) => Ok(Value::Switch(false)),
        ("nil", []) => Ok(Value::Nil),
        ("json", []) => Err(wrong("a value")),
        ("json", [value]) => Ok(Value::text(value.to_json().to_string())),
        ("lower", [Value::Text(text)]) => Ok(Value::text(text.to_lowercase())),
        ("upper", [Value::Text(text)]) => Ok(Value::text(text.to_uppercase())),
        ("title", [Value::Text(text)]) => Ok(Value::text(title(text))),
        ("lower" | "upper" | "title", _) => Err(wrong("a text")),
        ("join", [Value::List(items), Value::Text(between)]) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            Ok(Value::text(items.join(between)))
        }
        ("join", _) => Err(wrong("a list and a text")),
        ("split", [Value::Text(text), Value::Text(between)]) => Ok(split(text, between)),
        ("split", _) => Err(wrong("two texts")),
        ("truncate", [Value::Text(text), Value::Number(length)]) => {
            let length = usize::try_from(*length).unwrap_or_default();
            Ok(Value::text(text.chars().take(length).collect::<String>()))
        }
        ("truncate", _) => Err(wrong("a text and a number")),
        ("pad", [Value::Text(text), Value::Number(before), Value::Number(behind)]) => {
            Ok(Value::text(pad(text, *before, *behind)))
        }
        ("pad", _) => Err(wrong("a text and two numbers")),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
        }
        ("len", [value]) => length(value).ok_or_else(|| wrong("something that has a length")),
        ("not", [value]) => Ok(Value::Switch(!value.holds())),
        ("and", [.., last]) => Ok(arguments.iter().find(|v| !v.holds()).unwrap_or(last).clone()),
        ("or", [.., last]) => Ok(arguments.iter().find(|v| v.holds()).unwrap_or(last).clone()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => Ok(Value::Switch(rest.contains(first))),
        ("ne", [first, second]) => Ok(Value::Switch(first != second)),
        ("print", values) => Ok(Value::text(print(values))),
        ("println", values) => Ok(Value::text(println(values))),
        ("printf", [Value::Text(format), values @ ..]) => printf(format, values),
        (
            "index" | "len" | "not" | "and" | "or" | "eq" | "ne" | "printf" | "true" | "false"
            | "nil" | "json",
            _,
        ) => Err(wrong("other arguments")),
        _ => Err(TemplateError::new(format!("function \"{name}\" not defined"))),
    }
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut in_word = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match in_word {
            false => out.extend(c.to_uppercase()),
            true => out.push(c),
        }
        in_word = !c.is_whitespace();
    }
    out
}

fn split(text: &str, between: &str) -> Value {
    if between.is_empty() {
        return Value::list(text.chars().map(String::from).map(Value::Text));
    }
    Value::list(text.split(between).map(Value::text))
}

/// Spaces around a text that is not empty.
fn pad(text: &str, before: i64, behind: i64) -> String {
    if text.is_empty() {
        return String::new();
    }
    let spaces =
        |count: i64| " ".repeat(usize::try_from(count.clamp(0, WIDEST)).unwrap_or_default());
    format!("{}{text}{}", spaces(before), spaces(behind))
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::List(items), Value::Number(at)) => {
            let found = usize::try_from(*at).ok().and_then(|at| items.get(at)).cloned();
            found.ok_or_else(|| TemplateError::new(format!("index out of range: {at}")))
        }
        (Value::Map(items), Value::Text(key)) => {
            Ok(items.get(key).cloned().unwrap_or_else(|| Value::text("")))
        }
        (Value::Nil, Value::Text(_)) => Ok(Value::text("")),
        _ => Err(TemplateError::new(format!("cannot index {value} with {key}"))),
    }
}

fn length(value: &Value) -> Option<Value> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(items) => items.len(),
        Value::Nil => 0,
        _ => return None,
    };
    i64::try_from(length).ok().map(Value::Number)
}

/// Values side by side, with a space between two that are no texts.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (position, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        let before = position.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !is_text(before) && !is_text(value)) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

fn println(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    format!("{}\n", texts.join(" "))
}

fn printf(format: &str, values: &[Value]) -> Result<Value, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        let value =
            values.next().ok_or_else(|| TemplateError::new("printf: a value is missing"))?;
        match (verb, value) {
            (Some('s' | 'v'), value) | (Some('d'), value @ Value::Number(_)) => {
                out.push_str(&value.to_string());
            }
            (Some('q'), Value::Text(text)) => out.push_str(&format!("{text:?}")),
            _ => return Err(TemplateError::new("printf knows %s, %d, %v, %q and %%")),
        }
    }
    Ok(Value::Text(out))
}
