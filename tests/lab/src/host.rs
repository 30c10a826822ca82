//! A booted host: a copy of an identity's root filesystem under systemd-nspawn, and all that a scenario does to it.

use crate::identity::Identity;
use crate::keys::Key;
use crate::lab::{self, Lab};
use crate::log::Log;
use crate::mirror::Variant;
use crate::net;
use crate::packages;
use crate::process;
use crate::run::{Output, Running};
use crate::server::{self, Request};
use crate::sh;
use crate::tree::{State, Tree};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take that names no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// With all that a first boot does.
const BOOT: Duration = Duration::from_secs(400);

pub struct Host {
    lab: Lab,
    identity: Identity,
    number: u32,
    root: PathBuf,
    boot: Option<Boot>,
    names: Vec<(String, String)>,
    variant: Variant,
    /// Of the mirror's names those that are not of that variant.
    variants: BTreeMap<&'static str, Variant>,
    commands: std::cell::Cell<u32>,
    log: Log,
    /// The host outlives this value, for `up`.
    stays: bool,
}

struct Boot {
    /// systemd-nspawn; nothing where another process of the lab started it.
    nspawn: Option<Child>,
    leader: u32,
}

impl Host {
    /// A fresh host, not booted yet: its lists are fresh, and the lab's key is the pinned one by configuration.
    pub fn fresh(lab: &Lab, identity: Identity) -> Result<Host> {
        let from = lab.root(identity)?;
        let host = Host::new(lab, identity, &from)?;
        host.lists_are_aged(Duration::ZERO)?;
        host.write("/etc/rprov/config.toml", lab::CONFIG)?;
        host.pin(Key::Docker)?;
        host.point()?;
        Ok(host)
    }

    /// A fresh host, booted.
    pub fn booted(lab: &Lab, identity: Identity) -> Result<Host> {
        let mut host = Host::fresh(lab, identity)?;
        host.boot()?;
        Ok(host)
    }

    fn new(lab: &Lab, identity: Identity, from: &Path) -> Result<Host> {
        let number = lab.number();
        let dir = lab.dir().join("hosts").join(number.to_string());
        fs::create_dir_all(&dir).context("making the host's directory")?;
        let root = dir.join("root");
        sh::run(&["cp", "-a", "--reflink=auto", &from.to_string_lossy(), &root.to_string_lossy()])?;
        Ok(Host {
            lab: lab.clone(),
            identity,
            number,
            root,
            boot: None,
            names: Vec::new(),
            variant: Variant::Good,
            variants: BTreeMap::new(),
            commands: Default::default(),
            log: Log::current(),
            stays: false,
        })
    }

    /// A host that another process of the lab left running.
    pub fn resume(lab: &Lab, identity: Identity, number: u32, leader: u32) -> Host {
        let root = lab.dir().join("hosts").join(number.to_string()).join("root");
        Host {
            lab: lab.clone(),
            identity,
            number,
            root,
            boot: Some(Boot { nspawn: None, leader }),
            names: Vec::new(),
            variant: Variant::Good,
            variants: BTreeMap::new(),
            commands: Default::default(),
            log: Log::default(),
            stays: true,
        }
    }

