//! Reads a TOML file into a form, and says of a mistake where it is and what was expected there.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// How alike two names are, of 1, before one is offered for the other.
const ALIKE: f64 = 0.6;

/// A file's name, for people, and its text.
#[derive(Clone, Debug)]
pub struct Document {
    pub file: String,
    text: String,
}

impl Document {
    /// A byte order mark is no part of TOML, but an editor's habit.
    pub fn new(file: impl Into<String>, text: &str) -> Self {
        Document { file: file.into(), text: text.trim_start_matches('\u{feff}').to_owned() }
    }

    /// The file as a form; a mistake is exit 2, with file, line and column.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let table = DeTable::parse(&self.text).map_err(|e| self.syntax(&e))?;
        T::deserialize(Deserializer::from(table)).map_err(|e| self.mistake(&e, e.span()))
    }

    /// The file laid over another: tables are merged, anything else replaces what it lies on.
    ///
    /// It is parsed behind as many blanks as the other is long, so that a position tells the file.
    pub fn read_over<T: DeserializeOwned>(&self, base: &Document) -> Result<T> {
        let shift = base.text.len();
        let shifted = format!("{:shift$}{}", "", self.text);
        let mut table = DeTable::parse(&base.text).map_err(|e| base.syntax(&e))?;
        let over = DeTable::parse(&shifted).map_err(|_| match DeTable::parse(&self.text) {
            Err(e) => self.syntax(&e),
            Ok(_) => wrong(&self.file, "it is no TOML"),
        })?;
        lay(table.get_mut(), over.into_inner());
        let merged = Spanned::new(shift..shifted.len(), table.into_inner());
        T::deserialize(Deserializer::from(merged)).map_err(|e| match e.span() {
            Some(span) if span.start < shift && lacks(&e) => wrong(&self.file, lacking(&e)),
            Some(span) if span.start < shift => base.mistake(&e, Some(span)),
            span => self.mistake(&e, span.map(|s| s.start - shift..s.end - shift)),
        })
    }

    /// The text at a key of the top level, where the file is TOML and has it.
    pub fn text_at(&self, key: &str) -> Option<String> {
        let table = DeTable::parse(&self.text).ok()?;
        table.get_ref().get(key)?.get_ref().as_str().map(str::to_owned)
    }

    /// A mistake in the value with these keys; in the file as a whole where it is not there.
    pub fn wrong_at(&self, keys: &[&str], reason: impl Display) -> Error {
        match self.span_of(keys) {
            Some(span) => wrong(&self.place(span.start), reason),
            None => wrong(&self.file, reason),
        }
    }

    fn span_of(&self, keys: &[&str]) -> Option<Range<usize>> {
        let table = DeTable::parse(&self.text).ok()?;
        let (first, rest) = keys.split_first()?;
        let mut value = table.get_ref().get(*first)?;
        for key in rest {
            value = value.get_ref().get(*key)?;
        }
        Some(value.span())
    }

    fn syntax(&self, error: &toml::de::Error) -> Error {
        self.mistake(error, error.span())
    }

    fn mistake(&self, error: &toml::de::Error, span: Option<Range<usize>>) -> Error {
        let place = span.map_or_else(|| self.file.clone(), |span| self.place(span.start));
        wrong(&place, short(error.message()))
    }

    /// `FILE:LINE:COLUMN` of a byte.
    fn place(&self, byte: usize) -> String {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        format!("{}:{line}:{column}", self.file)
    }
}

fn wrong(place: &str, reason: impl Display) -> Error {
    Error::usage(format!("cannot use `{place}`")).because(reason)
}

/// Something is not there: a file that others are laid over is not to blame for that.
fn lacks(error: &toml::de::Error) -> bool {
    error.message().starts_with("missing field")
}

