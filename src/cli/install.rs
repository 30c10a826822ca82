//! `rprov install` and `rprov plan`: the same steps, looked at; the one makes them, the other shows them.

use super::arguments::{Changing, Configuration, End, Wanted};
use super::resume;
use super::run::{Run, lock};
use super::verify;
use crate::apply;
use crate::clock::now_us;
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::facts::{self, Facts};
use crate::host::Touch;
use crate::host::fetch::mask;
use crate::host::local::LocalHost;
use crate::host::{Look, Question};
use crate::lockfile::Lock;
use crate::plan::{self, Plan};
use crate::profile::gpu::Decided;
use crate::profile::{self, Config, Engine, Flags, Gpu, Library, Settings, preconditions};
use crate::receipt::{self, Entry, Past};
use crate::resources::AnyChange;
use crate::steps::Step;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub fn plan(run: &mut Run, wanted: &Wanted, exit_code: bool) -> Result<Exit> {
    let host = run.host(None);
    let (facts, settings, steps) = prepare(run, wanted, None, &host)?;
    let plan = plan::plan(&steps, &host)?;
    show(run, &plan);
    tell_of_a_stop(run, &plan, &facts);
    let stands =
        look_first(run, &plan, &steps, &settings, &facts, &host).and_then(|()| no_downgrade(&plan, wanted));
    if let Err(refused) = stands {
        let reasons = refused.reasons().iter().map(|reason| format!(": {reason}")).collect::<String>();
        run.tell(&Event::Note { text: format!("install would not do this: {}{reasons}", refused.what()) });
    }
    Ok(if exit_code && !plan.is_empty() { Exit::Difference } else { Exit::Done })
}

const IMAGE: &str = "systemd does not run here: nothing was started or tried; the engine starts when a machine of this image boots";

/// Makes this machine what is wanted of it.
pub fn install(run: &mut Run, wanted: &Wanted, changing: &Changing, end: End) -> Result<Exit> {
    let asking = run.host(None);
    super::may_change_files(&facts::gather(&asking)?)?;
    let (facts, settings, steps) = prepare(run, wanted, changing.wait, &asking)?;
    let host = run.host(Some(settings.wait));
    host.hear_signals()?;
    let _lock = lock(&host)?;
    let earlier = receipt::all(Path::new("/"))?;
    receipt::sweep(&earlier, &host)?;
    are_whole(&earlier, &host)?;
    let owed = receipt::owed(&earlier);
    let plan = patiently(&steps, &host)?;
    let gpu = settings.decide_gpu(&facts, wanted.upgrade)?;
    let reboots = gpu.as_ref().is_some_and(Decided::reboots);
    if plan.is_empty() && owed.is_empty() {
        if reboots {
            make(run, &plan, &earlier, &settings, reboots, &host)?;
            return resume::reboot(run, end.reboot, &host);
        }
        resume::disarm(&host)?;
        run.tell(&Event::Note { text: "nothing to do: this machine is as it should be".into() });
        return Ok(Exit::Done);
    }
    show(run, &plan);
    tell_of_a_stop(run, &plan, &facts);
    offer_the_user(run, &settings);
    look_first(run, &plan, &steps, &settings, &facts, &host)?;
    no_downgrade(&plan, wanted)?;
    if !run.may("Make these changes?", changing, &host)? {
        return Ok(Exit::Done);
    }
    make(run, &plan, &earlier, &settings, reboots, &host)?;
    if reboots {
        return resume::reboot(run, end.reboot, &host);
    }
    if facts.is_image() {
        run.tell(&Event::Note { text: IMAGE.into() });
        return Ok(Exit::Done);
    }
    if gpu.is_some() {
        crate::smoke::gpu::refresh(&host)?;
    }
    run.tell(&Event::Step { title: "the verification: doctor's checks".into(), number: 1, of: 1 });
    verify::after(run, &settings.users, &host)?;
    if !end.no_smoke {
        run.tell(&Event::Step { title: "the proof: a container".into(), number: 1, of: 1 });
        crate::smoke::smoke(&host)?;
        if settings.site.registry.is_some() {
            crate::smoke::registry(&host)?;
        }
        if gpu.is_some() {
            super::smoke::with_card(run, &host, None)?;
        }
    }
    resume::disarm(&host)?;
    tell_about_sessions(run, &plan);
    Ok(Exit::Done)
}

