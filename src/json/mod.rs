//! Reads a JSON file as dockerd reads it, and edits it as text so that only the bytes of our keys move.
//!
//! The bytes to move are found with the spans of a syntax tree and spliced here. jsonc-parser's own editing
//! (its `cst`) was tried and reflows what is not ours: `{"a":1}` becomes four lines on an append, `{ }` and
//! blank lines before a brace do not come back after a removal.

mod take_back;

pub use take_back::{TakeBack, take_back};

use std::fmt;
use std::ops::Range;

use jsonc_parser::ast::{self, Value as Node};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

use crate::error::Error;

/// The keys that lead from the top of the file to a value: `["runtimes", "nvidia"]`.
pub type KeyPath = Vec<String>;

/// Where a file stops being what dockerd reads, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    pub why: String,
    /// The line itself.
    pub source: String,
}

impl Fault {
    fn at(body: &str, offset: usize, why: impl fmt::Display) -> Fault {
        let offset = body.floor_char_boundary(offset);
        let start = body[..offset].rfind('\n').map_or(0, |i| i + 1);
        let source = body[start..].lines().next().unwrap_or_default();
        Fault {
            line: body[..start].matches('\n').count() + 1,
            column: body[start..offset].chars().count() + 1,
            why: why.to_string(),
            source: source.to_owned(),
        }
    }

    /// The line, and a caret below it.
    pub fn excerpt(&self) -> Vec<String> {
        // Tabs stay tabs, so that the caret stands right whatever their width.
        let before = self.source.chars().take(self.column - 1);
        let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        vec![self.source.clone(), format!("{pad}^")]
    }

    /// The refusal of `file`, with the line and a caret below it.
    pub fn into_error(self, file: impl fmt::Display) -> Error {
        Error::refused(format_args!("cannot use `{file}`"))
            .because(format_args!("line {}, column {}", self.line, self.column))
            .because(&self.why)
            .tail(&self.excerpt().join("\n"))
    }
}

/// The keys and values that dockerd would take from these bytes.
///
/// An empty file, one of white space and `null` are an empty configuration; a byte order mark is skipped; of a key
/// that occurs twice the last counts. Comments, trailing commas and anything after the object are refused.
///
/// # Errors
/// A [`Fault`] where the bytes are not UTF-8, not JSON, not one object, or nested deeper than 127 levels
/// (dockerd itself stops at 10000).
///
/// Upstream: `getConflictFreeConfiguration` in moby's daemon/config/config.go, 23.0 to 29.x. It also takes UTF-16 with
/// a byte order mark, which is refused here; 20.10 reads neither a byte order mark nor an empty file.
pub fn read(text: &[u8]) -> Result<Map<String, Value>, Fault> {
    let (_, body) = decode(text)?;
    if body.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(body).map_err(|e| syntax_fault(body, &e))? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => {
            let start = body.len() - body.trim_start().len();
            Err(Fault::at(body, start, format_args!("expected an object, found {}", kind(&other))))
        }
    }
}

/// The value at `path`, where there is one.
///
/// # Errors
/// As [`read`].
pub fn get(text: &[u8], path: &[String]) -> Result<Option<Value>, Fault> {
    Ok(lookup(&read(text)?, path).cloned())
}

/// The value at `path` of what has been read.
pub fn lookup<'a>(map: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(map.get(first)?, |value, key| value.get(key))
}

/// Sets (`Some`) and removes (`None`) keys; every other byte stays as it is.
///
/// A new key comes last in its object, in the file's own indentation, line ends and spacing; an absent or empty
/// file gets two spaces and a final newline. A value that is already there is left as it is written. Removing what
/// was appended gives back the former bytes.
///
/// # Errors
/// As [`read`]; also where a key would lie in something that is not an object. A parent that is `null` is
/// replaced: Go's decoder reads it as absent.
pub fn edit(text: &[u8], keys: &[(KeyPath, Option<Value>)]) -> Result<Vec<u8>, Fault> {
    let now = read(text)?;
    let (bom, body) = decode(text)?;
    let mut body = body.to_owned();
    for (path, value) in keys {
        body = match value {
            Some(value) if lookup(&now, path) == Some(value) => body,
            Some(value) => set(&body, path, &New::Value(value.clone()))?,
            None => remove(&body, path)?,
        };
    }
    Ok([bom.as_bytes(), body.as_bytes()].concat())
}

