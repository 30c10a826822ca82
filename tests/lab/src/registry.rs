//! An image with a real registry in it, as `docker save` would write it: the distribution's own program and its C library.

use crate::base::{self, Base};
use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What the image is called.
pub const NAME: &str = "registry:lab";

const CONFIG: &str = "version: 0.1
storage:
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
";

/// The archive, made once.
pub fn archive() -> Result<PathBuf> {
    let _building = cache::lock()?;
    let root = base::ensure(Base::Bookworm)?;
    let parts = [include_str!("registry.rs"), &root.to_string_lossy()];
    Ok(cache::ensure("registry", &parts, |dir| build(&root, dir))?.join("registry.tar"))
}

fn build(base: &Path, dir: &Path) -> Result<()> {
    println!("lab: making an image with a registry");
    let scratch = dir.join("root");
    sh::run(&["cp", "-a", &base.to_string_lossy(), &scratch.to_string_lossy()])?;
    if Path::new("/etc/resolv.conf").exists() {
        fs::copy("/etc/resolv.conf", scratch.join("etc/resolv.conf")).context("copying resolv.conf")?;
    }
    sh::write(&scratch.join("etc/apt/sources.list"), format!("deb {} bookworm main\n", base::mirror()?))?;
    let script = "set -e; apt-get update -q; cd /root; apt-get download docker-registry; dpkg -x docker-registry_*.deb x
mkdir -p image/bin image/lib64 image/lib/x86_64-linux-gnu image/etc image/tmp
cp x/usr/bin/docker-registry image/bin/
cp -L /lib64/ld-linux-x86-64.so.2 image/lib64/; cp -L /lib/x86_64-linux-gnu/libc.so.6 image/lib/x86_64-linux-gnu/";
    sh::run(&["chroot", &scratch.to_string_lossy(), "sh", "-c", script])?;
    let image = scratch.join("root/image");
    sh::write(&image.join("etc/registry.yml"), CONFIG)?;
    let place = scratch.join("root/save");
    fs::create_dir_all(&place).context("making a place for the image")?;
    let layer = place.join("layer.tar");
    sh::run(&[
        "tar",
        "--owner=0",
        "--group=0",
        "-C",
        &image.to_string_lossy(),
        "-cf",
        &layer.to_string_lossy(),
        ".",
    ])?;
    let digest = cache::sha256(&fs::read(&layer).context("reading the layer")?);
    let entry = r#"["/bin/docker-registry","serve","/etc/registry.yml"]"#;
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":{entry}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    let name = format!("{}.json", cache::sha256(config.as_bytes()));
    sh::write(&place.join(&name), config)?;
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["{NAME}"],"Layers":["layer.tar"]}}]"#);
    sh::write(&place.join("manifest.json"), manifest)?;
    let archive = dir.join("registry.tar");
    let (at, to) = (place.to_string_lossy(), archive.to_string_lossy());
    sh::run(&["tar", "-C", &at, "-cf", &to, "manifest.json", &name, "layer.tar"])?;
    sh::remove_tree(&scratch)
}
