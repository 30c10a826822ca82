//! The manual page: one page for all commands, from the same definition as their help.

use super::arguments::Cli;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

const DESCRIPTION: &[&str] = &[
    "`rprov` turns a fresh Linux machine into a working Docker host with one command, and back into what it was with \
     another. It shows what it would change, asks, writes down each change before it makes it, and proves in the end \
     that a container runs.",
    "A second `rprov install` makes no change. `rprov uninstall` takes back what the receipts say, and nothing that \
     somebody else changed since.",
];

/// Paths, and what is in them.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/rprov/config.toml",
        "What the administrator wants; the command line wins over it, it wins over the profile. Counts only if nobody but root can write it.",
    ),
    (
        "/etc/rprov/profiles/",
        "Profiles of the site, in the layout of `profiles/` in the source; a file replaces a shipped one of the same name.",
    ),
    (
        "/var/lib/rprov/receipts/",
        "One file a run that changed something, as JSON lines. What `rprov uninstall` and `rprov status` read. Gone after a complete uninstall.",
    ),
    ("/var/log/rprov/", "The whole output of every command that was run, the last 20 runs."),
    ("/run/rprov/lock", "Held while a run may change the host."),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done, nothing to do, or healthy."),
    ("1", "Something failed, or the host moved under the plan. The receipt says what was done."),
    (
        "2",
        "The command line, the configuration or a profile is wrong, a user is unknown, or a question could not be asked without a terminal. Nothing was changed.",
    ),
    (
        "3",
        "There is a difference: `rprov plan --exit-code` shows changes, `rprov status` shows drift. Nothing was changed.",
    ),
    (
        "4",
        "Refused: this host, a key that is not the pinned one, or content that is not what was signed. Nothing was changed.",
    ),
    (
        "5",
        "Nothing is wrong, try again: a lock is held, the network is away, a mirror is being updated. The next run goes on from there.",
    ),
    ("6", "Done, but a reboot is needed to finish."),
    ("130", "Interrupted by a signal; the receipt is whole, and the next run goes on from there."),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "RPROV_CONFIG",
        "The configuration that is read instead of `/etc/rprov/config.toml`, unless `--config` names one. Counts only if nobody but root can write it.",
    ),
    (
        "http_proxy, https_proxy, all_proxy, no_proxy",
        "Proxies, for what `rprov` fetches and for the commands that it runs; also in capitals. What apt or dnf is told in its own configuration goes before them.",
    ),
    ("NO_COLOR", "No colours, unless `--color always` asks for them."),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("rprov plan --user alice", "Show what would change; needs no root."),
    ("sudo rprov install --user alice", "Make this machine a Docker host that alice may use."),
    ("sudo rprov install --yes --version 29", "The newest 29, unattended."),
    ("sudo rprov uninstall", "Take it all back."),
];

/// The page in roff, for `man -l -`.
pub fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut roff = Roff::new();
    let version = concat!("rprov ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["RPROV", "8", "", version, "System Administration"]);
    roff.control("SH", ["NAME"]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("rprov - {}", about.replacen("Turns", "turns", 1)))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("rprov"), roman(" "), italic("COMMAND"), roman(" ["), italic("OPTION"), roman("]...")]);
    roff.control("SH", ["DESCRIPTION"]);
    for (number, paragraph) in DESCRIPTION.iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        roff.text(prose(paragraph));
    }
    roff.control("SH", ["COMMANDS"]);
    commands(&mut roff, &command, "rprov");
    roff.control("SH", ["OPTIONS OF EVERY COMMAND"]);
    command.get_arguments().filter(|arg| arg.is_global_set()).for_each(|arg| option(&mut roff, arg));
    for (title, table) in
        [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES), ("EXAMPLES", EXAMPLES)]
    {
        roff.control("SH", [title]);
        for (term, text) in table {
            item(&mut roff, vec![bold(*term)], text);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("docker"),
        roman("(1), "),
        bold("dockerd"),
        roman("(8), "),
        bold("systemctl"),
        roman("(1)"),
    ]);
    roff.to_roff()
}

/// A part for every command that can be run, with the words before it.
fn commands(roff: &mut Roff, above: &Command, words: &str) {
    for command in above.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        let name = format!("{words} {}", command.get_name());
        if command.has_subcommands() {
            commands(roff, command, &name);
            continue;
        }
        let values = command.get_positionals().map(|arg| format!(" {}", value(arg))).collect::<String>();
        roff.control("SS", [format!("{name}{values}").as_str()]);
        roff.text(prose(&sentence(command.get_about())));
        let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
        command.get_arguments().filter(own).for_each(|arg| option(roff, arg));
    }
}

fn option(roff: &mut Roff, arg: &Arg) {
    let mut term = Vec::new();
    if let Some(short) = arg.get_short() {
        term.extend([bold(format!("-{short}")), roman(", ")]);
    }
    if let Some(long) = arg.get_long() {
        term.push(bold(format!("--{long}")));
    }
    if arg.is_require_equals_set() {
        term.extend([roman("[="), italic(value(arg)), roman("]")]);
    } else if arg.get_action().takes_values() {
        let gap = if term.is_empty() { "" } else { " " };
        // `--gpu[=WHAT]`: what may be left out, and stands behind an equals sign where it is not.
        match arg.is_require_equals_set() {
            true => term.extend([roman("[="), italic(value(arg)), roman("]")]),
            false => term.extend([roman(gap), italic(value(arg))]),
        }
    }
    let mut text = sentence(arg.get_help());
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        text.push_str(&format!(" One of {}.", values.join(", ")));
    }
    item(roff, term, &text);
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Help texts end without a stop; in prose they have one.
fn sentence(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| format!("{}.", text.to_string().trim_end_matches('.'))).unwrap_or_default()
}

fn item(roff: &mut Roff, term: Vec<Inline>, text: &str) {
    roff.control("TP", []);
    roff.text(term);
    roff.text(prose(text));
}

/// What stands in backticks is bold.
fn prose(text: &str) -> Vec<Inline> {
    let part = |(number, part): (usize, &str)| if number % 2 == 1 { bold(part) } else { roman(part) };
    text.split('`').enumerate().filter(|(_, part)| !part.is_empty()).map(part).collect()
}