/// As [`edit`] for one key, with the value as it is written in another file.
pub(super) fn put_back(text: &[u8], path: &[String], raw: Option<&str>) -> Result<Vec<u8>, Fault> {
    let (bom, body) = decode(text)?;
    let body = match raw {
        Some(raw) => set(body, path, &New::Raw(raw.to_owned()))?,
        None => remove(body, path)?,
    };
    Ok([bom.as_bytes(), body.as_bytes()].concat())
}

/// The value at `path` as it is written, so that a number of any size comes back as it was.
pub(super) fn raw<'a>(text: &'a [u8], path: &[String]) -> Result<Option<&'a str>, Fault> {
    let (_, body) = decode(text)?;
    let Some(root) = tree(body)? else { return Ok(None) };
    let mut object = &root;
    let Some((last, parents)) = path.split_last() else { return Ok(None) };
    for key in parents {
        match find(object, key).map(|prop| &prop.value) {
            Some(Node::Object(inner)) => object = inner,
            _ => return Ok(None),
        }
    }
    Ok(find(object, last).map(|prop| &body[span(&prop.value)]))
}

const BOM: &str = "\u{feff}";

/// The byte order mark, if any, and the rest.
fn decode(text: &[u8]) -> Result<(&str, &str), Fault> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        let why = "the file is UTF-16; convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`";
        return Err(Fault { line: 1, column: 1, why: why.to_owned(), source: String::new() });
    }
    let body = std::str::from_utf8(text).map_err(|e| {
        let valid = String::from_utf8_lossy(&text[..e.valid_up_to()]);
        Fault::at(&valid, valid.len(), "this is not UTF-8")
    })?;
    Ok(body.strip_prefix(BOM).map_or(("", body), |rest| (BOM, rest)))
}

/// serde_json's error with the usual slips named.
fn syntax_fault(body: &str, error: &serde_json::Error) -> Fault {
    let line = body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let end = body[line..].find('\n').unwrap_or(body.len() - line);
    let offset = match error.is_eof() {
        true => body.trim_end().len(),
        false => line + error.column().saturating_sub(1).min(end),
    };
    let text = error.to_string();
    let plain = text.split(" at line ").next().unwrap_or(&text);
    let why = match body[body.floor_char_boundary(offset)..].chars().next() {
        Some('/' | '#') => "comments are not JSON".to_owned(),
        Some('\'' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}') => {
            "texts stand in straight double quotes".to_owned()
        }
        _ if plain == "expected ident" => "this is neither `true` nor `false` nor `null`".to_owned(),
        _ => plain.to_owned(),
    };
    Fault::at(body, offset, why)
}

/// What a value is, in words for people.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => format!("the number {n}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Strict JSON. serde_json has looked first: this parser alone lets tabs in texts and odd white space through.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The object with the places of its parts; nothing where there is none (an empty file, `null`).
fn tree(body: &str) -> Result<Option<ast::Object<'_>>, Fault> {
    let parsed = parse_to_ast(body, &CollectOptions::default(), &STRICT)
        .map_err(|e| Fault::at(body, e.range().start, e.kind()))?;
    Ok(match parsed.value {
        Some(Node::Object(object)) => Some(object),
        _ => None,
    })
}

fn span(part: &impl Ranged) -> Range<usize> {
    part.start()..part.end()
}

/// The last of its name: it is the one that counts.
fn find<'a, 'b>(object: &'b ast::Object<'a>, key: &str) -> Option<&'b ast::ObjectProp<'a>> {
    object.properties.iter().rev().find(|prop| prop.name.as_str() == key)
}

fn splice(body: &str, at: Range<usize>, new: &str) -> String {
    [&body[..at.start], new, &body[at.end..]].concat()
}

/// A value to write: built here, or as another file has it.
enum New {
    Value(Value),
    Raw(String),
}

impl New {
    fn render(&self, style: &Style, indent: Option<&str>) -> String {
        match self {
            New::Value(value) => style.render(value, indent),
            New::Raw(raw) => raw.clone(),
        }
    }
}

