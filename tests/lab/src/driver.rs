//! NVIDIA's driver as stubs: the files that a real one leaves, under the names that each repository has for them.

use crate::stub::Stub;
use crate::toolkit::Kind;
use crate::{cache, sh};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// The flavours of the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Open,
    Proprietary,
}

impl Flavour {
    pub const BOTH: [Flavour; 2] = [Flavour::Open, Flavour::Proprietary];

    pub fn word(self) -> &'static str {
        match self {
            Flavour::Open => "open",
            Flavour::Proprietary => "proprietary",
        }
    }

    /// `-open`, where the other is without a word.
    fn tail(self) -> &'static str {
        if self == Flavour::Open { "-open" } else { "" }
    }
}

/// Versions in NVIDIA's own repositories, oldest first; a later generation is in `Newer` only.
pub const GENERATIONS: [&[&str]; 3] =
    [&["580.126.20"], &["580.159.04", "595.84"], &["580.163.02", "595.91.02"]];

/// What Canonical and Debian have.
pub const UBUNTU: [&str; 2] = ["580.159.03", "595.84"];
pub const DEBIAN: [(&str, &str); 2] = [("bookworm", "535.261.03"), ("trixie", "550.163.01")];

/// The programs and objects that are compiled: of this machine's own C library, which is no newer than the hosts'.
pub struct Compiled {
    smi: Vec<u8>,
    cuda: Vec<u8>,
    ml: Vec<u8>,
}

impl Compiled {
    pub fn ensure() -> Result<Compiled> {
        let source = include_str!("../stubs/nvidia-smi.c");
        let dir = cache::ensure("nvidia-smi", &[include_str!("driver.rs"), source], |dir| {
            sh::write(&dir.join("smi.c"), source)?;
            sh::write(&dir.join("empty.c"), "")?;
            sh::run_in(dir, &["cc", "-O1", "-o", "nvidia-smi", "smi.c"])?;
            for name in ["libcuda", "libnvidia-ml"] {
                let soname = format!("-Wl,-soname,{name}.so.1");
                sh::run_in(dir, &["cc", "-shared", "-nostdlib", &soname, "-o", name, "empty.c"])?;
            }
            Ok(())
        })?;
        let read = |name: &str| fs::read(dir.join(name)).with_context(|| format!("reading the lab's {name}"));
        Ok(Compiled { smi: read("nvidia-smi")?, cuda: read("libcuda")?, ml: read("libnvidia-ml")? })
    }
}

/// The branch of a version: `580`.
pub fn branch(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

/// Makes packages of one version for one repository.
struct Maker<'a> {
    compiled: &'a Compiled,
    kind: Kind,
    version: &'a str,
    revision: &'a str,
    epoch: u32,
}

