//! NVIDIA's branches of the driver, as data: which cards each knows, with which modules, and which images run on it.

use crate::facts::{Family, Flavour};
use serde::Deserialize;
use std::sync::LazyLock;

/// `profiles/gpu/branches.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branches {
    /// Where nobody names one.
    pub usual: String,
    pub branch: Vec<Branch>,
    pub image: Vec<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    pub name: String,
    pub title: String,
    /// NVIDIA's own repositories mend it no more.
    #[serde(default)]
    pub distributions: bool,
    /// The generations that each flavour knows.
    pub open: Vec<Family>,
    #[serde(default)]
    pub proprietary: Vec<Family>,
}

/// An image of CUDA.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub tag: String,
    /// The oldest driver that runs it.
    pub driver: String,
    /// The oldest and the newest generation whose code is in it.
    pub oldest: Family,
    pub newest: Family,
}

impl Branch {
    /// Whether it is one of these, or one of NVIDIA's where none are named.
    pub fn is_among(&self, names: Option<&[String]>) -> bool {
        names.map_or(!self.distributions, |names| names.contains(&self.name))
    }

    pub fn knows(&self, flavour: Flavour, family: Family) -> bool {
        match flavour {
            Flavour::Open => self.open.contains(&family),
            Flavour::Proprietary => self.proprietary.contains(&family),
        }
    }
}

static SHIPPED: LazyLock<Result<Branches, String>> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../profiles/gpu/branches.toml")).map_err(|error| error.to_string())
});

/// # Errors
/// The shipped table is wrong, which a test rules out.
pub fn branches() -> crate::error::Result<&'static Branches> {
    SHIPPED
        .as_ref()
        .map_err(|why| crate::error::Error::failed("cannot read the table of NVIDIA's drivers").because(why))
}
