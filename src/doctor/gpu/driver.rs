//! The driver: who has the cards, whether its module is there, loaded and of one kind with the rest, and its daemons.

use super::super::Severity::Warn;
use super::super::{Answer, Case, Finding, Fix};
use super::{FABRIC, PERSISTENCED, RUNTIME, cards, debs, fine, found, names, shown, there, unit, working};
use crate::error::Result;
use crate::facts::gpu::{Card, Family, Flavour, Gpu};
use crate::host::Question;
use std::path::Path;

pub fn nouveau(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case) else { return fine() };
    let taken = gpu.cards.iter().any(|card| card.driver.as_deref() == Some("nouveau"));
    let wanted = gpu.library.is_some() || case.program(RUNTIME).is_some();
    if !taken || !wanted {
        return fine();
    }
    let fix = Fix::told("keep nouveau away and restart the machine: `rprov install --gpu` writes what does")
        .types("rprov install --gpu --reboot");
    let cause = "nouveau, the kernel's own driver, has the card, and NVIDIA's cannot get it";
    found(Finding::new(cause, fix).all(shown(&gpu.cards)).saw("/sys/module/nouveau is there"))
}

/// What lends a card to a virtual machine.
const LENDING: [&str; 3] = ["vfio-pci", "pci-stub", "xen-pciback"];

pub fn elsewhere(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case).filter(|gpu| gpu.library.is_some() && gpu.module.is_none()) else {
        return fine();
    };
    let other =
        |card: &&Card| card.driver.as_deref().is_some_and(|driver| !["nvidia", "nouveau"].contains(&driver));
    let taken: Vec<&Card> = gpu.cards.iter().filter(other).collect();
    // One card for this host and one for its guests is how it is meant.
    if taken.is_empty() || taken.len() < gpu.cards.len() {
        return fine();
    }
    let driver = taken[0].driver.clone().unwrap_or_default();
    let lent = LENDING.contains(&driver.as_str());
    let fix = Fix::told(
        "take the card from it: its module's options are in /etc/modprobe.d, or on the kernel's command line",
    )
    .types("grep -rn 'vfio\\|nvidiafb\\|nova' /etc/modprobe.d /proc/cmdline");
    let cause = format!("`{driver}` has the card, and NVIDIA's driver cannot get it");
    let finding = Finding::new(cause, fix)
        .all(taken.iter().map(|card| format!("{}: {}, driver {driver}", card.address, card.words())));
    found(if lent { finding.only(Warn) } else { finding })
}

/// A driver that is installed, and whose module is not loaded though nothing else has the cards.
fn idle<'c>(case: &'c Case) -> Option<(&'c Gpu, &'c str)> {
    let gpu = cards(case).filter(|gpu| gpu.module.is_none() && !gpu.wsl)?;
    Some((gpu, gpu.library.as_deref()?))
}

/// The module for programs' memory brings the driver's own along; lists for CDI name its device files too.
fn load(case: &Case, fix: Fix) -> Fix {
    let fix = fix.types("modprobe nvidia-uvm");
    match case.program("nvidia-modprobe") {
        Some(_) => fix.types("nvidia-modprobe -c=0 -u"),
        None => fix,
    }
}

/// Where the running kernel's module lies, below its directory: `updates/dkms/nvidia.ko.zst`.
fn module_file(case: &Case) -> Result<Option<String>> {
    let text = case.text(&format!("/lib/modules/{}/modules.dep", case.facts.kernel))?.unwrap_or_default();
    let files = text.lines().filter_map(|line| line.split(':').next());
    let mut ours = files.filter(|file| file.contains("/nvidia.ko") || file.contains("/nvidia-current.ko"));
    Ok(ours.next().map(str::to_owned))
}

/// The certificate that DKMS signs with, of Ubuntu and of the others.
const CERTIFICATES: [&str; 2] = ["/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub"];

