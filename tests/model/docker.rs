//! The images of an engine, as far as rprov meets them: each a file of its name.

use super::{Model, Output, failure};
use rprov::host::Look;
use std::path::PathBuf;

fn place(reference: &str) -> PathBuf {
    PathBuf::from(format!("/opt/image-{reference}"))
}

impl Model {
    /// What it says is what its name stands for.
    pub(super) fn image(&self, reference: &str) -> Output {
        match self.exists(&place(reference)).unwrap() {
            true => Output {
                stdout: format!("{}\n", self.text(place(reference).to_str().unwrap())),
                ..Output::default()
            },
            false => failure(1, &format!("No such image: {reference}")),
        }
    }

    /// Of an image that is used the file `/opt/container-of-NAME` has the container.
    pub(super) fn containers_of(&self, reference: &str) -> Output {
        let file = format!("/opt/container-of-{reference}");
        let there = self.exists(file.as_ref()).unwrap();
        Output { stdout: if there { self.text(&file) } else { String::new() }, ..Output::default() }
    }

    /// An archive here is the names of its images, a line each, which all stand for what has the archive's path.
    pub(super) fn docker(&self, argv: &[&str]) -> Output {
        match argv {
            ["image", "load", "--quiet", "--input", archive] => {
                for name in self.text(archive).lines() {
                    self.put(&place(name).display().to_string(), archive);
                }
                Output::default()
            }
            ["image", "tag", id, reference] => {
                self.put(&place(reference).display().to_string(), id);
                Output::default()
            }
            ["image", "rm", reference] if self.image(reference).ok() => {
                self.take_away(&place(reference).display().to_string());
                Output::default()
            }
            other => panic!("the model was not taught docker {other:?}"),
        }
    }
}
