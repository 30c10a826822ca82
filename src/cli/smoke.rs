//! `rprov smoke`: proves the engine that is there, and with `--gpu` that containers get the card.

use super::arguments::Changing;
use super::run::Run;
use crate::error::{Error, Exit, Result};
use crate::event::Event;
use crate::facts;
use crate::host::Touch;
use crate::profile::gpu::{image_tag, words};

pub fn smoke(run: &mut Run, changing: &Changing, gpu: bool, pull: Option<&str>) -> Result<Exit> {
    let host = run.host(changing.wait);
    let facts = facts::gather(&host)?;
    super::may_change(&facts)?;
    host.hear_signals()?;
    crate::smoke::smoke(&host)?;
    if gpu {
        if facts.gpu.is_none() {
            return Err(Error::failed("cannot prove the card").because("there is none of NVIDIA's here"));
        }
        with_card(run, &host, pull)?;
    }
    Ok(Exit::Done)
}

/// Proves the card where its driver works; where it cannot yet, that is told.
pub fn with_card(run: &Run, host: &dyn Touch, pull: Option<&str>) -> Result<()> {
    let Some(gpu) = facts::gather(host)?.gpu else {
        run.tell(&Event::Note {
            text: "there is no card here: containers get one on a machine that has it".into(),
        });
        return Ok(());
    };
    run.tell(&Event::Check { id: "smoke-gpu".into(), ok: gpu.works(), text: words(&gpu) });
    if !gpu.works() {
        run.tell(&Event::Note { text: "without a driver that works no container gets the card".into() });
        return Ok(());
    }
    crate::smoke::gpu::smoke(host, pull)?;
    let driver = gpu.library.as_deref().or(gpu.module.as_ref().map(|module| module.version.as_str()));
    if let Some(tag) = driver.and_then(|driver| image_tag(driver, &gpu.cards)) {
        run.tell(&Event::Note { text: format!("the newest image of CUDA that this driver runs: {tag}") });
    }
    Ok(())
}
