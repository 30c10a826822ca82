//! What doctor found, for a terminal of 80 columns: causes first, what follows from them under them, one command to copy.

use super::Manner;
use super::terminal::{BOLD, CYAN, GREEN, PLAIN, RED, YELLOW, wrapped};
use crate::doctor::explain::Cause;
use crate::doctor::{Check, Class, Report, Severity};
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
        let mark = format!("{:<8}", found.severity.word());
        lines.push(pen.head(&mark, color(found.severity), &found.cause));
        // A note needs no more than its sentence.
        if found.severity == Severity::Info && !manner.verbose {
            continue;
        }
        let indent = "         ";
        for line in &found.excerpt {
            lines.push(format!("{indent}| {line}"));
        }
        if manner.verbose || found.excerpt.is_empty() {
            let most = if manner.verbose { found.evidence.len() } else { 2 };
            for line in found.evidence.iter().take(most) {
                lines.push(wrapped(&format!("{indent}seen: "), line));
            }
        } else if let Some(first) = found.evidence.first() {
            lines.push(wrapped(&format!("{indent}seen: "), first));
        }
        let class = match found.fix.class {
            Class::Made => " (`rprov doctor --fix` does it)",
            Class::Asked => " (`rprov doctor --fix` asks, and does it)",
            Class::Told => "",
        };
        lines.push(wrapped(&format!("{indent}fix:  "), &format!("{}{class}", found.fix.text)));
        for command in &found.fix.commands {
            lines.push(format!("{indent}      {}", pen.paint(command, BOLD)));
        }
        if !found.consequences.is_empty() {
            lines.push(wrapped(&format!("{indent}so:   "), &found.consequences.join(", ")));
        }
        lines.push(format!("{indent}id:   {}", found.id));
        if let Some(address) = found.reference.filter(|_| manner.verbose) {
            lines.push(format!("{indent}see:  {address}"));
        }
        lines.push(String::new());
    }
    lines.extend(end(report, manner, &pen));
    lines.join("\n")
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
