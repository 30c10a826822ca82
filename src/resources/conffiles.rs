//! Configuration files of packages that people wrote: a purge would delete them, so they are laid aside and put back.

use super::Resource;
use super::file::{File, Node};
use crate::error::{OrFail, Result};
use crate::host::{Command, Owner, Touch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const STATE: &str = "/var/lib/rprov";
/// On disk before the purge begins: a run that dies in between leaves them to the next.
const ASIDE: &str = "/var/lib/rprov/conffiles.json";

/// By which program the bytes of conffiles are held against the package's: lines of one form.
pub const DPKG: [&str; 2] = ["dpkg", "--verify"];
pub const RPM: [&str; 2] = ["rpm", "--verify"];

/// Where rpm puts a conffile that somebody wrote, when its package goes.
const RPMSAVE: &str = ".rpmsave";

/// Lays aside the conffiles of these packages whose bytes are not the package's.
pub fn lay_aside(verify: [&str; 2], packages: &[String], host: &dyn Touch) -> Result<()> {
    let argv = verify.map(str::to_owned).into_iter().chain(packages.iter().cloned());
    let verified = host.run(&Command::new(argv).capture())?;
    let mut aside: BTreeMap<PathBuf, Node> = BTreeMap::new();
    for path in changed(&verified.stdout) {
        let node = File { path: path.clone() }.get(host)?;
        if node.bytes().is_some() {
            aside.insert(path, node);
        }
    }
    if aside.is_empty() {
        return Ok(());
    }
    if !host.exists(Path::new(STATE))? {
        host.make_directory(Path::new(STATE), Owner { uid: 0, gid: 0, mode: 0o700 })?;
    }
    let text = serde_json::to_vec(&aside).or_fail(|| format!("cannot write `{ASIDE}`"))?;
    host.write(Path::new(ASIDE), &text, Owner { uid: 0, gid: 0, mode: 0o600 })
}

/// Puts back what was laid aside, where the purge took it.
pub fn put_back(host: &dyn Touch) -> Result<()> {
    let Some(text) = host.read_text(Path::new(ASIDE))? else { return Ok(()) };
    let aside: BTreeMap<PathBuf, Node> =
        serde_json::from_str(&text).or_fail(|| format!("cannot read `{ASIDE}`"))?;
    for (path, node) in aside {
        if host.exists(&path)? {
            continue;
        }
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in parents.into_iter().rev() {
            if !host.exists(parent)? {
                host.make_directory(parent, Owner::ROOT_0755)?;
            }
        }
        let aside = PathBuf::from(format!("{}{RPMSAVE}", path.display()));
        let same = File { path: aside.clone() }.get(host)?.bytes() == node.bytes();
        File { path }.set(&node, host)?;
        if same {
            host.remove(&aside)?;
        }
    }
    host.remove(Path::new(ASIDE))
}

/// Lines of `dpkg --verify`: `??5?????? c /etc/default/docker` is a conffile with another digest; of `rpm --verify`:
/// `S.5....T.  c /etc/containerd/config.toml`.
fn changed(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let (flags, rest) = line.split_once(" c ")?;
        flags.contains('5').then(|| PathBuf::from(rest.trim()))
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn changed_conffiles_are_read_from_what_dpkg_says() {
        let text = "??5?????? c /etc/default/docker\nmissing   c /etc/x\n??5??????   /usr/bin/y\n";
        assert_eq!(super::changed(text), [std::path::PathBuf::from("/etc/default/docker")]);
        let text = "S.5....T.  c /etc/containerd/config.toml\n.......T.  c /etc/x\nS.5....T.    /usr/bin/y\n";
        assert_eq!(super::changed(text), [std::path::PathBuf::from("/etc/containerd/config.toml")]);
    }
}
