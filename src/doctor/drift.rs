//! The receipts looked at again: what is no longer as it was made, in the words of a finding.

use crate::error::Error;
use crate::event::{Class, Found, Line, Mend, Severity, Sign};
use crate::host::Look;
use crate::receipt::{self, Past};

/// One thing that no longer holds.
pub struct Drift {
    /// The step that made it; `owed` for what a change still owes.
    pub step: String,
    pub lines: Vec<Line>,
    pub found: Found,
}

/// Every change that the host no longer shows, or that cannot be looked at any more, and what is still owed.
pub fn look(receipts: &[Past], host: &dyn Look) -> Vec<Drift> {
    let mut drifts = Vec::new();
    for (step, change) in receipt::joined(receipts) {
        match change.drift(host) {
            Ok(Some(lines)) => drifts.push(moved(step, lines)),
            Ok(None) => {}
            Err(error) => drifts.push(unreadable(step, change.describe(), &error)),
        }
    }
    drifts.extend(receipt::owed(receipts).into_iter().map(|(then, _)| owed(then.to_string())));
    drifts
}

/// A run that was killed, or that failed.
pub fn unfinished(past: &Past) -> Found {
    let again = Mend {
        class: Class::Told,
        text: "run it again: it goes on from there; or take back what was made".into(),
        commands: vec![format!("sudo rprov {}", past.verb), "sudo rprov uninstall".into()],
    };
    let seen = format!("{} has no end that is well", past.path.display());
    let cause = format!("the last {} did not come to its end", past.verb);
    found("unfinished", Severity::Degraded, cause, vec![seen], again)
}

fn named(lines: &[Line]) -> String {
    match lines {
        [] => "something".to_owned(),
        [line] => line.name.clone(),
        [line, ..] => format!("{} and {} more", line.name, lines.len() - 1),
    }
}

/// A daemon.json that is no JSON any more is another one than was made.
fn unreadable(step: String, lines: Vec<Line>, error: &Error) -> Drift {
    let cause = format!("{}: cannot be compared with what the step `{step}` made", named(&lines));
    let fix = Mend {
        class: Class::Told,
        text: "see what doctor says of it".into(),
        commands: vec!["sudo rprov doctor".into()],
    };
    let found = found("drift", Severity::Warn, cause, vec![super::words(error)], fix);
    Drift { step, lines, found }
}

fn moved(step: String, lines: Vec<Line>) -> Drift {
    let what = named(&lines);
    let seen =
        lines.iter().map(|line| format!("{} {} {}", line.sign.glyph(), line.name, line.text)).collect();
    let cause = format!("{what}: no longer as the step `{step}` made it");
    let found = found("drift", Severity::Warn, cause, seen, install("make it again, or leave it as it is"));
    Drift { step, lines, found }
}

fn owed(then: String) -> Drift {
    let line =
        Line { sign: Sign::Change, kind: "consequence", name: then.clone(), text: "is still owed".into() };
    let seen = vec!["no receipt says that it was paid".to_owned()];
    let cause = format!("a change still owes: {then}");
    let found = found("owed", Severity::Degraded, cause, seen, install("let the next run pay it"));
    Drift { step: "owed".into(), lines: vec![line], found }
}

fn install(text: &str) -> Mend {
    Mend { class: Class::Told, text: text.into(), commands: vec!["sudo rprov install".into()] }
}

fn found(id: &'static str, severity: Severity, cause: String, evidence: Vec<String>, fix: Mend) -> Found {
    Found {
        id,
        severity,
        cause,
        evidence,
        excerpt: Vec::new(),
        fix,
        consequences: Vec::new(),
        reference: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_named_with_the_step_that_made_it() {
        let lines =
            vec![Line::change("json-key", "/etc/docker/daemon.json: log-driver", "local → json-file")];
        let drift = moved("the daemon's configuration".into(), lines);
        assert_eq!(
            drift.found.cause,
            "/etc/docker/daemon.json: log-driver: no longer as the step `the daemon's configuration` made it"
        );
        assert_eq!(drift.found.evidence, ["~ /etc/docker/daemon.json: log-driver local → json-file"]);
    }
}
