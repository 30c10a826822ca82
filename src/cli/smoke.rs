//! `rprov smoke`: proves the engine that is there.

use super::arguments::Changing;
use super::run::Run;
use crate::error::{Exit, Result};
use crate::facts;

pub fn smoke(run: &mut Run, changing: &Changing) -> Result<Exit> {
    let host = run.host(changing.wait);
    super::may_change(&facts::gather(&host)?)?;
    host.hear_signals()?;
    crate::smoke::smoke(&host)?;
    Ok(Exit::Done)
}
