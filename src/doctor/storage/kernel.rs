//! What the running kernel has to have, where something in use needs it and nothing shows that it is there.

use super::super::network::has_module;
use super::super::{Answer, Case, Finding, Fix};
use crate::error::Result;
use crate::facts::Virtualisation;
use flate2::read::GzDecoder;
use std::io::Read;
use std::path::Path;

/// Of the list in moby's contrib/check-config.sh, what no engine runs without: the option, its module, and what shows
/// that it works whatever a configuration says.
const NEEDED: &[(&str, &str, &str)] = &[
    ("NAMESPACES", "", "/proc/self/ns/mnt"),
    ("NET_NS", "", "/proc/self/ns/net"),
    ("PID_NS", "", "/proc/self/ns/pid"),
    ("IPC_NS", "", "/proc/self/ns/ipc"),
    ("UTS_NS", "", "/proc/self/ns/uts"),
    ("CGROUPS", "", "/proc/self/cgroup"),
    ("KEYS", "", "/proc/keys"),
    ("POSIX_MQUEUE", "", "/proc/sys/fs/mqueue"),
    ("VETH", "veth", "/sys/class/net/docker0"),
    ("BRIDGE", "bridge", "/sys/class/net/docker0"),
    ("OVERLAY_FS", "overlay", "/sys/module/overlay"),
    ("NETFILTER_XT_MATCH_ADDRTYPE", "xt_addrtype", "/sys/class/net/docker0"),
    ("NETFILTER_XT_MATCH_CONNTRACK", "xt_conntrack", "/sys/class/net/docker0"),
    ("NF_NAT", "nf_nat", "/sys/class/net/docker0"),
    ("SECCOMP_FILTER", "", "/proc/sys/kernel/seccomp/actions_avail"),
    ("CGROUP_BPF", "", "/sys/fs/cgroup/devices"),
];

pub fn too_old(case: &Case) -> Result<Answer> {
    let mut numbers = case.facts.kernel.split(['.', '-']).map(|word| word.parse::<u32>().unwrap_or(u32::MAX));
    let (major, minor) = (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX));
    if case.facts.kernel.is_empty() || (major, minor) >= (3, 10) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("go to a release that is kept up");
    Ok(Finding::new("the kernel is older than any engine runs on (3.10)", fix)
        .saw(case.facts.kernel.clone())
        .into())
}

/// The modules went with an update; those of a container or of a kernel without modules were never here.
pub fn modules_gone(case: &Case) -> Result<Answer> {
    let ours = format!("/lib/modules/{}", case.facts.kernel);
    let others = case.host.list(Path::new("/lib/modules"))?;
    let modular = case.text("/proc/modules")?.is_some_and(|text| !text.trim().is_empty());
    let nested = matches!(case.facts.virtualisation, Virtualisation::Container(_));
    if case.exists(&ours) || others.is_empty() || !modular || nested {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("reboot into the kernel that is installed").types("systemctl reboot");
    let cause = "the modules of the running kernel are gone: it was updated, and not rebooted";
    // What is loaded by now may be all that is needed.
    let may_run = case.active("docker.service").unwrap_or(false) || knows_overlay(case)?;
    Ok(Finding::new(cause, fix)
        .saw(format!("{ours} is not there; /lib/modules has {}", others.join(", ")))
        .only(if may_run { super::Degraded } else { super::Block })
        .into())
}

/// Whether overlay, without which no image can be unpacked, is built in or loaded.
pub fn knows_overlay(case: &Case) -> Result<bool> {
    let known = case.text("/proc/filesystems")?.unwrap_or_default();
    Ok(known.lines().any(|line| line.split_whitespace().last() == Some("overlay")))
}

/// On EL 10 the module is in a package that nothing pulls in (docker/docker-ce-packaging#1340).
pub fn addrtype(case: &Case) -> Result<Answer> {
    let nftables =
        case.config().unwrap_or_default().get("firewall-backend").is_some_and(|name| name == "nftables");
    if !case.engine() || nftables || case.active("docker.service").unwrap_or(false) {
        return Ok(Answer::Fine);
    }
    let release = &case.facts.kernel;
    let Some(all) = case.text(&format!("/lib/modules/{release}/modules.dep"))? else {
        return Ok(Answer::Fine);
    };
    let built_in = case.text(&format!("/lib/modules/{release}/modules.builtin"))?.unwrap_or_default();
    let named = |text: &str| text.contains("/xt_addrtype.ko");
    if named(&all) || named(&built_in) || case.exists("/sys/module/xt_addrtype") {
        return Ok(Answer::Fine);
    }
    let install = match case.program("dnf") {
        Some(_) => format!("dnf install kernel-modules-extra-{release}"),
        None => format!("apt-get install linux-modules-extra-{release}"),
    };
    let text = "install it, or set `firewall-backend` to `nftables`, from docker 29 on";
    let cause = "the kernel has no module `xt_addrtype`, which dockerd's rules for iptables need";
    Ok(Finding::new(cause, Fix::told(text).types(install))
        .saw(format!("/lib/modules/{release}/modules.dep does not name it"))
        .into())
}

/// `y` and `m` options, of the first configuration that can be read.
fn configuration(case: &Case) -> Result<Option<Vec<String>>> {
    let release = &case.facts.kernel;
    let text = match case.host.read(Path::new("/proc/config.gz"))? {
        Some(bytes) => {
            let mut text = String::new();
            // A broken one is none.
            GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).map(|_| text).ok()
        }
        None => None,
    };
    let text = match text {
        Some(text) => Some(text),
        None => match case.text(&format!("/boot/config-{release}"))? {
            Some(text) => Some(text),
            None => case.text(&format!("/lib/modules/{release}/config"))?,
        },
    };
    Ok(text.map(|text| {
        let set = text.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.split_once('='));
        set.filter(|(_, value)| ["y", "m"].contains(value)).map(|(name, _)| name.to_owned()).collect()
    }))
}

