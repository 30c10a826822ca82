//! Events as lines that people read: plain without a terminal, with a spinner on one, legible without colour.

use crate::event::{Event, Line, PlannedStep, Sign};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::Duration;

pub struct Terminal {
    color: bool,
    alive: bool,
    quiet: bool,
    verbose: bool,
    /// The step in hand, on a terminal.
    spinner: RefCell<Option<ProgressBar>>,
    /// It is of no step: it ends with what it shows, or with what is said next.
    between: Cell<bool>,
    waiting: RefCell<String>,
}

impl Terminal {
    pub fn new(color: bool, alive: bool, quiet: bool, verbose: bool) -> Terminal {
        Terminal {
            color,
            alive,
            quiet,
            verbose,
            spinner: RefCell::default(),
            between: Cell::default(),
            waiting: RefCell::default(),
        }
    }

    pub fn draw(&self, event: &Event) {
        if !matches!(event, Event::Progress { .. }) && self.between.take() {
            self.over(true);
        }
        match event {
            Event::Started { version, host, .. } => self.say(&format!("rprov {version} on {host}")),
            Event::Plan { steps } => self.say(&plan(steps, self.color)),
            Event::Step { title, number, of } => self.step(title, *number, *of),
            Event::Changed { lines, .. } => self.changed(lines),
            Event::Command { argv } => {
                if self.verbose {
                    self.say(&format!("      $ {}", argv.join(" ")));
                }
            }
            Event::Progress { percent, text } => self.progress(*percent, text),
            Event::Waiting { waiting_for, left_s } => self.waiting(waiting_for, *left_s),
            Event::Note { text } => self.say(&wrapped("  note: ", text)),
            Event::Undone { answer, lines, why, .. } => self.undone(answer, lines, why.as_deref()),
            Event::Finding(found) => self.say(&super::doctor::told(found, self.verbose, self.color)),
            Event::Check { ok, text, .. } => {
                let mark = if *ok { self.paint("✓", GREEN) } else { self.paint("✗", RED) };
                self.say(&format!("      {mark} {text}"));
            }
            Event::Error { .. } => self.error(event),
            Event::Finished { exit, .. } => self.over(*exit == 0),
        }
    }

    fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &*self.spinner.borrow() {
            Some(spinner) => spinner.suspend(|| line(text)),
            None => line(text),
        }
    }

    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("{color}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn step(&self, title: &str, number: usize, of: usize) {
        self.over(true);
        let place = if of > 1 { format!("[{number}/{of}] ") } else { String::new() };
        self.say(&format!("{place}{}", self.paint(title, BOLD)));
        self.spin();
    }

    fn spin(&self) {
        if self.alive && !self.quiet {
            let style = ProgressStyle::with_template("      {spinner} {elapsed} {msg}");
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = style {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(120));
            *self.spinner.borrow_mut() = Some(spinner);
        }
    }

    /// The step in hand is over.
    fn over(&self, _well: bool) {
        if let Some(spinner) = self.spinner.borrow_mut().take() {
            spinner.finish_and_clear();
        }
        self.waiting.borrow_mut().clear();
    }

    /// The plan has shown them already: again only for who asks.
    fn changed(&self, lines: &[Line]) {
        if self.verbose {
            for line in changes(lines, self.color) {
                self.say(&format!("      {line}"));
            }
        }
    }

    fn progress(&self, percent: f64, text: &str) {
        if self.spinner.borrow().is_none() {
            self.between.set(true);
            self.spin();
        }
        if let Some(spinner) = &*self.spinner.borrow() {
            spinner.set_message(format!("{percent:3.0} % {text}"));
        }
        if percent >= 100.0 && self.between.take() {
            self.over(true);
        }
    }

    /// Said once a reason, not once a second.
    fn waiting(&self, reason: &str, left_s: u64) {
        if self.waiting.replace(reason.to_owned()) != reason {
            // What waits less than a second is over when it is read.
            let most = if left_s > 0 { format!(" (at most {left_s} s)") } else { String::new() };
            self.say(&format!("      waiting for {reason}{most}"));
        }
    }

    fn undone(&self, answer: &str, lines: &[Line], why: Option<&str>) {
        // What is as it was is only of interest to who asks; what drifted is told as a finding, too.
        if answer == "already as before" && !self.verbose || answer == "drifted" {
            return;
        }
        let restored = matches!(answer, "restored" | "to restore");
        for (line, change) in lines.iter().zip(changes(lines, self.color)) {
            let words = if restored { change } else { format!("  {}", line.name) };
            let color = if answer == "restored" { GREEN } else { YELLOW };
            self.say(&format!("  {} {words}", self.paint(&format!("{answer:<13}"), color)));
        }
        if let Some(why) = why {
            self.say(&wrapped("                  ", why));
        }
    }

    fn error(&self, event: &Event) {
        let Event::Error { what, because, output, hint, log } = event else { return };
        self.over(false);
        line(&format!("{} {what}", self.paint("error:", RED)));
        for reason in because {
            line(&wrapped("  because: ", reason));
        }
        for said in output {
            line(&format!("  | {said}"));
        }
        if let Some(log) = log {
            line(&format!("  log: {log}"));
        }
        if let Some(hint) = hint {
            line(&format!("{} {hint}", self.paint("hint:", CYAN)));
        }
    }
}

