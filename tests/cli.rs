//! The real binary as a user meets it: standard output, standard error and exit code, as snapshots that people can
//! read. `SNAPSHOTS=overwrite cargo test --test cli` writes them anew. Nothing here may act: what could change the
//! machine is run as nobody.

#![allow(clippy::unwrap_used)]

use rprov::facts::Facts;
use rprov::profile::{Library, choose};
use serde_json::Value;
use snapbox::Data;
use snapbox::data::DataFormat;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RPROV: &str = env!("CARGO_BIN_EXE_rprov");

/// Runs it with an empty environment, so that no proxy, configuration or colour of the caller counts.
fn run<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(RPROV).args(arguments).env_clear().output().unwrap()
}

/// Runs it as nobody, whoever runs the tests: it may look and must be refused whatever changes something.
fn run_as_nobody<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    if !rustix::process::geteuid().is_root() {
        return run(arguments);
    }
    // Nobody may be unable to reach the directory of the build.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("rprov");
    // Not by this process: a test beside this one may fork while the copy is open to write, and then nobody can run it.
    assert!(Command::new("cp").arg(RPROV).arg(&copy).status().unwrap().success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The command line and what came of it, as the file of this name shows it. `hidden` are words that differ by machine.
fn is_snapshot(name: &str, arguments: &[&str], output: &Output, hidden: &[(&str, &str)]) {
    let mut text = format!("{}\n", [&["$ rprov"], arguments].concat().join(" "));
    for (title, stream) in [("stdout", stdout(output)), ("stderr", stderr(output))] {
        if !stream.is_empty() {
            text.push_str(&format!("-- {title}\n{stream}"));
        }
    }
    text.push_str(&format!("-- exit {}\n", output.status.code().unwrap()));
    let hidden = hidden.iter().chain(&[(env!("CARGO_PKG_VERSION"), "VERSION")]);
    let text = hidden.fold(text, |text, (word, name)| text.replace(word, name));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(format!("{name}.txt"));
    snapbox::assert_data_eq!(text, Data::read_from(&path, Some(DataFormat::Text)).raw());
}

/// What `rprov facts` says of this machine, and whether a profile is for it.
fn this_machine() -> (Facts, bool) {
    let facts: Facts = serde_json::from_slice(&run(&["facts"]).stdout).unwrap();
    let supported = choose(&facts, &Library::shipped().unwrap()).is_ok();
    (facts, supported)
}

/// A file with this text, gone when the test ends; its path is as long on every machine, for lines are broken at it.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

const COMMANDS: [&[&str]; 22] = [
    &["install"],
    &["plan"],
    &["lock"],
    &["status"],
    &["doctor"],
    &["uninstall"],
    &["smoke"],
    &["facts"],
    &["profile"],
    &["profile", "list"],
    &["profile", "show"],
    &["profile", "check"],
    &["render"],
    &["render", "cloud-init"],
    &["render", "script"],
    &["bundle"],
    &["bundle", "create"],
    &["bundle", "verify"],
    &["bundle", "install"],
    &["render", "ansible"],
    &["completions"],
    &["man"],
];

#[test]
fn help_of_every_command() {
    is_snapshot("help", &["--help"], &run(&["--help"]), &[]);
    for command in COMMANDS {
        let arguments = [command, &["--help"]].concat();
        is_snapshot(&format!("help-{}", command.join("-")), &arguments, &run(&arguments), &[]);
    }
}

#[test]
fn help_fits_on_a_small_terminal_and_names_every_command() {
    let help = stdout(&run(&["--help"]));
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {} ", command[0])), "{command:?}");
    }
    for command in COMMANDS {
        let help = stdout(&run(&[command, &["--help"]].concat()));
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
}

/// The digest of the program under test, as it stands in what is rendered.
fn own_digest() -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(std::fs::read(RPROV).unwrap());
    data_encoding::HEXLOWER.encode(&digest)
}

