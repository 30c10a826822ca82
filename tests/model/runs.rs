//! Whole runs over the model, as the commands make them: facts, profile, steps, plan, apply, and back.

use super::{Model, fixture, mirror_key};
use rprov::clock::now_us;
use rprov::error::{Exit, Result};
use rprov::facts::Facts;
use rprov::plan::{Plan, plan};
use rprov::profile::{self, Config, Flags, Key, Library, Settings, Source, SourceName};
use rprov::receipt::{self, Entry, Past, Receipt};
use rprov::resources::How;
use rprov::steps::Step;
use rprov::undo::{self, Undone};
use rprov::{apply, host::Look};
use std::path::Path;

/// What our own state is called on the model.
const STATE: &str = "/var/lib/rprov";

/// The runs on one host, with their receipts in a directory of this machine.
pub struct Runs<'a> {
    pub host: &'a Model,
    pub facts: Facts,
    pub flags: Flags,
    pub config: Config,
    root: tempfile::TempDir,
}

impl<'a> Runs<'a> {
    /// With the facts of the golden files, and the key of the fixtures' mirror.
    pub fn on(host: &'a Model) -> Runs<'a> {
        let facts = fixture(format!("golden/{}/facts.json", host.release.name));
        let key = Key { file: "/etc/rprov/keys/mirror.asc".into(), bytes: mirror_key() };
        let source = Source { url: None, key: Some(key) };
        Runs {
            host,
            facts: serde_json::from_slice(&facts).unwrap(),
            flags: Flags::default(),
            config: Config { source: [(SourceName::Docker, source)].into(), ..Config::default() },
            // Receipts are synced: where there is a place in memory, nobody waits for a disk.
            root: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
        }
    }

    pub fn users(mut self, users: &[&str]) -> Self {
        self.flags.users = users.iter().map(|user| (*user).to_owned()).collect();
        self
    }

    pub fn version(mut self, version: &str) -> Self {
        self.flags.version = Some(version.to_owned());
        self
    }

    pub fn steps(&self, upgrade: bool) -> Vec<Step> {
        let library = Library::shipped().unwrap();
        let mut facts = self.facts.clone();
        facts.engine = self.host.exists(Path::new("/usr/bin/dockerd")).unwrap();
        let profile = profile::choose(&facts, &library).unwrap();
        let mut settings =
            Settings::merge(self.flags.clone(), self.config.clone(), profile, &library).unwrap();
        settings.look_around(&facts, self.host).unwrap();
        settings.hold.ours = receipt::held(&self.receipts());
        profile::steps(&settings, &facts, None, upgrade).unwrap()
    }

    pub fn plan(&self) -> Result<Plan> {
        plan(&self.steps(false), self.host)
    }

    /// As `rprov install` does it.
    pub fn install(&self) -> Result<()> {
        self.make(&self.steps(false))
    }

    /// The same, with steps behind the others.
    pub fn install_and(&self, more: Vec<Step>) -> Result<()> {
        self.make(&[self.steps(false), more].concat())
    }

    /// As `rprov install --upgrade` does it.
    pub fn upgrade(&self) -> Result<()> {
        self.make(&self.steps(true))
    }

    fn make(&self, steps: &[Step]) -> Result<()> {
        let plan = plan(steps, self.host)?;
        let earlier = self.receipts();
        apply::fetch(&plan, self.host)?;
        let mut receipt = self.begin("install");
        let applied = apply::apply(&plan, &mut receipt, self.host)
            .and_then(|_| apply::pay(&earlier, &mut receipt, self.host));
        let exit = applied.as_ref().map_or_else(|error| error.exit, |_| Exit::Done);
        receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left: Vec::new() })?;
        applied.map(|_| ())
    }

    /// As `rprov uninstall` does it; after a complete one our own state is gone.
    pub fn uninstall(&self, how: How) -> Result<Undone> {
        let receipts = self.receipts();
        let undone = undo_all(self.host, &receipts, &mut self.begin("uninstall"), how)?;
        if undone.left == 0 {
            receipt::forget(self.root.path())?;
        }
        Ok(undone)
    }

    pub fn receipts(&self) -> Vec<Past> {
        let all = receipt::all(self.root.path()).unwrap();
        all.into_iter().filter(|past| past.verb == "install").collect()
    }

    /// The receipts are as they were, after an uninstall took them away.
    pub fn put_back(&self, receipts: &[Past]) {
        receipt::forget(self.root.path()).unwrap();
        for past in receipts {
            std::fs::create_dir_all(past.path.parent().unwrap()).unwrap();
            let lines = past.entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n");
            std::fs::write(&past.path, lines.collect::<String>()).unwrap();
        }
    }

    pub fn begin(&self, verb: &str) -> Receipt {
        if !self.host.exists(Path::new(STATE)).unwrap() {
            self.host.put_directory(STATE);
        }
        let header = Entry::Header {
            format: 1,
            rprov: env!("CARGO_PKG_VERSION").into(),
            verb: verb.into(),
            at_us: now_us(),
            profile: Some(self.host.release.name.into()),
            arguments: vec![verb.into(), "--yes".into()],
        };
        Receipt::begin(self.root.path(), verb, header).unwrap()
    }
}

/// Undo, and what a complete one takes with it.
pub fn undo_all(host: &Model, receipts: &[Past], receipt: &mut Receipt, how: How) -> Result<Undone> {
    let undone = undo::undo(receipts, receipt, host, how)?;
    if undone.left == 0 {
        receipt::OURS.iter().for_each(|path| host.take_away(&format!("/{path}")));
    }
    Ok(undone)
}
