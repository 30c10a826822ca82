//! Repositories for machines of another architecture, of packages without content: what bundles for such are made from.

use crate::keys::{Key, Signer};
use crate::lab::Lab;
use crate::rpm::{self, Rpm};
use crate::{release, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Where they are served, once somebody asked for them: Docker's, Ubuntu 24.04's and RHEL 9's.
pub const ADDRESS: &str = "http://archive.lab/foreign";

/// A package's name, its version, and what it depends on.
type Package = (&'static str, &'static str, &'static str);

const DOCKER: [Package; 5] = [
    ("docker-ce", "29.7.2", "containerd.io, docker-ce-cli, iptables"),
    ("docker-ce-cli", "29.7.2", ""),
    ("containerd.io", "2.2.1", ""),
    ("docker-buildx-plugin", "0.34.1", ""),
    ("docker-compose-plugin", "5.5.0", ""),
];

/// The distribution's own, of which the last is needed by nobody.
const OWN: [Package; 5] = [
    ("apparmor", "4.0.1", ""),
    ("ca-certificates", "20240203", ""),
    ("iptables", "1.8.10", "libxtables"),
    ("libxtables", "1.8.10", ""),
    ("hello", "2.12", ""),
];

/// Serves them below [`ADDRESS`] from now on.
pub fn serve(lab: &Lab) -> Result<()> {
    let dir = lab.dir().join("nginx/foreign");
    let signer = lab.keys().signer()?;
    let docker = apt_pool(&dir, "linux/ubuntu", &DOCKER)?;
    suite(&dir.join("linux/ubuntu"), "noble", &["stable"], &docker, Key::Docker, &signer)?;
    let own = apt_pool(&dir, "ubuntu-ports", &OWN)?;
    for name in ["noble", "noble-updates", "noble-security"] {
        let packages = if name == "noble" { own.as_str() } else { "" };
        suite(&dir.join("ubuntu-ports"), name, &["main", "universe"], packages, Key::Archive, &signer)?;
    }
    let system = "content/dist/rhel9/9/aarch64";
    repository(&dir.join("linux/rhel/9/aarch64/stable"), &DOCKER, Key::DockerRpm, &signer)?;
    repository(&dir.join(system).join("baseos/os"), &OWN, Key::Archive, &signer)?;
    repository(&dir.join(system).join("appstream/os"), &[], Key::Archive, &signer)?;
    sh::remove_tree(&dir.join("work"))
}

/// Builds debs into a pool, and gives back their index.
fn apt_pool(dir: &Path, root: &str, packages: &[Package]) -> Result<String> {
    let (root, work) = (dir.join(root), dir.join("work"));
    fs::create_dir_all(root.join("pool")).context("making a pool")?;
    for (name, version, needs) in packages {
        let depends = if needs.is_empty() { String::new() } else { format!("Depends: {needs}\n") };
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: arm64\nMaintainer: lab <lab@lab.example>\n\
             {depends}Description: {name}, as the lab has it for arm64\n"
        );
        sh::write(&work.join("DEBIAN/control"), control)?;
        let deb = root.join(format!("pool/{name}_{version}_arm64.deb"));
        let argv =
            ["dpkg-deb", "--root-owner-group", "--build", &work.to_string_lossy(), &deb.to_string_lossy()];
        sh::run(&argv)?;
    }
    sh::remove_tree(&work)?;
    sh::run_in(&root, &["apt-ftparchive", "--arch", "arm64", "packages", "pool"])
}

/// Lays a suite, whose first component has the packages.
fn suite(
    root: &Path,
    name: &str,
    components: &[&str],
    packages: &str,
    key: Key,
    signer: &Signer,
) -> Result<()> {
    let dists = root.join("dists").join(name);
    for (n, component) in components.iter().enumerate() {
        let text = if n == 0 { packages } else { "" };
        release::packages(&dists.join(component).join("binary-arm64"), text)?;
    }
    let says = |field: &str, value: &str| format!("-oAPT::FTPArchive::Release::{field}={value}");
    let options = [
        says("Suite", name),
        says("Codename", name),
        says("Architectures", "arm64"),
        says("Components", &components.join(" ")),
    ];
    let mut argv = vec!["apt-ftparchive"];
    argv.extend(options.iter().map(String::as_str));
    argv.extend(["release", "."]);
    let text = sh::run_in(&dists, &argv)?;
    let release = dists.join("Release");
    sh::write(&release, text)?;
    signer.sign(&[key], &release)
}

/// Lays a repository of rpms that are signed each.
fn repository(dir: &Path, packages: &[Package], key: Key, signer: &Signer) -> Result<()> {
    let rpm = |(name, version, needs): &Package| Rpm {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        release: "1.el9".to_owned(),
        foreign: Some("aarch64"),
        fields: if needs.is_empty() { String::new() } else { format!("Requires: {needs}\n") },
        ..Rpm::default()
    };
    let rpms: Vec<Rpm> = packages.iter().map(rpm).collect();
    rpm::build(&rpms, &dir.join("work"), &dir.join("Packages"))?;
    sh::remove_tree(&dir.join("work"))?;
    let built = rpm::list(&dir.join("Packages"))?;
    if !built.is_empty() {
        rpm::sign(&built, key, signer)?;
    }
    rpm::index(dir, release::now())
}