#[test]
fn what_is_rendered_can_be_read() {
    let (_directory, config) = file("config.toml", "users = [\"bob\"]\n\n[daemon]\nlog-driver = \"local\"\n");
    let config = config.display().to_string();
    let hidden =
        [(config.as_str(), "CONFIG"), (&own_digest(), "DIGEST"), (std::env::consts::ARCH, "ARCHITECTURE")];
    let named: &[&str] = &["--user", "alice", "--user", "o'brien", "--wait", "5m"];
    let elsewhere: &[&str] = &["--config", &config, "--version", "29", "--url", "https://example.com/rprov"];
    let card: &[&str] = &["--gpu", "--reboot", "--url", "https://example.com/rprov"];
    for (name, what, more) in
        [("cloud-init", "cloud-init", named), ("card", "cloud-init", card), ("script", "script", elsewhere)]
    {
        let arguments = [&["render", what], more].concat();
        is_snapshot(&format!("render-{name}"), &arguments, &run(&arguments), &hidden);
    }
}

#[test]
fn the_script_is_one_for_every_posix_shell_and_short() {
    let script = stdout(&run(&["render", "script"]));
    assert!(script.lines().count() < 60, "{script}");
    let mut shell = Command::new("sh").arg("-n").stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{script}");
}

#[test]
fn shellcheck_has_nothing_to_say_of_the_script() {
    let (_directory, config) = file("config.toml", "users = [\"o'brien\"]\n\n[daemon]\ndebug = true");
    let config = config.display().to_string();
    let variants: [&[&str]; 4] = [
        &[],
        &["--url", "https://example.com/o'brien {sha256}?a=b&c=d"],
        &["--config", &config, "--no-smoke", "--upgrade", "--driver=580-open"],
        &["--gpu", "--reboot", "--user", "o'brien"],
    ];
    for variant in variants {
        let script = stdout(&run(&[&["render", "script"], variant].concat()));
        let mut command = Command::new("shellcheck");
        command.args(["--shell=sh", "-"]).stdin(std::process::Stdio::piped());
        let Ok(mut shellcheck) = command.spawn() else {
            eprintln!("there is no shellcheck here");
            return;
        };
        std::io::Write::write_all(&mut shellcheck.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(shellcheck.wait().unwrap().success(), "{variant:?}\n{script}");
    }
}

#[test]
fn what_somebody_gave_comes_out_as_it_is() {
    let names = "{tries} {note} {sha256} {url} {command} {options} {binary} {architecture} {version}";
    let (_directory, config) = file("config.toml", &format!("[daemon]\ndata-root = \"/srv/{names}\"\n"));
    let config = config.display().to_string();
    let url = format!("https://example.com/{names}");
    let kept = format!("data-root = \"/srv/{names}\"\n");
    for what in ["script", "cloud-init"] {
        let text = stdout(&run(&["render", what, "--config", &config, "--url", &url]));
        assert!(text.contains(&kept), "{text}");
        assert!(text.contains(&format!("url='{url}'\n")), "{text}");
    }
}

/// In a comment each would end the line, for a shell or for a reader of YAML, and what follows would count.
#[test]
fn what_ends_a_line_is_not_rendered() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    for what in ["script", "cloud-init", "ansible"] {
        for end in [&b"\n"[..], b"\r", b"\x1b", b"\xc2\x85", b"\xe2\x80\xa8"] {
            let url = [b"https://example.com/", end, b"runcmd: [x]"].concat();
            let whole = [b"--config=/srv/", end].concat();
            let given: [(&str, Vec<&[u8]>); 2] =
                [("--user", vec![b"--user", &url]), ("--config", vec![&whole])];
            for (option, words) in given {
                let mut command = Command::new(RPROV);
                command.args(["render", what]).args(words.iter().map(|word| OsStr::from_bytes(word)));
                let output = command.env_clear().current_dir(directory.path()).output().unwrap();
                assert_eq!(output.status.code(), Some(2), "{what} {words:?} {}", stderr(&output));
                assert_eq!(stdout(&output), "", "{words:?}");
                assert!(stderr(&output).contains(option), "{}", stderr(&output));
            }
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_carried_is_not_rendered() {
    let (_directory, unreadable) = file("config.toml", "users = 1\n");
    let unreadable = unreadable.display().to_string();
    let table: [(&[&str], &str); 4] = [
        (&["--registry-image", "/srv/image.tar"], "no room"),
        (&["--locked", "/nowhere/rprov.lock"], "no such file"),
        (&["--config", &unreadable], "1:9"),
        (&["--url", "ftp://example.com/rprov"], "no address of the web"),
    ];
    for (arguments, word) in table {
        let output = run(&[&["render", "script"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

#[test]
fn the_version_is_told() {
    for option in ["--version", "-V"] {
        is_snapshot(&format!("version{option}"), &[option], &run(&[option]), &[]);
    }
}

#[test]
fn what_is_typed_wrongly_is_exit_2_with_what_was_meant() {
    let table: [(&str, &[&str]); 11] = [
        ("no-command", &[]),
        ("unknown-command", &["instal"]),
        ("unknown-option", &["install", "--usr", "alice"]),
        ("upgrade-and-locked", &["install", "--upgrade", "--locked", "x.lock"]),
        ("quiet-and-verbose", &["plan", "-q", "-v"]),
        ("unknown-channel", &["plan", "--channel", "nightly"]),
        ("wait-that-is-no-duration", &["install", "--wait", "soon"]),
        ("unknown-shell", &["completions", "tcsh"]),
        ("profile-without-a-name", &["profile", "show"]),
        ("unknown-profile", &["profile", "show", "ubuntu-24.40"]),
        ("profile-file-that-is-not-there", &["profile", "check", "/nowhere/mine.toml"]),
    ];
    for (name, arguments) in table {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}: the answer is no place for mistakes");
        is_snapshot(&format!("wrong-{name}"), arguments, &output, &[]);
    }
}

#[test]
fn facts_have_this_shape_on_every_machine() {
    let output = run(&["facts"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&str> = facts.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "distribution",
        "architecture",
        "kernel",
        "init",
        "first_process",
        "virtualisation",
        "cgroup",
        "apparmor",
        "selinux",
        "root",
        "engine",
        "snap_docker",
        "certificates",
        "clock",
    ];
    assert_eq!(keys[..expected.len()], expected, "fields are only ever added");
    assert_eq!(stdout(&run(&["facts", "--json"])), stdout(&output), "one form for people and for programs");
}

#[test]
fn profiles_are_listed_and_shown_and_what_is_shown_is_a_profile() {
    is_snapshot("profile-list", &["profile", "list"], &run(&["profile", "list"]), &[]);
    let show = ["profile", "show", "debian-12"];
    is_snapshot("profile-show", &show, &run(&show), &[]);
    for listed in Library::shipped().unwrap().list() {
        let name = &listed.profile.name;
        let (_directory, path) = file("mine.toml", &stdout(&run(&["profile", "show", name])));
        let output = run(&["profile", "check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    }
    for arguments in [&["profile", "list", "--json"][..], &["profile", "show", "debian-12", "--json"]] {
        serde_json::from_slice::<Value>(&run(arguments).stdout).unwrap();
    }
}

#[test]
fn a_profile_is_checked_and_a_mistake_has_its_place() {
    let right = "extends = \"apt\"\ntitle = \"Mine\"\nend_of_life = \"2030-01-01\"\n\n[matches]\nid = \"mine\"\n\
                 version = \"1\"\narchitectures = [\"amd64\"]\n\n[repository.apt]\npath = \"linux/debian\"\nsuite = \"bookworm\"\n";
    let table = [
        ("right", right.to_owned()),
        ("unknown-field", right.replace("title", "titel")),
        ("unknown-family", right.replace("\"apt\"", "\"atp\"")),
        ("wrong-type", right.replace("\"1\"", "1")),
        ("no-date", right.replace("2030-01-01", "soon")),
        ("no-toml", right.replace("title = ", "title ")),
        ("short-fingerprint", format!("{right}[repository.apt.key]\nfingerprint = \"0EBFCD88\"\n")),
    ];
    for (name, text) in table {
        let (directory, path) = file("mine.toml", &text);
        let output = run(&["profile", "check", path.to_str().unwrap()]);
        let hidden = [(directory.path().to_str().unwrap(), "/etc/rprov/profiles")];
        let arguments = ["profile", "check", "/etc/rprov/profiles/mine.toml"];
        is_snapshot(&format!("check-{name}"), &arguments, &output, &hidden);
        assert_eq!(output.status.code(), Some(if name == "right" { 0 } else { 2 }), "{name}");
    }
}

#[test]
fn a_derivatives_file_is_checked_as_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("derivatives/mine.toml");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    for (base, code, said) in [("debian-13", 0, "is right: mine"), ("debian-31", 2, "no profile `debian-31`")]
    {
        std::fs::write(&path, format!("id = \"mine\"\nbase = \"{base}\"\n")).unwrap();
        let output = run(&["profile", "check", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!([stdout(&output), stderr(&output)].concat().contains(said), "{}", stderr(&output));
    }
}

#[test]
fn who_is_not_root_is_refused_before_anything_is_done() {
    for arguments in [
        &["install", "--yes"][..],
        &["install", "--yes", "--json"],
        &["uninstall", "--yes"],
        &["uninstall", "--dry-run"],
        &["smoke", "--yes"],
    ] {
        let output = run_as_nobody(arguments);
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {}", stderr(&output));
        if arguments.contains(&"--json") {
            assert_eq!(stderr(&output), "");
        } else {
            is_snapshot(&format!("not-root-{}", arguments.join("")), arguments, &output, &[]);
        }
    }
}

#[test]
fn a_json_stream_of_a_run_that_fails_ends_with_the_error_and_the_exit_code() {
    let (_directory, config) = file("config.toml", "users = [\n");
    let table: [(&[&str], Output); 2] = [
        (&["install"], run_as_nobody(&["install", "--yes", "--json"])),
        (&["plan"], run_as_nobody(&["plan", "--json", "--config", config.to_str().unwrap()])),
    ];
    for (command, output) in table {
        assert_eq!(stderr(&output), "", "{command:?}: the stream says it all");
        let text = stdout(&output);
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [.., error, finished] = &events[..] else { panic!("{text}") };
        assert_eq!(error["event"], "error", "{text}");
        assert!(error["what"].as_str().unwrap().starts_with("cannot "), "{text}");
        assert!(error["because"].is_array() && error["output"].is_array(), "{text}");
        assert_eq!(finished["event"], "finished", "{text}");
        assert_eq!(finished["exit"], output.status.code().unwrap(), "{text}");
    }
}

/// The text of a configuration, and what `rprov plan` says to it on a machine that a profile is for.
#[test]
fn a_wrong_configuration_is_exit_2_with_its_place() {
    let table = [
        ("unknown-field", "user = [\"alice\"]\n"),
        ("wrong-type", "version = 29\n"),
        ("no-address", "[source.docker]\nurl = \"mirror.example\"\n"),
        ("no-key", "[source.docker]\nkey = \"/nowhere/mirror.asc\"\n"),
        ("unknown-software", "with = [\"rootles-extras\"]\n"),
        ("unknown-channel", "channel = \"nightly\"\n"),
        ("unknown-user", "users = [\"nobody-of-this-name\"]\n"),
        ("root", "users = [\"root\"]\n"),
    ];
    let (_, supported) = this_machine();
    for (name, text) in table {
        let (directory, path) = file("config.toml", text);
        let output = run(&["plan", "--config", path.to_str().unwrap()]);
        if !supported {
            assert_eq!(output.status.code(), Some(4), "{name}");
            continue;
        }
        let hidden = [(directory.path().to_str().unwrap(), "/etc/rprov")];
        is_snapshot(
            &format!("config-{name}"),
            &["plan", "--config", "/etc/rprov/config.toml"],
            &output,
            &hidden,
        );
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{name}");
    }
}

#[test]
fn what_is_named_and_not_there_is_exit_2() {
    let (_, supported) = this_machine();
    let code = if supported { 2 } else { 4 };
    for arguments in
        [["plan", "--config", "/nowhere/config.toml"], ["plan", "--locked", "/nowhere/rprov.lock"]]
    {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!supported || stderr(&output).contains("there is no such file"), "{}", stderr(&output));
    }
}

#[test]
fn a_mirror_that_cannot_be_reached_is_exit_5() {
    // A port that was free a moment ago: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!("[source.docker]\nurl = \"http://127.0.0.1:{port}/docker-ce\"\n");
    let (_directory, path) = file("config.toml", &text);
    let output = run_as_nobody(&["plan", "--config", path.to_str().unwrap()]);
    let (facts, supported) = this_machine();
    let told = stderr(&output);
    if !supported || facts.snap_docker {
        assert_eq!(output.status.code(), Some(4), "{told}");
        return;
    }
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert_eq!(stdout(&output), "");
    assert!(
        told.contains(&format!("error: cannot fetch `http://127.0.0.1:{port}/docker-ce/linux/")),
        "{told}"
    );
}

#[test]
fn a_host_without_an_engine_cannot_be_locked() {
    let (facts, supported) = this_machine();
    let output = run_as_nobody(&["lock"]);
    match (supported, facts.engine) {
        (false, _) => assert_eq!(output.status.code(), Some(4)),
        (true, true) => assert_eq!(output.status.code(), Some(0)),
        (true, false) => {
            assert_eq!(output.status.code(), Some(1));
            is_snapshot("lock-without-an-engine", &["lock"], &output, &[]);
        }
    }
}

#[test]
fn a_name_in_another_encoding_is_no_crash() {
    let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9.bundle");
    for words in [["bundle", "verify"], ["bundle", "install"], ["install", "--config"], ["plan", "--config"]]
    {
        let output = run_as_nobody(&[words.map(OsStr::new).as_slice(), &[name]].concat());
        let said = stderr(&output);
        assert!([2, 4].contains(&output.status.code().unwrap()), "{words:?}: {said}");
        assert!(said.contains("error: "), "{words:?}: {said}");
    }
}

#[test]
fn completions_know_every_command_and_the_shell_reads_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{shell}");
        let text = stdout(&output);
        for command in COMMANDS {
            assert!(command.iter().all(|word| text.contains(word)), "{shell}: {command:?}");
        }
        assert!(text.contains("purge-data"), "{shell}");
    }
    let (_directory, path) = file("rprov.bash", &stdout(&run(&["completions", "bash"])));
    assert!(Command::new("bash").arg("-n").arg(path).status().unwrap().success());
}

#[test]
fn the_manual_page_has_every_command_every_option_and_every_exit_code() {
    let output = run(&["man"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let page = stdout(&output);
    let plain = page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "");
    let headings: Vec<&str> = plain.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "\"OPTIONS OF EVERY COMMAND\"",
        "\"EXIT STATUS\"",
        "ENVIRONMENT",
        "FILES",
        "EXAMPLES",
        "\"SEE ALSO\"",
    ];
    assert_eq!(headings, expected);
    for command in COMMANDS.iter().filter(|command| command != &&["profile"]) {
        assert!(plain.contains(&format!(".SS \"rprov {}", command.join(" "))), "{command:?}");
        let help = stdout(&run(&[command, &["--help"][..]].concat()));
        for word in help.split_whitespace().filter(|word| word.starts_with("--") && *word != "--help") {
            // `--gpu[=<WHAT>]`: the page has its own signs for what may be left out.
            let word = word.split(['[', ',', '`']).next().unwrap_or(word).replace(['<', '>'], "");
            assert!(plain.contains(&word), "{command:?}: {word}");
        }
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "130"] {
        assert!(plain.contains(&format!("\n.TP\n{code}\n")), "{code}");
    }
    // A line that begins with a dot or a quote would be a request.
    assert!(!page.contains("`"), "backticks are made bold");
}

#[test]
fn colour_is_used_only_where_it_is_asked_for() {
    let plain = run(&["profile", "show", "nothing"]);
    let colored = run(&["--color", "always", "profile", "show", "nothing"]);
    assert!(!stderr(&plain).contains('\x1b'));
    assert!(stderr(&colored).contains("\x1b[31merror:\x1b[0m"), "{}", stderr(&colored));
}

#[test]
fn a_reader_who_goes_away_is_no_mistake() {
    for arguments in [&["profile", "list"][..], &["facts"], &["man"], &["completions", "bash"], &["help"]] {
        let mut command = Command::new("sh");
        command.args(["-c", "(\"$0\" \"$@\"; echo \"exit $?\" >&2) | true", RPROV]).args(arguments);
        let output = command.output().unwrap();
        assert!(!stderr(&output).contains("panicked"), "{arguments:?}: {}", stderr(&output));
    }
}
