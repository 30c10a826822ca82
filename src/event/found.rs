//! What is wrong, in the words that people and programs get of it, whoever looked.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Works, and will not for ever or not for everyone.
    Warn,
    /// Works in part.
    Degraded,
    /// Docker cannot be used.
    Block,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Degraded => "degraded",
            Severity::Block => "block",
        }
    }
}

/// Who makes a fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// `doctor --fix` makes it at once: nothing restarts, nothing is granted, nothing is removed.
    Made,
    /// `doctor --fix` asks before it makes it.
    Asked,
    /// A person has to do it.
    Told,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub id: &'static str,
    pub severity: Severity,
    pub cause: String,
    pub evidence: Vec<String>,
    /// A line of a file with a mark under it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<String>,
    pub fix: Mend,
    /// What was found too, and follows from this.
    pub consequences: Vec<&'static str>,
    /// Where upstream speaks of it.
    pub reference: Option<&'static str>,
}

/// What mends it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mend {
    pub class: Class,
    pub text: String,
    /// What a person would type; may be none.
    pub commands: Vec<String>,
}

impl Mend {
    /// In one line, for a hint.
    pub fn hint(&self) -> String {
        match self.commands.first() {
            Some(command) => format!("{}: {command}", self.text),
            None => self.text.clone(),
        }
    }
}
