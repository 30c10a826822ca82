//! Remembers what a run of the lab started, so that the next one can end it, and nothing else.

use crate::sh;
use anyhow::{Context, Result};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One run of the lab: a directory with its hosts, its processes and its lock.
pub struct Run {
    pub id: String,
    pub dir: PathBuf,
    _lock: File,
}

impl Run {
    /// Begins a run, and takes away what runs that were killed have left.
    pub fn begin(runs: &Path, id: &str) -> Result<Run> {
        fs::create_dir_all(runs).context("making the directory of runs")?;
        sweep_leftovers(runs)?;
        let dir = runs.join(id);
        fs::create_dir(&dir)
            .with_context(|| format!("making {}: is that run still there?", dir.display()))?;
        let lock = File::create(dir.join("lock")).context("making the run's lock")?;
        lock.lock().context("locking the run")?;
        Ok(Run { id: id.to_string(), dir, _lock: lock })
    }

    /// A run that stayed after its process, such as that of `up`.
    pub fn resume(runs: &Path, id: &str) -> Result<Run> {
        let dir = runs.join(id);
        let lock = File::open(dir.join("lock")).context("nothing is up")?;
        lock.try_lock().context("another lab works on it")?;
        Ok(Run { id: id.to_string(), dir, _lock: lock })
    }

    /// Leaves the run where it is when its process ends.
    pub fn keep(&self) -> Result<()> {
        sh::write(&self.dir.join("keep"), "")
    }

    /// Remembers a process, by its id and by when it began.
    pub fn record(&self, pid: u32) -> Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("pids"))
            .context("opening the run's list of processes")?;
        writeln!(file, "{pid} {}", began(pid).unwrap_or_default()).context("recording a process")
    }
}

/// Takes away what runs that were killed have left.
pub fn sweep_leftovers(runs: &Path) -> Result<()> {
    for entry in fs::read_dir(runs).context("listing the runs")? {
        let dir = entry?.path();
        let free = File::open(dir.join("lock")).is_ok_and(|file| file.try_lock().is_ok());
        let old = dir
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|t| t.elapsed().is_ok_and(|e| e.as_secs() > 5));
        if dir.join("keep").exists() || !(free || (old && !dir.join("lock").exists())) {
            continue;
        }
        println!("lab: taking away what a killed run left in {}", dir.display());
        sweep(&dir)?;
    }
    Ok(())
}

/// Ends everything that a run started, and removes what it made.
pub fn sweep(dir: &Path) -> Result<()> {
    let id = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pids = fs::read_to_string(dir.join("pids")).unwrap_or_default();
    let mut ended = Vec::new();
    for line in pids.lines().rev() {
        if let Some((pid, start)) = line.split_once(' ')
            && let Ok(pid) = pid.parse::<u32>()
            && began(pid).is_some_and(|now| now == start)
        {
            let _ = kill(pid, "KILL");
            ended.push(pid);
        }
    }
    for _ in 0..100 {
        if !ended.iter().any(|pid| began(*pid).is_some()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let netns = crate::net::name(&id);
    if Path::new("/run/netns").join(&netns).exists() {
        let _ = sh::run(&["ip", "netns", "delete", &netns]);
    }
    for parent in cgroups() {
        remove_cgroup(&parent.join(cgroup_name(&id)));
    }
    sh::remove_tree(dir)
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: &str) -> Result<()> {
    sh::run(&["kill", "-s", signal, &pid.to_string()]).map(drop)
}

/// When a process began, in the kernel's ticks; nothing where it has ended.
pub fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18).map(str::to_string)
}

/// The directories of this process's own control groups, a hierarchy each.
pub fn cgroups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let (point, kind, options) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
            let ours = if names.is_empty() {
                *kind == "cgroup2"
            } else {
                *kind == "cgroup" && names.split(',').all(|name| options.split(',').any(|o| o == name))
            };
            ours.then(|| PathBuf::from(point))
        });
        if let Some(mount) = mount {
            found.push(mount.join(path.trim_start_matches('/')));
        }
    }
    found
}

/// The lab's control group in each hierarchy.
pub fn cgroup_name(id: &str) -> String {
    format!("rprov-lab-{id}")
}

/// Removes a control group and those below it.
pub fn remove_cgroup(dir: &Path) {
    if let Ok(entries) = fs::read_dir(dir) {
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove_cgroup(&entry.path());
        }
        let _ = fs::remove_dir(dir);
    }
}