    /// Leaves the host running when this value goes; its number and its leader.
    pub fn stay(mut self) -> Result<(u32, u32)> {
        self.stays = true;
        Ok((self.number, self.leader()?))
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The host's address.
    pub fn address(&self) -> String {
        net::host_address(self.number).0
    }

    /// The root filesystem, as it lies on this machine's disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes into the scenario's log.
    pub fn note(&self, text: &str) {
        self.log.line(&format!("# {text}"));
    }

    // ---- running it

    /// Boots, and waits until systemd has started everything.
    pub fn boot(&mut self) -> Result<()> {
        let start = Instant::now();
        self.power_on()?;
        self.wait_for_systemd(start)?;
        self.note(&format!("booted in {:.1} s", start.elapsed().as_secs_f32()));
        Ok(())
    }

    /// Boots, and waits for nothing: what starts may end the boot by itself.
    pub fn power_on(&mut self) -> Result<()> {
        if self.boot.is_some() {
            bail!("the host runs already");
        }
        let start = Instant::now();
        let mut nspawn = self.nspawn()?;
        self.lab.shared.run.record(nspawn.id())?;
        let leader = match self.find_leader(&mut nspawn, start) {
            Ok(leader) => leader,
            Err(error) => {
                let _ = nspawn.kill();
                let _ = nspawn.wait();
                return Err(error);
            }
        };
        self.boot = Some(Boot { nspawn: Some(nspawn), leader });
        self.lab.shared.run.record(leader)?;
        self.give_address(leader)
    }

    fn nspawn(&self) -> Result<Child> {
        let mut script = String::new();
        for parent in self.own_cgroups() {
            let group =
                parent.join(process::cgroup_name(&self.lab.shared.run.id)).join(self.number.to_string());
            prepare_cgroup(&parent, &group)?;
            script += &format!("echo $$ > '{}/cgroup.procs'\n", group.display());
        }
        script += "exec \"$@\"\n";
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let directory = format!("--directory={}", self.root.display());
        let machine = format!("--machine=h{}", self.number);
        let bridge = format!("--network-bridge={}", net::BRIDGE);
        let mut argv =
            vec!["sh", "-c", &script, "sh", "systemd-nspawn", "--quiet", &directory, &machine, &bridge];
        argv.extend(["--boot", "--register=no", "--hostname=host", "--resolv-conf=off", "--timezone=off"]);
        argv.extend(["--capability=all", "--system-call-filter=add_key keyctl bpf", "--link-journal=no"]);
        argv.extend(["--console=pipe"]);
        if !self.own_cgroups().is_empty() {
            argv.push("--keep-unit");
        }
        if !unified {
            argv.push("systemd.unified_cgroup_hierarchy=0");
            argv.push("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1");
        }
        let console = File::create(self.console()).context("making the host's console")?;
        let mut command = self.lab.shared.net.command(&argv);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", if unified { "1" } else { "0" });
        command.process_group(0).stdout(console.try_clone()?).stderr(console).stdin(Stdio::null());
        command.spawn().context("starting systemd-nspawn")
    }

    fn console(&self) -> PathBuf {
        self.root.with_file_name("console")
    }

    /// Where no systemd of this machine keeps hosts apart, the lab gives each its own control groups.
    fn own_cgroups(&self) -> Vec<PathBuf> {
        if Path::new("/run/systemd/system").exists() { Vec::new() } else { process::cgroups() }
    }

    fn find_leader(&self, nspawn: &mut Child, start: Instant) -> Result<u32> {
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        loop {
            for pid in sh::read(Path::new(&children)).unwrap_or_default().split_whitespace() {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
                let name = status.lines().next().unwrap_or_default();
                let ids: Vec<&str> = inner.split_whitespace().collect();
                if ids.len() > 1 && ids.last() == Some(&"1") && name.ends_with("systemd") {
                    return pid.parse().context("reading a process id");
                }
            }
            if nspawn.try_wait().context("looking after systemd-nspawn")?.is_some() || start.elapsed() > BOOT
            {
                bail!(
                    "the host did not boot: {}",
                    sh::tail(&sh::read(&self.console()).unwrap_or_default(), 20)
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn give_address(&self, leader: u32) -> Result<()> {
        let (four, six) = net::host_address(self.number);
        let space = format!("--net=/proc/{leader}/ns/net");
        let (gateway, gateway6) = (net::GATEWAY, net::GATEWAY6);
        let batch = format!(
            "link set lo up\naddr add {four}/16 dev host0\nlink set host0 up\nroute add default via {gateway}\n"
        );
        sh::pipe(&["nsenter", &space, "--", "ip", "-batch", "-"], batch.as_bytes())?;
        let batch6 = format!("addr add {six}/64 dev host0 nodad\nroute add default via {gateway6}\n");
        let _ = sh::pipe(&["nsenter", &space, "--", "ip", "-6", "-batch", "-"], batch6.as_bytes());
        Ok(())
    }

    fn wait_for_systemd(&self, start: Instant) -> Result<()> {
        let enter = self.enter()?;
        let mut argv: Vec<&str> = enter.iter().map(String::as_str).collect();
        argv.extend(["systemctl", "is-system-running"]);
        loop {
            let said = sh::command(&argv).output().context("asking the host's systemd")?;
            let said = String::from_utf8_lossy(&said.stdout).trim().to_string();
            if said == "running" || said == "degraded" {
                if said == "degraded" {
                    self.note(&self.run(&["systemctl", "--failed", "--no-legend", "--plain"])?.stdout);
                }
                return Ok(());
            }
            if start.elapsed() > BOOT {
                bail!(
                    "the host is still {said}: {}",
                    sh::tail(&sh::read(&self.console()).unwrap_or_default(), 20)
                );
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Whether it is booted.
    pub fn runs(&self) -> bool {
        self.boot.is_some()
    }

    fn leader(&self) -> Result<u32> {
        Ok(self.boot.as_ref().context("the host does not run")?.leader)
    }

    /// The host's process 1, as this machine sees it.
    pub fn leader_pid(&self) -> Result<u32> {
        self.leader()
    }

    /// The command of this machine that enters the host.
    pub fn enter(&self) -> Result<Vec<String>> {
        Ok(["nsenter", "-t", &self.leader()?.to_string(), "-a", "--"].map(str::to_string).to_vec())
    }

    /// Kills the host as it is: its files stay as the kernel has them.
    pub fn crash(&mut self) -> Result<()> {
        self.note("crash");
        process::kill(self.leader()?, "KILL")?;
        self.ended(Duration::from_secs(20))
    }

    /// Shuts the host down.
    pub fn stop(&mut self) -> Result<()> {
        self.note("stop");
        process::kill(self.leader()?, "RTMIN+4")?;
        self.ended(Duration::from_secs(60)).or_else(|_| self.crash())
    }

    /// Reboots from within.
    pub fn reboot(&mut self) -> Result<()> {
        self.note("reboot");
        let _ = self.run(&["systemctl", "--no-block", "reboot"]);
        self.rebooted(Duration::from_secs(60))
    }

    /// Waits for a reboot that something in the host has ordered, and boots again.
    pub fn rebooted(&mut self, timeout: Duration) -> Result<()> {
        self.ended(timeout)?;
        self.boot()
    }

    /// Waits for an end that something in the host has ordered.
    pub fn ended(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        let Some(boot) = self.boot.as_mut() else { return Ok(()) };
        loop {
            let over = match boot.nspawn.as_mut() {
                Some(nspawn) => nspawn.try_wait().context("looking after systemd-nspawn")?.is_some(),
                None => process::began(boot.leader).is_none(),
            };
            if over {
                break;
            }
            if Instant::now() > end {
                bail!("the host did not end within {timeout:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.boot = None;
        for parent in self.own_cgroups() {
            let group =
                parent.join(process::cgroup_name(&self.lab.shared.run.id)).join(self.number.to_string());
            process::remove_cgroup(&group);
        }
        Ok(())
    }

    /// Another host with the same files. It is not booted.
    pub fn copy(&self) -> Result<Host> {
        let mut host = Host::new(&self.lab, self.identity, &self.root)?;
        host.names.clone_from(&self.names);
        host.variant = self.variant;
        host.variants.clone_from(&self.variants);
        host.note(&format!("a copy of host {}", self.number));
        Ok(host)
    }

    // ---- commands

    /// Runs a command as root.
    pub fn run(&self, argv: &[&str]) -> Result<Output> {
        self.run_within(PATIENCE, argv)
    }

    /// The same, within a time.
    pub fn run_within(&self, timeout: Duration, argv: &[&str]) -> Result<Output> {
        self.start(argv, Stdio::null())?.wait(timeout)
    }

    /// Runs a shell's command line as root.
    pub fn sh(&self, line: &str) -> Result<Output> {
        self.run(&["sh", "-c", line])
    }

    /// Runs a command line in a new login session of a user.
    pub fn run_as_login(&self, user: &str, line: &str) -> Result<Output> {
        self.run(&["su", "-", user, "-c", line])
    }

    /// Starts a command as root, with a pipe on its standard input.
    pub fn spawn(&self, argv: &[&str]) -> Result<Running> {
        self.start(argv, Stdio::piped())
    }

    /// Starts a command on a terminal of its own, of 80 columns. `send(b"\x03")` is Ctrl-C.
    pub fn on_terminal(&self, line: &str) -> Result<Running> {
        let line = format!("stty cols 80 rows 24; exec {line}");
        self.start(&["script", "-q", "-e", "-c", &line, "/dev/null"], Stdio::piped())
    }

    fn start(&self, argv: &[&str], stdin: Stdio) -> Result<Running> {
        let n = self.commands.get();
        self.commands.set(n + 1);
        let enter = self.enter()?;
        let mut all: Vec<&str> = enter.iter().map(String::as_str).collect();
        let file = format!("/run/lab/{}-{n}.pid", std::process::id());
        let script = "mkdir -p /run/lab; echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; cd /root; exec \"$@\"";
        all.extend(["setsid", "sh", "-c", script, &file]);
        all.extend(argv);
        let mut command = sh::command(&all);
        command.env_clear().stdin(stdin).envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("USER", "root"),
            ("LOGNAME", "root"),
            ("SHELL", "/bin/bash"),
            ("LANG", "C.UTF-8"),
            ("TERM", "xterm"),
        ]);
        let pid_file = PathBuf::from(format!("/proc/{}/root{file}", self.leader()?));
        Running::start(command, argv.join(" "), pid_file, enter, self.log.clone())
    }

    // ---- files

    /// A path of the host as this machine reaches it.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        match &self.boot {
            Some(boot) => PathBuf::from(format!("/proc/{}/root{path}", boot.leader)),
            None => PathBuf::from(format!("{}{path}", self.root.display())),
        }
    }

    /// Writes a file of root's, and the directories above it.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        sh::write(&self.at(path), bytes)
    }

    pub fn read(&self, path: &str) -> Result<String> {
        sh::read(&self.at(path))
    }

    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>> {
        fs::read(self.at(path)).with_context(|| format!("reading the host's {path}"))
    }

    /// Whether there is something at a path, be it a link to nowhere.
    pub fn exists(&self, path: &str) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    /// Removes a file or a directory with all in it; it need not be there.
    pub fn remove(&self, path: &str) -> Result<()> {
        sh::run(&["rm", "-rf", "--one-file-system", &self.at(path).to_string_lossy()]).map(drop)
    }

    /// Copies a file of this machine into the host. Not by this process: a scenario beside this one may fork while the
    /// copy is open to write, and a program that is open to write cannot be run.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.at(to);
        fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))
            .context("making a directory in the host")?;
        sh::run(&["cp", "--preserve=mode", &from.to_string_lossy(), &to.to_string_lossy()]).map(drop)
    }

    pub fn mode(&self, path: &str) -> Result<u32> {
        let meta =
            self.at(path).symlink_metadata().with_context(|| format!("looking at the host's {path}"))?;
        Ok(meta.mode() & 0o7777)
    }

    /// Puts rprov at /usr/local/bin/rprov.
    pub fn with_rprov(&self, binary: &Path) -> Result<()> {
        self.copy_in(binary, "/usr/local/bin/rprov")
    }

    // ---- what scenarios change

    pub fn add_user(&self, name: &str) -> Result<()> {
        self.run(&["useradd", "--create-home", "--shell", "/bin/bash", name])?.ok().map(drop)
    }

    /// Asks another variant of the mirror from now on, by all of its names; also while the host runs.
    pub fn mirror(&mut self, variant: Variant) -> Result<()> {
        self.variant = variant;
        self.variants.clear();
        self.note(&format!("mirror: {}", variant.name()));
        self.point()
    }

    /// The same for one of the names, such as `nvidia.github.io`.
    pub fn mirror_of(&mut self, name: &'static str, variant: Variant) -> Result<()> {
        self.variants.insert(name, variant);
        self.note(&format!("mirror: {} for {name}", variant.name()));
        self.point()
    }

    /// Another name in /etc/hosts.
    pub fn name(&mut self, address: &str, name: &str) -> Result<()> {
        self.names.push((address.to_string(), name.to_string()));
        self.point()
    }

    fn point(&self) -> Result<()> {
        let of = |name: &str| self.variants.get(name).copied().unwrap_or(self.variant);
        self.write("/etc/hosts", lab::hosts_file(of, &self.names))
    }

    /// Makes one of the lab's keys the pinned one, as /etc/rprov/config.toml names it.
    pub fn pin(&self, key: Key) -> Result<()> {
        self.write("/etc/rprov/keys/lab.asc", self.lab.public(self.identity.key(key))?)
    }

    /// The same for another source: `nvidia` or `cuda`.
    pub fn pin_source(&self, source: &str, key: Key) -> Result<()> {
        let file = format!("/etc/rprov/keys/{source}.asc");
        self.write(&file, self.lab.public(key)?)?;
        let config = self.read("/etc/rprov/config.toml").unwrap_or_default();
        let section = format!("[source.{source}]\n");
        if config.contains(&section) {
            return Ok(());
        }
        self.write("/etc/rprov/config.toml", format!("{config}\n{section}key = \"{file}\"\n"))
    }

    /// No lists of the distribution, as on an image that never updated.
    pub fn no_lists(&self) -> Result<()> {
        self.sh_or_files("rm -rf var/lib/apt/lists/*_* var/cache/apt/*.bin var/cache/dnf/*")
    }

    /// Makes the lists look as old as this.
    pub fn lists_are_aged(&self, age: Duration) -> Result<()> {
        let seconds = age.as_secs();
        self.sh_or_files(&format!(
            "find {} -exec touch -h -d \"@$(($(date +%s) - {seconds}))\" {{}} +",
            if self.identity.dnf().is_some() { "var/cache/dnf" } else { "var/lib/apt/lists" }
        ))
    }

    fn sh_or_files(&self, script: &str) -> Result<()> {
        sh::run_in(&self.at("/"), &["sh", "-c", script]).map(drop)
    }

    // ---- what scenarios ask

    /// All requests that this host has made, a server after the other.
    pub fn requests(&self) -> Vec<Request> {
        server::requests(self.lab.dir(), &self.address())
    }

    /// The requests that came after those of an earlier answer.
    pub fn requests_since(&self, earlier: &[Request]) -> Vec<Request> {
        let mut rest = self.requests();
        for request in earlier {
            if let Some(place) = rest.iter().position(|other| other == request) {
                rest.remove(place);
            }
        }
        rest
    }

    /// The files on the root filesystem.
    pub fn tree(&self) -> Result<Tree> {
        Tree::of(&self.root)
    }

    /// Everything that an uninstall must bring back.
    pub fn state(&self) -> Result<State> {
        Ok(State {
            tree: self.tree()?,
            packages: self.packages()?,
            marks: self.marks()?,
            groups: self.groups()?,
            units: self.units()?,
        })
    }

    /// Packages by name: version and status, as their manager says it.
    pub fn packages(&self) -> Result<BTreeMap<String, String>> {
        packages::installed(self)
    }

    /// Packages marked manual and held.
    pub fn marks(&self) -> Result<BTreeMap<String, String>> {
        packages::marks(self)
    }

    /// Groups by name: their members.
    pub fn groups(&self) -> Result<BTreeMap<String, String>> {
        let text = self.read("/etc/group")?;
        let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        Ok(fields.filter(|f| f.len() == 4).map(|f| (f[0].to_string(), f[3].to_string())).collect())
    }

    /// Units by name: whether they are enabled, and whether they are active.
    pub fn units(&self) -> Result<BTreeMap<String, String>> {
        let files =
            self.run(&["systemctl", "list-unit-files", "--no-legend", "--plain", "--no-pager"])?.ok()?.stdout;
        let loaded = self
            .run(&["systemctl", "list-units", "--all", "--no-legend", "--plain", "--no-pager"])?
            .ok()?
            .stdout;
        let mut units = BTreeMap::new();
        for line in files.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(enabled)) = (words.next(), words.next()) {
                units.insert(name.to_string(), enabled.to_string());
            }
        }
        for line in loaded.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [name, _, active, ..] = words[..]
                && let Some(state) = units.get_mut(name)
            {
                *state = format!("{state} {active}");
            }
        }
        Ok(units)
    }

