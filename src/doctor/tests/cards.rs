//! The same for hosts with a card: each check of cards on a host where it speaks.

use super::speaking::{Asks, Row};
use crate::host::Question;
use crate::host::fake::FakeHost;

const DAEMON: &str = "/etc/docker/daemon.json";
const AT: &str = "/sys/bus/pci/devices/0000:01:00.0";
const CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";
const LIST: &str =
    "kind: nvidia.com/gpu\n- path: /dev/nvidia0\n- path: /dev/nvidiactl\n- libcuda.so.580.95.05\n";
const TOOLKIT: &str = "deb [signed-by=/usr/share/keyrings/nvidia.asc] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /\n";
const MODULES: &str = "/lib/modules/6.8.0-45-generic/modules.dep";

fn units(host: FakeHost, states: [&str; 3]) -> FakeHost {
    let units = ["nvidia-cdi-refresh.service", "nvidia-persistenced.service", "nvidia-fabricmanager.service"];
    let shown = states.map(|state| match state {
        "" => "LoadState=not-found\nActiveState=inactive\n".to_owned(),
        state => format!("LoadState=loaded\nActiveState={state}\nResult=exit-code\n"),
    });
    host.answer(Question::UnitsShow { units: units.map(str::to_owned).to_vec() }, &shown.join("\n"))
}

fn packages(host: FakeHost, versions: [&str; 4]) -> FakeHost {
    let names = [
        "libnvidia-container1",
        "libnvidia-container-tools",
        "nvidia-container-toolkit-base",
        "nvidia-container-toolkit",
    ];
    let lines = names
        .iter()
        .zip(versions)
        .map(|(name, version)| format!("{name}\tinstall\tinstalled\t{version}-1\n"));
    let question = Question::DpkgQuery { names: names.map(str::to_owned).to_vec() };
    host.answer(question, &lines.collect::<String>())
}

