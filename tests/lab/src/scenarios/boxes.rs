//! The script that real boxes run, on a host of the lab: so that it is right when somebody has a box.

use super::common::{LONG, host};
use crate::cargo;
use crate::identity::Identity;
use crate::lab::Lab;
use crate::scenario::Scenario;
use anyhow::{Result, ensure};
use std::path::Path;

pub const ALL: &[Scenario] = &[Scenario {
    name: "box-script",
    about: "vagrant/try does in a host of the lab what it is to do in a box, and reports it in one line",
    on: &[Identity::Debian13, Identity::Ubuntu2404],
    run: script,
}];

fn script(lab: &Lab, identity: Identity) -> Result<()> {
    let host = host(lab, identity)?;
    host.add_user("vagrant")?;
    host.copy_in(&cargo::rprov()?, "/tmp/rprov")?;
    host.copy_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vagrant/try"), "/tmp/try")?;
    let said = host.run_within(LONG, &["bash", "/tmp/try", "--inside"])?;
    let report = host.read("/tmp/report")?;
    let steps = ["plan ok", "install ok", "smoke ok", "again ok", "doctor ", "uninstall ok", "gone ok"];
    ensure!(report.lines().count() == steps.len(), "{report}\n{}", said.text());
    for (line, step) in report.lines().zip(steps) {
        ensure!(line.starts_with(step) && !line.contains("FAILED"), "{report}\n{}", said.text());
    }
    Ok(())
}
