//! What a scenario is, and the runner: two side by side, each with its own hosts and its own log.

use crate::identity::Identity;
use crate::lab::Lab;
use crate::log::Log;
use crate::{cache, scenarios};
use anyhow::{Result, anyhow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// One thing that is tried on booted hosts.
pub struct Scenario {
    /// Short, of words joined by `-`.
    pub name: &'static str,
    /// A sentence that says what is true when it passes.
    pub about: &'static str,
    /// Where it is tried: on the first only, or with `--all` on each.
    pub on: &'static [Identity],
    pub run: fn(&Lab, Identity) -> Result<()>,
}

/// All scenarios, in the order of their tables.
pub fn all() -> Vec<&'static Scenario> {
    scenarios::ALL.iter().flat_map(|table| table.iter()).collect()
}

/// What is to be run: all, or those whose name is or begins with one of `names`, as `NAME` or `NAME@IDENTITY`.
pub fn chosen(names: &[String], everywhere: bool) -> Vec<(&'static Scenario, Identity)> {
    let mut chosen = Vec::new();
    for scenario in all() {
        for (place, identity) in scenario.on.iter().enumerate() {
            let wanted = |name: &String| match name.split_once('@') {
                Some((name, host)) => scenario.name == name && identity.name() == host,
                None => scenario.name.starts_with(name.as_str()) && (everywhere || place == 0),
            };
            if (names.is_empty() && (everywhere || place == 0)) || names.iter().any(wanted) {
                chosen.push((scenario, *identity));
            }
        }
    }
    chosen
}

/// Runs scenarios, two side by side; how many passed and failed.
pub fn run(lab: &Lab, chosen: &[(&'static Scenario, Identity)]) -> (usize, usize) {
    let queue = Mutex::new(chosen.iter());
    let counts = Mutex::new((0, 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some((scenario, identity)) = next else { break };
                    let passed = one(lab, scenario, *identity);
                    if let Ok(mut counts) = counts.lock() {
                        if passed { counts.0 += 1 } else { counts.1 += 1 }
                    }
                }
            });
        }
    });
    counts.into_inner().unwrap_or((0, chosen.len()))
}

fn one(lab: &Lab, scenario: &Scenario, identity: Identity) -> bool {
    let title = format!("{}@{}", scenario.name, identity.name());
    let path = cache::dir().join("logs").join(format!("{title}.log"));
    let start = Instant::now();
    let result = Log::create(&path).and_then(|log| {
        log.enter();
        let done = catch_unwind(AssertUnwindSafe(|| (scenario.run)(lab, identity)));
        let result = done.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", words(&*panic))));
        if let Err(error) = &result {
            log.line(&format!("! {error:#}"));
        }
        Log::default().enter();
        result
    });
    let seconds = start.elapsed().as_secs_f32();
    match &result {
        Ok(()) => println!("ok      {title} ({seconds:.1} s)"),
        Err(error) => {
            println!("FAILED  {title} ({seconds:.1} s): {error:#}\n        log: {}", path.display())
        }
    }
    result.is_ok()
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_else(|| "without words".into())
}
