//! The closed set of things on a host that have a state which can be read and put back.

pub mod json_keys;
pub mod json_text;
