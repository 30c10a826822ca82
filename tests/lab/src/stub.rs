//! Packages that the lab writes itself, as debs and as rpms: a few files, what they need, and what is done after them.

use crate::rpm::Rpm;
use crate::sh;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A package of either kind.
#[derive(Clone, Debug, Default)]
pub struct Stub {
    pub name: String,
    /// Upstream's version; a deb's has `revision` behind it, and so has an rpm's, as its release.
    pub version: String,
    pub revision: String,
    pub epoch: u32,
    /// Lines of a deb's control file, or of an rpm's preamble.
    pub fields: String,
    /// Path and text. What is in a directory of programs can be run; a text that begins with `-> ` is a link's target.
    pub files: Vec<(String, Vec<u8>)>,
    /// Files that are the administrator's to change.
    pub conffiles: Vec<String>,
    /// Shell: after it has come, and after it was upgraded.
    pub after: String,
    /// Shell: before it goes for good.
    pub before_removal: String,
    /// Shell: after it has gone.
    pub after_removal: String,
}

impl Stub {
    pub fn new(name: &str, version: &str, revision: &str) -> Stub {
        Stub {
            name: name.to_string(),
            version: version.to_string(),
            revision: revision.to_string(),
            ..Stub::default()
        }
    }

    pub fn fields(mut self, fields: impl Into<String>) -> Stub {
        self.fields = fields.into();
        self
    }

    pub fn file(mut self, path: impl Into<String>, text: impl Into<Vec<u8>>) -> Stub {
        self.files.push((path.into(), text.into()));
        self
    }

    pub fn conffile(mut self, path: &str, text: impl Into<Vec<u8>>) -> Stub {
        self.conffiles.push(path.to_string());
        self.file(path, text)
    }

    pub fn after(mut self, shell: &str) -> Stub {
        self.after += shell;
        self
    }

    pub fn before_removal(mut self, shell: &str) -> Stub {
        self.before_removal += shell;
        self
    }

    pub fn after_removal(mut self, shell: &str) -> Stub {
        self.after_removal += shell;
        self
    }

    /// Lays its files below `root`.
    fn lay(&self, root: &Path) -> Result<()> {
        fs::create_dir_all(root).context("making a package's root")?;
        for (path, text) in &self.files {
            let at = root.join(path.trim_start_matches('/'));
            if let Some(target) = text.strip_prefix(b"-> ") {
                let target = String::from_utf8_lossy(target).into_owned();
                fs::create_dir_all(at.parent().unwrap_or(root)).context("making a package's directory")?;
                std::os::unix::fs::symlink(&target, &at).with_context(|| format!("linking {path}"))?;
                continue;
            }
            sh::write(&at, text)?;
            let mode = if path.contains("/bin/") || path.contains("/sbin/") { "755" } else { "644" };
            sh::run(&["chmod", mode, &at.to_string_lossy()])?;
        }
        Ok(())
    }

    /// Builds the deb into `out`.
    pub fn deb(&self, work: &Path, out: &Path) -> Result<PathBuf> {
        let root = work.join(format!("deb-{}-{}", self.name, self.version));
        sh::remove_tree(&root)?;
        self.lay(&root)?;
        let epoch = if self.epoch > 0 { format!("{}:", self.epoch) } else { String::new() };
        let version = format!("{}-{}", self.version, self.revision);
        let control = root.join("DEBIAN");
        sh::write(
            &control.join("control"),
            format!(
                "Package: {}\nVersion: {epoch}{version}\nArchitecture: amd64\nSection: utils\nPriority: optional\n\
                 Maintainer: NVIDIA CORPORATION <cudatools@nvidia.com>\n{}Description: {}, as the lab has it\n",
                self.name, self.fields, self.name
            ),
        )?;
        if !self.conffiles.is_empty() {
            sh::write(&control.join("conffiles"), self.conffiles.join("\n") + "\n")?;
        }
        let scripts = [
            ("postinst", "configure", &self.after),
            ("prerm", "remove", &self.before_removal),
            ("postrm", "remove", &self.after_removal),
        ];
        for (script, when, shell) in scripts.into_iter().filter(|(.., shell)| !shell.is_empty()) {
            let path = control.join(script);
            sh::write(&path, format!("#!/bin/sh\nset -e\nif [ \"$1\" = {when} ]; then\n{shell}fi\n"))?;
            sh::run(&["chmod", "755", &path.to_string_lossy()])?;
        }
        let deb = out.join(format!("{}_{version}_amd64.deb", self.name));
        let (at, to) = (root.to_string_lossy(), deb.to_string_lossy());
        sh::run(&["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", &at, &to])?;
        sh::remove_tree(&root)?;
        Ok(deb)
    }

    /// What its rpm is made from; its files lie below `work` until then.
    pub fn rpm(&self, work: &Path) -> Result<Rpm> {
        let root = work.join(format!("rpm-{}-{}-{}", self.name, self.version, self.revision));
        sh::remove_tree(&root)?;
        self.lay(&root)?;
        let listed = self.files.iter().map(|(path, _)| {
            let config = if self.conffiles.contains(path) { "%config(noreplace) " } else { "" };
            format!("{config}\"{path}\"\n")
        });
        // Directories that are the package's alone: of a kernel's headers, of a module's sources.
        let mut own: Vec<&str> =
            self.files.iter().filter_map(|(path, _)| Some(path.rsplit_once('/')?.0)).collect();
        own.retain(|dir| dir.starts_with("/usr/src/"));
        let listed = listed.chain(own.iter().map(|dir| format!("%dir \"{dir}\"\n")));
        let scripts = [
            ("%post", "[ $1 -ge 1 ]", &self.after),
            ("%preun", "[ $1 -eq 0 ]", &self.before_removal),
            ("%postun", "[ $1 -eq 0 ]", &self.after_removal),
        ];
        let scripts = scripts.into_iter().filter(|(.., shell)| !shell.is_empty());
        Ok(Rpm {
            name: self.name.clone(),
            epoch: self.epoch,
            version: self.version.clone(),
            release: self.revision.clone(),
            fields: self.fields.clone(),
            scripts: scripts
                .map(|(name, when, shell)| format!("{name}\nif {when}; then\n{shell}fi\n\n"))
                .collect(),
            files: listed.collect(),
            root: Some(root),
            ..Rpm::default()
        })
    }
}

/// Builds debs, two side by side.
pub fn debs(stubs: &[Stub], work: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out).context("making a directory of debs")?;
    std::thread::scope(|scope| {
        let mut sides = Vec::new();
        for side in stubs.chunks(stubs.len().div_ceil(2).max(1)) {
            sides.push(scope.spawn(move || side.iter().try_for_each(|stub| stub.deb(work, out).map(drop))));
        }
        sides.into_iter().try_for_each(|side| {
            side.join().map_err(|_| anyhow::anyhow!("a builder of debs panicked")).and_then(|done| done)
        })
    })
}

/// Builds rpms, two side by side.
pub fn rpms(stubs: &[Stub], work: &Path, out: &Path) -> Result<()> {
    let rpms: Result<Vec<Rpm>> = stubs.iter().map(|stub| stub.rpm(work)).collect();
    crate::rpm::build(&rpms?, work, out)
}