/// A host with an L4 whose driver and toolkit are well.
pub fn card(host: FakeHost) -> FakeHost {
    let host = host
        .file(format!("{AT}/vendor"), "0x10de\n")
        .file(format!("{AT}/device"), "0x27b8\n")
        .file(format!("{AT}/class"), "0x030200\n")
        .link(format!("{AT}/driver"), "../../../bus/pci/drivers/nvidia")
        .file("/sys/module/nvidia/version", "580.95.05\n")
        .file("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05\n")
        .file("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05", "")
        .link("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05")
        .file(MODULES, "updates/dkms/nvidia.ko:\n")
        .file("/dev/nvidia0", "")
        .file("/dev/nvidiactl", "")
        .file("/usr/bin/nvidia-container-runtime", "")
        .file("/usr/bin/nvidia-ctk", "")
        .file(CONFIG, "[nvidia-container-cli]\nldconfig = \"@/sbin/ldconfig\"\n[nvidia-container-runtime]\nmode = \"auto\"\n")
        .file("/sbin/ldconfig", "")
        .file("/etc/apt/sources.list.d/nvidia-container-toolkit.list", TOOLKIT)
        .file("/usr/share/keyrings/nvidia.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        .file("/run/cdi/nvidia.yaml", LIST)
        .written(DAEMON, 0)
        .file(DAEMON, "{\"runtimes\": {\"nvidia\": {\"path\": \"nvidia-container-runtime\"}}}");
    packages(units(host, ["inactive", "active", ""]), ["1.20.0"; 4])
}

/// The driver is installed, and nothing of it is loaded.
fn idle(host: FakeHost) -> FakeHost {
    card(host)
        .without(format!("{AT}/driver"))
        .without("/sys/module/nvidia/version")
        .without("/proc/driver/nvidia/version")
}

fn secured(host: FakeHost) -> FakeHost {
    let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    host.file(variable, [6, 0, 0, 0, 1])
}

fn switched(host: FakeHost) -> FakeHost {
    let at = "/sys/bus/pci/devices/0000:c1:00.0";
    host.file(format!("{at}/vendor"), "0x10de\n")
        .file(format!("{at}/device"), "0x22a3\n")
        .file(format!("{at}/class"), "0x068000\n")
}

fn fabric(host: FakeHost, state: &str) -> FakeHost {
    let names = vec!["nvidia-fabricmanager".into(), "nvidia-fabricmanager-580".into()];
    units(switched(card(host)), ["inactive", "active", state])
        .answer(Question::DpkgQuery { names }, "nvidia-fabricmanager\tinstall\tinstalled\t580.65.06-1\n")
}

fn named(host: FakeHost, path: &str) -> FakeHost {
    card(host).file(DAEMON, format!("{{\"runtimes\": {{\"nvidia\": {{\"path\": \"{path}\"}}}}}}"))
}

fn cuda(host: FakeHost, directory: &str) -> FakeHost {
    let line = format!(
        "deb [signed-by=/a.asc] https://developer.download.nvidia.com/compute/cuda/repos/{directory}/x86_64/ /\n"
    );
    card(host)
        .file("/etc/apt/sources.list.d/cuda.list", line)
        .file("/a.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
}

pub fn rows() -> Vec<Row> {
    let alice = |id, host| Row { id, asks: Asks::Alice(&[]), host };
    vec![
        alice("gpu-nouveau-loaded", |h| {
            card(h).link(format!("{AT}/driver"), "../../../bus/pci/drivers/nouveau")
        }),
        alice("gpu-bound-elsewhere", |h| {
            idle(h).link(format!("{AT}/driver"), "../../../bus/pci/drivers/vfio-pci")
        }),
        alice("gpu-secure-boot", |h| secured(idle(h))),
        alice("gpu-dkms-not-built", |h| {
            idle(h).without(MODULES).directory("/var/lib/dkms/nvidia/580.95.05/6.8.0-40-generic")
        }),
        alice("gpu-module-not-loaded", idle),
        alice("gpu-libraries-missing", |h| card(h).without("/usr/lib/x86_64-linux-gnu")),
        alice("gpu-library-mismatch", |h| {
            card(h).file("/sys/module/nvidia/version", "570.1.1\n").file(
                "/proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.1.1\n",
            )
        }),
        alice("gpu-card-refused", |h| {
            card(h).without(format!("{AT}/driver")).file(format!("{AT}/device"), "0x1db1\n")
        }),
        alice("gpu-nodes-missing", |h| card(h).without("/dev/nvidia0")),
        alice("gpu-nodes-missing", |h| card(h).without("/run/cdi").without("/dev/nvidiactl")),
        alice("gpu-persistenced-failed", |h| units(card(h), ["inactive", "failed", ""])),
        alice("gpu-fabric-manager", |h| fabric(h, "")),
        alice("gpu-fabric-manager", |h| fabric(h, "failed")),
        alice("gpu-run-file", |h| {
            card(h)
                .file("/usr/bin/nvidia-uninstall", "")
                .file("/var/lib/dpkg/info/libnvidia-compute-580.list", "")
        }),
        alice("gpu-toolkit-missing", |h| {
            card(h).without("/usr/bin/nvidia-container-runtime").without("/usr/bin/nvidia-ctk")
        }),
        alice("gpu-runtime-binary-missing", |h| card(h).without("/usr/bin/nvidia-container-runtime")),
        alice("gpu-runtime-binary-missing", |h| named(h, "/opt/nvidia-container-runtime")),
        alice("gpu-runtime-missing", |h| card(h).without(DAEMON)),
        alice("gpu-toolkit-versions", |h| packages(card(h), ["1.20.0", "1.20.0", "1.20.0", "1.19.1"])),
        alice("gpu-toolkit-old", |h| packages(card(h), ["1.17.3"; 4])),
        alice("gpu-toolkit-config-invalid", |h| card(h).file(CONFIG, "mode = auto\n")),
        alice("gpu-no-cgroups", |h| card(h).file(CONFIG, "[nvidia-container-cli]\nno-cgroups = true\n")),
        alice("gpu-ldconfig-wrong", |h| {
            card(h).file(CONFIG, "[nvidia-container-cli]\nldconfig = \"@/sbin/ldconfig.real\"\n")
        }),
        alice("gpu-runtime-mode", |h| card(h).file(CONFIG, "[nvidia-container-runtime]\nmode = \"cdi\"\n")),
        alice("gpu-cdi-refresh-failed", |h| units(card(h), ["failed", "active", ""])),
        alice("gpu-cdi-missing", |h| card(h).without("/run/cdi").file("/usr/bin/nvidia-modprobe", "")),
        alice("gpu-cdi-stale", |h| {
            card(h).file("/run/cdi/nvidia.yaml", LIST.replace("580.95.05", "570.1.1"))
        }),
        alice("gpu-cdi-stale", |h| {
            card(h).file("/etc/cdi/nvidia.yaml", LIST.replace("580.95.05", "570.1.1"))
        }),
        alice("gpu-cdi-duplicate", |h| card(h).file("/run/cdi/gpus.yaml", LIST)),
        alice("gpu-cdi-without-mig", |h| card(h).directory("/proc/driver/nvidia/capabilities/gpu0/mig/gi0")),
        alice("gpu-cdi-disabled", |h| {
            card(h).file(
                DAEMON,
                "{\"features\": {\"cdi\": false}, \"runtimes\": {\"nvidia\": {\"path\": \"nvidia-container-runtime\"}}}",
            )
        }),
        alice("gpu-legacy-source", |h| {
            let line = "deb https://nvidia.github.io/nvidia-docker/ubuntu18.04/$(ARCH) /\n";
            card(h).file("/etc/apt/sources.list.d/nvidia-docker.list", line)
        }),
        alice("gpu-source-key", |h| cuda(h, "ubuntu2404").held("/a.asc", 0, 0, 0o640)),
        alice("gpu-source-key", |h| cuda(h, "ubuntu2404").without("/a.asc")),
        alice("gpu-cuda-source-foreign", |h| cuda(h, "debian12")),
    ]
}

/// The root of each is named, and what follows from it is folded under it.
#[test]
fn of_a_card_that_does_not_work_the_first_cause_is_named() {
    let causes = |host: FakeHost| -> Vec<&'static str> {
        super::alice(&host, &[], &[]).findings.iter().map(|found| found.id).collect()
    };
    let host = super::healthy;
    assert_eq!(causes(secured(idle(host()))), ["gpu-secure-boot"]);
    let signed = idle(host()).file(MODULES, "kernel/nvidia-580/nvidia.ko:\n");
    assert_eq!(causes(secured(signed)), ["gpu-module-not-loaded"]);
    assert_eq!(
        causes(idle(host()).without(MODULES).directory("/usr/src/nvidia-580.95.05")),
        ["gpu-dkms-not-built"]
    );
    assert_eq!(causes(units(idle(host()), ["failed", "failed", ""])), ["gpu-module-not-loaded"]);
    let gone = card(host()).without("/usr/bin/nvidia-container-runtime");
    assert_eq!(causes(gone.clone()), ["gpu-runtime-binary-missing"]);
    assert_eq!(causes(gone.clone().without("/usr/bin/nvidia-ctk")), ["gpu-toolkit-missing"]);
    assert!(causes(fabric(host(), "active")).is_empty());
    // With every container under NVIDIA's runtime none starts without it.
    let all = "{\"default-runtime\": \"nvidia\", \"runtimes\": {\"nvidia\": {\"path\": \"nvidia-container-runtime\"}}}";
    let found = super::alice(&gone.file(DAEMON, all), &[], &[]).findings.remove(0);
    assert_eq!((found.id, found.severity), ("gpu-runtime-binary-missing", super::Severity::Block));
}

/// Whoever has a card and wants it nowhere else is told at most what would be needed.
#[test]
fn a_card_that_nobody_wants_in_containers_fails_no_run() {
    let plain = card(super::healthy())
        .without("/usr/bin/nvidia-container-runtime")
        .without("/usr/bin/nvidia-ctk")
        .without("/run/cdi")
        .without(DAEMON)
        .file("/usr/bin/nvidia-modprobe", "");
    let report = super::alice(&plain, &[], &[]);
    assert!(!report.reaches(super::Severity::Warn), "{report:#?}");
    let bare = idle(super::healthy())
        .without("/usr/lib/x86_64-linux-gnu")
        .without("/usr/bin/nvidia-container-runtime")
        .without("/usr/bin/nvidia-ctk")
        .without(DAEMON);
    assert!(super::alice(&bare, &[], &[]).findings.is_empty());
}
