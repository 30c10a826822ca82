//! What a pasted error text means: ordered patterns, each with its cause and what mends it, whoever's terminal broke the lines.

use serde::Deserialize;
use std::sync::LazyLock;

/// A row of texts.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The check, or the name of a cause that no check can see.
    pub id: String,
    /// Parts of the text, in this order, with anything between; `|` parts one way of saying it from another.
    pub text: Vec<String>,
    pub says: String,
    pub mend: String,
}

#[derive(Debug, Deserialize)]
struct Texts {
    cause: Vec<Cause>,
}

static TEXTS: LazyLock<Texts> = LazyLock::new(|| {
    toml::from_str(include_str!("texts.toml")).expect("a test reads the texts that are compiled in")
});

pub fn causes() -> &'static [Cause] {
    &TEXTS.cause
}

/// Without white space, quotes' escapes and case: a terminal breaks lines in the middle of words.
fn squeezed(text: &str) -> String {
    let text = text.replace("\\\"", "\"").replace(['│', '┃'], "");
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// Whether the parts of one way occur in the text, one behind the other.
fn occurs(parts: &str, text: &str) -> bool {
    let mut rest = text;
    for part in parts.split("...") {
        let part = squeezed(part);
        match rest.find(&part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The first cause whose text occurs.
pub fn first(text: &str) -> Option<&'static Cause> {
    let text = squeezed(text);
    causes().iter().find(|cause| cause.text.iter().any(|way| occurs(way, &text)))
}

/// The causes whose texts are most like this one: for a text that is unknown.
pub fn nearest(text: &str) -> Vec<&'static Cause> {
    let words: Vec<String> = words(text);
    let mut scored: Vec<(usize, &Cause)> = causes()
        .iter()
        .map(|cause| {
            let score = |way: &String| self::words(way).iter().filter(|word| words.contains(word)).count();
            (cause.text.iter().map(score).max().unwrap_or_default(), cause)
        })
        .filter(|(score, _)| *score >= 2)
        .collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let mut nearest: Vec<&Cause> = Vec::new();
    for (_, cause) in scored {
        if nearest.len() < 3 && nearest.iter().all(|known| known.id != cause.id) {
            nearest.push(cause);
        }
    }
    nearest
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3);
    words.map(str::to_lowercase).collect()
}
