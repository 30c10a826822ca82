//! A package manager that stands still in the middle of its transaction, its locks held, while a gate is shut.

use super::common::{INSTALL, LONG, engine_works, packages_are_whole, says, succeeds};
use crate::Host;
use crate::run::Running;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const GATE: &str = "/run/gate";

/// apt asks a hook before each transaction, dnf a plugin.
pub fn with_gate(host: &Host) -> Result<()> {
    if host.identity().dnf().is_some() {
        let plugin = format!(
            "import dnf, os, time\n\nclass Gate(dnf.Plugin):\n    name = 'gate'\n\n    def pre_transaction(self):\n        \
             open('{GATE}.reached', 'w').close()\n        while os.path.exists('{GATE}'):\n            time.sleep(0.05)\n"
        );
        host.write("/usr/lib/python3/dist-packages/dnf-plugins/gate.py", plugin)?;
        return host.write("/etc/dnf/plugins/gate.conf", "[main]\nenabled = 1\n");
    }
    let hook = format!(
        "DPkg::Pre-Invoke {{ \"touch {GATE}.reached; while [ -e {GATE} ]; do sleep 0.05; done\"; }};\n"
    );
    host.write("/etc/apt/apt.conf.d/99gate", hook)
}

pub fn shut(host: &Host) -> Result<()> {
    host.sh(&format!("rm -f {GATE}.reached; touch {GATE}"))?.ok().map(drop)
}

pub fn open(host: &Host) -> Result<()> {
    host.sh(&format!("rm {GATE}"))?.ok().map(drop)
}

pub fn in_the_middle(host: &Host) -> Result<()> {
    until("the package manager is in the middle of its transaction", || {
        Ok(host.exists(&format!("{GATE}.reached")))
    })
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(90);
    while !so()? {
        ensure!(Instant::now() < end, "it never came to pass: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What Ctrl-C is tried against.
pub struct Manager<'a> {
    pub program: &'a str,
    /// How whoever may not wait is told who holds the lock.
    pub holds: &'a str,
    /// The next run is at the lock.
    pub waits: &'a dyn Fn(&mut Running) -> Result<()>,
    /// An uninstall leads back to the host as it was.
    pub restores: &'a dyn Fn() -> Result<()>,
}

/// Once, and twice at once, in the middle of the transaction of a host with a gate.
pub fn ctrl_c(host: &Host, manager: &Manager) -> Result<()> {
    shut(host)?;
    let mut once = host.on_terminal("rprov install --yes")?;
    in_the_middle(host)?;
    once.send(b"\x03")?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(once.running(), "one Ctrl-C ended the run in the middle of a change:\n{}", once.said());
    open(host)?;
    let output = once.wait(LONG)?.code_is(130)?;
    ensure!(output.stdout.contains("interrupted") && output.stdout.contains("hint:"), "{}", output.text());
    packages_are_whole(host)?;
    ensure!(host.packages()?.contains_key("docker-ce"), "the change in hand was not finished");
    host.run(&["rprov", "status"])?.code_is(3)?;
    succeeds(host, INSTALL)?;
    engine_works(host)?;
    (manager.restores)()?;

    shut(host)?;
    let mut twice = host.on_terminal("rprov install --yes")?;
    in_the_middle(host)?;
    twice.send(b"\x03")?;
    std::thread::sleep(Duration::from_millis(300));
    twice.send(b"\x03")?;
    twice.wait(Duration::from_secs(20))?.code_is(130)?;
    let alive = host.run(&["pgrep", "-x", manager.program])?.code == 0;
    ensure!(alive, "{} did not outlive the run", manager.program);
    let short = host.run_within(LONG, &["rprov", "install", "--yes", "--wait", "1s"])?.code_is(5)?;
    says(&short, &["error:", manager.holds, "--wait"])?;
    let mut next = host.spawn(INSTALL)?;
    (manager.waits)(&mut next)?;
    open(host)?;
    next.wait(LONG)?.ok()?;
    engine_works(host)?;
    (manager.restores)()
}
