//! What doctor found, for a terminal of 80 columns: causes first, what follows from them under them, one command to copy.

use super::Manner;
use super::terminal::{BOLD, CYAN, GREEN, PLAIN, RED, YELLOW, wrapped};
use crate::doctor::explain::Cause;
use crate::doctor::{Check, Class, Report, Severity};
use crate::event::Found;
use std::io::IsTerminal;

struct Pen {
    color: bool,
}

impl Pen {
    fn of(manner: Manner) -> Pen {
        Pen { color: manner.colored(std::io::stdout().is_terminal()) }
    }
    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("{color}{text}{PLAIN}") } else { text.to_owned() }
    }
    /// Wrapped first: colours have no width.
    fn head(&self, mark: &str, color: &str, text: &str) -> String {
        let text = wrapped(&format!("{mark} "), text);
        match text.strip_prefix(mark) {
            Some(rest) => format!("{}{rest}", self.paint(mark, color)),
            None => text,
        }
    }
}

fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Block | Severity::Degraded => RED,
        Severity::Warn => YELLOW,
        Severity::Info => CYAN,
    }
}

pub fn report(report: &Report, manner: Manner) -> String {
    let pen = Pen::of(manner);
    let mut lines = Vec::new();
    for found in &report.findings {
        lines.extend(finding(found, manner.verbose, &pen));
        if found.severity > Severity::Info || manner.verbose {
            lines.push(String::new());
        }
    }
    lines.extend(end(report, manner, &pen));
    lines.join("\n")
}

/// One finding by itself, in the stream of a run.
pub(super) fn told(found: &Found, verbose: bool, color: bool) -> String {
    finding(found, verbose, &Pen { color }).join("\n")
}

const INDENT: &str = "         ";

fn finding(found: &Found, verbose: bool, pen: &Pen) -> Vec<String> {
    let mark = format!("{:<8}", found.severity.word());
    let mut lines = vec![pen.head(&mark, color(found.severity), &found.cause)];
    // A note needs no more than its sentence.
    if found.severity == Severity::Info && !verbose {
        return lines;
    }
    lines.extend(found.excerpt.iter().map(|line| format!("{INDENT}| {line}")));
    let most = match found.excerpt.is_empty() {
        _ if verbose => found.evidence.len(),
        true => 2,
        false => 1,
    };
    lines.extend(found.evidence.iter().take(most).map(|line| wrapped(&format!("{INDENT}seen: "), line)));
    let class = match found.fix.class {
        Class::Made => " (`rprov doctor --fix` does it)",
        Class::Asked => " (`rprov doctor --fix` asks, and does it)",
        Class::Told => "",
    };
    lines.push(wrapped(&format!("{INDENT}fix:  "), &format!("{}{class}", found.fix.text)));
    lines.extend(
        found.fix.commands.iter().map(|command| format!("{INDENT}      {}", pen.paint(command, BOLD))),
    );
    if !found.consequences.is_empty() {
        lines.push(wrapped(&format!("{INDENT}so:   "), &found.consequences.join(", ")));
    }
    lines.push(format!("{INDENT}id:   {}", found.id));
    if let Some(address) = found.reference.filter(|_| verbose) {
        lines.push(format!("{INDENT}see:  {address}"));
    }
    lines
}

/// What was looked at, with whose eyes, and what could not be.
fn end(report: &Report, manner: Manner, pen: &Pen) -> Vec<String> {
    let mut lines = Vec::new();
    let looked = report.fine.len() + report.findings.iter().map(|f| 1 + f.consequences.len()).sum::<usize>();
    let whose = format!("{looked} checks for {}, by {}", report.subject.user, report.endpoint.from);
    let number = report.findings.iter().filter(|found| found.severity > Severity::Info).count();
    match number {
        0 => lines.push(pen.head("healthy ", GREEN, &whose)),
        1 => lines.push(format!("1 finding; {whose}")),
        _ => lines.push(format!("{number} findings; {whose}")),
    }
    // What follows from a finding is told when that is mended.
    let unexplained: Vec<_> = report.unknown.iter().filter(|unknown| unknown.under.is_none()).collect();
    if !unexplained.is_empty() {
        let ids: Vec<&str> = unexplained.iter().map(|unknown| unknown.id).collect();
        let root = if report.subject.as_root { "" } else { " (`sudo` sees more)" };
        lines.push(wrapped("unknown  ", &format!("{} could not look{root}: {}", ids.len(), ids.join(", "))));
    }
    if manner.verbose {
        for unknown in &report.unknown {
            lines.push(wrapped(&format!("         {}: ", unknown.id), &unknown.why));
        }
        lines.push(wrapped("fine     ", &report.fine.join(", ")));
    }
    lines
}

pub fn list<'c>(checks: impl Iterator<Item = &'c Check>) -> String {
    let row = |check: &Check| wrapped(&format!("{:<34} {:<8} ", check.id, check.severity.word()), check.asks);
    checks.map(row).collect::<Vec<_>>().join("\n")
}

pub fn explained(cause: &Cause, checked: bool, manner: Manner) -> String {
    let pen = Pen::of(manner);
    let mut lines = vec![pen.head("means    ", YELLOW, &cause.says), wrapped("fix      ", &cause.mend)];
    if checked {
        lines.push(format!("check    {}", pen.paint(&format!("rprov doctor --only {}", cause.id), BOLD)));
    }
    lines.push(format!("id       {}", cause.id));
    if let Some(address) = crate::doctor::reference(&cause.id) {
        lines.push(format!("see      {address}"));
    }
    lines.join("\n")
}

pub fn unexplained(nearest: &[&Cause]) -> String {
    let mut lines = vec!["unknown  no cause is known for this text".to_owned()];
    for cause in nearest {
        lines.push(wrapped("nearest  ", &format!("{}: {}", cause.id, cause.says)));
    }
    lines.push("check    rprov doctor".to_owned());
    lines.join("\n")
}
