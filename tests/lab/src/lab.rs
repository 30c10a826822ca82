//! A run of the lab: what is cached is made, the network and the servers are started, and all of it is ended again.

use crate::identity::{ARCHIVE, Identity};
use crate::keys::{Key, Keys, NAMES};
use crate::mirror::Variant;
use crate::net::{self, Net};
use crate::process::{self, Run};
use crate::server::{self, Trees};
use crate::{
    archive, base, cache, dnf_archive, dnf_base, dnf_root, mirror, nvidia_mirror, restricted, rpm_mirror, sh,
};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Handed to every scenario; cheap to clone.
#[derive(Clone)]
pub struct Lab {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub run: Run,
    pub net: Net,
    pub keys: Keys,
    next: AtomicU32,
    keep: bool,
}

impl Lab {
    /// Makes what is not there yet, and starts the lab's network and servers. They end with the last `Lab` and `Host`.
    pub fn open() -> Result<Lab> {
        Lab::start(&std::process::id().to_string(), false)
    }

    /// The same, under a name, to stay when this process ends.
    pub fn open_to_stay(id: &str) -> Result<Lab> {
        Lab::start(id, true)
    }

    /// One that stayed.
    pub fn resume(id: &str) -> Result<Lab> {
        let run = Run::resume(&runs(), id)?;
        let used = fs::read_dir(run.dir.join("hosts")).map(Iterator::count).unwrap_or_default();
        let net = Net::existing(id);
        Ok(Lab {
            shared: Arc::new(Shared {
                run,
                net,
                keys: Keys::ensure()?,
                next: AtomicU32::new(used as u32),
                keep: true,
            }),
        })
    }

    fn start(id: &str, keep: bool) -> Result<Lab> {
        sh::tools()?;
        let building = cache::lock()?;
        std::thread::scope(|scope| {
            let other = scope
                .spawn(|| base::ensure(base::Base::Trixie).and_then(|_| archive::pool(base::Base::Trixie)));
            archive::pool(base::Base::Bookworm)?;
            other.join().map_err(|_| anyhow::anyhow!("a builder panicked"))?
        })?;
        let keys = Keys::ensure()?;
        let trees = Trees {
            mirror: mirror::ensure(&keys)?,
            mirror_rpm: rpm_mirror::ensure(&keys)?,
            nvidia: nvidia_mirror::ensure(&keys)?,
            archive: restricted::ensure(&keys)?,
            archive_dnf: dnf_archive::ensure(&keys)?,
        };
        drop(building);
        let run = Run::begin(&runs(), id)?;
        if keep {
            run.keep()?;
        }
        let net = Net::make(id).and_then(|net| server::start(&run, &net, &keys, &trees).map(|()| net));
        let net = match net {
            Ok(net) => net,
            Err(error) => {
                let _ = process::sweep(&run.dir);
                return Err(error);
            }
        };
        Ok(Lab { shared: Arc::new(Shared { run, net, keys, next: AtomicU32::new(0), keep }) })
    }

    /// The directory of this run.
    pub fn dir(&self) -> &Path {
        &self.shared.run.dir
    }

    /// The lab's keys.
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// Runs a command of this machine in the lab's network.
    pub fn in_network(&self, argv: &[&str]) -> Result<String> {
        self.shared.net.run(argv)
    }

