//! Runs this machine's own programs, and says well what went wrong with them.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command to its end; its standard output, or an error with the end of what it said.
pub fn run(argv: &[&str]) -> Result<String> {
    finish(command(argv), argv, None)
}

/// The same, in a directory.
pub fn run_in(dir: &Path, argv: &[&str]) -> Result<String> {
    let mut command = command(argv);
    command.current_dir(dir);
    finish(command, argv, None)
}

/// The same, with something on standard input.
pub fn pipe(argv: &[&str], input: &[u8]) -> Result<String> {
    finish(command(argv), argv, Some(input))
}

/// A command without this machine's locale, and with its standard input closed.
pub fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null());
    command
}

fn finish(mut command: Command, argv: &[&str], input: Option<&[u8]>) -> Result<String> {
    let said = || argv.join(" ");
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting `{}`", said()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input).with_context(|| format!("writing to `{}`", said()))?;
    }
    let out = child.wait_with_output().with_context(|| format!("waiting for `{}`", said()))?;
    if !out.status.success() {
        let mut text = String::from_utf8_lossy(&out.stderr).into_owned();
        if text.trim().is_empty() {
            text = String::from_utf8_lossy(&out.stdout).into_owned();
        }
        bail!("`{}` ended with {}: {}", said(), out.status, tail(&text, 12));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Whether this machine has a program.
pub fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// Installs from the distribution what the lab needs and this machine lacks.
pub fn tools() -> Result<()> {
    const NEEDED: &[(&str, &str)] = &[
        ("systemd-nspawn", "systemd-container"),
        ("debootstrap", "debootstrap"),
        ("nginx", "nginx-light"),
        ("gpg", "gnupg"),
        ("apt-ftparchive", "apt-utils"),
        ("dpkg-deb", "dpkg"),
        ("ar", "binutils"),
        ("ip", "iproute2"),
        ("openssl", "openssl"),
        ("zstd", "zstd"),
        ("bzip2", "bzip2"),
        ("nsenter", "util-linux"),
        ("rpmbuild", "rpm"),
        ("createrepo_c", "createrepo-c"),
        // For `cargo test`, which asks it only where it is there.
        ("shellcheck", "shellcheck"),
    ];
    let missing: Vec<&str> = NEEDED.iter().filter(|(p, _)| !has(p)).map(|(_, package)| *package).collect();
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let missing: Vec<&str> = missing
        .into_iter()
        .chain((!Path::new(keyring).exists()).then_some("debian-archive-keyring"))
        .collect();
    install(&missing)
}

/// Installs packages of the distribution on this machine, without starting what they bring.
pub fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    println!("lab: installing {}", missing.join(" "));
    // nginx's package starts a server of its own; policy-rc.d is the distribution's way to say no.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        fs::write(policy, "#!/bin/sh\nexit 101\n").context("writing policy-rc.d")?;
        run(&["chmod", "755", "/usr/sbin/policy-rc.d"])?;
    }
    let mut argv = vec!["apt-get", "install", "-y", "--no-install-recommends"];
    argv.extend(missing);
    let done = run(&["apt-get", "update"]).and_then(|_| run(&argv));
    if ours {
        fs::remove_file(policy).context("removing policy-rc.d")?;
    }
    done.map(drop)
}

/// Removes a directory whatever is mounted below it, without following it into other file systems.
pub fn remove_tree(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let prefix = format!("{}/", path.display());
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading mountinfo")?;
    for point in mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)) {
        if point.starts_with(&prefix) {
            run(&["umount", "-l", point])?;
        }
    }
    run(&["rm", "-rf", "--one-file-system", &path.to_string_lossy()]).map(drop)
}

/// Writes a file and the directories above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Reads a file as text.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}