impl Maker<'_> {
    /// One that needs others of exactly its version, and others of any.
    fn stub(&self, name: &str, exactly: &[&str], any: &[&str]) -> Stub {
        let epoch = if self.epoch > 0 { format!("{}:", self.epoch) } else { String::new() };
        let version = format!("{epoch}{}-{}", self.version, self.revision);
        let needs: Vec<(&str, &str)> = exactly
            .iter()
            .map(|name| (*name, version.as_str()))
            .chain(any.iter().map(|name| (*name, "")))
            .collect();
        let mut stub = Stub::new(name, self.version, self.revision).fields(self.kind.needs(&needs));
        stub.epoch = self.epoch;
        stub
    }

    fn libraries(&self, name: &str) -> Stub {
        let (lib, version) = (self.kind.libraries(), self.version);
        let mut stub = self.stub(name, &[], &[]);
        for (library, bytes) in [("libcuda", &self.compiled.cuda), ("libnvidia-ml", &self.compiled.ml)] {
            stub = stub
                .file(format!("{lib}/{library}.so.{version}"), bytes.clone())
                .file(format!("{lib}/{library}.so.1"), format!("-> {library}.so.{version}"));
        }
        stub.after("\tldconfig\n").after_removal("\tldconfig\n")
    }

    fn smi(&self, name: &str, libraries: &str) -> Stub {
        self.stub(name, &[libraries], &[]).file("/usr/bin/nvidia-smi", self.compiled.smi.clone())
    }

    /// Sources that are built on the host, and nouveau kept away from the next boot on.
    fn dkms(&self, name: &str, flavour: Flavour, others: &[&str]) -> Stub {
        let version = self.version;
        let of = "/usr/sbin/dkms";
        let mut stub = self
            .stub(name, &[], &["dkms"])
            .file(
                format!("/usr/src/nvidia-{version}/dkms.conf"),
                format!("PACKAGE_NAME=nvidia\nPACKAGE_VERSION={version}\nFLAVOUR={}\nAUTOINSTALL=yes\n", flavour.word()),
            )
            .file("/usr/lib/modprobe.d/nvidia-graphics-drivers.conf", BLACKLIST)
            .after(&format!(
                "\tkernel=$(uname -r)\n\tif [ -d /lib/modules/$kernel/build/ ]; then {of} install nvidia/{version} -k $kernel\n\
                 \telse echo \"Module build for kernel $kernel was skipped since the kernel headers for this kernel do not \
                 seem to be installed.\"; fi\n"
            ))
            .after(INITRAMFS)
            .before_removal(&format!("\t{of} remove nvidia/{version} --all || true\n"))
            .after_removal(INITRAMFS);
        for other in others {
            stub.fields += &format!("Conflicts: {other}\n");
        }
        stub
    }

    /// Modules for one kernel that Canonical has signed.
    fn signed(&self, name: &str, kernel: &str, flavour: Flavour) -> Stub {
        let dir =
            format!("/lib/modules/{kernel}/kernel/nvidia-{}srv{}", branch(self.version), flavour.tail());
        let text = format!(
            "version: {}\nflavour: {}\nsigner: Canonical Ltd. Kernel Module Signing\n",
            self.version,
            flavour.word()
        );
        self.stub(name, &[], &[])
            .file(format!("{dir}/nvidia.ko"), text)
            .after("\tdepmod\n")
            .after_removal("\tdepmod\n")
    }

    fn unit(&self, name: &str, unit: &str, program: &str, needs: &str) -> Stub {
        let dir = if self.kind == Kind::Deb { "/lib/systemd/system" } else { "/usr/lib/systemd/system" };
        let enable = format!(
            "\tif command -v systemctl >/dev/null; then systemctl enable {unit} >/dev/null 2>&1 || true; fi\n\
             \tif [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl start {unit} || true; fi\n"
        );
        let enable = if self.kind == Kind::Deb && needs.is_empty() { enable } else { String::new() };
        self.stub(name, &[], &[])
            .file(format!("/usr/bin/{program}"), DAEMON.replace("@VERSION@", self.version))
            .file(
                format!("{dir}/{unit}"),
                format!(
                    "[Unit]\nDescription=NVIDIA {program}\n{needs}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                     ExecStart=/usr/bin/{program}\n\n[Install]\nWantedBy=multi-user.target\n"
                ),
            )
            .after(&enable)
            .before_removal(&format!(
                "\tif [ -d /run/systemd/system ]; then systemctl --no-reload disable --now {unit} || true; \
                 else systemctl disable {unit} || true; fi\n"
            ))
    }
}

/// What NVIDIA's own repository has of a version, for apt.
pub fn cuda_debs(compiled: &Compiled, version: &str) -> Vec<Stub> {
    let maker = Maker { compiled, kind: Kind::Deb, version, revision: "1ubuntu1", epoch: 0 };
    let branch = branch(version);
    let pinned = format!(
        "Package: nvidia-driver* nvidia-open* nvidia-dkms* nvidia-kernel* nvidia-utils* nvidia-modprobe* \
         nvidia-persistenced* nvidia-fabricmanager* libnvidia-compute* cuda-drivers*\nPin: version {branch}.*\n\
         Pin-Priority: 1000\n"
    );
    let mut pinning = maker
        .stub(&format!("nvidia-driver-pinning-{branch}"), &[], &[])
        .file("/etc/apt/preferences.d/nvidia-driver-pinning", pinned);
    pinning.fields = "Provides: nvidia-driver-pinning\nConflicts: nvidia-driver-pinning\n".to_string();
    let mut all = vec![
        pinning,
        maker.libraries("libnvidia-compute"),
        maker.smi("nvidia-utils", "libnvidia-compute"),
        maker.stub("nvidia-driver-cuda", &["nvidia-utils", "nvidia-persistenced"], &[]),
        maker.stub("nvidia-modprobe", &[], &[]).file("/usr/bin/nvidia-modprobe", MODPROBE),
        maker.unit("nvidia-persistenced", "nvidia-persistenced.service", "nvidia-persistenced", ""),
        maker.unit("nvidia-fabricmanager", "nvidia-fabricmanager.service", "nv-fabricmanager", NEEDS_DRIVER),
        maker.stub(&format!("nvidia-fabricmanager-{branch}"), &["nvidia-fabricmanager"], &[]),
    ];
    for flavour in Flavour::BOTH {
        let tail = flavour.tail();
        let (dkms, driver) = (format!("nvidia-dkms{tail}"), format!("nvidia-driver{tail}"));
        let other = if flavour == Flavour::Open { "nvidia-dkms" } else { "nvidia-dkms-open" };
        // Debian's names for the same.
        let kernel = if flavour == Flavour::Open { "nvidia-kernel-open-dkms" } else { "nvidia-kernel-dkms" };
        let meta = if flavour == Flavour::Open { "nvidia-open" } else { "cuda-drivers" };
        all.push(maker.dkms(&dkms, flavour, &[other]));
        all.push(maker.stub(kernel, &[&dkms], &[]));
        all.push(maker.stub(
            &driver,
            &[&dkms, "libnvidia-compute", "nvidia-utils", "nvidia-modprobe", "nvidia-persistenced"],
            &[],
        ));
        all.push(maker.stub(&format!("nvidia-driver-{branch}{tail}"), &[&driver], &[]));
        all.push(maker.stub(meta, &[&driver], &[]));
        all.push(maker.stub(&format!("{meta}-{branch}"), &[meta], &[]));
    }
    all
}