fn set(body: &str, path: &[String], new: &New) -> Result<String, Fault> {
    let Some((last, parents)) = path.split_last() else { return Ok(body.to_owned()) };
    let Some(root) = tree(body)? else {
        // Nothing there yet: an object takes the place of the white space or of `null`.
        return set("{}\n", path, new);
    };
    let style = Style::of(body, &root);
    let mut object = &root;
    for (depth, key) in parents.iter().enumerate() {
        match find(object, key) {
            Some(prop) => match &prop.value {
                Node::Object(inner) => object = inner,
                Node::NullKeyword(null) => {
                    return set(&splice(body, span(null), "{}"), path, new);
                }
                other => return Err(not_an_object(body, &path[..=depth], other)),
            },
            None => {
                let body = insert(body, object, key, &New::Raw("{}".to_owned()), &style);
                return set(&body, path, new);
            }
        }
    }
    Ok(match find(object, last) {
        Some(prop) => {
            let indent = style.multiline.then(|| indent_of_line(body, prop.start()));
            splice(body, span(&prop.value), &new.render(&style, indent))
        }
        None => insert(body, object, last, new, &style),
    })
}

fn not_an_object(body: &str, path: &[String], node: &Node) -> Fault {
    let found = match node {
        Node::Array(_) => "a list",
        Node::StringLit(_) => "a text",
        Node::NumberLit(_) => "a number",
        _ => "true or false",
    };
    Fault::at(body, node.start(), format_args!("`{}` is {found}, not an object", path.join(".")))
}

/// Appends a property to an object.
fn insert(body: &str, object: &ast::Object, key: &str, new: &New, style: &Style) -> String {
    let Some(last) = object.properties.last() else { return insert_first(body, object, key, new, style) };
    let before = match object.properties.iter().rev().nth(1) {
        Some(previous) => previous.end(),
        None => object.start(),
    };
    // What stands between the brace or comma and the last property stands before the new one too, less blank lines.
    let gap = &body[before..last.start()];
    let gap = &gap[gap.find(['{', ',']).map_or(0, |i| i + 1)..];
    let separator = match gap.rfind(['\n', '\r']) {
        Some(i) => format!("{}{}", style.newline, &gap[i + 1..]),
        None if gap.is_empty() && style.spaced() => " ".to_owned(),
        None => gap.to_owned(),
    };
    let indent = gap.rfind(['\n', '\r']).map(|i| &gap[i + 1..]);
    let property = style.property(key, &new.render(style, indent));
    splice(body, last.end()..last.end(), &format!(",{separator}{property}"))
}

fn insert_first(body: &str, object: &ast::Object, key: &str, new: &New, style: &Style) -> String {
    let inside = object.start() + 1..object.end() - 1;
    if !style.multiline {
        return splice(body, inside, &style.property(key, &new.render(style, None)));
    }
    let outer = indent_of_line(body, object.start());
    let indent = format!("{outer}{}", style.unit);
    let property = style.property(key, &new.render(style, Some(&indent)));
    let rest = &body[inside.clone()];
    let closing =
        if rest.contains(['\n', '\r']) { rest.to_owned() } else { format!("{}{outer}", style.newline) };
    splice(body, inside, &format!("{}{indent}{property}{closing}", style.newline))
}

/// Removes every property of that name: an earlier one would count once the last is gone.
fn remove(body: &str, path: &[String]) -> Result<String, Fault> {
    let unchanged = Ok(body.to_owned());
    let Some((last, parents)) = path.split_last() else { return unchanged };
    let Some(root) = tree(body)? else { return unchanged };
    let mut object = &root;
    for key in parents {
        match find(object, key).map(|prop| &prop.value) {
            Some(Node::Object(inner)) => object = inner,
            _ => return unchanged,
        }
    }
    let properties = &object.properties;
    let Some(at) = properties.iter().rposition(|prop| prop.name.as_str() == last) else { return unchanged };
    let gone = match (at, properties.get(at + 1)) {
        (0, None) => object.start() + 1..object.end() - 1,
        (0, Some(next)) => properties[0].start()..next.start(),
        (_, _) => properties[at - 1].end()..properties[at].end(),
    };
    remove(&splice(body, gone, ""), path)
}

/// How the file is written.
struct Style {
    newline: &'static str,
    /// One level of indentation.
    unit: String,
    /// What stands between a key and its value.
    colon: String,
    multiline: bool,
}