/// A terminal that is lost is no reason to stop in the middle: `eprintln!` would panic.
fn line(text: &str) {
    let _gone = writeln!(std::io::stderr(), "{text}");
}

pub const PLAIN: &str = "\x1b[0m";
pub const BOLD: &str = "\x1b[1m";
pub const RED: &str = "\x1b[31m";
pub const GREEN: &str = "\x1b[32m";
pub const YELLOW: &str = "\x1b[33m";
pub const CYAN: &str = "\x1b[36m";

/// How wide prose may be: legible where a terminal is as small as they come.
const WIDTH: usize = 80;

/// Words behind a mark, broken at 80 columns, later lines set in under the first. Commands in backticks stay whole.
pub fn wrapped(mark: &str, text: &str) -> String {
    let indent = " ".repeat(mark.chars().count());
    let mut lines = Vec::new();
    let mut line = mark.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines.join("\n")
}

/// The plan as people read it.
pub fn plan(steps: &[PlannedStep], color: bool) -> String {
    let mut text = String::new();
    for step in steps {
        text.push_str(&format!("  {}\n", step.title));
        for line in changes(&step.lines, color) {
            text.push_str(&format!("    {line}\n"));
        }
        for then in &step.then {
            text.push_str(&format!("    then {then}\n"));
        }
    }
    text.trim_end().to_owned()
}

/// Names wider than this do not push the words of the others aside.
const NAMES: usize = 44;

/// Lines that belong together, their words in one column.
fn changes(lines: &[Line], color: bool) -> Vec<String> {
    let widths = lines.iter().map(|line| line.name.chars().count()).filter(|width| *width <= NAMES);
    let width = widths.max().unwrap_or(0);
    lines.iter().map(|line| change(line, width, color)).collect()
}

fn change(line: &Line, width: usize, color: bool) -> String {
    let paint = match line.sign {
        Sign::Add => GREEN,
        Sign::Remove => RED,
        Sign::Change => YELLOW,
    };
    let glyph = line.sign.glyph();
    let text = format!("{:<width$}  {}", line.name, line.text);
    let text = text.trim_end();
    if color { format!("{paint}{glyph}{PLAIN} {text}") } else { format!("{glyph} {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_at_eighty_columns_and_set_in() {
        let text = wrapped("  note: ", &"word ".repeat(30));
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("        word")), "{text}");
    }

    #[test]
    fn a_line_of_a_plan_is_legible_without_colour() {
        let lines = [Line::add("unit", "docker.service", "enabled"), Line::remove("unit", "a", "stopped")];
        assert_eq!(changes(&lines, false), ["+ docker.service  enabled", "- a               stopped"]);
    }
}
