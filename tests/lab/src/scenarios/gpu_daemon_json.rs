//! `--gpu` and the daemon.json files that people have: the right merge or the right refusal, and never a lost byte.

use super::by_hand;
use super::common::leaves_all_alone;
use super::gpu::{self, DAEMON, NVIDIA_RUNTIME};
use super::product::{install, says, uninstall};
use crate::Host;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub const ALL: &[Scenario] = &[Scenario {
    name: "gpu-daemon-json",
    about: "the runtime is merged into odd files as dockerd reads them, and what dockerd would not read is refused",
    // Of the lab's engines the older one, 20.10, does not start with an empty file.
    on: &[Identity::Ubuntu2404, Identity::Debian13],
    run: merges,
}];

const GPU: &[&str] = &["--gpu=toolkit", "--no-smoke"];

/// Files that dockerd starts with, and what has to be in them still.
const MERGED: &[(&str, &[&str])] = &[
    (
        "{\n\t\"features\": {\"buildkit\": true},\r\n\"runtimes\":{ \"kata\" : {\"path\":\"/usr/bin/kata\"} } }",
        &["\t\"features\": {\"buildkit\": true", "\"kata\" : {\"path\":\"/usr/bin/kata\"}"],
    ),
    ("null", &[]),
    ("", &[]),
    (" \n\t\n", &[]),
    ("{\"runtimes\":null}", &[]),
    ("{\"runtimes\" : null , \"labels\":[\"a=1\"]}", &["\"labels\":[\"a=1\"]"]),
    // Beyond what a double holds.
    (
        "{\"shutdown-timeout\": 9007199254740993, \"labels\": [\"n=1e400\"]}",
        &["\"shutdown-timeout\": 9007199254740993", "\"n=1e400\""],
    ),
    (
        "{\"builder\":{\"gc\":{\"enabled\":true,\"policy\":[{\"keepStorage\":\"9GB\",\"filter\":[\"unused-for=2200h\"]}]}}}",
        &[
            "{\"gc\":{\"enabled\":true,\"policy\":[{\"keepStorage\":\"9GB\",\"filter\":[\"unused-for=2200h\"]}]}}",
        ],
    ),
    // Of twins the last counts.
    (
        "{\"debug\":true,\"debug\":false,\"runtimes\":{},\"runtimes\":{\"kata\":{\"path\":\"/k\"}}}",
        &["\"debug\":true,\"debug\":false", "\"kata\":{\"path\":\"/k\"}"],
    ),
    (
        "{\"runtimes\":{\"nvidia\":{\"path\":\"/opt/mine/nvidia-container-runtime\"}}}",
        &["{\"nvidia\":{\"path\":\"/opt/mine/nvidia-container-runtime\"}}"],
    ),
];

/// Files that dockerd does not start with, and what is said of them.
const REFUSED: &[(&str, &str)] = &[
    ("[]", "daemon.json"),
    ("[{\"runtimes\":{}}]", "daemon.json"),
    ("{\"debug\":true} x", "line 1"),
    ("{\"debug\":true}\n{\"runtimes\":{}}", "line 2"),
    ("{\"runtimes\":[]}", "runtimes"),
    ("{\"runtimes\":\"nvidia\"}", "runtimes"),
    ("{\"runtimes\":{\"nvidia\":7}}", "runtimes"),
    ("{\"runtimes\":{},}", "line 1"),
    ("{\"runtimes\":", "line 1"),
    ("\u{201c}{\u{201d}", "line 1"),
];

fn merges(lab: &Lab, identity: Identity) -> Result<()> {
    let host = gpu::fresh(lab, identity)?;
    by_hand::source(&host)?;
    by_hand::install(&host)?;
    host.remove(DAEMON)?;
    says(&install(&host, GPU)?, &["nvidia-container-toolkit"])?;
    for (bytes, kept) in MERGED {
        round(&host, bytes, kept).with_context(|| format!("with {bytes:?}"))?;
    }
    let deep = format!("{}{}", "{\"runtimes\":".repeat(30_000), "}".repeat(30_000));
    let refused = REFUSED.iter().map(|(bytes, word)| (*bytes, *word));
    for (bytes, word) in refused.chain([(deep.as_str(), "daemon.json")]) {
        host.write(DAEMON, bytes)?;
        let argv = [&["rprov", "install", "--yes"], GPU].concat();
        leaves_all_alone(&host, &argv, 4, &[word]).with_context(|| format!("with {:.80?}", bytes))?;
    }
    // The way back is from a whole file, to none.
    host.write(DAEMON, "{\"labels\": [\"theirs=1\"]}")?;
    install(&host, GPU)?;
    uninstall(&host, &[])?;
    ensure!(host.read(DAEMON)?.contains("theirs=1"), "{}", host.read(DAEMON)?);
    ensure!(!host.read(DAEMON)?.contains("nvidia"), "{}", host.read(DAEMON)?);
    Ok(())
}

fn round(host: &Host, bytes: &str, kept: &[&str]) -> Result<()> {
    host.write(DAEMON, bytes)?;
    host.run(&["systemctl", "reset-failed", "docker.service"])?;
    host.run(&["systemctl", "restart", "docker"])?.ok()?;
    host.run(&["systemctl", "reset-failed", "docker.service"])?;
    let mode = host.mode(DAEMON)?;
    install(host, GPU)?;
    let text = host.read(DAEMON)?;
    for part in kept {
        ensure!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let json: Value = serde_json::from_str(&text)?;
    let path = json["runtimes"]["nvidia"]["path"].as_str().unwrap_or_default();
    ensure!(path.ends_with(NVIDIA_RUNTIME), "the runtime is not in {text:?}");
    ensure!(host.mode(DAEMON)? == mode, "its mode has changed");
    let runtimes = ["docker", "info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"];
    let known = host.run(&runtimes)?.ok()?.stdout;
    ensure!(known.contains("nvidia"), "the engine knows {known} of {text:?}");
    says(&install(host, GPU)?, &["nothing to do"])
}
