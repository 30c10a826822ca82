//! How fast rprov is beside an install by hand, on the same hosts, in one run: ratios, not seconds.

use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenarios::by_hand;
use crate::{Host, cargo};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Runs of each; the median counts.
const RUNS: usize = 3;

/// How often a short command runs, to be measured.
const OFTEN: u32 = 20;

/// What one round measured.
struct Round {
    by_hand: Duration,
    install: Duration,
    again: Duration,
    plan: Duration,
    smoke: Duration,
    doctor: Duration,
    doctor_as_user: Duration,
    memory: String,
    starts: usize,
}

pub fn bench(identity: Identity) -> Result<()> {
    let rprov = cargo::rprov()?;
    let lab = Lab::open()?;
    let mut rounds = Vec::new();
    for number in 1..=RUNS {
        println!("lab: round {number} of {RUNS} on {}", identity.name());
        rounds.push(round(&lab, identity, &rprov)?);
    }
    let median = |of: fn(&Round) -> Duration| {
        let mut times: Vec<Duration> = rounds.iter().map(of).collect();
        times.sort();
        times[times.len() / 2].as_secs_f64()
    };
    let floor = median(|r| r.by_hand);
    println!("\n{:<34} {:>8} {:>8}", "median of three", "seconds", "ratio");
    for (what, seconds) in [
        ("by hand: one update, one install", floor),
        ("rprov install --no-smoke", median(|r| r.install)),
        ("rprov install again", median(|r| r.again)),
        ("rprov plan on a fresh host", median(|r| r.plan)),
        ("rprov smoke", median(|r| r.smoke)),
        ("rprov doctor, as root", median(|r| r.doctor)),
        ("rprov doctor, as a user", median(|r| r.doctor_as_user)),
    ] {
        println!("{what:<34} {seconds:>8.3} {:>8.2}", seconds / floor);
    }
    let memory: Vec<&str> = rounds.iter().map(|r| r.memory.as_str()).collect();
    println!("peak memory of install: {}", memory.join(", "));
    println!(
        "starts of dockerd: {}",
        rounds.iter().map(|r| r.starts.to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

fn round(lab: &Lab, identity: Identity, rprov: &std::path::Path) -> Result<Round> {
    let hand = Host::booted(lab, identity)?;
    let began = Instant::now();
    by_hand::source(&hand)?;
    by_hand::install(&hand)?;
    let by_hand = began.elapsed();
    drop(hand);

    let host = Host::booted(lab, identity)?;
    host.with_rprov(rprov)?;
    let timed = |argv: &[&str]| -> Result<(Duration, String)> {
        let began = Instant::now();
        let output = host.run_within(Duration::from_secs(300), argv)?;
        let took = began.elapsed();
        Ok((took, output.ok()?.stderr))
    };
    let (plan, _) = timed(&["rprov", "plan"])?;
    let (install, told) = timed(&["rprov", "install", "--yes", "--no-smoke", "-v"])?;
    let memory =
        told.lines().find_map(|line| line.split_once("peak memory ")).context("no peak memory was told")?;
    let (again, _) = timed(&["rprov", "install", "--yes"])?;
    let (smoke, _) = timed(&["rprov", "smoke"])?;
    let starts = host.starts_of("docker.service")?;
    host.add_user("alice")?;
    host.run(&["gpasswd", "-a", "alice", "docker"])?.ok()?;
    // By itself, without the way into the host.
    let often = format!("for i in $(seq {OFTEN}); do rprov doctor -q || exit 1; done");
    let (doctor, _) = timed(&["sh", "-c", &often])?;
    let (doctor_as_user, _) = timed(&["su", "alice", "-c", &often])?;
    let (doctor, doctor_as_user) = (doctor / OFTEN, doctor_as_user / OFTEN);
    let memory = memory.1.to_owned();
    Ok(Round { by_hand, install, again, plan, smoke, doctor, doctor_as_user, memory, starts })
}
