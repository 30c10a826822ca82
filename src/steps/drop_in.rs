//! Drop-ins of systemd: what is changed of a packaged unit without touching its file.

use crate::resources::file::{File, Node};
use crate::resources::{AnyWant, want};
use std::path::{Path, PathBuf};

/// What our file is called in the directory of each unit.
const NAME: &str = "rprov.conf";

/// Our lines for one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct DropIn {
    pub unit: &'static str,
    pub text: String,
}

impl DropIn {
    /// dockerd without `-H`: its addresses are in daemon.json.
    pub fn docker_hosts() -> DropIn {
        DropIn { unit: "docker.service", text: include_str!("../../templates/docker-hosts.conf").to_owned() }
    }

    /// containerd with its images and snapshots below this directory. By the flag, and not in its config.toml: that is
    /// a conffile of the package.
    pub fn containerd_root(root: &Path) -> DropIn {
        let root = root.display().to_string();
        let text = include_str!("../../templates/containerd-root.conf").replace("{root}", &root);
        DropIn { unit: "containerd.service", text }
    }

    pub fn path(&self) -> PathBuf {
        self.directory().join(NAME)
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(format!("/etc/systemd/system/{}.d", self.unit))
    }

    pub fn wants(&self) -> [AnyWant; 2] {
        [
            want(File { path: self.directory() }, Node::directory()),
            want(File { path: self.path() }, Node::file(self.text.as_bytes())),
        ]
    }
}

/// Whether systemd takes a path as it stands on a command line: no blank, quote, `$`, `%` or backslash in it.
pub fn is_plain(path: &Path) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@:,".contains(&b) || !b.is_ascii();
    path.as_os_str().as_encoded_bytes().iter().all(|b| plain(*b))
}