/// The same for dnf.
pub fn cuda_rpms(compiled: &Compiled, version: &str, tag: &str) -> Vec<Stub> {
    let revision = format!("1.{tag}");
    let maker = Maker { compiled, kind: Kind::Rpm, version, revision: &revision, epoch: 3 };
    let mut all = vec![
        maker.libraries("nvidia-driver-cuda-libs"),
        maker.smi("nvidia-driver-cuda", "nvidia-driver-cuda-libs"),
        maker.stub("nvidia-modprobe", &[], &[]).file("/usr/bin/nvidia-modprobe", MODPROBE),
        maker.unit("nvidia-persistenced", "nvidia-persistenced.service", "nvidia-persistenced", ""),
        maker.unit("nvidia-fabricmanager", "nvidia-fabricmanager.service", "nv-fabricmanager", NEEDS_DRIVER),
        maker.stub(
            "nvidia-driver",
            &["nvidia-driver-cuda", "nvidia-modprobe", "nvidia-persistenced"],
            &["nvidia-kmod"],
        ),
    ];
    let of = [
        (Flavour::Open, "kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms", "nvidia-open"),
        (Flavour::Proprietary, "kmod-nvidia-latest-dkms", "kmod-nvidia-open-dkms", "cuda-drivers"),
    ];
    for (flavour, dkms, other, meta) in of {
        let mut kmod = maker.dkms(dkms, flavour, &[other]);
        kmod.fields += &format!("Provides: nvidia-kmod = 3:{version}\n");
        all.push(kmod);
        all.push(maker.stub(meta, &["nvidia-driver", dkms], &[]));
        all.push(maker.stub(&format!("{meta}-{}", branch(version)), &[meta], &[]));
    }
    all
}

/// What Canonical has in `restricted`: a server's packages, and modules for the running kernel, signed.
pub fn ubuntu_debs(compiled: &Compiled, release: &str, kernel: &str) -> Vec<Stub> {
    let mut all = Vec::new();
    for version in UBUNTU {
        let revision = format!("0ubuntu0.{release}.1");
        let maker = Maker { compiled, kind: Kind::Deb, version, revision: &revision, epoch: 0 };
        let server = format!("{}-server", branch(version));
        let name = |what: &str| format!("{what}-{server}");
        let (libs, utils, common, persistence) = (
            name("libnvidia-compute"),
            name("nvidia-utils"),
            name("nvidia-kernel-common"),
            name("nvidia-compute-utils"),
        );
        all.push(maker.libraries(&libs));
        all.push(maker.smi(&utils, &libs));
        all.push(
            maker
                .stub(&common, &[], &[])
                .file("/usr/lib/modprobe.d/nvidia-graphics-drivers.conf", BLACKLIST)
                .file("/usr/bin/nvidia-modprobe", MODPROBE)
                .after(INITRAMFS)
                .after_removal(INITRAMFS),
        );
        all.push(maker.unit(&persistence, "nvidia-persistenced.service", "nvidia-persistenced", ""));
        all.push(maker.unit(
            &format!("nvidia-fabricmanager-{}", branch(version)),
            "nvidia-fabricmanager.service",
            "nv-fabricmanager",
            NEEDS_DRIVER,
        ));
        for flavour in Flavour::BOTH {
            let tail = flavour.tail();
            let modules = format!("linux-modules-nvidia-{server}{tail}");
            let exact = format!("{modules}-{kernel}");
            let (headless, dkms) =
                (format!("nvidia-headless-no-dkms-{server}{tail}"), format!("nvidia-dkms-{server}{tail}"));
            all.push(maker.signed(&exact, kernel, flavour));
            all.push(maker.stub(&format!("{modules}-generic"), &[&exact], &[]));
            all.push(maker.dkms(&dkms, flavour, &[]));
            all.push(maker.stub(&headless, &[&libs, &common, &persistence], &[]));
            let driver = format!("nvidia-driver-{server}{tail}");
            let mut driver = maker.stub(&driver, &[&headless, &utils], &[]);
            driver.fields = driver.fields.replace('\n', &format!(", {dkms} | {modules}-generic\n"));
            all.push(driver);
        }
    }
    // Files like theirs are in the CUDA repository's packages, and in those of the other branch.
    for stub in &mut all {
        let plain = stub.name.split("-5").next().unwrap_or_default().to_string();
        let beside = match plain.as_str() {
            "libnvidia-compute" | "nvidia-utils" => "",
            "nvidia-kernel-common" => ", nvidia-modprobe",
            "nvidia-compute-utils" => ", nvidia-persistenced",
            _ => continue,
        };
        stub.fields += &format!("Provides: {plain}\nConflicts: {plain}{beside}\n");
    }
    all
}

