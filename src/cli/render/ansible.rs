//! `rprov render ansible`: the options become those of a module, in a directory that `ansible-playbook` takes as it is.

use super::{CONFIGURATION, LOCK, lay_over, note};
use crate::cli::arguments::Rendered;
use crate::cli::run::Run;
use crate::error::{Error, OrFail, Result};
use crate::event::Event;
use crate::host::Look;
use crate::lockfile::Lock;
use crate::profile::{Config, from_here};
use crate::render::{self, File, INVENTORY, PLAYBOOK, Playbook};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use toml::Table;

pub fn write(run: &Run, rendered: &Rendered, output: &Path) -> Result<()> {
    let mut files = render::ansible(&playbook(rendered, &run.host(None))?, &note(true));
    let differs = |file: &File| fs::read(output.join(&file.path)).is_ok_and(|there| there != file.bytes);
    if files.iter().any(|file| file.path == Path::new(PLAYBOOK) && differs(file)) {
        return Err(Error::usage(format!("cannot write `{}`", output.join(PLAYBOOK).display()))
            .because("there is another one, which somebody may have edited")
            .hint("move it away, or name another directory with `-o`"));
    }
    let kept = |file: &File| file.path == Path::new(INVENTORY) && differs(file);
    if files.iter().any(kept) {
        run.tell(&Event::Note { text: format!("`{}` is kept as it is", output.join(INVENTORY).display()) });
    }
    files.retain(|file| !kept(file));
    for file in &files {
        keep(&output.join(&file.path), file)?;
    }
    let text = format!(
        "cd {} && ansible-playbook -i {INVENTORY} --check --diff {PLAYBOOK}",
        render::quoted(&output.display().to_string())
    );
    crate::ui::answer(&text);
    Ok(())
}

/// What the caller's configuration holds is the caller's alone.
fn keep(path: &Path, file: &File) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).or_fail(cannot)?;
    let mode = if file.path.starts_with("files") { 0o600 } else { 0o666 };
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(mode)).or_fail(cannot)?;
    fs::File::from(opened).write_all(&file.bytes).or_fail(cannot)
}

fn playbook(rendered: &Rendered, host: &dyn Look) -> Result<Playbook> {
    let wanted = &rendered.wanted;
    let mut table = Table::new();
    lay_over(&mut table, wanted, rendered.wait);
    let text = toml::to_string(&table).or_fail(|| "cannot write the options".into())?;
    Config::parse("the options", &text)?;
    let mut options: Map<String, Value> =
        table.into_iter().map(|(name, value)| (name.replace('-', "_"), json!(value))).collect();
    let given = [
        ("driver", wanted.driver.as_ref().map(|driver| json!(driver.to_string()))),
        ("registry_image", wanted.registry_image.as_ref().map(|path| json!(path))),
        ("upgrade", wanted.upgrade.then_some(json!(true))),
        ("allow_downgrade", wanted.allow_downgrade.then_some(json!(true))),
        ("smoke", rendered.end.no_smoke.then_some(json!(false))),
    ];
    options.extend(given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let mut files = Vec::new();
    // Below `files/` each lies as it will on the host.
    let below = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    let mut carry = |path: &Path, bytes: Vec<u8>| {
        files.push(File { path: below(path), bytes });
        json!(below(path))
    };
    if let Some(path) = &wanted.configuration.config {
        let config = Config::load(host, Some(path), None)?;
        let bytes = host.read(&from_here(path)?)?.unwrap_or_default();
        options.insert("config".into(), carry(Path::new(CONFIGURATION), bytes));
        let keys = config.source.into_values().filter_map(|source| source.key);
        let keys: Vec<Value> =
            keys.map(|key| json!({ "dest": key.file, "src": carry(&key.file, key.bytes) })).collect();
        if !keys.is_empty() {
            options.insert("keys".into(), keys.into());
        }
    }
    if let Some(path) = &wanted.locked {
        Lock::read(path, host)?;
        let bytes = host.read(&from_here(path)?)?.unwrap_or_default();
        options.insert("locked".into(), carry(Path::new(LOCK), bytes));
    }
    let binary = fs::read_link("/proc/self/exe").unwrap_or_else(|_| PathBuf::from("rprov"));
    Ok(Playbook { binary, options, files, reboots: rendered.end.reboot })
}
