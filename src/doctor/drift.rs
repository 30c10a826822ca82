//! The receipts looked at again: what is no longer as it was made, in the words of a finding.

use crate::error::Result;
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

/// Every change that the host no longer shows, and what is still owed.
///
/// # Errors
/// A resource cannot be looked at.
pub fn look(receipts: &[Past], host: &dyn Look) -> Result<Vec<Drift>> {
    let mut drifts = Vec::new();
    for (step, change) in receipt::joined(receipts) {
        if let Some(lines) = change.drift(host)? {
            drifts.push(moved(step, lines));
        }
    }
    drifts.extend(receipt::owed(receipts).into_iter().map(|(then, _)| owed(then.to_string())));
    Ok(drifts)
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

fn moved(step: String, lines: Vec<Line>) -> Drift {
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let what = match names[..] {
        [] => "something".to_owned(),
        [name] => name.to_owned(),
        [name, ..] => format!("{name} and {} more", names.len() - 1),
    };
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
