//! A machine with an NVIDIA card, pretended at the level of files: bus, firmware, kernel, and what loading a driver shows.

use crate::host::Host;
use crate::kernel;
use crate::keys::Key;
use crate::{nvidia_mirror, sh};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;

/// What can be in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    L4,
    A100,
    /// With the switches between its like: it needs the fabric manager.
    H100,
    B200,
    V100,
    P100,
    /// With its sound, which is a function of its own.
    Gtx1650,
    /// Too old for every driver that is still published.
    K80,
}

/// Class, vendor, device, and the vendor and device of the subsystem, as sysfs has them.
type Function = (&'static str, &'static str, &'static str, &'static str, &'static str);

impl Card {
    pub const ALL: [Card; 8] =
        [Card::L4, Card::A100, Card::H100, Card::B200, Card::V100, Card::P100, Card::Gtx1650, Card::K80];

    /// As a command line says it: `l4`, `gtx1650`.
    pub fn by_word(word: &str) -> Option<Card> {
        Card::ALL.into_iter().find(|card| format!("{card:?}").eq_ignore_ascii_case(word))
    }

    pub fn name(self) -> &'static str {
        match self {
            Card::L4 => "NVIDIA L4",
            Card::A100 => "NVIDIA A100-SXM4-40GB",
            Card::H100 => "NVIDIA H100 80GB HBM3",
            Card::B200 => "NVIDIA B200",
            Card::V100 => "Tesla V100-SXM2-16GB",
            Card::P100 => "Tesla P100-PCIE-16GB",
            Card::Gtx1650 => "NVIDIA GeForce GTX 1650",
            Card::K80 => "Tesla K80",
        }
    }

    /// The card itself first.
    fn functions(self) -> &'static [Function] {
        match self {
            Card::L4 => &[("030200", "10de", "27b8", "10de", "16ca")],
            Card::A100 => &[("030200", "10de", "20b0", "10de", "134f")],
            Card::H100 => &[
                ("030200", "10de", "2330", "10de", "16c1"),
                ("068000", "10de", "22a3", "10de", "1796"),
                ("068000", "10de", "22a3", "10de", "1796"),
            ],
            Card::B200 => &[("030200", "10de", "2901", "10de", "1999")],
            Card::V100 => &[("030200", "10de", "1db1", "10de", "1212")],
            Card::P100 => &[("030200", "10de", "15f8", "10de", "118f")],
            Card::Gtx1650 => {
                &[("030000", "10de", "1f82", "1458", "3fcb"), ("040300", "10de", "10fa", "1458", "3fcb")]
            }
            Card::K80 => &[("030200", "10de", "102d", "10de", "106c")],
        }
    }
}

/// How the machine boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    Uefi,
    /// UEFI that lets in only modules that are signed by whom it knows.
    SecureBoot,
}

const DIR: &str = "/usr/lib/lab/machine";

const UNIT: &str = "[Unit]
Description=The machine that the lab's host pretends to be
DefaultDependencies=no
After=lab-cgroup.service
Before=sysinit.target systemd-tmpfiles-setup-dev.service systemd-udevd.service systemd-modules-load.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/lab/show

[Install]
WantedBy=sysinit.target
";

/// The stand-ins, and the program that each is instead of: kept where the stand-in finds it.
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/bin/kmod", include_str!("../stubs/kmod.sh")),
    ("/usr/bin/uname", include_str!("../stubs/uname.sh")),
    (
        "/usr/bin/systemd-detect-virt",
        "#!/bin/sh\n[ \"$1\" = -c ] || [ \"$1\" = --container ] && { echo none; exit 1; }\necho xen\n",
    ),
];

impl Host {
    /// Makes the host a virtual machine with a card in it, now and after each boot; before its first boot or while it
    /// runs. NVIDIA's keys of the lab are the pinned ones from then on.
    pub fn card(&self, card: Card) -> Result<()> {
        self.cards(&[card])
    }

    /// The same with several cards, or with none.
    pub fn cards(&self, cards: &[Card]) -> Result<()> {
        self.lay_machine()?;
        // Every machine has a bridge, and a display that nobody computes on.
        let mut lines = "0000:00:00.0 060000 8086 1237 1af4 1100 bridge\n0000:00:02.0 030000 1234 1111 1af4 1100 display\n".to_string();
        for (n, card) in cards.iter().enumerate() {
            for (function, (class, vendor, device, by, kind)) in card.functions().iter().enumerate() {
                // A switch is a device of its own, a card's sound is not.
                let slot = match *class {
                    "068000" => format!("0000:{:02x}:00.0", 0xc0 + 16 * n + function),
                    _ => format!("0000:{:02x}:00.{function}", n + 1),
                };
                lines += &format!("{slot} {class} {vendor} {device} {by} {kind} {}\n", card.name());
            }
        }
        self.write(&format!("{DIR}/cards"), lines)?;
        self.pin_source("nvidia", Key::Toolkit)?;
        self.pin_source("cuda", nvidia_mirror::cuda_key(self.identity()))?;
        self.show()
    }