pub fn secure_boot(case: &Case) -> Result<Answer> {
    let Some((gpu, _)) = idle(case).filter(|(gpu, _)| gpu.secure_boot && gpu.module_on_disk) else {
        return fine();
    };
    let Some(file) = module_file(case)? else { return fine() };
    // What lies there came in a package that the distribution signed.
    if file.starts_with("kernel/") {
        return fine();
    }
    let certificate = CERTIFICATES.into_iter().find(|path| case.exists(path)).unwrap_or(CERTIFICATES[1]);
    let fix = Fix::told(
        "enroll the key that it was signed with, at the machine's console after a reboot; or take modules that the \
         distribution signed",
    )
    .types(format!("mokutil --import {certificate}"))
    .types("systemctl reboot");
    let cause = "Secure Boot is on, and the kernel does not load a module that was built on this host";
    let enrolled = if case.exists(certificate) { "its certificate is" } else { "there is no certificate" };
    found(
        Finding::new(cause, fix)
            .saw(format!("/lib/modules/{}/{file} is not loaded", case.facts.kernel))
            .saw(format!("{enrolled} {certificate}"))
            .all(shown(&gpu.cards)),
    )
}

/// The kernels that DKMS has built a version for.
fn built_for(case: &Case, version: &str) -> Vec<String> {
    let mut kernels = names(case, &format!("/var/lib/dkms/nvidia/{version}"));
    kernels.retain(|name| !["build", "source"].contains(&name.as_str()) && !name.starts_with("kernel-"));
    kernels
}

/// The first line of a compiler that failed.
fn failed_build(case: &Case, version: &str) -> Option<String> {
    let log = format!("/var/lib/dkms/nvidia/{version}/build/make.log");
    let bytes = case.host.read_plain(Path::new(&log), 16 << 20).ok().flatten()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text.lines().find(|line| line.contains("error:") || line.contains("Error "))?;
    Some(format!("{log}: {}", line.trim()))
}

pub fn not_built(case: &Case) -> Result<Answer> {
    let Some((gpu, library)) = idle(case).filter(|(gpu, _)| !gpu.module_on_disk) else { return fine() };
    let sources = names(case, "/usr/src").into_iter().filter(|name| name.starts_with("nvidia-"));
    let sources: Vec<String> = sources.collect();
    if gpu.dkms.is_empty() && sources.is_empty() {
        return fine();
    }
    let kernel = &case.facts.kernel;
    let (fix, why) = if gpu.headers {
        (Fix::told("build it for this kernel, and load it"), "")
    } else {
        let package =
            if debs(case) { "apt-get install -y linux-headers" } else { "dnf install -y kernel-devel" };
        let fix = Fix::told("install the headers of the running kernel, build the module, and load it");
        (fix.types(format!("{package}-{kernel}")), ": its headers are not installed")
    };
    let fix = load(case, fix.types("dkms autoinstall"));
    let others = gpu.dkms.iter().flat_map(|version| built_for(case, version)).collect::<Vec<_>>();
    let cause = format!("the driver's module was not built for the running kernel{why}");
    let mut finding = Finding::new(cause, fix)
        .saw(format!("/lib/modules/{kernel}/modules.dep names no nvidia.ko; the libraries are {library}"))
        .all(sources.iter().map(|name| format!("/usr/src/{name}")));
    if !others.is_empty() {
        finding = finding.saw(format!("it was built for {}", others.join(", ")));
    }
    found(finding.all(gpu.dkms.iter().filter_map(|version| failed_build(case, version))))
}

pub fn not_loaded(case: &Case) -> Result<Answer> {
    let Some((gpu, library)) = idle(case) else { return fine() };
    let kernel = &case.facts.kernel;
    let (fix, place) = if gpu.module_on_disk {
        (load(case, Fix::told("load it; if that fails, dmesg says why")), "has one on the disk")
    } else {
        let fix =
            Fix::told("install the package with the modules for this kernel, or boot one that has them")
                .types("rprov install --gpu");
        (fix, "has none on the disk")
    };
    found(
        Finding::new("a driver is installed, and its module is not loaded", fix)
            .saw(format!("libnvidia-ml is there in version {library}; the kernel {kernel} {place}")),
    )
}