/// What is not there, and in which table; the table's name is only in what is displayed.
fn lacking(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lays a table over another.
fn lay<'i>(below: &mut DeTable<'i>, over: DeTable<'i>) {
    for (key, value) in over {
        // Removed first: a map keeps the key that it has, and with it the position in the other file.
        let before = below.remove(&key);
        let span = value.span();
        let merged = match (before.map(Spanned::into_inner), value.into_inner()) {
            (Some(DeValue::Table(mut before)), DeValue::Table(value)) => {
                lay(&mut before, value);
                DeValue::Table(before)
            }
            (_, value) => value,
        };
        below.insert(key, Spanned::new(span, merged));
    }
}

/// What serde says of an unknown name, with the name that was probably meant instead of all of them.
fn short(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join("; ");
    let names: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    match names.split_first() {
        Some((given, known)) if line.starts_with("unknown ") => match nearest(given, known.iter().copied()) {
            Some(meant) => format!("{}`{given}`, expected `{meant}`", before_tick(&line)),
            None => line,
        },
        _ => line,
    }
}

fn before_tick(line: &str) -> &str {
    line.split('`').next().unwrap_or(line)
}

/// The known name that is most like the given one, if any is.
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        title: String,
        numbers: Vec<u8>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        names: BTreeMap<String, String>,
        #[serde(default)]
        flag: bool,
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_was_expected() {
        let cases = [
            ("title = \"a\"\nnumbers = [1, \"x\"]", "f.toml:2:15", "invalid type: string \"x\", expected u8"),
            ("titel = \"a\"\nnumbers = []", "f.toml:1:1", "unknown field `titel`, expected `title`"),
            ("title = \"a\"\n  colour = 1", "f.toml:2:3", "unknown field `colour`, expected one of `title`"),
            ("title = \"a\"", "f.toml:1:1", "missing field `numbers`"),
            ("title = \"ä\" numbers", "f.toml:1:13", "unexpected key or value, expected newline, `#`"),
            ("title = \"a\"\nnumbers = []\n[inner]\nflga = true", "f.toml:4:1", "expected `flag`"),
        ];
        for (text, place, reason) in cases {
            let error = Document::new("f.toml", text).read::<Form>().expect_err(text);
            assert_eq!(error.exit, Exit::Usage);
            assert_eq!(error.what(), format!("cannot use `{place}`"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_file_over_another_merges_tables_and_replaces_the_rest() {
        let base = Document::new(
            "base.toml",
            "title = \"base\"\nnumbers = [1, 2]\n[inner]\nflag = true\n[inner.names]\na = \"1\"\nb = \"2\"\n",
        );
        let over = Document::new("own.toml", "\u{feff}numbers = [3]\n[inner.names]\nb = \"3\"\n");
        let form: Form = over.read_over(&base).expect("reads");
        assert_eq!((form.title.as_str(), form.numbers.as_slice()), ("base", [3].as_slice()));
        let inner = form.inner.expect("is there");
        assert!(inner.flag);
        assert_eq!(Vec::from_iter(inner.names.values()), ["1", "3"]);
    }

    #[test]
    fn a_mistake_below_another_file_is_told_in_the_file_that_made_it() {
        let good = "title = \"base\"\nnumbers = [1]\n";
        let cases = [
            ("title = 1\nnumbers = [1]\n", "# own\n", "base.toml:1:9"),
            (good, "# own\n\nnumbers = [\"x\"]\n", "own.toml:3:12"),
            (good, "numbesr = []\n", "own.toml:1:1"),
            (good, "numbers = [\n", "own.toml:1:12"),
            ("= 1", "", "base.toml:1:1"),
            ("title = \"base\"", "\n", "own.toml:1:1"),
            ("title = \"base\"\nnumbers = []\n[inner]\nflag = true", "\n", "own.toml"),
        ];
        for (base, own, place) in cases {
            let base = Document::new("base.toml", base);
            let error = Document::new("own.toml", own).read_over::<Form>(&base).expect_err(place);
            assert_eq!(error.what(), format!("cannot use `{place}`"), "{error}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let known = ["users", "version", "wait"];
        assert_eq!(nearest("verison", known), Some("version"));
        assert_eq!(nearest("user", known), Some("users"));
        assert_eq!(nearest("colour", known), None);
    }
}