/// Facts, settings and steps: what every run of install and plan begins with.
fn prepare(
    run: &Run,
    wanted: &Wanted,
    wait: Option<Duration>,
    host: &LocalHost,
) -> Result<(Facts, Settings, Vec<Step>)> {
    let lock = wanted.locked.as_deref().map(|path| Lock::read(path, host)).transpose()?;
    let locked = lock.as_ref().map(Lock::channel);
    let flags = Flags {
        users: wanted.users.clone(),
        version: wanted.version.clone(),
        channel: wanted.channel.map(|channel| channel.name()).or(locked).map(str::to_owned),
        gpu: wanted.gpu,
        driver: wanted.driver.clone(),
        gpu_default_runtime: wanted.gpu_default_runtime,
        with: wanted.with.clone(),
        wait,
        mirror: wanted.mirror.clone(),
        registry_image: wanted.registry_image.as_deref().map(profile::from_here).transpose()?,
        hold: wanted.hold,
        engine: wanted.engine,
    };
    let (facts, mut settings) = settle(flags, &wanted.configuration, host)?;
    if run.verb == "install" && settings.wish.gpu != Gpu::Toolkit {
        super::systemd_runs(&facts)?;
    }
    lock.as_ref().map_or(Ok(()), |lock| lock.is_for(&facts))?;
    users_exist(&settings.users, host)?;
    settings.wants_toolkit(&facts)?;
    run.tell(&Event::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        verb: run.verb.into(),
        host: format!("{}, {}", settings.profile.title, facts.architecture),
    });
    tell_of_its_end(run, &settings);
    for text in settings.look_around(&facts, host)? {
        run.tell(&Event::Note { text });
    }
    tell_of_the_engines_proxy(run, &settings, &facts, host);
    // Who may not read the receipts plans as if nothing were held by us.
    settings.hold.ours = receipt::held(&receipt::all(Path::new("/")).unwrap_or_default());
    let mut steps = profile::steps(&settings, &facts, lock.as_ref(), wanted.upgrade)?;
    steps.extend(run.images.clone());
    Ok((facts, settings, steps))
}

/// The file that was named, by an option or in the environment, else the host's.
pub fn configuration(named: &Configuration, host: &dyn Look) -> Result<Config> {
    Config::load(host, named.config.as_deref(), configuration_of_the_environment().as_deref())
}

/// The file that the variable `RPROV_CONFIG` names.
pub fn configuration_of_the_environment() -> Option<PathBuf> {
    std::env::var_os("RPROV_CONFIG").map(PathBuf::from)
}

/// What this host is, and what is wanted of it: flags over configuration over profile.
pub fn settle(flags: Flags, named: &Configuration, host: &LocalHost) -> Result<(Facts, Settings)> {
    let facts = facts::gather(host)?;
    let library = Library::load(host)?;
    let config = configuration(named, host)?;
    let profile = match flags.engine.or(config.engine).unwrap_or_default() {
        Engine::Docker => profile::choose(&facts, &library)?,
        Engine::Distribution => profile::choose_own_engine(&facts, &library)?,
    };
    Ok((facts, Settings::merge(flags, config, profile, &library)?))
}

/// What a package manager calls installed may lack its files where the power went before they were on the disk.
fn are_whole(earlier: &[Past], host: &dyn Look) -> Result<()> {
    let cut_off = earlier.last().filter(|past| !past.finished());
    for (_, change) in cut_off.iter().flat_map(|past| past.changes()) {
        if let AnyChange::Packages(change) = change {
            change.resource.are_whole(host)?;
        }
    }
    Ok(())
}

/// Plans, and waits where only time is missing: a clock that is behind the index.
fn patiently(steps: &[Step], host: &LocalHost) -> Result<Plan> {
    loop {
        match plan::plan(steps, host) {
            Err(error) if error.waits_for.is_some() && !host.left().is_zero() => {
                host.pause(error.waits_for.unwrap_or_default())?;
            }
            planned => return planned,
        }
    }
}

fn make(
    run: &mut Run,
    plan: &Plan,
    earlier: &[Past],
    settings: &Settings,
    reboots: bool,
    host: &LocalHost,
) -> Result<()> {
    apply::fetch(plan, host)?;
    let mut receipt = run.begin_receipt(Some(&settings.profile.name))?;
    let applied =
        apply::apply(plan, &mut receipt, host).and_then(|_| apply::pay(earlier, &mut receipt, host));
    run.changes = receipt::read(receipt.path.clone())?.made();
    if applied.is_ok() {
        host.remove_all(Path::new(crate::resources::apt::ARCHIVES))?;
    }
    let applied = applied.and_then(|_| if reboots { resume::arm(host) } else { Ok(()) });
    let done = if reboots { Exit::Reboot } else { Exit::Done };
    let exit = applied.as_ref().map_or_else(|error| error.exit, |()| done);
    let left = if exit == Exit::Reboot { vec![LEFT.to_owned()] } else { Vec::new() };
    receipt.write(&Entry::Finished { exit: exit as i32, at_us: now_us(), left })?;
    applied
}