    pub(crate) fn number(&self) -> u32 {
        self.shared.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The root filesystem of an identity: its base with its names, sources and lists, and the lab's TLS authority.
    pub fn root(&self, identity: Identity) -> Result<PathBuf> {
        let _building = cache::lock()?;
        let (base, archive) = match identity.dnf() {
            Some(_) => (dnf_base::ensure(identity.base())?, dnf_archive::ensure(self.keys())?),
            None => (base::ensure(identity.base())?, restricted::ensure(self.keys())?),
        };
        let parts = [
            include_str!("lab.rs"),
            include_str!("identity.rs"),
            if identity.dnf().is_some() { DNF_PARTS } else { "" },
            &base.to_string_lossy(),
            &archive.to_string_lossy(),
            &sh::read(&self.keys().authority())?,
            identity.name(),
        ];
        cache::ensure(&format!("root-{}", identity.name()), &parts, |new| {
            let root = new.join("root");
            sh::run(&["cp", "-a", &base.to_string_lossy(), &root.to_string_lossy()])?;
            match identity.dnf() {
                Some(dnf) => dnf_root::lay(dnf, &root, self.keys())?,
                None => identity.lay(&root, self.keys())?,
            }
            sh::write(&root.join("etc/hostname"), "host\n")?;
            sh::write(&root.join("etc/hosts"), hosts_file(|_| Variant::Good, &[]))?;
            let authority = root.join("usr/local/share/ca-certificates/lab.crt");
            fs::copy(self.keys().authority(), &authority).context("laying the authority")?;
            let at = root.to_string_lossy();
            sh::run(&["chroot", &at, "update-ca-certificates"])?;
            // As on a host that has booted before: nothing is owed to a changed /usr.
            sh::run_in(&root, &["touch", "--reference=usr", "etc/.updated", "var/.updated"])?;
            match identity {
                Identity::Void => Ok(()),
                _ if identity.dnf().is_some() => {
                    self.in_network(&["chroot", &at, "sh", "-c", dnf_root::FETCH]).map(drop)
                }
                _ => self.in_network(&["chroot", &at, "apt-get", "update"]).map(drop),
            }
        })
        .map(|dir| dir.join("root"))
    }

    /// A small image for `docker import`: busybox, static.
    pub fn image(&self) -> Result<PathBuf> {
        let _building = cache::lock()?;
        let pool = archive::pool(base::Base::Bookworm)?;
        let parts = [include_str!("lab.rs"), &pool.to_string_lossy()];
        let dir = cache::ensure("image", &parts, |dir| {
            let deb = archive::find(&pool, "busybox-static")?;
            let script = "set -e; cd \"$1\"; dpkg-deb -x \"$2\" x; mkdir -p r/bin r/tmp; cp $(find x -path '*bin/busybox' -type f) r/bin/busybox
for n in sh echo cat ls sleep true false id; do ln -s busybox r/bin/$n; done; tar --owner=0 --group=0 -C r -cf image.tar .; rm -rf x r";
            sh::run(&["sh", "-c", script, "sh", &dir.to_string_lossy(), &deb.to_string_lossy()]).map(drop)
        })?;
        Ok(dir.join("image.tar"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = process::sweep(&self.run.dir)
        {
            eprintln!("lab: {error:#}");
        }
    }
}

/// What the roots of the dnf family are made from besides.
const DNF_PARTS: &str =
    concat!(include_str!("dnf_root.rs"), include_str!("dnf_identity.rs"), include_str!("rpm.rs"));

/// Where runs keep their hosts.
pub fn runs() -> PathBuf {
    cache::dir().join("runs")
}

/// A host's /etc/hosts: the archive, each of the mirror's names at its variant's address, and more.
pub fn hosts_file(variant: impl Fn(&str) -> Variant, more: &[(String, String)]) -> String {
    let mut text = format!("127.0.0.1 localhost\n127.0.1.1 host\n{} {ARCHIVE}\n", net::GATEWAY);
    for name in NAMES {
        text += &format!("{} {name}\n", net::address(variant(name)));
    }
    for (address, name) in more {
        text += &format!("{address} {name}\n");
    }
    text
}

/// The pinned key as the product's configuration names it.
pub const CONFIG: &str = "[source.docker]\nkey = \"/etc/rprov/keys/lab.asc\"\n";

impl Lab {
    /// The bytes of a public key.
    pub fn public(&self, key: Key) -> Result<String> {
        sh::read(&self.keys().public(key))
    }
}
