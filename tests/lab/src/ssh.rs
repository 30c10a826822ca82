//! OpenSSH's server in a host of any distribution: Debian's packages, unpacked, for who comes with a key.

use crate::base::{self, Base};
use crate::{Host, cache, scratch, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;

/// Who logs in, and becomes root by sudo.
pub const USER: &str = "ops";

const CONFIG: &str = "HostKey /etc/ssh/lab_key\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
    Subsystem sftp /usr/lib/openssh/sftp-server\n";
const UNIT: &str = "[Unit]\nAfter=network.target\n\n[Service]\nRuntimeDirectory=sshd\n\
    ExecStart=/usr/sbin/sshd -D -f /etc/ssh/lab_config\n\n[Install]\nWantedBy=multi-user.target\n";

/// Lays it on a booted host, and starts it there, now and at each boot.
pub fn serve(host: &Host, public_key: &str) -> Result<()> {
    let from = ensure(host.identity().base())?;
    // `dpkg-deb -x` would make a directory of the link `/lib`.
    let unpack = "dpkg-deb --fsys-tarfile \"$1\" | tar -C \"$2\" -x --keep-directory-symlink";
    for deb in fs::read_dir(&from).context("listing OpenSSH's packages")?.flatten() {
        let (deb, root) = (deb.path(), host.at("/"));
        sh::run(&["sh", "-c", unpack, "sh", &deb.to_string_lossy(), &root.to_string_lossy()])?;
    }
    host.write("/etc/ssh/lab_config", CONFIG)?;
    host.write("/etc/systemd/system/lab-sshd.service", UNIT)?;
    host.add_user(USER)?;
    host.write(&format!("/etc/sudoers.d/{USER}"), format!("{USER} ALL=(ALL) NOPASSWD: ALL\n"))?;
    host.write(&format!("/home/{USER}/.ssh/authorized_keys"), public_key)?;
    // Without PAM an account without a password is one that is locked.
    let script = format!(
        "set -e; chown -R {USER}: /home/{USER}/.ssh; usermod -p '*' {USER}; \
         useradd --system --no-create-home --home-dir /run/sshd sshd; \
         ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/lab_key; systemctl enable --now lab-sshd"
    );
    host.sh(&script)?.ok().map(drop)
}

/// The server's packages, and what they need that the base lacks.
fn ensure(base: Base) -> Result<PathBuf> {
    let _building = cache::lock()?;
    let root = base::ensure(base)?;
    let parts = [include_str!("ssh.rs"), &root.to_string_lossy()];
    cache::ensure(&format!("ssh-{}", base.suite()), &parts, |dir| {
        scratch::debs(base, &root, "openssh-server", dir)
    })
}