    /// How it boots: with a BIOS, where nobody says otherwise.
    pub fn firmware(&self, firmware: Firmware) -> Result<()> {
        self.lay_machine()?;
        let word = match firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
            Firmware::SecureBoot => "secure-boot",
        };
        self.write(&format!("{DIR}/firmware"), word)?;
        self.show()
    }

    /// The kernel has nouveau, which takes every card at boot until the initial file system says otherwise.
    pub fn nouveau(&self) -> Result<()> {
        self.lay_machine()?;
        self.write(&format!("{DIR}/nouveau"), "")?;
        self.show()
    }

    /// Makes what cannot be had by a package of the distribution: EPEL, which RHEL does not come with.
    pub fn epel(&self) -> Result<()> {
        let Some(dnf) = self.identity().dnf().filter(|dnf| dnf.tag.starts_with("el")) else { return Ok(()) };
        let text = format!(
            "[epel]\nname=Extra Packages for Enterprise Linux\nbaseurl=http://{}/rpm/{}/$releasever/epel\nenabled=1\n\
             gpgcheck=1\ngpgkey=file://{}\n",
            crate::identity::ARCHIVE,
            dnf.tag,
            dnf.key_file()
        );
        self.write("/etc/yum.repos.d/epel.repo", text)
    }

    /// The release of the kernel that it says it has.
    pub fn kernel(&self) -> &'static str {
        kernel::of(self.identity()).release
    }

    /// Shows a machine that runs what has changed.
    fn show(&self) -> Result<()> {
        if !self.runs() {
            return Ok(());
        }
        self.run(&["systemctl", "daemon-reload"])?.ok()?;
        self.run(&["systemctl", "restart", "lab-machine.service"])?.ok().map(drop)
    }

    /// Once a host: the stand-ins, a kernel's directory, and the unit that shows the machine.
    fn lay_machine(&self) -> Result<()> {
        if self.exists(DIR) {
            return Ok(());
        }
        let program = |path: &str, text: &str| {
            self.write(path, text)?;
            sh::run(&["chmod", "755", &self.at(path).to_string_lossy()]).map(drop)
        };
        let release = self.kernel();
        self.write(&format!("{DIR}/kernel"), format!("{release}\n"))?;
        self.write(&format!("{DIR}/cards"), "")?;
        self.write(&format!("{DIR}/firmware"), "bios")?;
        program("/usr/lib/lab/show", include_str!("../stubs/machine.sh"))?;
        let real = self.at("/usr/lib/lab/real");
        fs::create_dir_all(&real).context("making a place for the real programs")?;
        for (path, text) in PROGRAMS {
            let name = path.rsplit('/').next().unwrap_or_default();
            fs::rename(self.at(path), real.join(name)).with_context(|| format!("taking {path}"))?;
            program(path, text)?;
        }
        for name in ["modprobe", "rmmod", "insmod", "lsmod", "modinfo", "depmod"] {
            symlink("kmod", real.join(name)).context("linking kmod")?;
        }
        let dnf = self.identity().dnf().is_some();
        let (image, maker) = if dnf {
            ("initramfs-RELEASE.img", "/usr/bin/dracut")
        } else {
            ("initrd.img-RELEASE", "/usr/sbin/update-initramfs")
        };
        self.write(&format!("/boot/{}", image.replace("RELEASE", release)), "")?;
        program(maker, include_str!("../stubs/update-initramfs.sh"))?;
        let modules = format!("/lib/modules/{release}");
        self.write(&format!("{modules}/modules.dep"), "")?;
        if dnf {
            // It comes with the kernel there, and leads to nothing until its headers come.
            let build = self.at(&format!("{modules}/build"));
            symlink(format!("/usr/src/kernels/{release}"), build).context("linking the headers")?;
            fs::create_dir_all(self.at("/usr/src/kernels")).context("making a place for headers")?;
        }
        // What systemd fills in for a kernel's release is that of this machine's own.
        let own = sh::run(&["uname", "-r"])?.trim().to_string();
        if own != release && !self.exists(&format!("/lib/modules/{own}")) {
            symlink(release, self.at(&format!("/lib/modules/{own}"))).context("linking the modules")?;
        }
        self.write("/usr/lib/systemd/system/lab-machine.service", UNIT)?;
        let wants = self.at("/usr/lib/systemd/system/sysinit.target.wants");
        symlink("../lab-machine.service", wants.join("lab-machine.service")).context("linking the unit")
    }
}