/// What a receipt says where a reboot comes first.
const LEFT: &str =
    "after a reboot: the driver in the kernel, the container toolkit, the engine and its configuration";

fn show(run: &Run, plan: &Plan) {
    if run.manner.json {
        run.tell(&Event::Plan { steps: plan.shown() });
    } else if plan.is_empty() {
        crate::ui::answer("nothing to change");
    } else {
        crate::ui::answer(&crate::ui::plan(&plan.shown(), run.manner));
    }
}

/// What has to be so before packages come: for this plan, and on any host with an engine.
fn look_first(
    run: &Run,
    plan: &Plan,
    steps: &[Step],
    settings: &Settings,
    facts: &Facts,
    host: &dyn Look,
) -> Result<()> {
    for text in preconditions::look(plan, settings, facts, host)? {
        run.tell(&Event::Note { text });
    }
    if plan.brings_packages().is_some() { verify::before(run, steps, facts, host) } else { Ok(()) }
}

/// An engine may not read the data that a newer one has written: nobody goes back by accident.
fn no_downgrade(plan: &Plan, wanted: &Wanted) -> Result<()> {
    let older = plan.downgrades();
    if older.is_empty() || wanted.allow_downgrade {
        return Ok(());
    }
    Err(Error::refused("cannot go to an older version without being told to")
        .because(older.join(", "))
        .hint(format!("rprov {} --allow-downgrade", super::typed().join(" "))))
}

/// Past its end a distribution gets no more fixes, and upstream stops building for it.
fn tell_of_its_end(run: &Run, settings: &Settings) {
    let end = settings.profile.end_of_life;
    if jiff::Zoned::now().date() > end {
        let text = format!("{} has had no security support of its own since {end}", settings.profile.title);
        run.tell(&Event::Note { text });
    }
}

/// The engine pulls by itself, and by no proxy that it was not told of.
fn tell_of_the_engines_proxy(run: &Run, settings: &Settings, facts: &Facts, host: &LocalHost) {
    if facts.engine || settings.daemon.asked.contains_key("proxies") {
        return;
    }
    if let Some(proxy) = host.proxy() {
        let text = format!(
            "packages come by the proxy `{}`; for the engine to pull by one, name it in `[daemon.proxies]`",
            mask(&proxy)
        );
        run.tell(&Event::Note { text });
    }
}

/// Other people's containers keep running where they can; where they cannot, it is said before.
fn tell_of_a_stop(run: &Run, plan: &Plan, facts: &Facts) {
    if facts.engine && plan.stops_the_engine() {
        let text = "the engine that runs now stops on the way, and its containers with it, unless `live-restore` is set";
        run.tell(&Event::Note { text: text.into() });
    }
}

/// Only users who are named get the group: it is as much as root, and root has no need of it.
fn users_exist(users: &[String], host: &dyn Look) -> Result<()> {
    for user in users {
        let cannot = || Error::usage(format!("cannot put `{user}` into the docker group"));
        if user == "root" {
            return Err(cannot().because("root may use docker anyway").hint("name the people who log in"));
        }
        let answer = host.query(&Question::Getent { database: "passwd", key: user.clone() })?;
        match answer.code {
            0 => {}
            2 => {
                return Err(cannot()
                    .because("there is no such user")
                    .hint(format!("useradd --create-home {user}")));
            }
            _ => return Err(cannot().because("the users cannot be looked up").tail(&answer.stderr)),
        }
    }
    Ok(())
}

/// Under sudo: whoever called may want to use docker without it. Offered, never done unasked.
fn offer_the_user(run: &Run, settings: &Settings) {
    let Ok(user) = std::env::var("SUDO_USER") else { return };
    if user != "root" && settings.users.is_empty() {
        let text =
            format!("`--user {user}` would let {user} use docker without sudo, which is as much as root");
        run.tell(&Event::Note { text });
    }
}

/// A session keeps the groups that it began with.
fn tell_about_sessions(run: &Run, plan: &Plan) {
    let joined: Vec<String> =
        plan.lines().into_iter().filter(|line| line.kind == "member").map(|line| line.name).collect();
    if !joined.is_empty() {
        let text = format!("{}: from the next login on", joined.join(", "));
        run.tell(&Event::Note { text });
    }
}