pub fn options(case: &Case) -> Result<Answer> {
    // An engine that runs shows that its kernel has what it needs.
    if !case.engine() || case.active("docker.service").unwrap_or(false) {
        return Ok(Answer::Fine);
    }
    let Some(set) = configuration(case)? else {
        return Ok(Answer::Unknown(
            "this kernel's configuration is neither in /proc/config.gz nor in /boot".into(),
        ));
    };
    let release = &case.facts.kernel;
    let modules: String = ["modules.dep", "modules.builtin"]
        .iter()
        .filter_map(|name| case.text(&format!("/lib/modules/{release}/{name}")).ok().flatten())
        .collect();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(option, module, shows)| {
            let file = format!("/{module}.ko");
            !set.iter().any(|name| name == option)
                && !case.exists(shows)
                && (module.is_empty() || !modules.contains(&file))
        })
        .map(|(option, ..)| *option)
        .collect();
    if missing.is_empty() {
        return Ok(Answer::Fine);
    }
    let cause = format!("this kernel was built without what an engine needs: {}", missing.join(", "));
    let fix = Fix::told("boot a kernel of the distribution; on minimal images install its extra modules")
        .types("uname -r");
    // Before an engine has tried it, a configuration is a hint and no proof.
    let severity = if case.facts.engine { super::Block } else { super::Degraded };
    Ok(Finding::new(cause, fix)
        .saw(format!("the configuration of {release} does not set it"))
        .only(severity)
        .into())
}

/// An option that is asked for here and shows nowhere: what asks, what would show it, and what fails without.
struct Wish {
    option: &'static str,
    asked: fn(&Case) -> Result<bool>,
    shows: fn(&Case) -> Result<bool>,
    harm: &'static str,
    severity: super::super::Severity,
}

/// A daemon.json that cannot be read asks for nothing.
fn setting(case: &Case, key: &str) -> Option<serde_json::Value> {
    case.config().unwrap_or_default().get(key).cloned()
}

fn filesystem(case: &Case, name: &str) -> Result<bool> {
    let known = case.text("/proc/filesystems")?.unwrap_or_default();
    let listed = known.lines().any(|line| line.split_whitespace().last() == Some(name));
    Ok(listed || has_module(case, name))
}

/// In a swarm, as far as this user can see.
fn in_swarm(case: &Case) -> Result<bool> {
    Ok(case.engine() && case.exists("/var/lib/docker/swarm/docker-state.json"))
}

/// Of the optional ones in moby's list, those whose lack can be told by what it breaks.
const WISHES: &[Wish] = &[
    Wish {
        option: "CFS_BANDWIDTH",
        asked: |case| Ok(case.engine() && case.exists("/sys/fs/cgroup/system.slice/cpu.weight")),
        shows: |case| Ok(case.exists("/sys/fs/cgroup/system.slice/cpu.max")),
        harm: "`docker run --cpus` fails",
        severity: super::Warn,
    },
    Wish {
        option: "SECCOMP",
        asked: |case| Ok(case.engine() && case.exists("/proc/sys/kernel/osrelease")),
        shows: |case| {
            let status = case.text("/proc/self/status")?.unwrap_or_default();
            Ok(status.is_empty() || status.contains("Seccomp:") || case.exists("/proc/sys/kernel/seccomp"))
        },
        harm: "containers run without a filter of system calls",
        severity: super::Warn,
    },
    Wish {
        option: "USER_NS",
        asked: |case| Ok(case.engine() && setting(case, "userns-remap").is_some_and(|name| name != "")),
        shows: |case| Ok(case.exists("/proc/self/ns/user")),
        harm: "`userns-remap` of daemon.json keeps the daemon from starting",
        severity: super::Block,
    },
    Wish {
        option: "BTRFS_FS",
        asked: |case| Ok(case.engine() && setting(case, "storage-driver") == Some("btrfs".into())),
        shows: |case| filesystem(case, "btrfs"),
        harm: "the storage driver of daemon.json does not work",
        severity: super::Block,
    },
    Wish {
        option: "IPV6",
        asked: |case| Ok(case.engine() && setting(case, "ipv6") == Some(true.into())),
        shows: |case| Ok(case.exists("/proc/net/if_inet6")),
        harm: "`ipv6` of daemon.json has no effect, or keeps the daemon from starting",
        severity: super::Degraded,
    },
    Wish {
        option: "VXLAN",
        asked: in_swarm,
        shows: |case| Ok(has_module(case, "vxlan")),
        harm: "networks across the hosts of the swarm do not work",
        severity: super::Degraded,
    },
    Wish {
        option: "IP_VS",
        asked: in_swarm,
        shows: |case| Ok(has_module(case, "ip_vs")),
        harm: "services of the swarm are not balanced: no published port answers",
        severity: super::Degraded,
    },
];

pub fn wanted(case: &Case) -> Result<Answer> {
    let mut missing: Vec<&Wish> = Vec::new();
    for wish in WISHES {
        if (wish.asked)(case)? && !(wish.shows)(case)? {
            missing.push(wish);
        }
    }
    let Some(worst) = missing.iter().max_by_key(|wish| wish.severity) else { return Ok(Answer::Fine) };
    let fix = Fix::told(
        "boot a kernel of the distribution, or do without; on minimal images install its extra modules",
    )
    .types("uname -r");
    let cause = format!("this kernel lacks {}: {}", worst.option, worst.harm);
    Ok(Finding::new(cause, fix)
        .all(missing.iter().map(|wish| format!("CONFIG_{}: {}", wish.option, wish.harm)))
        .only(worst.severity)
        .into())
}
