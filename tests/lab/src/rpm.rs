//! Builds rpms from files that lie in a directory, signs them, and writes the index of a directory of them.

use crate::keys::{self, Key, Signer};
use crate::sh;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What an rpm is made from.
#[derive(Clone, Debug, Default)]
pub struct Rpm {
    pub name: String,
    pub epoch: u32,
    pub version: String,
    /// With the distribution's tag: `1.el9`.
    pub release: String,
    pub noarch: bool,
    /// Another machine's, where it is not this one's.
    pub foreign: Option<&'static str>,
    /// Lines of the preamble: `Requires: ...` and its like.
    pub fields: String,
    /// The scriptlets, as a spec has them.
    pub scripts: String,
    /// The lines of `%files`.
    pub files: String,
    /// Where the files lie; nothing where there are none.
    pub root: Option<PathBuf>,
}

impl Rpm {
    pub fn arch(&self) -> &'static str {
        if self.noarch { "noarch" } else { self.foreign.unwrap_or("x86_64") }
    }

    /// `docker-ce-29.7.2-1.el9.x86_64.rpm`: a file's name has no epoch.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch())
    }

    fn spec(&self) -> String {
        let epoch = if self.epoch > 0 { format!("Epoch: {}\n", self.epoch) } else { String::new() };
        let arch = if self.noarch { "BuildArch: noarch\n" } else { "" };
        let lay = match &self.root {
            Some(root) => format!("cp -al '{}/.' %{{buildroot}}/\n", root.display()),
            None => String::new(),
        };
        format!(
            "Name: {}\n{epoch}Version: {}\nRelease: {}\nSummary: {}, as the lab packages it\nLicense: ASL 2.0\n\
             {arch}AutoReqProv: no\n{}\n%description\nWhat the lab has for {}.\n\n%install\nmkdir -p %{{buildroot}}\n\
             {lay}\n{}\n%files\n{}\n",
            self.name,
            self.version,
            self.release,
            self.name,
            self.fields,
            self.name,
            self.scripts,
            self.files
        )
    }
}

/// What rpmbuild would otherwise do to the files, and what would be of this machine.
const DEFINES: &[&str] = &[
    "debug_package %{nil}",
    "__spec_install_post %{nil}",
    "_unpackaged_files_terminate_build 0",
    "_build_id_links none",
    "_binary_payload w1.zstdio",
    "_buildhost lab",
    "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
];

/// Builds rpms into `out`, two side by side.
pub fn build(rpms: &[Rpm], work: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(out).context("making a directory of rpms")?;
    std::thread::scope(|scope| {
        let mut sides = Vec::new();
        for (n, side) in rpms.chunks(rpms.len().div_ceil(2).max(1)).enumerate() {
            let top = work.join(format!("rpmbuild-{n}"));
            sides.push(scope.spawn(move || side.iter().try_for_each(|rpm| build_one(rpm, &top, out))));
        }
        sides.into_iter().try_for_each(|side| {
            side.join().map_err(|_| anyhow::anyhow!("a builder of rpms panicked")).and_then(|done| done)
        })
    })
}

fn build_one(rpm: &Rpm, top: &Path, out: &Path) -> Result<()> {
    let spec = top.join("rpm.spec");
    sh::write(&spec, rpm.spec())?;
    let own = [
        format!("_topdir {}", top.display()),
        format!("_dbpath {}", top.join("db").display()),
        format!("_rpmdir {}", out.display()),
    ];
    let mut argv = vec!["rpmbuild", "-bb", "--quiet", "--clean", "--nodeps"];
    argv.extend(rpm.foreign.iter().flat_map(|target| ["--target", target]));
    for define in DEFINES.iter().copied().chain(own.iter().map(String::as_str)) {
        argv.extend(["--define", define]);
    }
    let spec = spec.to_string_lossy();
    argv.push(&spec);
    sh::run(&argv).map(drop).with_context(|| format!("packaging {}", rpm.name))
}

/// Signs rpms, header and payload, as upstream's are.
pub fn sign(rpms: &[PathBuf], key: Key, signer: &Signer) -> Result<()> {
    let name = format!("_gpg_name {}", keys::mail(key));
    let clock = key.clock().unwrap_or_default();
    let command = format!(
        "__gpg_sign_cmd /usr/bin/gpg gpg --homedir {} --batch --no-verbose --no-armor --quiet --no-permission-warning \
         --pinentry-mode loopback --passphrase '' {clock} --digest-algo sha256 --local-user '%{{_gpg_name}}' \
         --sign --detach-sign --output %{{__signature_filename}} %{{__plaintext_filename}}",
        signer.home().display()
    );
    let files: Vec<String> = rpms.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut argv = vec!["rpmsign", "--addsign", "--define", &name, "--define", &command];
    argv.extend(files.iter().map(String::as_str));
    sh::run(&argv).map(drop).context("signing rpms")
}

/// The rpms of a directory, by name.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rpm"));
    files.sort();
    Ok(files)
}

/// Writes `repodata` over the packages below a directory, dated as told.
pub fn index(dir: &Path, date: i64) -> Result<()> {
    fs::create_dir_all(dir).context("making a repository")?;
    let (dir, date) = (dir.to_string_lossy(), date.to_string());
    let argv = [
        "createrepo_c",
        "--quiet",
        "--no-database",
        "--revision",
        &date,
        "--set-timestamp-to-revision",
        &dir,
    ];
    sh::run(&argv).map(drop)
}

/// Unpacks packages of a Debian archive into `root`, without what only documents them, and with one `/usr`.
pub fn unpack_debs(debs: &[PathBuf], root: &Path) -> Result<()> {
    fs::create_dir_all(root).context("making a place to unpack")?;
    let script = "set -e; root=$1; shift; for deb; do dpkg-deb -x \"$deb\" \"$root\"; done; cd \"$root\"
for d in bin sbin lib; do if [ -d $d ]; then mkdir -p usr/$d; cp -a $d/. usr/$d/; rm -rf $d; fi; done
rm -rf usr/share/doc usr/share/man usr/share/lintian usr/share/bug usr/share/locale";
    let root = root.to_string_lossy();
    let files: Vec<String> = debs.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut argv = vec!["sh", "-c", script, "sh", &root];
    argv.extend(files.iter().map(String::as_str));
    sh::run(&argv).map(drop)
}

/// The lines of `%files` for all that `base` lacks: it is taken away from `root` where `base` has it.
pub fn owned(root: &Path, base: &Path) -> Result<String> {
    let script = "set -e; cd \"$1\"; find . -mindepth 1 ! -type d | while read -r f; do
if [ -e \"$2/$f\" ] || [ -L \"$2/$f\" ]; then rm \"$f\"; fi; done; find . -mindepth 1 -type d -empty -delete
find . -mindepth 1 -printf '%y %P\\n' | sort | while read -r k f; do
if [ \"$k\" != d ]; then echo \"\\\"/$f\\\"\"; elif [ ! -e \"$2/$f\" ]; then echo \"%dir \\\"/$f\\\"\"; fi; done";
    sh::run(&["sh", "-c", script, "sh", &root.to_string_lossy(), &base.to_string_lossy()])
}