/// What Debian has outside of `main`: component and package.
pub fn debian_debs(compiled: &Compiled, version: &str) -> Vec<(&'static str, Stub)> {
    let maker = Maker { compiled, kind: Kind::Deb, version, revision: "1", epoch: 0 };
    vec![
        ("non-free", maker.libraries("libcuda1")),
        ("non-free", maker.smi("nvidia-smi", "libcuda1")),
        ("non-free", maker.dkms("nvidia-kernel-dkms", Flavour::Proprietary, &["nvidia-open-kernel-dkms"])),
        ("contrib", maker.dkms("nvidia-open-kernel-dkms", Flavour::Open, &["nvidia-kernel-dkms"])),
        ("non-free-firmware", maker.stub("firmware-nvidia-gsp", &[], &[])),
        ("non-free", {
            let mut driver = maker.stub("nvidia-driver", &["libcuda1", "nvidia-smi"], &["nvidia-modprobe"]);
            driver.fields = driver.fields.replace('\n', ", nvidia-kernel-dkms | nvidia-open-kernel-dkms\n");
            driver
        }),
        ("non-free", maker.stub("nvidia-modprobe", &[], &[]).file("/usr/bin/nvidia-modprobe", MODPROBE)),
    ]
}

/// The module streams of a repository of rpms: a document each, of what dnf may take from it.
pub fn streams(dir: &Path, versions: &[&str], tag: &str) -> Result<String> {
    let artifacts = |version: &str| -> Result<String> {
        let mark = format!("-{version}-1.{tag}.x86_64.rpm");
        let mut lines = String::new();
        for rpm in crate::rpm::list(dir)? {
            let name = rpm.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(package) = name.strip_suffix(&mark) {
                lines += &format!("      - {package}-3:{version}-1.{tag}.x86_64\n");
            }
        }
        Ok(lines)
    };
    let mut text = String::new();
    let names = ["580-open", "595-open", "open-dkms", "580-dkms", "595-dkms", "latest-dkms"];
    for stream in names {
        let of = |version: &&&str| stream.starts_with(branch(version)) || !stream.starts_with('5');
        let rpms: Result<Vec<String>> =
            versions.iter().filter(of).map(|version| artifacts(version)).collect();
        text += &format!(
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nvidia-driver\n  stream: \"{stream}\"\n  \
             version: 20260415000000\n  context: lab\n  arch: x86_64\n  summary: NVIDIA driver, {stream}\n  \
             description: >-\n    The lab's stand-in.\n  license:\n    module:\n      - MIT\n  artifacts:\n    \
             rpms:\n{}...\n",
            rpms?.concat()
        );
    }
    Ok(text)
}

const BLACKLIST: &str = "blacklist nouveau\nblacklist nova_core\noptions nouveau modeset=0\n";

const INITRAMFS: &str = "\tif [ -x /usr/sbin/update-initramfs ]; then update-initramfs -u
\telif [ -x /usr/bin/dracut ]; then dracut -f; fi
";

/// Loads the modules for whoever needs them.
const MODPROBE: &str = "#!/bin/sh\nmodprobe nvidia && modprobe nvidia-uvm\n";

/// Ends in failure where the driver is not loaded, or is another version.
const DAEMON: &str = "#!/bin/sh\nversion=$(cat /sys/module/nvidia/version) || exit 1\n\
                      [ \"$version\" = @VERSION@ ] || { echo \"the driver is $version, not @VERSION@\" >&2; exit 1; }\n";

const NEEDS_DRIVER: &str = "After=network-online.target\n";
