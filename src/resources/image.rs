//! An image in the engine, from an archive that somebody gave: never pulled.

use super::{Change, How, Resource, WayBack};
use crate::error::{Error, Result};
use crate::event::Line;
use crate::host::{Command, Look, Output, Question, Touch};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// By the name under which the archive has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// `registry:3`
    pub reference: String,
    /// As `docker save` writes it. Only needed to load it.
    pub archive: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loaded {
    Absent,
    Present,
}

/// The engine is spoken to here, whatever DOCKER_HOST or a context say.
const HOST: [&str; 2] = ["--host", "unix:///run/docker.sock"];
/// Unpacking takes its time on a slow disk.
const LOAD: Duration = Duration::from_secs(900);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

impl Image {
    /// The image of an archive; it has to have one name.
    ///
    /// # Errors
    /// There is no such file, or it is no archive of one image with a name: exit 2.
    pub fn of_archive(path: &Path, host: &dyn Look) -> Result<Image> {
        let cannot = || format!("cannot use `{}` as an image", path.display());
        let made_by = "docker save --output registry.tar registry:3";
        let bytes = host.read(path)?.ok_or_else(|| {
            Error::usage(cannot())
                .because("there is no such file")
                .hint(format!("`{made_by}` writes one, where the image is"))
        })?;
        let wrong = |why: &str| Error::usage(cannot()).because(why).hint(format!("make it by `{made_by}`"));
        let manifest = manifest(&bytes).map_err(|e| wrong("it is no archive of `docker save`").because(e))?;
        let manifest =
            manifest.ok_or_else(|| wrong("it has no `manifest.json`: it is no archive of `docker save`"))?;
        let images: Vec<Manifest> = serde_json::from_slice(&manifest)
            .map_err(|e| wrong("its `manifest.json` is not understood").because(e))?;
        let names: Vec<String> = images.into_iter().filter_map(|i| i.repo_tags).flatten().collect();
        match &names[..] {
            [name] if is_reference(name) => Ok(Image { reference: name.clone(), archive: path.to_owned() }),
            [] => Err(wrong("the image in it has no name")),
            [name] => Err(wrong("its image has a name that is none").because(name)),
            _ => Err(wrong("it holds more than one image").because(names.join(", "))),
        }
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let words = ["docker"].iter().chain(&HOST).chain(arguments);
        Command::new(words.copied()).timeout(LOAD)
    }

    /// The containers that are made of it, whoever made them.
    fn users(&self, host: &dyn Look) -> Result<Output> {
        host.query(&Question::ContainersOf { image: self.reference.clone() })
    }
}

/// The file `manifest.json` of an archive, compressed or not.
fn manifest(bytes: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let plain: Box<dyn Read> = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(flate2::read::GzDecoder::new(bytes)),
        false => Box::new(bytes),
    };
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("manifest.json") {
            let mut manifest = Vec::new();
            entry.read_to_end(&mut manifest)?;
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// It becomes a word of a unit's command line: nothing there that systemd or docker would read as something else.
fn is_reference(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:._-@".contains(&b);
    !name.starts_with('-') && name.contains(':') && name.bytes().all(plain)
}

impl Resource for Image {
    type State = Loaded;

    /// Without an engine, or with one that does not answer, there is no image.
    fn get(&self, host: &dyn Look) -> Result<Loaded> {
        let answer = host.query(&Question::Image { reference: self.reference.clone() })?;
        Ok(if answer.ok() { Loaded::Present } else { Loaded::Absent })
    }

    fn set(&self, state: &Loaded, host: &dyn Touch) -> Result<()> {
        if self.get(host)? == *state {
            return Ok(());
        }
        let archive = self.archive.display().to_string();
        let (arguments, verb) = match state {
            Loaded::Present => (["image", "load", "--quiet", "--input", &archive].to_vec(), "load"),
            Loaded::Absent => (["image", "rm", &self.reference].to_vec(), "remove"),
        };
        host.run(&self.docker(&arguments))?
            .or_failed(|| format!("cannot {verb} the image `{}`", self.reference))
    }

    fn describe(&self, before: &Loaded, after: &Loaded) -> Vec<Line> {
        let from = || format!("image, from `{}`", self.archive.display());
        match (before, after) {
            (Loaded::Absent, Loaded::Present) => vec![Line::add("image", &self.reference, from())],
            (Loaded::Present, Loaded::Absent) => vec![Line::remove("image", &self.reference, "image")],
            _ => Vec::new(),
        }
    }

    fn same(&self, other: &Self) -> bool {
        self.reference == other.reference
    }

    fn way_back(&self, change: &Change<Self>, host: &dyn Look, how: How) -> Result<WayBack<Loaded>> {
        let now = self.get(host)?;
        if now == change.before {
            return Ok(WayBack::AlreadyAsBefore);
        }
        let users = self.users(host)?.stdout;
        // Ours is gone by then, or goes with its unit.
        match users.lines().find(|name| !name.starts_with("rprov-") && !how.force) {
            Some(name) => Ok(WayBack::Kept { why: format!("the container `{name}` is made of it") }),
            None => Ok(WayBack::Restore { now, to: change.before, told: Vec::new() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::host::fake::FakeHost;

    fn archive(manifest: Option<&str>) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in [("layer.tar", Some("layer")), ("manifest.json", manifest)] {
            let Some(text) = text else { continue };
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn the_name_of_an_image_is_read_from_its_archive_and_what_is_none_is_refused() {
        let path = Path::new("/srv/registry.tar");
        let read = |manifest| Image::of_archive(path, &FakeHost::new().file(path, archive(manifest)));
        let image = read(Some(r#"[{"Config":"c.json","RepoTags":["registry:3"],"Layers":[]}]"#)).unwrap();
        assert_eq!(image.reference, "registry:3");
        let cases = [
            (None, "no `manifest.json`"),
            (Some("{}"), "not understood"),
            (Some(r#"[{"RepoTags":null}]"#), "has no name"),
            (Some(r#"[{"RepoTags":["a:1","b:1"]}]"#), "more than one image"),
            (Some(r#"[{"RepoTags":["a:1 --privileged"]}]"#), "a name that is none"),
        ];
        for (manifest, reason) in cases {
            let error = read(manifest).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.to_string().contains(reason), "{error}");
        }
        let error = Image::of_archive(path, &FakeHost::new()).unwrap_err();
        assert!(error.to_string().contains("there is no such file"), "{error}");
    }
}