impl Style {
    fn of(body: &str, root: &ast::Object) -> Style {
        let newline = match body {
            _ if body.contains("\r\n") => "\r\n",
            _ if !body.contains('\n') && body.contains('\r') => "\r",
            _ => "\n",
        };
        let first = root.properties.first();
        let indent = first.map(|prop| indent_of_line(body, prop.start())).filter(|indent| !indent.is_empty());
        let colon = root.properties.last().map(|prop| &body[prop.name.end()..prop.value.start()]);
        Style {
            newline,
            unit: indent.unwrap_or("  ").to_owned(),
            colon: colon.filter(|colon| !colon.contains(['\n', '\r'])).unwrap_or(": ").to_owned(),
            multiline: first.is_none() || body.trim().contains(['\n', '\r']),
        }
    }

    fn spaced(&self) -> bool {
        self.colon.ends_with([' ', '\t'])
    }

    fn property(&self, key: &str, value: &str) -> String {
        format!("{}{}{value}", quoted(key), self.colon)
    }

    /// With an indentation: objects, and lists of objects or lists, on lines of their own. Without: on one line.
    fn render(&self, value: &Value, indent: Option<&str>) -> String {
        let inner = indent.map(|indent| format!("{indent}{}", self.unit));
        match value {
            Value::Object(map) if !map.is_empty() => {
                let parts = map.iter().map(|(key, v)| self.property(key, &self.render(v, inner.as_deref())));
                self.wrap('{', parts.collect(), '}', indent)
            }
            Value::Array(list) if list.iter().any(|v| v.is_object() || v.is_array()) => {
                let parts = list.iter().map(|v| self.render(v, inner.as_deref()));
                self.wrap('[', parts.collect(), ']', indent)
            }
            Value::Array(list) => {
                let parts = list.iter().map(|v| self.render(v, None));
                self.wrap('[', parts.collect(), ']', None)
            }
            scalar => scalar.to_string(),
        }
    }

