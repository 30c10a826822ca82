//! What a run tells while it goes on: one stream, drawn by the terminal, by `--json` and by the journal.

mod found;

pub use found::{Class, Found, Mend, Severity};

use serde::Serialize;

/// One event. Its JSON form is a contract (`docs/json.md`): names stay, fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins.
    Started { version: String, verb: String, host: String },
    /// What would change, or will: one for the whole plan.
    Plan { steps: Vec<PlannedStep> },
    /// A step begins.
    Step { title: String, number: usize, of: usize },
    /// A change was made and looked at.
    Changed { step: String, lines: Vec<Line> },
    /// A command is run; its output goes to the log.
    Command { argv: Vec<String> },
    /// How far the package manager is, or a bundle that is written, in percent.
    Progress { percent: f64, text: String },
    /// Something holds us up, and is waited for.
    Waiting { waiting_for: String, left_s: u64 },
    /// Something that a person should know.
    Note { text: String },
    /// What undo did with one change: `restored`, `already as before`, `changed since`, `kept`; simulated: `to restore`;
    /// what status found: `drifted`.
    Undone { step: String, answer: String, lines: Vec<Line>, why: Option<String> },
    /// What is wrong: before an install, after it, or where a receipt no longer holds.
    Finding(Found),
    /// One question of the verification or the smoke test.
    Check { id: String, ok: bool, text: String },
    /// What could not be done; the last but one of a run that fails.
    Error {
        what: String,
        because: Vec<String>,
        output: Vec<String>,
        hint: Option<String>,
        log: Option<String>,
    },
    /// The last event of every run.
    Finished { exit: i32, changes: usize, seconds: f64, log: Option<String>, receipt: Option<String> },
}

/// A step of the plan with the changes that it makes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStep {
    pub title: String,
    pub lines: Vec<Line>,
    /// What follows for units that run: `docker.service restarts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

/// One line of a plan: made from a change, never worded twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub sign: Sign,
    /// The kind of resource: `file`, `package`, `unit`, …
    pub kind: &'static str,
    /// What changes: a path, a package, a unit, a user.
    pub name: String,
    /// From what to what.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    Add,
    Remove,
    Change,
}

impl Sign {
    pub fn glyph(self) -> char {
        match self {
            Sign::Add => '+',
            Sign::Remove => '-',
            Sign::Change => '~',
        }
    }
}

impl Line {
    pub fn add(kind: &'static str, name: impl Into<String>, text: impl Into<String>) -> Self {
        Line { sign: Sign::Add, kind, name: name.into(), text: text.into() }
    }
    pub fn remove(kind: &'static str, name: impl Into<String>, text: impl Into<String>) -> Self {
        Line { sign: Sign::Remove, kind, name: name.into(), text: text.into() }
    }
    pub fn change(kind: &'static str, name: impl Into<String>, text: impl Into<String>) -> Self {
        Line { sign: Sign::Change, kind, name: name.into(), text: text.into() }
    }
    /// The same line for the way back.
    pub fn sign(mut self, sign: Sign) -> Self {
        self.sign = sign;
        self
    }
}
