//! The table of checks as a page for people: docs/checks.md is this text.

use super::{AFTER, BEFORE, Check, OF_A_USER, Privilege, THEMES, checks, explain};

const HEAD: &str = "\
# The checks of `rprov doctor`

This page is made from the table in the program (`src/doctor/`): a test holds the two equal.

A check answers *fine*, *finding* or *unknown*. What could not be looked at is unknown and never fine. A finding
that follows from another is folded under it. **block**: docker cannot be used; **degraded**: works in part;
**warn**: works, and will not for ever or not for everyone; **info**: worth knowing. The severity is that of the
worst case. `root` is at a check that sees nothing without root. An id leads to where upstream speaks of the cause;
`rprov doctor -v` shows the same address.
";

const INSTALL: &str = "
## What an install asks

`rprov install` asks some of them, too: before it begins, of the host as it is about to be, and when all is made. What
blocks before is refused, what blocks after is a failure; the rest is told.

";

const TAIL: &str = "
## Causes that no check can see

They leave no trace on the host that could be looked at, or only in the text of an error. `rprov doctor --explain`
names them by that text.
";

/// docs/checks.md
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for (title, checks) in THEMES {
        text.push_str(&format!(
            "\n## {title}\n\n| id | severity | asks | follows from |\n|---|---|---|---|\n"
        ));
        checks.iter().for_each(|check| text.push_str(&row(check)));
    }
    text.push_str(INSTALL);
    for (moment, ids) in [("before", BEFORE), ("after", AFTER), ("after, for each `--user`", OF_A_USER)] {
        let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        text.push_str(&format!("- {moment}: {}\n", ids.join(", ")));
    }
    text.push_str(TAIL);
    text.push_str("\n| id | what it means |\n|---|---|\n");
    for cause in explain::causes().iter().filter(|cause| checks().all(|check| check.id != cause.id)) {
        text.push_str(&format!("| {} | {} |\n", linked(&cause.id), cause.says));
    }
    text
}

/// The id, leading to where upstream speaks of it.
fn linked(id: &str) -> String {
    match super::reference(id) {
        Some(address) => format!("[`{id}`]({address})"),
        None => format!("`{id}`"),
    }
}

fn row(check: &Check) -> String {
    let root = if check.privilege == Privilege::Root { " (root)" } else { "" };
    let above: Vec<String> = check.depends_on.iter().take(4).map(|id| format!("`{id}`")).collect();
    let more = if check.depends_on.len() > 4 { ", …" } else { "" };
    format!(
        "| {} | {}{root} | {} | {}{more} |\n",
        linked(check.id),
        check.severity.word(),
        check.asks,
        above.join(", ")
    )
}
