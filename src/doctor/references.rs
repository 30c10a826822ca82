//! Where upstream speaks of a cause: a page, a thread or a manual for each id, beside the table of checks.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static REFERENCES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    toml::from_str(include_str!("references.toml")).expect("a test reads the references that are compiled in")
});

/// None for a cause that upstream says nothing of.
pub fn of(id: &str) -> Option<&'static str> {
    REFERENCES.get(id).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::{checks, explain};

    #[test]
    fn every_reference_is_an_address_of_a_cause_that_is_known() {
        for (id, address) in super::REFERENCES.iter() {
            let known = checks().any(|check| check.id == id) || explain::causes().iter().any(|c| &c.id == id);
            assert!(known, "`{id}` is neither a check nor a text's cause");
            assert!(address.starts_with("https://") && !address.contains(' '), "{id}: {address}");
        }
    }
}
