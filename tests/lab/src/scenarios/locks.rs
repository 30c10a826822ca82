//! A lock of one host makes the same packages on others, or nothing.

use super::common::{engine_works, leaves_all_alone};
use super::product::{host, install, rprov};
use crate::identity::Identity;
use crate::lab::Lab;
use crate::mirror::Variant;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};

pub const ALL: &[Scenario] = &[Scenario {
    name: "lock-on-three",
    about: "one host's lock gives three others, fresh, with an older and with a newer engine, the same packages in the same \
            versions; one that names a version that is gone is refused before anything is touched",
    on: &[Identity::Rocky9, Identity::Ubuntu2404],
    run: on_three,
}];

const LOCK: &str = "/run/lock.toml";

fn on_three(lab: &Lab, identity: Identity) -> Result<()> {
    let first = host(lab, identity)?;
    install(&first, &["--no-smoke"])?;
    let lock = rprov(&first, &["lock"])?.ok()?.stdout;
    let locked = first.packages()?;
    drop(first);
    // What each of the others has before: nothing, an older engine, a newer one.
    for (variant, version) in
        [(Variant::Good, None), (Variant::Good, Some("28")), (Variant::Newer, Some("29.10"))]
    {
        let mut other = host(lab, identity)?;
        other.note(&format!("on a host with {}", version.unwrap_or("nothing")));
        other.mirror(variant)?;
        other.write(LOCK, lock.clone())?;
        if let Some(version) = version {
            install(&other, &["--version", version, "--no-smoke"])?;
        } else {
            let gone = lock.replace("29.7.2", "29.7.99");
            ensure!(gone != lock, "the lock names no engine:\n{lock}");
            other.write("/run/gone.toml", gone)?;
            let argv = ["rprov", "install", "--yes", "--locked", "/run/gone.toml"];
            leaves_all_alone(&other, &argv, 4, &["29.7.99", "the newest there is", "hint:"])?;
        }
        install(&other, &["--locked", LOCK, "--allow-downgrade", "--no-smoke"])?;
        ensure!(
            other.packages()? == locked,
            "the lock brought other packages:\n{:?}\n{locked:?}",
            other.packages()?
        );
        other.run(&["systemctl", "reset-failed", "docker.service", "docker.socket"])?.ok()?;
        other.run(&["systemctl", "restart", "docker.service"])?.ok()?;
        engine_works(&other)?;
    }
    Ok(())
}
