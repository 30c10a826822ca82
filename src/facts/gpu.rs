//! NVIDIA's cards and what drives them, by the kernel's own files: nothing of NVIDIA's has to be installed for it.

use super::{any_exists, text, trimmed};
use crate::host::Look;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Looked for only where there is a card, a driver or WSL's; a host without any has no such fact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<Card>,
    /// Bridges of NVSwitch: the cards behind them need the fabric manager.
    #[serde(skip_serializing_if = "is_zero")]
    pub nvswitches: usize,
    /// The module that is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Module>,
    /// Whether the running kernel has a module on disk.
    #[serde(skip_serializing_if = "is_false")]
    pub module_on_disk: bool,
    /// The version of `libnvidia-ml` that programs get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Below `/dev`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// The kernel's own driver is loaded: it and NVIDIA's exclude each other.
    #[serde(skip_serializing_if = "is_false")]
    pub nouveau: bool,
    /// The firmware lets the kernel load only modules that somebody signed whom it knows.
    #[serde(skip_serializing_if = "is_false")]
    pub secure_boot: bool,
    /// The headers of the running kernel, without which nothing can be built for it.
    #[serde(skip_serializing_if = "is_false")]
    pub headers: bool,
    /// The kernel was updated: the modules on disk are those of another one than runs.
    #[serde(skip_serializing_if = "is_false")]
    pub stale_kernel: bool,
    /// Versions that DKMS knows, in whatever state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dkms: Vec<String>,
    /// Cards that are cut into instances.
    #[serde(skip_serializing_if = "is_false")]
    pub mig: bool,
    /// The driver of Windows, which WSL lends.
    #[serde(skip_serializing_if = "is_false")]
    pub wsl: bool,
    /// A driver that came as NVIDIA's `.run` file, in no package.
    #[serde(skip_serializing_if = "is_false")]
    pub run_file: bool,
}

/// One card on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `0000:01:00.0`.
    pub address: String,
    /// Four hexadecimal digits, in capitals.
    pub device: String,
    /// As NVIDIA calls it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub family: Family,
    /// The driver that has it: `nvidia`, `nouveau`, `vfio-pci`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

impl Card {
    /// For people: `NVIDIA L4 (Ada, 10DE:27B8)`.
    pub fn words(&self) -> String {
        let name = self.name.as_deref().unwrap_or("a card of NVIDIA's");
        format!("{name} ({:?}, 10DE:{})", self.family, self.device)
    }
}

/// The module in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    pub version: String,
    pub flavour: Flavour,
}

/// Whose source the kernel's part is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    Open,
    Proprietary,
}

/// The generations, in order: which drivers know a card is told by its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Fermi and older.
    Older,
    Kepler,
    Maxwell,
    Pascal,
    Volta,
    Turing,
    Ampere,
    Hopper,
    Ada,
    Blackwell,
    /// An id above all that are known: newer than this program.
    Newer,
}

impl Family {
    /// By the high byte of the device id. The lists that NVIDIA publishes leave cards out; the bytes do not.
    pub fn of(device: u16) -> Family {
        match (device >> 8, device & 0xff) {
            (0x13 | 0x14 | 0x16 | 0x17, _) => Family::Maxwell,
            (0x15 | 0x1b | 0x1c, _) | (0x1d, ..0x80) => Family::Pascal,
            (0x1d, _) => Family::Volta,
            (0x1e | 0x1f | 0x21, _) => Family::Turing,
            (0x20 | 0x22 | 0x24 | 0x25, _) => Family::Ampere,
            (0x23, _) => Family::Hopper,
            (0x26..=0x28, _) => Family::Ada,
            (0x29..=0x31, _) => Family::Blackwell,
            (0x32.., _) => Family::Newer,
            (0x10..=0x12, _) | (0x0f, 0xc0..) => Family::Kepler,
            _ => Family::Older,
        }
    }
}