    fn wrap(&self, open: char, parts: Vec<String>, close: char, indent: Option<&str>) -> String {
        match indent {
            Some(indent) => {
                let line = format!("{}{indent}", self.newline);
                let parts = parts.join(&format!(",{line}{}", self.unit));
                format!("{open}{line}{}{parts}{line}{close}", self.unit)
            }
            None => format!("{open}{}{close}", parts.join(if self.spaced() { ", " } else { "," })),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The white space that begins the line of `offset`.
fn indent_of_line(body: &str, offset: usize) -> &str {
    let start = body[..offset].rfind(['\n', '\r']).map_or(0, |i| i + 1);
    let end = body[start..].find(|c| c != ' ' && c != '\t').map_or(body.len(), |i| start + i);
    &body[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(dotted: &str) -> KeyPath {
        dotted.split('.').map(str::to_owned).collect()
    }

    fn edited(text: &str, key: &str, value: Option<Value>) -> String {
        let bytes = edit(text.as_bytes(), &[(path(key), value)]).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_file_is_read_as_dockerd_reads_it() {
        let cases: &[(&str, Value)] = &[
            ("", json!({})),
            (" \r\n\t", json!({})),
            ("\u{feff}", json!({})),
            ("null", json!({})),
            ("{}", json!({})),
            ("\u{feff}{\"a\": 1}", json!({"a": 1})),
            (
                "{\r\n\t\"a\": [true, null],\r\n\t\"b\": \"\\u00e9\"\r\n}",
                json!({"a": [true, null], "b": "é"}),
            ),
            (r#"{"a": 1, "b": 2, "a": 3}"#, json!({"a": 3, "b": 2})),
            (r#"{"a": 18446744073709551615}"#, json!({"a": u64::MAX})),
        ];
        for (text, expected) in cases {
            assert_eq!(Value::Object(read(text.as_bytes()).unwrap()), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_dockerd_refuses_is_refused_with_line_column_and_reason() {
        let cases: &[(&[u8], usize, usize, &str)] = &[
            (b"{\n  \"a\": 1,\n}\n", 3, 1, "trailing comma"),
            (b"{\n  // no\n  \"a\": 1\n}", 2, 3, "comments are not JSON"),
            (b"# no\n{}", 1, 1, "comments are not JSON"),
            (b"{\"a\": 1} x", 1, 10, "trailing characters"),
            (b"{\"a\": 1}\n{}", 2, 1, "trailing characters"),
            ("{\n  \u{201c}a\u{201d}: 1}".as_bytes(), 2, 3, "texts stand in straight double quotes"),
            (b"{'a': 1}", 1, 2, "texts stand in straight double quotes"),
            (b"{\"a\" 1}", 1, 6, "expected `:`"),
            (b"{\"a\": 1 \"b\": 2}", 1, 9, "expected `,` or `}`"),
            (b"{\"a\": \"x\ty\"}", 1, 9, "control character (\\u0000-\\u001F) found while parsing a string"),
            (b"{\"a\": 01}", 1, 8, "invalid number"),
            (b"{\"a\": 1\n", 1, 8, "EOF while parsing an object"),
            (b"\n [1]", 2, 2, "expected an object, found a list"),
            (b"\"x\"", 1, 1, "expected an object, found a text"),
            (b"{\n\"a\": \"\xe9\"}", 2, 7, "this is not UTF-8"),
            (
                b"\xff\xfe{\0}\0",
                1,
                1,
                "the file is UTF-16; convert it to UTF-8 with `iconv -f UTF-16 -t UTF-8`",
            ),
        ];
        for (text, line, column, why) in cases {
            let fault = read(text).unwrap_err();
            let shown = String::from_utf8_lossy(text);
            assert_eq!((fault.line, fault.column, fault.why.as_str()), (*line, *column, *why), "{shown:?}");
            assert_eq!(edit(text, &[(path("a"), Some(json!(2)))]).unwrap_err(), fault, "{shown:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(deep.as_bytes()).unwrap_err().why, "recursion limit exceeded");
    }

    #[test]
    fn a_fault_shows_its_line_and_a_caret() {
        let error = read(b"{\n\t\"a\": trie\n}").unwrap_err().into_error("/etc/docker/daemon.json");
        assert_eq!(
            error.to_string(),
            "cannot use `/etc/docker/daemon.json`: line 2, column 9: this is neither `true` nor `false` nor `null`\n  | \t\"a\": trie\n  | \t       ^"
        );
    }

    #[test]
    fn a_new_key_comes_last_in_the_style_of_the_file_and_goes_without_a_trace() {
        let cases = [
            ("{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\n  \"n\": {\n    \"x\": \"y\"\n  }\n}\n"),
            ("{\n    \"a\": 1\n}", "{\n    \"a\": 1,\n    \"n\": {\n        \"x\": \"y\"\n    }\n}"),
            (
                "{\r\n\t\"a\": 1\r\n}\r\n",
                "{\r\n\t\"a\": 1,\r\n\t\"n\": {\r\n\t\t\"x\": \"y\"\r\n\t}\r\n}\r\n",
            ),
            ("{\r\"a\": 1\r}", "{\r\"a\": 1,\r\"n\": {\r  \"x\": \"y\"\r}\r}"),
            ("\u{feff}{\n \"a\": 1\n}", "\u{feff}{\n \"a\": 1,\n \"n\": {\n  \"x\": \"y\"\n }\n}"),
            ("{\"a\":1}", "{\"a\":1,\"n\":{\"x\":\"y\"}}"),
            ("{\"a\": 1}\n", "{\"a\": 1, \"n\": {\"x\": \"y\"}}\n"),
            ("{ \"a\" : 1 , \"b\":2 }", "{ \"a\" : 1 , \"b\":2, \"n\":{\"x\":\"y\"} }"),
            ("{\"a\":1,\n\"b\":2}", "{\"a\":1,\n\"b\":2,\n\"n\":{\n  \"x\":\"y\"\n}}"),
            (
                "\n\n{\n  \"a\": 1,\n\n  \"b\": [1,\n2]\n\n}\n\n",
                "\n\n{\n  \"a\": 1,\n\n  \"b\": [1,\n2],\n  \"n\": {\n    \"x\": \"y\"\n  }\n\n}\n\n",
            ),
            ("{}", "{\n  \"n\": {\n    \"x\": \"y\"\n  }\n}"),
            ("{}\n", "{\n  \"n\": {\n    \"x\": \"y\"\n  }\n}\n"),
        ];
        for (text, expected) in cases {
            let with = edited(text, "n", Some(json!({"x": "y"})));
            assert_eq!(with, expected, "{text:?}");
            assert_eq!(edited(&with, "n", None), text, "{text:?}");
            let inner = edited(text, "n.x", Some(json!("y")));
            assert_eq!(inner, expected, "{text:?}, key by key");
        }
    }

    #[test]
    fn an_absent_or_empty_file_gets_two_spaces_and_a_final_newline() {
        for text in ["", "\n", "null\n"] {
            assert_eq!(
                edited(text, "a", Some(json!(["x", {"y": []}]))),
                "{\n  \"a\": [\n    \"x\",\n    {\n      \"y\": []\n    }\n  ]\n}\n"
            );
        }
    }

    #[test]
    fn a_key_is_set_and_removed_where_it_lies_and_nothing_else_moves() {
        let cases = [
            ("{ }", "a", Some(json!(1)), "{\n  \"a\": 1\n}"),
            ("{\n}", "a", Some(json!(1)), "{\n  \"a\": 1\n}"),
            (
                "{\n  \"a\" : 1.50,\n  \"b\": 2\n}",
                "b",
                Some(json!([1, "x"])),
                "{\n  \"a\" : 1.50,\n  \"b\": [1, \"x\"]\n}",
            ),
            ("{\"a\": 1e2, \"b\": 2}", "a", Some(json!({"x": 1})), "{\"a\": {\"x\": 1}, \"b\": 2}"),
            // Written otherwise, but the same: left alone.
            (
                "{\"a\":{ \"y\":\t2,\"x\":1 }}",
                "a",
                Some(json!({"x": 1, "y": 2})),
                "{\"a\":{ \"y\":\t2,\"x\":1 }}",
            ),
            // A number of any size stays as it is written.
            (
                "{\"a\":123456789012345678901234567890}",
                "b",
                Some(json!(1)),
                "{\"a\":123456789012345678901234567890,\"b\":1}",
            ),
            (
                "{\n  \"o\": {\n    \"x\": 1\n  }\n}",
                "o.y",
                Some(json!(2)),
                "{\n  \"o\": {\n    \"x\": 1,\n    \"y\": 2\n  }\n}",
            ),
            ("{\n  \"o\": {}\n}", "o.y", Some(json!(2)), "{\n  \"o\": {\n    \"y\": 2\n  }\n}"),
            ("{\n  \"o\": null\n}", "o.y", Some(json!(2)), "{\n  \"o\": {\n    \"y\": 2\n  }\n}"),
            ("{\"a\": 1, \"b\": 2, \"c\": 3}", "a", None, "{\"b\": 2, \"c\": 3}"),
            ("{\"a\": 1, \"b\": 2, \"c\": 3}", "b", None, "{\"a\": 1, \"c\": 3}"),
            ("{\"a\": 1 , \"b\": 2 , \"c\": 3 }", "c", None, "{\"a\": 1 , \"b\": 2 }"),
            ("{\n  \"a\": 1\n}\n", "a", None, "{}\n"),
            ("{\"a\": 1}", "x.y", None, "{\"a\": 1}"),
            // Of a key that occurs twice the last counts; removing it removes both.
            ("{\"a\": 1, \"b\": 2, \"a\": 3}", "a", Some(json!(4)), "{\"a\": 1, \"b\": 2, \"a\": 4}"),
            ("{\"a\": 1, \"b\": 2, \"a\": 3}", "a", None, "{\"b\": 2}"),
            ("{\"\\u0061\": 1}", "a", Some(json!(2)), "{\"\\u0061\": 2}"),
        ];
        for (text, key, value, expected) in cases {
            assert_eq!(edited(text, key, value), expected, "{text:?} {key}");
        }
    }

    #[test]
    fn a_parent_that_is_not_an_object_is_refused_where_it_stands() {
        let fault = edit(b"{\n  \"o\": [1]\n}", &[(path("o.x"), Some(json!(1)))]).unwrap_err();
        assert_eq!((fault.line, fault.column, fault.why.as_str()), (2, 8, "`o` is a list, not an object"));
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let text = br#"{"o": {"p": {"q": [1]}}, "s": "x"}"#;
        for (key, expected) in
            [("o.p.q", Some(json!([1]))), ("o.p", Some(json!({"q": [1]}))), ("s.x", None), ("none", None)]
        {
            assert_eq!(get(text, &path(key)).unwrap(), expected, "{key}");
        }
        assert_eq!(raw(br#"{"n": 1e+02 }"#, &path("n")).unwrap(), Some("1e+02"));
    }
}
