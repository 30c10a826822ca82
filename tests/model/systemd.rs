//! systemd and dockerd as far as rprov meets them: units are files, enabled ones have a link, masked ones another.

use super::{Model, Output, failure};
use rprov::host::Look;
use std::path::Path;

const LINKS: &str = "/etc/systemd/system";

fn target(unit: &str) -> &'static str {
    if unit.ends_with(".socket") { "sockets.target.wants" } else { "multi-user.target.wants" }
}

impl Model {
    fn there(&self, path: &str) -> bool {
        self.exists(Path::new(path)).unwrap()
    }
    fn is_known(&self, unit: &str) -> bool {
        self.there(&format!("/usr/lib/systemd/system/{unit}"))
    }
    pub(super) fn is_masked(&self, unit: &str) -> bool {
        self.there(&format!("{LINKS}/{unit}"))
    }

    pub(super) fn unit_show(&self, unit: &str) -> Output {
        let enabled = self.there(&format!("{LINKS}/{}/{unit}", target(unit)));
        let (load, file) = match (self.is_masked(unit), self.is_known(unit)) {
            (true, _) => ("masked", "masked"),
            (false, true) => ("loaded", if enabled { "enabled" } else { "disabled" }),
            (false, false) => ("not-found", ""),
        };
        let active = match (self.state.borrow().active.contains(unit), self.failed.borrow().contains(unit)) {
            (true, _) => "active",
            (false, true) => "failed",
            (false, false) => "inactive",
        };
        let started = self.started.borrow().get(unit).copied().unwrap_or(0);
        let stdout = format!(
            "LoadState={load}\nUnitFileState={file}\nActiveState={active}\nActiveEnterTimestampMonotonic={started}\n"
        );
        Output { stdout, ..Output::default() }
    }

    pub(super) fn systemctl(&self, argv: &[&str]) -> Output {
        match argv {
            ["daemon-reload"] => Output::default(),
            ["reset-failed", unit] => {
                self.failed.borrow_mut().remove(*unit);
                Output::default()
            }
            ["unmask", unit] => {
                self.take_away(&format!("{LINKS}/{unit}"));
                Output::default()
            }
            ["mask", unit] => {
                self.put_link(&format!("{LINKS}/{unit}"), "/dev/null");
                Output::default()
            }
            [_, .., unit] if !self.is_known(unit) => failure(5, &format!("Unit {unit} not found.")),
            ["enable", unit] => {
                self.enable(unit);
                Output::default()
            }
            ["disable", unit] => {
                self.disable(unit);
                Output::default()
            }
            ["disable", "--now", unit] => {
                self.disable(unit);
                self.stop(unit);
                Output::default()
            }
            ["stop", unit] => {
                self.stop(unit);
                Output::default()
            }
            ["reload", _] => Output::default(),
            ["start" | "restart", unit] => self.start(unit),
            other => panic!("the model was not taught systemctl {other:?}"),
        }
    }

    pub(super) fn enable(&self, unit: &str) {
        let link = format!("{LINKS}/{}/{unit}", target(unit));
        self.put_link(&link, &format!("/usr/lib/systemd/system/{unit}"));
    }
    pub(super) fn disable(&self, unit: &str) {
        self.take_away(&format!("{LINKS}/{}/{unit}", target(unit)));
    }
    pub(super) fn stop(&self, unit: &str) {
        self.state.borrow_mut().active.remove(unit);
    }

    /// A daemon that starts makes its directories.
    pub(super) fn start(&self, unit: &str) -> Output {
        if self.is_masked(unit) {
            return failure(1, &format!("Unit {unit} is masked."));
        }
        match unit {
            "docker.service" => {
                if self.read(Path::new("/etc/docker/daemon.json")).unwrap().is_some_and(|b| self.refuses(&b))
                {
                    self.stop(unit);
                    self.failed.borrow_mut().insert(unit.to_owned());
                    return failure(1, "Job for docker.service failed.");
                }
                self.put("/var/lib/docker/engine-id", "an id");
            }
            "containerd.service" => {
                ["/opt/containerd/bin", "/opt/containerd/lib", "/var/lib/containerd"]
                    .iter()
                    .filter(|path| !self.there(path))
                    .for_each(|path| self.put_directory(path));
            }
            _ => {}
        }
        self.state.borrow_mut().active.insert(unit.to_owned());
        self.started.borrow_mut().insert(unit.to_owned(), rprov::clock::up_us());
        Output::default()
    }

    fn refuses(&self, config: &[u8]) -> bool {
        let text = String::from_utf8_lossy(config);
        self.dockerd_refuses.borrow().as_ref().is_some_and(|word| text.contains(word.as_str()))
    }

    pub(super) fn dockerd_version(&self) -> Output {
        if self.there("/usr/bin/dockerd") {
            return Output { stdout: "Docker version 29.7.2, build abc\n".into(), ..Output::default() };
        }
        Output { code: 127, stderr: "dockerd: not found".into(), ..Output::default() }
    }

    pub(super) fn dockerd_validate(&self, config: &[u8]) -> Output {
        if !self.there("/usr/bin/dockerd") {
            return Output { code: 127, stderr: "dockerd: not found".into(), ..Output::default() };
        }
        if self.refuses(config) {
            return Output {
                code: 1,
                stderr: "unable to configure the Docker daemon".into(),
                ..Output::default()
            };
        }
        Output { stderr: "configuration OK".into(), ..Output::default() }
    }
}