pub fn no_library(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case).filter(|gpu| gpu.library.is_none() && !gpu.wsl) else { return fine() };
    let Some(module) = gpu.module.as_ref().filter(|_| case.engine()) else { return fine() };
    let fix = Fix::told("install the driver whole").types("rprov install --gpu");
    found(
        Finding::new("the driver's module is loaded, and its libraries are not installed", fix)
            .saw(format!("the module is {}; there is no libnvidia-ml.so.1", module.version)),
    )
}

pub fn mismatch(case: &Case) -> Result<Answer> {
    let Some((module, library)) = cards(case).and_then(Gpu::mismatch) else { return fine() };
    let cause = "the driver's libraries were updated, and its old module is still loaded";
    let fix = Fix::told("restart the machine").types("systemctl reboot");
    found(Finding::new(cause, fix).saw(format!("the module is {module}, libnvidia-ml {library}")))
}

/// Why a driver leaves a card alone, as far as its generation tells.
fn why(card: &Card, flavour: Flavour) -> &'static str {
    match flavour {
        _ if card.family <= Family::Kepler => "it is too old for drivers that are still kept up",
        Flavour::Open if card.family < Family::Turing => "the open modules know none older than Turing",
        Flavour::Proprietary if card.family >= Family::Blackwell => {
            "from Blackwell on only the open modules know it"
        }
        _ => "dmesg says why: firmware, power, or a card that is newer than the driver",
    }
}

pub fn refused(case: &Case) -> Result<Answer> {
    let Some(gpu) = cards(case) else { return fine() };
    let Some(module) = &gpu.module else { return fine() };
    let left: Vec<&Card> = gpu.cards.iter().filter(|card| card.driver.is_none()).collect();
    let Some(first) = left.first() else { return fine() };
    let fix =
        Fix::told("see what the driver says of it; `rprov install --gpu` chooses one that knows all cards")
            .types("dmesg | grep NVRM")
            .types("rprov install --gpu");
    let cause = format!("the driver leaves a card alone: {}", why(first, module.flavour));
    let finding = Finding::new(cause, fix)
        .saw(format!("the module is {} ({:?})", module.version, module.flavour))
        .all(left.iter().map(|card| format!("{}: {}, no driver", card.address, card.words())));
    // The others work.
    found(if left.len() < gpu.cards.len() { finding.only(Warn) } else { finding })
}

pub fn no_nodes(case: &Case) -> Result<Answer> {
    let Some(gpu) = working(case).filter(|gpu| !gpu.wsl) else { return fine() };
    let mut wanted: Vec<String> = Vec::new();
    for (_, text) in super::cdi::lists(case)? {
        let nodes =
            text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("path: /dev/"));
        wanted.extend(nodes.map(|node| node.trim_matches(['"', ' ']).to_owned()));
    }
    // Without a list they are made when somebody asks for them, by a program that may.
    if wanted.is_empty() && case.program("nvidia-modprobe").is_none() {
        wanted.push("nvidiactl".into());
    }
    wanted.retain(|node| node.starts_with("nvidia") && !case.exists(&format!("/dev/{node}")));
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        return fine();
    }
    let there = if gpu.nodes.is_empty() { "none".to_owned() } else { gpu.nodes.join(", ") };
    let fix = Fix::told("make them anew").types("nvidia-modprobe -c=0 -u");
    found(
        Finding::new("device files of the cards are gone: containers that ask for a card do not start", fix)
            .all(wanted.iter().map(|node| format!("/dev/{node} is not there")))
            .saw(format!("below /dev there is: {there}")),
    )
}

pub fn persistenced(case: &Case) -> Result<Answer> {
    if working(case).is_none() {
        return fine();
    }
    let shown = unit(case, PERSISTENCED)?;
    if shown.get("ActiveState") != "failed" {
        return fine();
    }
    let fix = Fix::told("start it again")
        .types(format!("systemctl reset-failed {PERSISTENCED}"))
        .types(format!("systemctl restart {PERSISTENCED}"));
    let cause =
        "the daemon that keeps the driver loaded has failed: a card that nobody uses is slow to begin";
    found(Finding::new(cause, fix).saw(format!("{PERSISTENCED} failed: {}", shown.get("Result"))))
}