    /// What a unit has written to the journal, in this boot and the earlier ones.
    pub fn journal(&self, unit: &str) -> Result<String> {
        Ok(self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", unit])?.ok()?.stdout)
    }

    /// How often systemd has started a unit since the journal began.
    pub fn starts_of(&self, unit: &str) -> Result<usize> {
        let argv =
            ["journalctl", "--no-pager", "-o", "json", "-u", unit, "JOB_TYPE=start", "JOB_RESULT=done"];
        Ok(self.run(&argv)?.ok()?.stdout.lines().filter(|line| line.starts_with('{')).count())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if self.boot.is_some() {
            let _ = self.crash();
        }
        if let Some(dir) = self.root.parent()
            && let Err(error) = sh::remove_tree(dir)
        {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Makes a host's control group; a cpuset must be told its processors and memory first.
fn prepare_cgroup(parent: &Path, group: &Path) -> Result<()> {
    let own = group.parent().unwrap_or(group);
    let mut above = parent;
    for dir in [own, group] {
        fs::create_dir_all(dir).with_context(|| format!("making the control group {}", dir.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if dir.join("tasks").exists() && dir.join(file).exists() {
                let value = sh::read(&above.join(file))?;
                sh::write(&dir.join(file), value)?;
            }
        }
        above = dir;
    }
    if let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            for dir in [parent, own] {
                let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
    Ok(())
}