impl Gpu {
    /// Whether programs can use the cards now: kernel and library speak the same version.
    pub fn works(&self) -> bool {
        let module = self.module.as_ref().map(|module| &module.version);
        self.wsl || (module.is_some() && module == self.library.as_ref())
    }

    /// Module and library of different versions, after an upgrade without a reboot.
    pub fn mismatch(&self) -> Option<(&str, &str)> {
        let (module, library) = (self.module.as_ref()?.version.as_str(), self.library.as_deref()?);
        (module != library).then_some((module, library))
    }
}

const DEVICES: &str = "/sys/bus/pci/devices";
const NVIDIA: u16 = 0x10de;
/// VGA and 3D controllers; a card's sound and USB have classes of their own.
const DISPLAYS: [u32; 2] = [0x0300, 0x0302];
const BRIDGE: u32 = 0x0680;
/// Where each family of distributions keeps libraries.
const LIBRARIES: [&str; 5] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib"];
const LIBRARY: &str = "libnvidia-ml.so.";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

pub(super) fn gpu(host: &dyn Look, kernel: &str) -> Option<Gpu> {
    let (cards, nvswitches) = devices(host);
    let wsl = any_exists(host, &["/usr/lib/wsl/lib/libcuda.so.1"]) && any_exists(host, &["/dev/dxg"]);
    let module = module(host);
    if cards.is_empty() && !wsl && module.is_none() {
        return None;
    }
    let names = |path: &str| host.list(Path::new(path)).unwrap_or_default();
    let modules = text(host, &format!("/lib/modules/{kernel}/modules.dep"));
    let kernels = names("/lib/modules");
    let nodes = names("/dev").into_iter().filter(|name| name.starts_with("nvidia"));
    Some(Gpu {
        cards,
        nvswitches,
        module,
        module_on_disk: has_module(&modules),
        library: library(host),
        nodes: nodes.collect(),
        nouveau: any_exists(host, &["/sys/module/nouveau"]),
        // Four bytes of attributes, then the value.
        secure_boot: host.read(Path::new(SECURE_BOOT)).ok().flatten().is_some_and(|b| b.get(4) == Some(&1)),
        // Rpm's kernels bring the link, which leads nowhere until the headers come.
        headers: !names(&format!("/lib/modules/{kernel}/build")).is_empty(),
        stale_kernel: !kernels.is_empty() && !kernels.iter().any(|name| name == kernel),
        dkms: names("/var/lib/dkms/nvidia").into_iter().filter(|name| is_version(name)).collect(),
        mig: names("/proc/driver/nvidia/capabilities")
            .iter()
            .any(|name| any_exists(host, &[&format!("/proc/driver/nvidia/capabilities/{name}/mig/gi0")])),
        wsl,
        run_file: any_exists(host, &["/usr/bin/nvidia-uninstall"]),
    })
}

fn devices(host: &dyn Look) -> (Vec<Card>, usize) {
    let (mut cards, mut bridges) = (Vec::new(), 0);
    for address in host.list(Path::new(DEVICES)).unwrap_or_default() {
        let value = |field: &str| number(&trimmed(host, &format!("{DEVICES}/{address}/{field}")));
        let of = |field: &str| value(field).and_then(|number| u16::try_from(number).ok());
        if of("vendor") != Some(NVIDIA) {
            continue;
        }
        let class = value("class").unwrap_or_default() >> 8;
        if class == BRIDGE {
            bridges += 1;
        } else if let (true, Some(device)) = (DISPLAYS.contains(&class), of("device")) {
            let driver = host.link(&PathBuf::from(format!("{DEVICES}/{address}/driver"))).ok().flatten();
            let device_id = format!("{device:04X}");
            cards.push(Card {
                name: name(&device_id).map(str::to_owned),
                device: device_id,
                family: Family::of(device),
                driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
                address,
            });
        }
    }
    (cards, bridges)
}

/// `0x10de`.
fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

fn name(device: &str) -> Option<&'static str> {
    include_str!("cards.txt").lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '))
}