/// Versions of the fabric manager's packages, by whatever name.
fn fabric_packages(case: &Case, branch: &str) -> Vec<String> {
    let names = vec!["nvidia-fabricmanager".to_owned(), format!("nvidia-fabricmanager-{branch}")];
    let question = if debs(case) { Question::DpkgQuery { names } } else { Question::RpmQuery { names } };
    let said = case.host.query(&question).map(|answer| answer.stdout).unwrap_or_default();
    let installed = said.lines().filter(|line| line.starts_with("nvidia-"));
    installed.map(|line| line.split('\t').collect::<Vec<_>>().join(" ")).collect()
}

/// What installs it in the driver's version: an install of ours leaves a driver alone that works.
fn install_fabric(case: &Case, version: &str, branch: &str) -> String {
    if !debs(case) {
        return format!("dnf install -y nvidia-fabricmanager-{version}");
    }
    // Ubuntu's own packages have the branch in their names, NVIDIA's have not.
    let of_branch = format!("libnvidia-compute-{branch}");
    let ubuntus = names(case, "/var/lib/dpkg/info").iter().any(|name| name.starts_with(&of_branch));
    let tail = if ubuntus { format!("-{branch}") } else { String::new() };
    format!("apt-get install -y 'nvidia-fabricmanager{tail}={version}*'")
}

pub fn fabric(case: &Case) -> Result<Answer> {
    let Some(gpu) = working(case).filter(|gpu| gpu.nvswitches > 0) else { return fine() };
    let shown = unit(case, FABRIC)?;
    let state = shown.get("ActiveState");
    if ["active", "activating"].contains(&state) {
        return fine();
    }
    let version = gpu.library.clone().unwrap_or_default();
    let branch = version.split('.').next().unwrap_or_default();
    let absent = !there(case, shown);
    let (words, fix) = if absent {
        (
            "is not installed",
            Fix::told("install it in the driver's version, and start it")
                .types(install_fabric(case, &version, branch))
                .types(format!("systemctl enable --now {FABRIC}")),
        )
    } else if state == "failed" {
        let fix = Fix::told(format!("its version has to be the driver's, {version}, to the last digit"))
            .types(format!("systemctl reset-failed {FABRIC}"))
            .types(format!("systemctl restart {FABRIC}"));
        ("has failed", fix)
    } else {
        (
            "does not run",
            Fix::told("start it, now and at boot").types(format!("systemctl enable --now {FABRIC}")),
        )
    };
    let cause = format!("the fabric manager {words}: programs find no card that is ready (error 802)");
    let mut finding = Finding::new(cause, fix)
        .saw(format!("{} bridges of NVSwitch; the driver is {version}", gpu.nvswitches))
        .saw(format!("{FABRIC} is {}", if absent { "not there" } else { state }));
    if !absent {
        finding = finding.all(fabric_packages(case, branch));
    }
    found(finding)
}

pub fn run_file(case: &Case) -> Result<Answer> {
    if !cards(case).is_some_and(|gpu| gpu.run_file) {
        return fine();
    }
    let packaged = |name: &String| {
        name.ends_with(".list")
            && ["libnvidia-compute", "nvidia-kernel-common", "libcuda1", "nvidia-driver"]
                .iter()
                .any(|package| name.starts_with(package))
    };
    let mut packages: Vec<String> = names(case, "/var/lib/dpkg/info").into_iter().filter(packaged).collect();
    if packages.is_empty() && !debs(case) {
        let names = vec!["nvidia-driver-cuda-libs".to_owned(), "nvidia-driver".to_owned()];
        let said = case.host.query(&Question::RpmQuery { names })?.stdout;
        packages =
            said.lines().filter(|line| line.contains('\t')).map(|line| line.replace('\t', " ")).collect();
    }
    if packages.is_empty() {
        return fine();
    }
    let fix = Fix::told("take away the one that came as a file, and install the packages again")
        .types("nvidia-uninstall")
        .types("rprov install --gpu");
    found(
        Finding::new(
            "a driver from NVIDIA's .run file lies over one from packages: an update of either breaks it",
            fix,
        )
        .saw("/usr/bin/nvidia-uninstall")
        .all(packages.iter().map(|name| name.trim_end_matches(".list").to_owned())),
    )
}
