//! The newest index that this host has accepted from each source: an older one is a rollback, and refused.

use crate::error::{OrFail, Result};
use crate::host::{Look, Owner, Touch};
use std::collections::BTreeMap;
use std::path::Path;

/// Where rprov keeps what it must remember.
const STATE: &str = "/var/lib/rprov";
const ACCEPTED: &str = "/var/lib/rprov/accepted.json";

/// When it was made, in seconds since the epoch.
pub fn newest(host: &dyn Look, source: &str) -> Result<Option<i64>> {
    Ok(all(host)?.get(source).copied())
}

/// Remembers an index that was accepted, where it is the newest.
pub fn remember(host: &dyn Touch, source: &str, made: i64) -> Result<()> {
    let mut accepted = all(host)?;
    if accepted.get(source).is_some_and(|before| made <= *before) {
        return Ok(());
    }
    accepted.insert(source.to_owned(), made);
    let text = serde_json::to_vec(&accepted).or_fail(|| format!("cannot write `{ACCEPTED}`"))?;
    if !host.exists(Path::new(STATE))? {
        host.make_directory(Path::new(STATE), Owner { uid: 0, gid: 0, mode: 0o700 })?;
    }
    host.write(Path::new(ACCEPTED), &text, Owner { uid: 0, gid: 0, mode: 0o600 })
}

fn all(host: &dyn Look) -> Result<BTreeMap<String, i64>> {
    // Only root reads it; a plan by somebody else goes by apt's own list alone.
    let Ok(Some(text)) = host.read_text(Path::new(ACCEPTED)) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text).or_fail(|| format!("cannot read `{ACCEPTED}`"))
}
