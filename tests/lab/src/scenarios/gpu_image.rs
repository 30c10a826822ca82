//! `rprov install --gpu=toolkit` while an image is built: files of a machine that does not run, and no systemd.

use super::common::{LONG, engine_works, says};
use super::gpu::{self, DAEMON, NVIDIA_RUNTIME};
use super::uninstall::EXCEPTIONS;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::tree::Tree;
use crate::{Host, Output, sh};
use anyhow::{Result, ensure};
use std::path::PathBuf;

pub const ALL: &[Scenario] = &[Scenario {
    name: "gpu-image",
    about: "in a chroot and in a container's build all is configured and nothing is started; a machine of the image has it",
    on: &[Identity::Ubuntu2404, Identity::Rhel9, Identity::Debian12],
    run: image,
}];

const AT: &str = "/srv/image";

/// As packer, mkosi and their kin enter an image: systemd runs around it.
const CHROOT: &str = "exec chroot /srv/image \"$@\"";
/// As `docker build` does: process 1 is what it runs.
const BUILD: &str = "touch /srv/image/.dockerenv; exec unshare --pid --fork --mount sh -c \
                     'mount -t proc proc /srv/image/proc; chroot /srv/image \"$@\"; exit $?' sh \"$@\"";

/// The host's own files as an image, with what tools that build one mount there.
fn prepare(host: &Host) -> Result<()> {
    let copy = "mkdir /srv/image && tar --one-file-system --exclude=./srv/image -C / -cf - . | tar -xpf - -C /srv/image \
                && cd /srv/image && mount -t proc proc proc && mount -t sysfs sysfs sys && mount --rbind /dev dev";
    host.sh(copy)?.ok().map(drop)
}

fn within(host: &Host, way: &str, argv: &[&str]) -> Result<Output> {
    host.run_within(LONG, &[&["sh", "-c", way, "sh"], argv].concat())
}

fn files(host: &Host) -> Result<Tree> {
    Tree::of(&root(host))
}

fn root(host: &Host) -> PathBuf {
    host.root().join(AT.trim_start_matches('/'))
}

fn image(lab: &Lab, identity: Identity) -> Result<()> {
    let builder = gpu::fresh(lab, identity)?;
    prepare(&builder)?;
    let before = files(&builder)?;
    let install = ["rprov", "install", "--yes", "--gpu=toolkit"];
    for way in [CHROOT, BUILD] {
        let plain = within(&builder, way, &install[..3])?.code_is(4)?;
        says(&plain, &["systemd does not run here", "`--gpu=toolkit` prepares an image"])?;
        let said = within(&builder, way, &install)?.ok()?;
        says(&said, &["nothing was started", "when a machine of this image boots"])?;
        ensure!(builder.run(&["pgrep", "dockerd|containerd"])?.code == 1, "something was started");
        let json: serde_json::Value = serde_json::from_str(&builder.read(&format!("{AT}{DAEMON}"))?)?;
        ensure!(json["runtimes"]["nvidia"]["path"] == NVIDIA_RUNTIME, "daemon.json is {json}");
        says(&within(&builder, way, &install)?.ok()?, &["nothing to do"])?;
        within(&builder, way, &["rprov", "status"])?.ok()?;
        if way == CHROOT {
            boots(lab, identity, &builder)?;
        }
        within(&builder, way, &["rprov", "uninstall", "--yes", "--purge-data"])?.ok()?;
        let left = before.diff(&files(&builder)?, &[EXCEPTIONS, BUILDERS].concat());
        ensure!(left.is_empty(), "an uninstall leaves in the image:\n{}", left.join("\n"));
    }
    Ok(())
}

const BUILDERS: &[(&str, &str)] = &[("/.dockerenv", "the mark of whoever builds")];

/// A machine of the image has it all, and finds nothing to do.
fn boots(lab: &Lab, identity: Identity, builder: &Host) -> Result<()> {
    let mut machine = Host::fresh(lab, identity)?;
    let (image, files) = (root(builder), machine.root().to_owned());
    sh::remove_tree(&files)?;
    sh::run(&["cp", "-ax", "--reflink=auto", &image.to_string_lossy(), &files.to_string_lossy()])?;
    machine.boot()?;
    engine_works(&machine)?;
    says(&machine.run(&["rprov", "install", "--yes", "--gpu=toolkit"])?.ok()?, &["nothing to do"])
}
