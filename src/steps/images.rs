//! Images that came along, loaded into the engine.

use super::Step;
use crate::error::Result;
use crate::host::Look;
use crate::resources::image::{Image, Loaded};
use crate::resources::want;
use std::path::PathBuf;

/// # Errors
/// A file that is no archive of an image.
pub fn step(archives: &[PathBuf], host: &dyn Look) -> Result<Option<Step>> {
    let mut wants = Vec::new();
    for archive in archives {
        wants.push(want(Image::of_archive(archive, host)?, Loaded::Present));
    }
    Ok((!wants.is_empty()).then(|| Step::new("the images", wants)))
}
