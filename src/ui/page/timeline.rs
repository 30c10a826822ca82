//! How long each step of a run took, as far as its receipt tells.

use crate::event::Line;
use crate::receipt::{Entry, Past};

/// One step, from the end of the one before it.
#[derive(Debug, PartialEq)]
pub struct Span {
    pub title: String,
    /// Microseconds since the epoch.
    pub from_us: u64,
    pub to_us: u64,
    pub lines: Vec<Line>,
}

/// A receipt notes when something was done, not when it began: each step began when the one before it was done.
pub fn of(past: &Past) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut now_us = 0;
    for entry in &past.entries {
        match entry {
            Entry::Header { at_us, .. } => now_us = *at_us,
            Entry::Did { step, change, at_us } => {
                let at_us = (*at_us).max(now_us);
                match spans.last_mut().filter(|span| span.title == *step) {
                    Some(span) => {
                        span.to_us = at_us;
                        span.lines.extend(change.describe());
                    }
                    None => spans.push(Span {
                        title: step.clone(),
                        from_us: now_us,
                        to_us: at_us,
                        lines: change.describe(),
                    }),
                }
                now_us = at_us;
            }
            // What is owed is paid at the end: a restart may take longer than all the rest.
            Entry::Finished { at_us, .. } if *at_us > now_us + 50_000 && !spans.is_empty() => {
                spans.push(Span {
                    title: "what was owed".into(),
                    from_us: now_us,
                    to_us: *at_us,
                    lines: Vec::new(),
                });
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::group::{Group, Presence};
    use crate::resources::{AnyChange, Change};
    use std::path::PathBuf;

    fn did(step: &str, at_us: u64) -> Entry {
        let change = AnyChange::Group(Change {
            resource: Group { name: "docker".into() },
            before: Presence::Absent,
            after: Presence::Present,
        });
        Entry::Did { step: step.into(), change, at_us }
    }

    #[test]
    fn a_step_begins_where_the_one_before_it_ended() {
        let header = Entry::Header {
            format: 1,
            rprov: String::new(),
            verb: "install".into(),
            at_us: 1_000_000,
            profile: None,
            arguments: Vec::new(),
        };
        let finished = Entry::Finished { exit: 0, at_us: 9_000_000, left: Vec::new() };
        let entries = vec![header, did("a", 2_000_000), did("a", 3_000_000), did("b", 5_000_000), finished];
        let spans = of(&Past { path: PathBuf::new(), verb: "install".into(), entries });
        let shown: Vec<_> =
            spans.iter().map(|s| (s.title.as_str(), s.from_us, s.to_us, s.lines.len())).collect();
        let expected = [
            ("a", 1_000_000, 3_000_000, 2),
            ("b", 3_000_000, 5_000_000, 1),
            ("what was owed", 5_000_000, 9_000_000, 0),
        ];
        assert_eq!(shown, expected);
    }
}
