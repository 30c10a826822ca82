//! What each part of the work wants, from plain data: pure, one file a step.

pub mod daemon_json;
pub mod docker_group;
pub mod driver;
pub mod drop_in;
pub mod hold;
pub mod images;
pub mod members;
pub mod packages;
pub mod registry;
pub mod repository;
pub mod units;

use crate::resources::AnyWant;
use crate::resources::consequence::Consequence;
use crate::resources::trace::Trace;

/// A title and the states it wants of some resources. It has no code to make them and none to undo them.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub title: &'static str,
    pub wants: Vec<AnyWant>,
    /// Paths that the software makes by itself once this step changes something.
    pub traces: Vec<Trace>,
    /// Owed after any change of this step.
    pub then: Vec<Consequence>,
    /// The step whose change is to blame, and is taken back, if this one fails.
    pub blames: Option<&'static str>,
}

impl Step {
    pub fn new(title: &'static str, wants: Vec<AnyWant>) -> Step {
        Step { title, wants, traces: Vec::new(), then: Vec::new(), blames: None }
    }
}
