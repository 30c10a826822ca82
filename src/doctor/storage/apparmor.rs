//! AppArmor, where it is on: the program that loads profiles, and docker's own profile.

use super::super::{Answer, Case, Finding, Fix};
use crate::error::{Error, Result};
use crate::facts::Virtualisation;

/// A container has its host's word for AppArmor, and mostly no profiles of its own.
fn asked(case: &Case) -> bool {
    case.facts.apparmor.enabled
        && case.engine()
        && !matches!(case.facts.virtualisation, Virtualisation::Container(_))
}

pub fn parser(case: &Case) -> Result<Answer> {
    if !asked(case) || case.facts.apparmor.parser {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("install it").types("sudo apt-get install apparmor");
    Ok(Finding::new(
        "AppArmor is on, and its parser is not installed: containers start without a profile, or not at all",
        fix,
    )
    .saw("/sys/module/apparmor/parameters/enabled is Y; no apparmor_parser")
    .into())
}

const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// The daemon loads it when it starts: without it something in /etc/apparmor.d has been in its way.
pub fn profile(case: &Case) -> Result<Answer> {
    if !asked(case) || !case.facts.apparmor.parser || !case.active("docker.service").unwrap_or(false) {
        return Ok(Answer::Fine);
    }
    if case.who.uid != 0 {
        return Err(Error::failed("this needs root"));
    }
    let Some(loaded) = case.text(PROFILES)? else { return Ok(Answer::Fine) };
    if loaded.lines().any(|line| line.starts_with("docker-default ")) {
        return Ok(Answer::Fine);
    }
    let fix = Fix::told("see which file the parser stumbles over, mend it, and restart docker")
        .types("apparmor_parser -Q /etc/apparmor.d/tunables/global")
        .types("systemctl restart docker.service");
    Ok(Finding::new(
        "docker's profile is not loaded: AppArmor's parser refuses it, and containers do not start",
        fix,
    )
    .saw(format!("{PROFILES} has no docker-default"))
    .into())
}
