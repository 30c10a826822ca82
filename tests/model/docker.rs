//! The images of an engine, as far as rprov meets them: each a file of its name.

use super::{Model, Output, failure};
use rprov::host::Look;
use std::path::PathBuf;

fn place(reference: &str) -> PathBuf {
    PathBuf::from(format!("/opt/image-{reference}"))
}

impl Model {
    pub(super) fn image(&self, reference: &str) -> Output {
        match self.exists(&place(reference)).unwrap() {
            true => Output { stdout: "sha256:0\n".into(), ..Output::default() },
            false => failure(1, &format!("No such image: {reference}")),
        }
    }

    /// An archive here is its image's name.
    pub(super) fn docker(&self, argv: &[&str]) -> Output {
        match argv {
            ["image", "load", "--quiet", "--input", archive] => {
                let name = self.text(archive);
                self.put(&place(&name).display().to_string(), "loaded");
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
