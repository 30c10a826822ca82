//! What the kernel has to have for the iptables that is used here: asked where the daemon does not run.

use super::super::{Answer, Case, Finding, Fix};
use super::{by_iptables, runs};
use crate::error::Result;
use std::path::Path;

/// Loaded, built in, or to be loaded; without any list of modules nothing is known, and it counts as there.
pub fn has_module(case: &Case, name: &str) -> bool {
    let directory = format!("/lib/modules/{}", case.facts.kernel);
    let mut lists = Vec::new();
    for file in ["modules.dep", "modules.builtin"] {
        lists.extend(case.text(&format!("{directory}/{file}")).ok().flatten());
    }
    let in_lists = lists.iter().any(|text| text.contains(&format!("/{name}.ko")));
    lists.iter().all(|text| text.trim().is_empty()) || in_lists || case.exists(&format!("/sys/module/{name}"))
}

/// Which of the two backends `iptables` is, by the alternative that is chosen: most releases have nf_tables now.
fn is_legacy(case: &Case) -> Result<bool> {
    let chosen = case.host.link(Path::new("/etc/alternatives/iptables"))?;
    let chosen = match chosen {
        Some(chosen) => Some(chosen),
        None => case.host.link(Path::new("/usr/sbin/iptables"))?,
    };
    Ok(chosen.is_some_and(|path| path.to_string_lossy().contains("legacy")))
}

/// Whether rules are wanted, and neither a daemon that runs nor the bridge of one that ran since the boot shows that
/// the kernel has what they need.
fn asked(case: &Case) -> bool {
    let shown = runs(case) || case.exists("/sys/class/net/docker0");
    case.engine() && by_iptables(case) && !shown && case.program("iptables").is_some()
}

pub fn no_legacy(case: &Case) -> Result<Answer> {
    if !asked(case)
        || !is_legacy(case)?
        || has_module(case, "ip_tables")
        || case.exists("/proc/net/ip_tables_names")
    {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("let iptables be that of nf_tables, and start docker")
        .types("update-alternatives --set iptables /usr/sbin/iptables-nft")
        .types("systemctl restart docker.service");
    Ok(Finding::new("iptables is the legacy one here, and this kernel has no legacy tables", fix)
        .saw("the alternative `iptables` leads to iptables-legacy")
        .saw(format!("/lib/modules/{} has no ip_tables", case.facts.kernel))
        .into())
}

pub fn no_nft(case: &Case) -> Result<Answer> {
    if !asked(case) || is_legacy(case)? || has_module(case, "nf_tables") {
        return Ok(Answer::Fine);
    }
    let legacy = has_module(case, "ip_tables");
    let fix = match legacy {
        true => Fix::told("let iptables be the legacy one, and start docker")
            .types("update-alternatives --set iptables /usr/sbin/iptables-legacy")
            .types("systemctl restart docker.service"),
        false => {
            Fix::told("boot a kernel of the distribution, or install its extra modules").types("uname -r")
        }
    };
    Ok(Finding::new("iptables is that of nf_tables here, and this kernel has no nf_tables", fix)
        .saw(format!("/lib/modules/{} has no nf_tables", case.facts.kernel))
        .into())
}

/// Since 28.0.1 docker closes the way past a published port's address in the table `raw`.
pub fn no_raw(case: &Case) -> Result<Answer> {
    let writes = case.engine() && by_iptables(case) && case.program("iptables").is_some();
    if !writes || !is_legacy(case)? || has_module(case, "iptable_raw") {
        return Ok(Answer::Fine);
    }
    // Of root's alone to read; with the table there it needs no module.
    if case.text("/proc/net/ip_tables_names").ok().flatten().is_some_and(|names| names.contains("raw")) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("let iptables be that of nf_tables, or boot a kernel with CONFIG_IP_NF_RAW")
        .types("update-alternatives --set iptables /usr/sbin/iptables-nft")
        .types("systemctl restart docker.service");
    Ok(Finding::new("the kernel has no table `raw` for the legacy iptables: no port can be published", fix)
        .saw("the alternative `iptables` leads to iptables-legacy")
        .saw(format!("/lib/modules/{} has no iptable_raw", case.facts.kernel))
        .into())
}
