//! Unpacks a bundle that was checked into a directory of its own, as the one source of one transaction.

use super::reader::walk;
use super::{Checked, Origin, apt, dnf, hinted, refused};
use crate::error::{Error, OrFail, Result};
use crate::host::{Offline, Place, Touch, large_private_directory};
use crate::trust::apt::AptSource;
use crate::trust::repomd::Signed;
use crate::trust::{self, Index};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A bundle as it lies on the disk; it goes with the value.
pub struct Unpacked {
    directory: tempfile::TempDir,
    pub offline: Offline,
}

impl Unpacked {
    /// The archives of images, to load.
    pub fn images(&self, checked: &Checked) -> Vec<PathBuf> {
        checked.manifest.images().map(|path| self.directory.path().join(path)).collect()
    }
}

/// # Errors
/// There is no room; or the file is no longer what was checked.
pub fn unpack(file: &Path, checked: &Checked, host: &dyn Touch) -> Result<Unpacked> {
    let cannot = || format!("cannot unpack the bundle `{}`", file.display());
    let directory = large_private_directory("bundle").or_fail(cannot)?;
    let place = directory.path();
    // apt reads it as a user of its own.
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    let needed = checked.manifest.size();
    if let Some(room) = host.room(place)?.filter(|room| room.bytes_free < needed) {
        return Err(Error::refused(cannot()).because(format!(
            "it needs {} MiB below {}, and {} are left",
            needed >> 20,
            place.parent().unwrap_or(place).display(),
            room.bytes_free >> 20
        )));
    }
    hinted(walk(file, "unpacking", host, &mut |manifest, entry, bytes| {
        if *manifest != checked.manifest {
            return Err(refused(file).because("it is not the one that was checked a moment ago"));
        }
        let path = place.join(&entry.path);
        make_directories(place, &path)?;
        let mut written = File::create_new(&path).or_fail(cannot)?;
        std::io::copy(bytes, &mut written).or_fail(cannot)?;
        written.set_permissions(fs::Permissions::from_mode(0o644)).or_fail(cannot)
    }))?;
    let places = write_sources(place, checked)?;
    let offline = Offline { directory: place.to_owned(), places };
    Ok(Unpacked { directory, offline })
}

fn make_directories(place: &Path, path: &Path) -> Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| above.starts_with(place)).collect();
    for directory in above.into_iter().rev().filter(|directory| !directory.exists()) {
        let cannot = || format!("cannot make `{}`", directory.display());
        fs::create_dir(directory).or_fail(cannot)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).or_fail(cannot)?;
    }
    Ok(())
}

/// A source for each index, with the pinned key and no other; and the addresses that they stand for.
fn write_sources(place: &Path, checked: &Checked) -> Result<Vec<Place>> {
    for name in ["pinned", "sources.list.d", "yum.repos.d"] {
        make_directories(place, &place.join(name).join("x"))?;
    }
    let mut places = Vec::new();
    for (number, origin) in checked.origins.iter().enumerate() {
        let (path, text, key) = match &origin.index {
            Index::Apt(index) => {
                (format!("sources.list.d/{number}.sources"), stanza(place, origin, index)?, None)
            }
            Index::Rpm(index) => {
                let key = place.join("pinned").join(format!("{}.asc", origin.directory));
                write(&key, &trust::armored(&index.pin)?)?;
                let text = section(place, origin, &checked.rpms);
                (
                    format!("yum.repos.d/{number}.repo"),
                    text,
                    Some(key).filter(|_| index.signed == Signed::Packages),
                )
            }
        };
        write(&place.join(path), text.as_bytes())?;
        places.push(Place {
            address: origin.index.address().to_owned(),
            directory: origin.directory.clone(),
            rpms: matches!(origin.index, Index::Rpm(_)),
            key,
        });
    }
    Ok(places)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || "cannot write the sources of the bundle".to_owned();
    fs::write(path, bytes).or_fail(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).or_fail(cannot)
}

/// A bundle is a moment of its sources, which may be over since long. Not `file:`: apt 2.6 takes a list from there only
/// as the first of its compressed forms, which is not what a bundle has.
fn stanza(place: &Path, origin: &Origin, index: &AptSource) -> Result<String> {
    let key = apt::write_key(origin, &place.join("pinned"))?;
    let root = format!("copy:{}", place.join(&origin.directory).display());
    let stanza = apt::stanza(index, &root, &key);
    Ok(format!("{}\nCheck-Valid-Until: no\nBy-Hash: no\n", stanza.trim_end()))
}

/// By it dnf only resolves, and sees no more of the list than is in the bundle: what it installs are the files that were
/// checked, for the list itself may be signed by nobody.
fn section(place: &Path, origin: &Origin, rpms: &[(String, String)]) -> String {
    let of_it = rpms.iter().filter(|(directory, _)| *directory == origin.directory);
    let names: Vec<&str> = of_it.map(|(_, name)| name.as_str()).collect();
    let more = format!("gpgcheck=0\nincludepkgs={}\n", names.join(","));
    dnf::section(origin, &format!("file://{}", place.join(&origin.directory).display()), &more)
}
