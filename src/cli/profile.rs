//! `rprov profile`: the profiles, listed, shown whole, or one file checked.

use super::arguments::ProfileCommand;
use super::run::Run;
use crate::error::{Error, Exit, OrFail, Result};
use crate::host::Look;
use crate::profile::{Library, Origin};
use crate::ui;

pub fn profile(run: &mut Run, command: &ProfileCommand) -> Result<Exit> {
    let host = run.host(None);
    match command {
        ProfileCommand::List => list(run, &Library::load(&host)?)?,
        ProfileCommand::Show { name } => show(run, name, &Library::load(&host)?)?,
        ProfileCommand::Check { file } => {
            let path = std::path::absolute(file).or_fail(|| format!("cannot find `{}`", file.display()))?;
            let cannot = |why| Error::usage(format!("cannot read `{}`", file.display())).because(why);
            if path.is_dir() {
                return Err(cannot("it is a directory"));
            }
            let text = host.read_text(&path)?.ok_or_else(|| cannot("there is no such file"))?;
            let library = Library::load(&host)?;
            let derivative = path.parent().is_some_and(|above| above.ends_with("derivatives"));
            let right = if derivative {
                library.check_derivative(&path, &text)?
            } else {
                library.check(&path, &text)?.title
            };
            ui::answer(&format!("{} is right: {right}", file.display()));
        }
    }
    Ok(Exit::Done)
}

fn list(run: &Run, library: &Library) -> Result<()> {
    if run.manner.json {
        let all: Vec<_> = library.list().map(|listed| &listed.profile).collect();
        ui::answer(&serde_json::to_string_pretty(&all).or_fail(|| "cannot list the profiles".into())?);
        return Ok(());
    }
    for listed in library.list() {
        let profile = &listed.profile;
        let origin = match &listed.origin {
            Origin::Shipped => String::new(),
            Origin::Site(path) => format!("  ({})", path.display()),
        };
        let architectures = profile.matches.architectures.join(" ");
        ui::answer(&format!(
            "{:<14} {:<36} {architectures:<20} until {}{origin}",
            profile.name, profile.title, profile.end_of_life
        ));
        for (name, release) in library.based_on(profile) {
            let end = release.end_of_life.unwrap_or(profile.end_of_life);
            let name = name.unwrap_or_default();
            ui::answer(&format!("{name:<14}   {:<34} {:<20} until {end}", release.title, ""));
        }
    }
    Ok(())
}

fn show(run: &Run, name: &str, library: &Library) -> Result<()> {
    let cannot = || format!("cannot show the profile `{name}`");
    let profile = &library.target(name)?;
    let text = if run.manner.json {
        serde_json::to_string_pretty(profile).or_fail(cannot)?
    } else {
        toml::to_string_pretty(profile).or_fail(cannot)?
    };
    ui::answer(&text);
    Ok(())
}
