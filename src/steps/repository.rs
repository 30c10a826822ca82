//! The engine's package source, with a key of its own, and no other for the same address.

use super::Step;
use crate::resources::apt;
use crate::resources::repository::Source;
use crate::resources::repository::{Files, Repository};
use crate::resources::trace::Trace;
use crate::resources::want;
use std::path::Path;

pub fn step(source: &Source) -> Step {
    let lists = source.list_names().into_iter().map(|name| Path::new(apt::LISTS).join(name));
    Step {
        // apt keeps what it fetched of a source when the source goes.
        traces: lists.map(|path| Trace { path, data: false }).collect(),
        ..Step::new("the package source", vec![want(Repository::of(source), Files::right())])
    }
}
