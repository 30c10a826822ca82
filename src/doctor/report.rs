//! What the checks came to: causes with what follows from them, what could not be looked at, and what is fine.

use super::{Answer, Case, Check, Finding, Fix, Severity};
use crate::event::Found;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer of `doctor`, and of `doctor --json`: names stay, fields are only ever added.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub subject: ShownSubject,
    pub endpoint: ShownEndpoint,
    pub findings: Vec<Found>,
    pub unknown: Vec<Unknown>,
    pub fine: Vec<&'static str>,
    /// What mends each finding.
    #[serde(skip)]
    pub fixes: BTreeMap<&'static str, Fix>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ShownSubject {
    pub user: String,
    pub uid: u32,
    /// Whether the questions were asked with root's eyes.
    pub as_root: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct ShownEndpoint {
    /// Where the address comes from: `default`, `environment`, `profile`, `context`.
    pub source: &'static str,
    /// Not told where it stands in a home that is not the caller's.
    pub url: Option<String>,
    pub from: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Unknown {
    pub id: &'static str,
    pub why: String,
    /// The finding that explains why nothing could be seen, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<&'static str>,
}

impl Report {
    /// Whether anything is as bad as this, or worse.
    pub fn reaches(&self, threshold: Severity) -> bool {
        self.findings.iter().any(|found| found.severity >= threshold)
    }
}

/// A finding goes under the first of its causes that was found; a cause is as bad as the worst that follows from it.
pub(super) fn fold(case: &Case, answers: Vec<(&'static Check, Answer)>) -> Report {
    let mut report = Report {
        schema: "rprov.doctor/1",
        subject: case.subject.shown(),
        endpoint: case.endpoint.shown(),
        findings: Vec::new(),
        unknown: Vec::new(),
        fine: Vec::new(),
        fixes: BTreeMap::new(),
    };
    let mut found: Vec<(&'static Check, Finding)> = Vec::new();
    for (check, answer) in answers {
        match answer {
            Answer::Fine => report.fine.push(check.id),
            Answer::Unknown(why) => report.unknown.push(Unknown { id: check.id, why, under: None }),
            Answer::Finding(finding) => found.push((check, *finding)),
        }
    }
    let by_id: BTreeMap<&str, &'static Check> = found.iter().map(|(check, _)| (check.id, *check)).collect();
    for (check, finding) in &found {
        let severity = finding.severity.unwrap_or(check.severity);
        if root_of(check, &by_id).id == check.id {
            report.findings.push(Found {
                id: check.id,
                severity,
                cause: finding.cause.clone(),
                evidence: finding.evidence.clone(),
                excerpt: finding.excerpt.clone(),
                fix: finding.fix.words.clone(),
                consequences: Vec::new(),
                reference: super::reference(check.id),
            });
            report.fixes.insert(check.id, finding.fix.clone());
        }
    }
    for (check, finding) in &found {
        let root = root_of(check, &by_id).id;
        if root == check.id {
            continue;
        }
        if let Some(above) = report.findings.iter_mut().find(|found| found.id == root) {
            above.consequences.push(check.id);
            above.severity = above.severity.max(finding.severity.unwrap_or(check.severity));
        }
    }
    for unknown in &mut report.unknown {
        let check = super::checks().find(|check| check.id == unknown.id);
        let root = check.and_then(|check| check.depends_on.iter().find_map(|id| by_id.get(id)));
        unknown.under = root.map(|root| root_of(root, &by_id).id);
    }
    report.findings.sort_by_key(|found| std::cmp::Reverse(found.severity));
    report
}

/// Up the first found cause, as long as there is one; a circle in the table ends where it began.
fn root_of(check: &'static Check, found: &BTreeMap<&str, &'static Check>) -> &'static Check {
    let mut root = check;
    let mut seen = vec![check.id];
    while let Some(above) =
        root.depends_on.iter().filter(|id| !seen.contains(*id)).find_map(|id| found.get(id))
    {
        seen.push(above.id);
        root = above;
    }
    root
}
