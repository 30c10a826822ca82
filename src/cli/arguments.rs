//! The command line: what can be typed, and its help.

use crate::profile::Gpu;
use crate::profile::gpu::Choice;
use crate::ui::{Color, Manner};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;

/// Turns this machine into a working Docker host, and back.
#[derive(Debug, Parser)]
#[command(
    name = "rprov",
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 there is a difference, 4 refused, 5 try again,
6 reboot needed, 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub told: Told,
}

/// How it is told.
#[derive(Clone, Debug, Args)]
pub struct Told {
    /// Tell more: the commands that are run, what is as it was
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Tell errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Write events as JSON lines to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

impl Told {
    pub fn manner(&self) -> Manner {
        Manner { json: self.json, quiet: self.quiet, verbose: self.verbose, color: self.color }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make this machine a Docker host
    Install {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        changing: Changing,
        #[command(flatten)]
        end: End,
    },
    /// Show what install would change
    Plan {
        #[command(flatten)]
        wanted: Wanted,
        /// Exit with 3 if there is something to change
        #[arg(long)]
        exit_code: bool,
    },
    /// Write the exact state of this host's packages and sources, for `install --locked`
    Lock {
        /// Where to write it; standard output without
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Tell whether what was installed is still as it was made
    Status,
    /// Say what is wrong with this Docker host, why, and mend it
    Doctor {
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        changing: Changing,
    },
    /// Take back what install changed
    Uninstall {
        /// Show what would be taken back, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Take back also what others changed since
        #[arg(long)]
        force: bool,
        /// Remove images, containers and volumes too
        #[arg(long)]
        purge_data: bool,
        #[command(flatten)]
        changing: Changing,
    },
    /// Prove the engine with a container, without a registry
    Smoke {
        /// Also with the card of this machine
        #[arg(long)]
        gpu: bool,
        /// Also with this image, which the engine pulls
        #[arg(long, value_name = "IMAGE", requires = "gpu")]
        pull: Option<String>,
        #[command(flatten)]
        changing: Changing,
    },
    /// Show what rprov knows of this machine
    Facts,
    /// The profiles: what each distribution needs
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
    /// Write an install down for machines that start unattended
    Render {
        #[command(subcommand)]
        command: RenderCommand,
    },
    /// Everything that an install needs of the network, in one file
    Bundle {
        #[command(subcommand)]
        command: BundleCommand,
    },
    /// Print completions for a shell
    Completions {
        /// The shell that they are for
        shell: Shell,
    },
    /// Print the manual page: `rprov man | man -l -`
    Man,
    /// What the smoke test runs in its container
    #[command(hide = true)]
    Inside {
        nonce: String,
        /// Tell of cards
        #[arg(long)]
        gpu: bool,
    },
    /// What runs after a reboot
    #[command(hide = true)]
    Resume,
}

#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the distributions
    List,
    /// Show a profile, with what it inherits
    Show {
        /// As `rprov profile list` shows it
        name: String,
    },
    /// Check a profile file
    Check {
        /// A profile of your own, see profiles/README.md
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum RenderCommand {
    /// User-data for cloud-init
    CloudInit {
        #[command(flatten)]
        rendered: Rendered,
        #[command(flatten)]
        source: ProgramSource,
        /// Put rprov itself into the user-data, for NoCloud: most clouds take 16 to 256 KiB
        #[arg(long, conflicts_with = "url")]
        embed: bool,
    },
    /// A script for POSIX shells
    Script {
        #[command(flatten)]
        rendered: Rendered,
        #[command(flatten)]
        source: ProgramSource,
    },
    /// A collection for Ansible, with a playbook and an example of an inventory
    Ansible {
        #[command(flatten)]
        rendered: Rendered,
        /// The directory where it is written
        #[arg(short, long, value_name = "DIR", default_value = "rprov-ansible")]
        output: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Make one, on a machine with a network
    Create {
        #[command(flatten)]
        fetched: Fetched,
    },
    /// Check every signature and digest of one, from the pinned keys down, without a network
    Verify {
        /// What `rprov bundle create` wrote
        file: PathBuf,
        #[command(flatten)]
        configuration: Configuration,
    },
    /// Show what install from one would change, without a network
    Plan {
        /// What `rprov bundle create` wrote
        file: PathBuf,
        #[command(flatten)]
        wanted: Wanted,
        /// Exit with 3 if there is something to change
        #[arg(long)]
        exit_code: bool,
    },
    /// Make this machine a Docker host from one, without a network
    Install {
        /// What `rprov bundle create` wrote
        file: PathBuf,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        changing: Changing,
        #[command(flatten)]
        end: End,
    },
}

impl BundleCommand {
    /// What a run of it does, by the name that the log and the receipt have.
    pub fn verb(&self) -> &'static str {
        match self {
            BundleCommand::Create { .. } | BundleCommand::Verify { .. } => "bundle",
            BundleCommand::Plan { .. } => "plan",
            BundleCommand::Install { .. } => "install",
        }
    }
}

/// What a bundle is made of.
#[derive(Clone, Debug, Args)]
pub struct Fetched {
    /// The hosts that it is for, as `rprov profile list` names them: ubuntu-24.04
    #[arg(long = "for", value_name = "PROFILE")]
    pub target: String,
    /// Their architecture: amd64, arm64 [default: that of this machine]
    #[arg(long = "arch", value_name = "ARCH")]
    pub architecture: Option<String>,
    /// The engine's version, or the front of one: 29, 28.5
    #[arg(long = "version", value_name = "V", id = "engine_version")]
    pub version: Option<String>,
    /// Which releases to take
    #[arg(long, value_enum)]
    pub channel: Option<Channel>,
    /// Also NVIDIA's container toolkit
    #[arg(long)]
    pub gpu: bool,
    /// With --gpu: NVIDIA's driver too, by its branch (580), its modules (open, proprietary) or both (580-open)
    #[arg(long, value_name = "DRIVER", requires_all = ["gpu", "kernel"])]
    pub driver: Option<Choice>,
    /// With --driver: the kernel of these hosts, as `uname -r` says it there; its headers come along
    #[arg(long, value_name = "RELEASE", requires = "driver", value_parser = kernel)]
    pub kernel: Option<String>,
    /// More than the engine, by name: rootless-extras, model
    #[arg(long = "with", value_name = "NAME", value_delimiter = ',')]
    pub with: Vec<String>,
    /// A mirror of Docker's packages, by name; what it serves is still Docker's by signature
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(crate::profile::mirrors()))]
    pub mirror: Option<String>,
    /// Also these images: an archive of `docker save`; may be repeated
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub configuration: Configuration,
}

/// It becomes a part of package names.
fn kernel(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".+~_-".contains(&byte);
    match text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected a kernel's release such as `6.8.0-31-generic`, found `{text}`")),
    }
}

/// An install as it is to be run elsewhere: with the options of `install`.
#[derive(Clone, Debug, Args)]
pub struct Rendered {
    #[command(flatten)]
    pub wanted: Wanted,
    #[command(flatten)]
    pub end: End,
    /// How long to wait for locks and for the clock: 90s, 10m, 1h [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = crate::profile::wait)]
    pub wait: Option<std::time::Duration>,
}

/// How an install ends.
#[derive(Clone, Copy, Debug, Args)]
pub struct End {
    /// Do not prove the engine with a container
    #[arg(long)]
    pub no_smoke: bool,
    /// Reboot where that is needed; the rest follows by itself
    #[arg(long)]
    pub reboot: bool,
}

/// How the machine gets the program.
#[derive(Clone, Debug, Args)]
pub struct ProgramSource {
    /// Where the machine fetches this very rprov from [default: this version's release]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// What is wanted of the host; flags win over the configuration, which wins over the profile.
#[derive(Clone, Debug, Args)]
pub struct Wanted {
    /// Put this user into the docker group, which is as much as root; may be repeated
    #[arg(long = "user", value_name = "NAME")]
    pub users: Vec<String>,
    /// The engine's version, or the front of one: 29, 28.5, 5:28.5.1-1~ubuntu.24.04~noble
    #[arg(long = "version", value_name = "V", id = "engine_version")]
    pub version: Option<String>,
    /// Which releases to take
    #[arg(long, value_enum)]
    pub channel: Option<Channel>,
    /// What a card of NVIDIA's needs: on, which wants a card, auto, toolkit or off
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub gpu: Option<Gpu>,
    /// The card's driver: a branch (580), its modules (open, proprietary), both (580-open), the distribution's own
    /// (distribution), or none
    #[arg(long, value_name = "DRIVER")]
    pub driver: Option<Choice>,
    /// Run every container under NVIDIA's runtime, asked for or not
    #[arg(long)]
    pub gpu_default_runtime: bool,
    /// More than the engine, by name: rootless-extras, model, registry
    #[arg(long = "with", value_name = "NAME", value_delimiter = ',')]
    pub with: Vec<String>,
    /// A mirror of Docker's packages, by name; what it serves is still Docker's by signature
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(crate::profile::mirrors()))]
    pub mirror: Option<String>,
    /// The image for `--with registry`: an archive of `docker save`
    #[arg(long, value_name = "FILE")]
    pub registry_image: Option<PathBuf>,
    /// Install exactly what a lock file says
    #[arg(long, value_name = "FILE")]
    pub locked: Option<PathBuf>,
    /// Go to the newest version within --version
    #[arg(long, conflicts_with = "locked")]
    pub upgrade: bool,
    /// Go to an older version than the one that is installed, where that is asked for
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Whose engine: docker, or distribution for its own packages, where upstream builds none
    #[arg(long, value_enum, value_name = "WHOSE", hide_possible_values = true, conflicts_with_all = ["upgrade", "locked"])]
    pub engine: Option<crate::profile::Engine>,
    /// Hold the engine's packages at their version: no upgrade of the host moves them, --upgrade does
    #[arg(long)]
    pub hold: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

/// What doctor is asked.
#[derive(Clone, Debug, Args)]
pub struct Asked {
    /// Look with this user's eyes; needs root
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Where the docker command goes, as its own option has it: unix:///run/docker.sock
    #[arg(short = 'H', long, value_name = "ADDRESS", conflicts_with = "context")]
    pub host: Option<String>,
    /// The context that the docker command takes, as its own option has it
    #[arg(short, long, value_name = "NAME")]
    pub context: Option<String>,
    /// Only these checks
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub only: Vec<String>,
    /// List the checks
    #[arg(long)]
    pub list: bool,
    /// Say what an error text means; `-` reads it from standard input
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["only", "user", "fix", "undo"])]
    pub explain: Option<String>,
    /// Mend: what is safe at once, the rest after a question, which `all` with --yes answers
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "ask", require_equals = true, value_name = "WHAT")]
    pub fix: Option<Mending>,
    /// Take back what --fix has made
    #[arg(long, conflicts_with = "fix")]
    pub undo: bool,
    /// How bad a finding has to be to end with 3
    #[arg(long, value_enum, default_value_t = Threshold::Degraded, value_name = "SEVERITY")]
    pub fail_on: Threshold,
    /// Also write the report as one page that can be handed on
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Leave names and addresses in that page
    #[arg(long, requires = "html")]
    pub with_names: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mending {
    Ask,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Threshold {
    Block,
    Degraded,
    Warn,
    Info,
}

#[derive(Clone, Debug, Args)]
pub struct Configuration {
    /// Read this configuration instead of /etc/rprov/config.toml
    #[arg(long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    Stable,
    Test,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Channel::Stable => "stable",
            Channel::Test => "test",
        }
    }
}

/// For every command that changes something.
#[derive(Clone, Debug, Args)]
pub struct Changing {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// How long to wait for locks and for the clock: 90s, 10m, 1h [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = crate::profile::wait)]
    pub wait: Option<std::time::Duration>,
}
