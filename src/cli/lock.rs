//! `rprov lock`: writes down the exact state of this host's packages and their source.

use super::arguments::Configuration;
use super::install::settle;
use super::run::Run;
use crate::error::{Error, Exit, OrFail, Result};
use crate::event::Event;
use crate::lockfile::Lock;
use crate::profile::{self, Engine, Flags};
use crate::receipt;
use crate::resources::AnyChange;
use std::collections::BTreeSet;
use std::path::Path;

pub fn lock(run: &mut Run, output: Option<&Path>, configuration: &Configuration) -> Result<Exit> {
    let host = run.host(None);
    let (facts, settings) = settle(Flags::default(), configuration, &host)?;
    if settings.engine == Engine::Distribution {
        return Err(Error::refused("cannot lock the engine of the distribution")
            .because("a lock is of Docker's source, whose old versions stay to be had"));
    }
    let source = profile::source(&settings, &facts.architecture)?;
    let mut names: BTreeSet<String> = settings.packages(&facts).into_iter().collect();
    names.extend(came_along(run));
    let text = Lock::look(names, &source, &facts, &host)?.text()?;
    match output {
        None => crate::ui::answer(&text),
        Some(path) => std::fs::write(path, text).or_fail(|| format!("cannot write `{}`", path.display()))?,
    }
    Ok(Exit::Done)
}

/// What came with the engine, by the receipts.
fn came_along(run: &Run) -> BTreeSet<String> {
    let receipts = receipt::all(Path::new("/")).unwrap_or_else(|error| {
        let text = format!("{}: the lock holds the engine alone, not what came with it", error.what());
        run.tell(&Event::Note { text });
        Vec::new()
    });
    let packages = |change: AnyChange| match change {
        AnyChange::Packages(change) => change.after.into_keys().collect(),
        _ => BTreeSet::new(),
    };
    receipt::joined(&receipts).into_iter().flat_map(|(_, change)| packages(change)).collect()
}
