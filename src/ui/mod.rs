//! Draws the events of a run: for a terminal, as lines for a log, or as JSON lines.

pub mod bundle;
pub mod doctor;
pub mod page;
mod terminal;

use crate::event::{Event, PlannedStep};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{IsTerminal, Write};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// How a person wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    pub color: Color,
}

impl Manner {
    /// Whether `stream` gets colours: <https://no-color.org>.
    fn colored(self, is_terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        }
    }

    /// With `-v`: what is asked of the host and of the network, as it is asked.
    pub fn trace(self) {
        use tracing_subscriber::prelude::*;
        if self.verbose {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(self.colored(std::io::stderr().is_terminal()))
                .without_time()
                .with_target(false)
                .log_internal_errors(false);
            let ours = tracing_subscriber::filter::filter_fn(|meta| meta.target().starts_with("rprov"));
            tracing_subscriber::registry().with(lines.with_filter(ours)).init();
        }
    }

    /// The sink for this manner.
    pub fn sink(self) -> Box<dyn Fn(&Event)> {
        if self.json {
            return Box::new(json);
        }
        let err = std::io::stderr().is_terminal();
        let drawer = terminal::Terminal::new(self.colored(err), err, self.quiet, self.verbose);
        Box::new(move |event| drawer.draw(event))
    }
}

impl Manner {
    /// For a command whose answer is one document: with `--json` only an error is an event.
    pub fn telling(self) -> Box<dyn Fn(&Event)> {
        if !self.json {
            return self.sink();
        }
        Box::new(|event| {
            if matches!(event, Event::Error { .. }) {
                json(event);
            }
        })
    }
}

/// One event a line on standard output. A reader who went away is no reason to stop in the middle.
fn json(event: &Event) {
    if matches!(event, Event::Progress { .. }) {
        return;
    }
    if let Ok(line) = serde_json::to_string(event) {
        let _gone = writeln!(std::io::stdout(), "{line}");
    }
}

/// Asks a question with a terminal on both ends; a signal ends the wait for an answer, and is none.
///
/// # Errors
/// None: no terminal is `None`, so that the caller can say what is missing.
pub fn ask(question: &str, interrupted: &dyn Fn() -> bool) -> Option<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let _gone = write!(std::io::stderr(), "{question} [y/N] ");
    // Reading alone would begin anew after each signal.
    let stdin = std::io::stdin();
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !matches!(poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&moment)), Ok(1..)) {
        if interrupted() {
            let _gone = writeln!(std::io::stderr());
            return None;
        }
    }
    let mut answer = String::new();
    stdin.read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The plan as people read it, for standard output.
pub fn plan(steps: &[PlannedStep], manner: Manner) -> String {
    terminal::plan(steps, manner.colored(std::io::stdout().is_terminal()))
}

/// Prints to standard output, whatever became of it.
pub fn answer(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}
