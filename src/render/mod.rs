//! Writes an install down for machines that nobody sits at: as user-data of cloud-init, as a script, or for Ansible.

mod ansible;

pub use ansible::{INVENTORY, PLAYBOOK, Playbook, ansible};

use data_encoding::BASE64;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// An install, settled where it is written down, and run elsewhere.
#[derive(Clone, Debug)]
pub struct Unattended {
    pub program: Program,
    /// Configuration, keys and locks, where they have to be.
    pub files: Vec<File>,
    /// The arguments of rprov.
    pub arguments: Vec<String>,
    /// Whether it may reboot on the way.
    pub reboots: bool,
}

/// Where the machine gets rprov from.
#[derive(Clone, Debug)]
pub enum Program {
    /// Fetched, and held against its digest.
    At { url: String, sha256: String },
    /// Part of the user-data.
    Embedded(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct File {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Where the machine keeps rprov.
const PROGRAM: &str = "/usr/local/bin/rprov";
/// Where cloud-init puts the script that it runs.
const SCRIPT: &str = "/usr/local/libexec/rprov/unattended";
/// What cloud-init runs at every boot.
const EVERY_BOOT: &str = "/var/lib/cloud/scripts/per-boot/rprov";

/// A script for POSIX shells: fetches rprov, writes the files, and runs it until it has succeeded or must not try again.
///
/// It ends with rprov's exit code, and where rprov does not run, it writes the result that rprov would have written.
pub fn script(unattended: &Unattended, note: &str) -> String {
    let files: String = unattended.files.iter().map(written_by_shell).collect();
    pieces(unattended, note, &files)
}

/// User-data: `write_files`, and one command in `runcmd`. cloud-init fails where it fails, and reboots at its own end
/// where a driver needs that: a machine that goes down in the middle of cloud-init never tells how it ended. At the next
/// boot it is done when what was left is done.
///
/// Source: cloud-init's modules `write_files`, `runcmd`, `scripts_per_boot` and `power_state_change`.
pub fn cloud_init(unattended: &Unattended, note: &str) -> String {
    let mut files: Vec<Value> = unattended.files.iter().map(|file| written(file, "0600")).collect();
    if let Program::Embedded(bytes) = &unattended.program {
        files.push(json!({
            "path": PROGRAM, "owner": "root:root", "permissions": "0755",
            "encoding": "gz+b64", "content": BASE64.encode(&compressed(bytes)),
        }));
    }
    let script = File { path: SCRIPT.into(), bytes: pieces(unattended, "", "").into_bytes() };
    files.push(written(&script, "0755"));
    if unattended.reboots {
        let bytes = include_bytes!("../../templates/unattended/after-reboot.sh").to_vec();
        files.push(written(&File { path: EVERY_BOOT.into(), bytes }, "0755"));
    }
    // 6 is an install that goes on after the reboot. All commands are one script, which ends as its last one does: what
    // somebody puts behind this one must not hide its failure.
    let run = format!("{SCRIPT} || [ $? -eq 6 ] || exit 1");
    let keys =
        if unattended.reboots { "write_files, runcmd or power_state" } else { "write_files or runcmd" };
    let mut text =
        format!("#cloud-config\n{note}# A second {keys} would replace this one: add to it.\nwrite_files:\n");
    files.iter().for_each(|file| text.push_str(&item(file)));
    text.push_str(&format!("runcmd:\n  - {}\n", json!(run)));
    if unattended.reboots {
        let needed = "grep -qs '\"exit\":6' /run/rprov/result.json";
        text.push_str(&format!(
            "power_state:\n  mode: reboot\n  message: a GPU driver needs a reboot\n  condition: {}\n",
            json!(needed)
        ));
    }
    text
}

fn pieces(unattended: &Unattended, note: &str, files: &str) -> String {
    let head = filled(
        include_str!("../../templates/unattended/head.sh"),
        &[
            ("{version}", env!("CARGO_PKG_VERSION")),
            ("{architecture}", std::env::consts::ARCH),
            ("{note}", note),
        ],
    );
    let fetch = match &unattended.program {
        Program::At { url, sha256 } => filled(
            include_str!("../../templates/unattended/fetch.sh"),
            &[("{url}", &quoted(url)), ("{sha256}", sha256)],
        ),
        Program::Embedded(_) => String::new(),
    };
    let command: Vec<String> =
        std::iter::once(PROGRAM).chain(unattended.arguments.iter().map(String::as_str)).map(quoted).collect();
    let run = filled(include_str!("../../templates/unattended/run.sh"), &[("{command}", &command.join(" "))]);
    format!("{head}{fetch}{files}{run}")
}

/// A template with its names filled in, in one pass: what somebody gave may hold such names, and stays as it is.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    let next = |rest: &str| {
        values.iter().filter_map(|(name, value)| Some((rest.find(name)?, name.len(), *value))).min()
    };
    while let Some((at, length, value)) = next(rest) {
        text.push_str(&rest[..at]);
        text.push_str(value);
        rest = &rest[at + length..];
    }
    text + rest
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory does not fail.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// A word that a shell takes as it is.
pub fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The end of a file in a script: no line of a configuration or of a key reads so.
const END: &str = "RPROV-END-OF-FILE";

fn written_by_shell(file: &File) -> String {
    let path = quoted(&file.path.display().to_string());
    let parent = quoted(&file.path.parent().unwrap_or(&file.path).display().to_string());
    let or_fail = format!("|| fail 1 {}", quoted(&format!("cannot write {}", file.path.display())));
    let content = match text(&file.bytes) {
        Some(text) => format!("cat >{path} <<'{END}' {or_fail}\n{text}{END}"),
        None => format!("base64 -d >{path} <<'{END}' {or_fail}\n{}\n{END}", BASE64.encode(&file.bytes)),
    };
    format!("\nmkdir -p {parent}; umask 077\n{content}\numask 022\n")
}

/// What ends no line and hides nothing, for a shell and for a reader of YAML.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !"\u{2028}\u{2029}\u{feff}".contains(c)
}

/// Whole lines without anything that a shell's here-document or YAML's literal block would change.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = |c: char| c == '\n' || c == '\t' || is_plain(c);
    (text.ends_with('\n') && text.chars().all(plain) && !text.contains(END)).then_some(text)
}

/// A file as `write_files` wants it.
fn written(file: &File, mode: &str) -> Value {
    let mut value = json!({ "path": file.path, "owner": "root:root", "permissions": mode });
    match text(&file.bytes) {
        Some(text) => value["content"] = json!(text),
        None => {
            value["encoding"] = json!("b64");
            value["content"] = json!(BASE64.encode(&file.bytes));
        }
    }
    value
}

/// An empty line stays empty.
fn indent(line: &str) -> usize {
    if line.is_empty() { 0 } else { 6 }
}

/// An item of a list in YAML, its content as a block that people can read. Every other value is one line of JSON, which
/// is YAML.
fn item(value: &Value) -> String {
    let mut text = String::new();
    for (place, (key, value)) in value.as_object().into_iter().flatten().enumerate() {
        let front = if place == 0 { "  - " } else { "    " };
        match value.as_str().filter(|_| key == "content").and_then(|content| content.strip_suffix('\n')) {
            Some(lines) => {
                text.push_str(&format!("{front}{key}: |2+\n"));
                lines.split('\n').for_each(|line| text.push_str(&format!("{:1$}{line}\n", "", indent(line))));
            }
            None => text.push_str(&format!("{front}{key}: {value}\n")),
        }
    }
    text
}
