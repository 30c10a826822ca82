//! The archives of images that go into a bundle, so that every engine can load them.

use super::IMAGES;
use crate::error::{Error, OrFail, Result};
use crate::host::Look;
use crate::resources::image::{Image, plain};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each by the name of its first image in the bundle.
///
/// # Errors
/// One is no archive of images with names, or two hold the same: exit 2, and nothing is written.
pub fn gather(archives: &[PathBuf], work: &Path, host: &dyn Look) -> Result<BTreeMap<String, PathBuf>> {
    let (mut images, mut names) = (BTreeMap::new(), BTreeSet::new());
    for archive in archives {
        let image = Image::of_archive(archive, host)?;
        if let Some(twice) = image.names().find(|name| !names.insert((*name).to_owned())) {
            return Err(
                Error::usage(format!("two archives hold the image `{twice}`")).hint("leave one of them out")
            );
        }
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let mut name: String = image.reference.chars().map(safe).collect();
        while images.contains_key(&format!("{IMAGES}/{name}.tar")) {
            name.push('_');
        }
        images.insert(format!("{IMAGES}/{name}.tar"), archive.clone());
    }
    for (name, archive) in &mut images {
        unpack(archive, &work.join(name), host)?;
    }
    Ok(images)
}

/// The bundle is compressed as a whole, and what is packed in it would unpack to nobody knows how much. Engines before
/// 23.0 read no zstd.
fn unpack(archive: &mut PathBuf, to: &Path, host: &dyn Look) -> Result<()> {
    let Some(mut bytes) = plain(archive, host)? else { return Ok(()) };
    let cannot = || format!("cannot unpack `{}` to `{}`", archive.display(), to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).or_fail(cannot)?;
    let mut file = fs::File::create(to).or_fail(cannot)?;
    std::io::copy(&mut bytes, &mut file).or_fail(cannot)?;
    to.clone_into(archive);
    Ok(())
}
