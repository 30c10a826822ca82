//! What could not be done, to what, because of what, and what to do next.

use std::fmt;

/// The exit codes of the contract; every error carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to do, or healthy. No error carries it.
    Done = 0,
    /// Something failed, or the host moved under the plan.
    Failed = 1,
    /// The command line, the configuration or a profile is wrong.
    Usage = 2,
    /// There is a difference: drift, findings, a plan that is not empty.
    Difference = 3,
    /// This host, a key or a content that is not what was signed is refused.
    Refused = 4,
    /// Nothing is wrong, try again: a lock, the network, a mirror in mid-sync.
    TryAgain = 5,
    /// Done, but a reboot is needed to finish.
    Reboot = 6,
    /// Interrupted by a signal; the receipt is whole.
    Interrupted = 130,
}

/// One error, built where it is known and printed once, in `main`.
#[derive(Clone, Debug)]
pub struct Error {
    pub exit: Exit,
    /// What was asked for is not there: the server says 404 or 410.
    pub absent: bool,
    /// What may mend it by itself and is worth a wait, such as "the clock".
    pub waits_for: Option<&'static str>,
    what: String,
    because: Vec<String>,
    tail: Vec<String>,
    hint: Option<String>,
}

pub type Result<T> = std::result::Result<T, Error>;

/// How many lines of a command's own error are shown.
const TAIL_LINES: usize = 12;

impl Error {
    pub fn new(exit: Exit, what: impl fmt::Display) -> Self {
        Error {
            exit,
            absent: false,
            waits_for: None,
            what: what.to_string(),
            because: Vec::new(),
            tail: Vec::new(),
            hint: None,
        }
    }
    pub fn failed(what: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, what)
    }
    pub fn usage(what: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, what)
    }
    pub fn refused(what: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, what)
    }
    pub fn try_again(what: impl fmt::Display) -> Self {
        Self::new(Exit::TryAgain, what)
    }
    /// A signal asked to end; the receipt is whole.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted after the change in hand")
            .hint("run the same command again: it goes on from there")
    }
    /// What was asked for is not there.
    pub fn absent(mut self) -> Self {
        self.absent = true;
        self
    }
    /// The same, but no other try would do better.
    pub fn for_good(mut self) -> Self {
        self.exit = Exit::Refused;
        self
    }
    /// Waiting may mend it: for what.
    pub fn waits_for(mut self, what: &'static str) -> Self {
        self.waits_for = Some(what);
        self
    }
    /// Why it could not be done; several reasons are told in order.
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        self.because.push(reason.to_string());
        self
    }
    /// The last lines of a command's own error.
    pub fn tail(mut self, output: &str) -> Self {
        let lines: Vec<&str> = output.lines().filter(|l| !l.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        self.tail = lines[from..].iter().map(|l| l.trim_end().to_owned()).collect();
        self
    }
    /// The next command to run or the next thing to do.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
    /// The same, where nobody knew a better one.
    pub fn or_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint.get_or_insert_with(|| hint.to_string());
        self
    }
    /// The first line alone: what could not be done.
    pub fn what(&self) -> &str {
        &self.what
    }
    pub fn reasons(&self) -> &[String] {
        &self.because
    }
    pub fn output(&self) -> &[String] {
        &self.tail
    }
    pub fn next(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for reason in &self.because {
            write!(f, ": {reason}")?;
        }
        for line in &self.tail {
            write!(f, "\n  | {line}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Turns any library's error into ours, with the sentence of what could not be done.
pub trait OrFail<T> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::failed(what()).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_what_because_and_hint() {
        let error = Error::refused("cannot use `https://a/b`")
            .because("key is wrong")
            .tail("one\n\ntwo\n")
            .hint("rprov facts");
        assert_eq!(
            error.to_string(),
            "cannot use `https://a/b`: key is wrong\n  | one\n  | two\nhint: rprov facts"
        );
        assert_eq!(error.exit as i32, 4);
    }
}
