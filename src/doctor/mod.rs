//! What is wrong with a Docker host, why, and what mends it: a table of checks, and the report that they come to.

mod case;
mod config;
mod daemon;
pub mod drift;
mod endpoint;
pub mod explain;
mod gpu;
mod home;
mod moments;
mod network;
mod permission;
mod processes;
mod references;
mod report;
mod repository;
mod socket;
mod storage;
mod subject;
mod table;
#[cfg(test)]
mod tests;
mod users;

pub use crate::event::{Class, Severity};
pub use case::{Case, DAEMON_JSON, Flag, Who};
pub use moments::{AFTER, BEFORE, OF_A_USER};
pub use references::of as reference;
pub use report::Report;
pub use table::document;

use crate::error::{Error, Result};
use crate::event::Mend;
use crate::resources::AnyWant;
use crate::resources::consequence::Consequence;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who can look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    Anyone,
    Root,
}

/// A question with a stable id.
pub struct Check {
    pub id: &'static str,
    /// As bad as a finding can be; one may be less.
    pub severity: Severity,
    pub asks: &'static str,
    pub privilege: Privilege,
    /// What explains a finding of this check, where it is found too.
    pub depends_on: &'static [&'static str],
    look: fn(&Case) -> Result<Answer>,
}

/// A row of the table, for anyone and by itself.
const fn check(
    id: &'static str,
    severity: Severity,
    asks: &'static str,
    look: fn(&Case) -> Result<Answer>,
) -> Check {
    Check { id, severity, asks, privilege: Privilege::Anyone, depends_on: &[], look }
}

impl Check {
    const fn under(mut self, ids: &'static [&'static str]) -> Check {
        self.depends_on = ids;
        self
    }
    const fn root(mut self) -> Check {
        self.privilege = Privilege::Root;
        self
    }

    /// A check that crashes or cannot look has an answer as well, and takes no other along.
    fn ask(&'static self, case: &Case) -> Answer {
        let case = &case.about(self);
        match catch_unwind(AssertUnwindSafe(|| (self.look)(case))) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Unknown(words(&error)),
            Err(_) => Answer::Unknown("the check itself crashed: that is a defect of rprov".into()),
        }
    }
}

fn words(error: &Error) -> String {
    let mut words = error.what().to_owned();
    for reason in error.reasons() {
        words.push_str(": ");
        words.push_str(reason);
    }
    words
}

/// What a check says. What could not be looked at is never fine.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Fine,
    Finding(Box<Finding>),
    Unknown(String),
}

/// What is wrong, how that is seen, and what mends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Less than the check's own, where the harm is less.
    pub severity: Option<Severity>,
    pub cause: String,
    pub evidence: Vec<String>,
    /// A line of a file with a mark under it.
    pub excerpt: Vec<String>,
    pub fix: Fix,
}

impl Finding {
    fn new(cause: impl Into<String>, fix: Fix) -> Finding {
        Finding { severity: None, cause: cause.into(), evidence: Vec::new(), excerpt: Vec::new(), fix }
    }
    fn saw(mut self, evidence: impl Into<String>) -> Finding {
        self.evidence.push(evidence.into());
        self
    }
    fn all(mut self, evidence: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(evidence);
        self
    }
    fn only(mut self, severity: Severity) -> Finding {
        self.severity = Some(severity);
        self
    }
}

impl From<Finding> for Answer {
    fn from(finding: Finding) -> Answer {
        Answer::Finding(Box::new(finding))
    }
}

/// Wanted states, and the same in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Fix {
    pub words: Mend,
    pub wants: Vec<AnyWant>,
    pub then: Vec<Consequence>,
    /// It lets a user use docker: only with that user's name on the command line.
    pub grants: bool,
}

impl Fix {
    fn of(class: Class, text: String, wants: Vec<AnyWant>) -> Fix {
        let words = Mend { class, text, commands: Vec::new() };
        Fix { words, wants, then: Vec::new(), grants: false }
    }
    fn told(text: impl Into<String>) -> Fix {
        Fix::of(Class::Told, text.into(), Vec::new())
    }
    fn made(text: impl Into<String>, wants: Vec<AnyWant>) -> Fix {
        Fix::of(Class::Made, text.into(), wants)
    }
    fn asked(text: impl Into<String>, wants: Vec<AnyWant>) -> Fix {
        Fix::of(Class::Asked, text.into(), wants)
    }
    fn types(mut self, command: impl Into<String>) -> Fix {
        self.words.commands.push(command.into());
        self
    }
    fn then(mut self, consequence: Consequence) -> Fix {
        self.then.push(consequence);
        self
    }
}

/// The table: each theme's title and its checks.
const THEMES: [(&str, &[Check]); 8] = [
    ("Permission and endpoint", permission::CHECKS),
    ("Users and rootless engines", users::CHECKS),
    ("The engine and its units", daemon::CHECKS),
    ("daemon.json", config::CHECKS),
    ("Network", network::CHECKS),
    ("Storage, kernel and limits", storage::CHECKS),
    ("Clock, packages and sources", repository::CHECKS),
    ("NVIDIA's cards", gpu::CHECKS),
];

/// All checks, theme by theme.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    THEMES.iter().flat_map(|(_, checks)| *checks)
}

/// The checks of these ids; all without any.
///
/// # Errors
/// An id that is none: exit 2, with the nearest one.
pub fn chosen<S: AsRef<str>>(only: &[S]) -> Result<Vec<&'static Check>> {
    if let Some(unknown) = only.iter().map(S::as_ref).find(|id| checks().all(|check| check.id != *id)) {
        let nearest = checks().max_by(|a, b| {
            let alike = |check: &Check| strsim::jaro_winkler(check.id, unknown);
            alike(a).total_cmp(&alike(b))
        });
        return Err(Error::usage(format!("there is no check `{unknown}`"))
            .because(format!("the nearest is `{}`", nearest.map_or("", |check| check.id)))
            .hint("rprov doctor --list"));
    }
    Ok(checks().filter(|check| only.is_empty() || only.iter().any(|id| id.as_ref() == check.id)).collect())
}

/// Asks the checks and folds what follows from something else under it.
pub fn examine<S: AsRef<str>>(case: &Case, only: &[S]) -> Result<Report> {
    let chosen = chosen(only)?;
    // What a crash says is in its answer; a trace on the terminal would bury the findings.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answers = chosen.into_iter().map(|check| (check, check.ask(case))).collect();
    std::panic::set_hook(loud);
    Ok(report::fold(case, answers))
}
