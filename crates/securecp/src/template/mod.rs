//! The part of Go's text/template that `--format` needs: fields, ranges, conditions, variables and a handful of
//! functions, with Go's words for values. What is not known is an error that says so.

mod evaluate;
mod functions;
mod lex;
mod parse;
mod value;

pub(crate) use value::Value;

use evaluate::Run;

/// Why a template cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// Fills `text` in with `data`. `\n` and `\t` in the text stand for a line break and a tabulator, a line break is added
/// at the end if there is none, and a leading `table ` aligns what stands between tabulators.
pub(crate) fn fill_in(text: &str, data: &Value) -> Result<String, TemplateError> {
    let (table, text) = match text.strip_prefix("table ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let text = text.replace("\\n", "\n").replace("\\t", "\t");
    let nodes = parse::parse(&text)?;
    let mut out = Run::over(data).text(&nodes)?;
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(if table { aligned(&out) } else { out })
}

/// Cells end at tabulators and are at least twelve wide, with two spaces between them.
fn aligned(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        // Go's tabwriter ends a column where a row has no cell that is closed by a tabulator.
        let cells = rows.iter().filter(|row| column + 1 < row.len()).map(|row| row[column]);
        cells.map(|cell| cell.chars().count() + 2).max().unwrap_or_default().max(12)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (position, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if position + 1 < row.len() {
                let gap = widths[position].saturating_sub(cell.chars().count());
                out.push_str(&" ".repeat(gap));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Value {
        Value::structure([
            ("Name", Value::text("h.example/ns/app")),
            ("Created", Value::Nil),
            ("Size", Value::Number(12)),
            ("Layers", Value::list(["a", "b"].map(Value::text))),
            ("Empty", Value::list([])),
            ("Labels", Value::map([("k", Value::text("v")), ("a<b", Value::text("x&y"))])),
            ("Deep", Value::structure([("Er", Value::text("yes"))])),
        ])
    }

    fn filled(text: &str) -> String {
        fill_in(text, &data()).unwrap()
    }

    #[test]
    fn prints_values_in_gos_words() {
        for (text, expected) in [
            ("{{.Name}}", "h.example/ns/app\n"),
            ("{{ .Name }} {{.Size}}", "h.example/ns/app 12\n"),
            ("{{.Layers}}", "[a b]\n"),
            ("{{.Labels}}", "map[a<b:x&y k:v]\n"),
            ("{{.Created}}", "<nil>\n"),
            ("{{.Deep}} {{.Deep.Er}}", "{yes} yes\n"),
            ("{{.Labels.k}} {{.Labels.none}}", "v <no value>\n"),
            ("a\\tb\\n", "a\tb\n"),
            ("{{/* nothing */}}x", "x\n"),
            ("a {{- .Size -}} b", "a12b\n"),
            ("{{\"{{\"}}", "{{\n"),
            ("{{`raw\"`}}", "raw\"\n"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_and_conditions() {
        for (text, expected) in [
            ("{{range .Layers}}<{{.}}>{{end}}", "<a><b>\n"),
            ("{{range $i, $l := .Layers}}{{$i}}={{$l}} {{end}}", "0=a 1=b \n"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a<b=x&y;k=v;\n"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none\n"),
            ("{{if .Created}}yes{{else if .Size}}size{{else}}no{{end}}", "size\n"),
            ("{{with .Deep}}{{.Er}}{{$.Size}}{{end}}", "yes12\n"),
            (
                "{{$n := .Name}}{{range .Layers}}{{$n}}/{{.}} {{end}}",
                "h.example/ns/app/a h.example/ns/app/b \n",
            ),
            ("{{if and .Size (not .Created)}}ok{{end}}", "ok\n"),
            ("{{if eq .Size 12}}twelve{{end}}", "twelve\n"),
            ("{{if or .Created .Empty}}x{{else}}neither{{end}}", "neither\n"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn functions_and_pipelines() {
        for (text, expected) in [
            ("{{json .Labels}}", "{\"a<b\":\"x&y\",\"k\":\"v\"}\n"),
            ("{{.Layers | json}}", "[\"a\",\"b\"]\n"),
            ("{{join .Layers \", \"}}", "a, b\n"),
            ("{{index (split .Name \"/\") 2 | upper}}", "APP\n"),
            ("{{truncate .Name 9 | title}}", "H.example\n"),
            ("{{lower \"ABC\"}}{{pad \"x\" 1 2}}|", "abc x  |\n"),
            ("{{len .Layers}} {{index .Layers 1}} {{index .Labels \"k\"}}", "2 b v\n"),
            (
                "{{printf \"%s:%d %v %q%%\" .Name .Size .Layers \"a\\\"\"}}",
                "h.example/ns/app:12 [a b] \"a\\\"\"%\n",
            ),
            ("{{print 1 2 \"x\"}}", "1 2x\n"),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn aligns_tables() {
        assert_eq!(filled("table {{.Size}}\t{{.Name}}"), "12          h.example/ns/app\n");
        assert_eq!(
            filled("table {{range .Layers}}{{.}}\\tlong{{end}}"),
            "a           longb       long\n"
        );
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for (text, expected) in [
            ("{{.Nothing}}", "can't evaluate field Nothing"),
            ("{{.Name.X}}", "can't evaluate field X"),
            ("{{fly .Name}}", "function \"fly\" not defined"),
            ("{{.Name", "unclosed action"),
            ("{{range .Layers}}", "unexpected end, expected {{end}}"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{range .Size}}{{end}}", "cannot range over 12"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{index .Layers 7}}", "index out of range: 7"),
            ("{{template \"x\"}}", "{{template}} is not supported"),
            ("{{}}", "missing value"),
            ("{{.Name | }}", "missing value"),
            ("{{\"x}}", "unterminated string"),
            ("{{printf \"%x\" 1}}", "printf knows %s, %d, %v, %q and %%"),
            ("{{join .Name \",\"}}", "join: expected a list"),
        ] {
            let error = fill_in(text, &data()).unwrap_err().to_string();
            assert!(error.starts_with("template: ") && error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{{{{{}.{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(fill_in(&deep, &data()).unwrap_err().to_string().contains("nested too deeply"));
        let deep = "{{if .}}".repeat(100_000);
        assert!(fill_in(&deep, &data()).unwrap_err().to_string().contains("nested too deeply"));
    }
}