/// Of what is loaded; a host where `/proc/driver/nvidia` is hidden has the module's version in sysfs.
fn module(host: &dyn Look) -> Option<Module> {
    parse_module(&text(host, "/proc/driver/nvidia/version")).or_else(|| {
        let version = trimmed(host, "/sys/module/nvidia/version");
        is_version(&version).then_some(Module { version, flavour: Flavour::Proprietary })
    })
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  520.56.06  Thu Oct …`, or
/// `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  515.57  Release Build …`.
fn parse_module(text: &str) -> Option<Module> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let (_, rest) = line.split_once("Kernel Module")?;
    let version = rest.split_whitespace().find(|word| is_version(word))?.to_owned();
    let open = line.contains("Open Kernel Module");
    Some(Module { version, flavour: if open { Flavour::Open } else { Flavour::Proprietary } })
}

/// `580.95.05`.
fn is_version(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// In lines of modules.dep, whatever the module is packed with: the same test as `nvidia-cdi-refresh` makes.
fn has_module(modules: &str) -> bool {
    let is_ours = |line: &str| line.contains("/nvidia.ko") || line.contains("/nvidia-current.ko");
    modules.lines().filter_map(|line| line.split(':').next()).any(is_ours)
}

/// By the name of the file that `libnvidia-ml.so.1` leads to.
fn library(host: &dyn Look) -> Option<String> {
    LIBRARIES.iter().find_map(|directory| {
        let link = host.link(&Path::new(directory).join("libnvidia-ml.so.1")).ok().flatten();
        let linked = link.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let names = host.list(Path::new(directory)).unwrap_or_default();
        let versions = |name: String| Some(name.strip_prefix(LIBRARY)?.to_owned()).filter(|v| is_version(v));
        linked.and_then(versions).or_else(|| names.into_iter().filter_map(versions).next_back())
    })
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const KERNEL: &str = "6.8.0-45-generic";

    fn card(host: FakeHost, address: &str, device: &str, class: &str) -> FakeHost {
        let at = |field: &str| format!("{DEVICES}/{address}/{field}");
        host.file(at("vendor"), "0x10de\n").file(at("device"), device).file(at("class"), class)
    }

    fn found(host: &FakeHost) -> Gpu {
        gpu(host, KERNEL).expect("there is a card")
    }

    #[test]
    fn a_host_without_a_card_has_no_such_fact() {
        let others = FakeHost::new()
            .file("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n")
            .file("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n");
        let sound = card(FakeHost::new(), "0000:01:00.1", "0x22bc\n", "0x040300\n");
        for host in [FakeHost::new(), others, sound] {
            assert_eq!(gpu(&host, KERNEL), None);
        }
    }

    #[test]
    fn cards_are_named_and_their_generation_is_told_by_the_id() {
        let cases = [
            ("27B8", Some("NVIDIA L4"), Family::Ada),
            ("20B0", Some("NVIDIA A100-SXM4-40GB"), Family::Ampere),
            ("2330", Some("NVIDIA H100 80GB HBM3"), Family::Hopper),
            ("2901", Some("NVIDIA B200"), Family::Blackwell),
            ("1DB6", Some("Tesla V100-PCIE-32GB"), Family::Volta),
            ("15F8", Some("Tesla P100-PCIE-16GB"), Family::Pascal),
            ("1F82", Some("NVIDIA GeForce GTX 1650"), Family::Turing),
            ("1D01", None, Family::Pascal),
            ("13F2", Some("Tesla M60"), Family::Maxwell),
            ("102D", None, Family::Kepler),
            ("06C0", None, Family::Older),
            ("26B8", None, Family::Ada),
            ("3182", Some("NVIDIA B300 SXM6 AC"), Family::Blackwell),
            ("3300", None, Family::Newer),
        ];
        for (device, name, family) in cases {
            let host = card(FakeHost::new(), "0000:01:00.0", &format!("0x{device}\n"), "0x030200\n");
            let [card] = &found(&host).cards[..] else { panic!("{device} is one card") };
            assert_eq!((card.name.as_deref(), card.family), (name, family), "{device}");
        }
    }

    #[test]
    fn cards_from_turing_on_are_those_that_nvidia_lists_for_the_open_modules() {
        for line in include_str!("cards.txt").lines().filter(|line| !line.starts_with('#')) {
            let (device, name) = line.split_once(' ').expect("id and name");
            let family = Family::of(u16::from_str_radix(device, 16).expect("is hexadecimal"));
            let listed = u16::from_str_radix(device, 16).expect("is hexadecimal") >= 0x1e00;
            assert_eq!(family >= Family::Turing, listed, "{device} {name}");
            assert_ne!(family, Family::Newer, "{device} {name}");
        }
    }

    #[test]
    fn the_loaded_module_is_told_with_its_flavour() {
        let cases = [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  520.56.06  Thu Oct  6 21:38:55 UTC 2022\nGCC version:  gcc 11.3.0\n",
                Some(("520.56.06", Flavour::Proprietary)),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  515.57  Release Build  (archlinux)\n",
                Some(("515.57", Flavour::Open)),
            ),
            ("GCC version: gcc 12.2.0\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(version, flavour)| Module { version: version.to_owned(), flavour });
            assert_eq!(parse_module(text), expected, "{text}");
        }
    }

    #[test]
    fn a_machine_with_nvswitches_and_a_driver_is_told_as_a_whole() {
        let host = card(FakeHost::new(), "0000:17:00.0", "0x20b2\n", "0x030200\n")
            .link("/sys/bus/pci/devices/0000:17:00.0/driver", "../../../bus/pci/drivers/nvidia");
        let host = card(host, "0000:c1:00.0", "0x1af1\n", "0x068000\n")
            .file(
                "/proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
            )
            .file("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05", "")
            .link("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05")
            .file(
                format!("/lib/modules/{KERNEL}/modules.dep"),
                "updates/dkms/nvidia.ko.zst: kernel/drivers/x.ko\n",
            )
            .file(format!("/lib/modules/{KERNEL}/build/Makefile"), "")
            .file("/dev/nvidia0", "")
            .file("/dev/nvidiactl", "")
            .file("/dev/null", "")
            .file(SECURE_BOOT, "\u{6}\0\0\0\u{1}")
            .directory("/var/lib/dkms/nvidia/580.95.05")
            .directory("/proc/driver/nvidia/capabilities/gpu0/mig/gi0");
        let gpu = found(&host);
        assert_eq!(gpu.cards[0].driver.as_deref(), Some("nvidia"));
        assert_eq!((gpu.cards.len(), gpu.nvswitches), (1, 1));
        assert_eq!(gpu.module.as_ref().map(|module| module.flavour), Some(Flavour::Open));
        assert_eq!(gpu.nodes, ["nvidia0", "nvidiactl"]);
        assert!(gpu.module_on_disk && gpu.headers && gpu.secure_boot && gpu.mig && gpu.works());
        assert!(!gpu.nouveau && !gpu.wsl && !gpu.run_file);
        assert_eq!(gpu.dkms, ["580.95.05"]);
        let json = serde_json::to_string(&gpu).expect("writes");
        assert_eq!(serde_json::from_str::<Gpu>(&json).expect("reads"), gpu);
    }

    #[test]
    fn a_library_of_another_version_than_the_module_is_a_mismatch() {
        let host = card(FakeHost::new(), "0000:01:00.0", "0x27b8\n", "0x030200\n")
            .file("/sys/module/nvidia/version", "580.82.07\n")
            .file("/usr/lib64/libnvidia-ml.so.580.95.05", "");
        let gpu = found(&host);
        assert_eq!(gpu.mismatch(), Some(("580.82.07", "580.95.05")));
        assert!(!gpu.works());
    }
}
