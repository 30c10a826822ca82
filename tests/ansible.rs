//! `rprov render ansible`: what it writes, what it leaves alone, and that module and program have the same options.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const MODULE: &str = include_str!("../templates/ansible/plugins/modules/install.py");

fn rprov(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rprov"));
    command.args(arguments).env_clear().current_dir(directory).output().unwrap()
}

fn render(directory: &Path, options: &[&str]) -> Output {
    rprov(directory, &[&["render", "ansible", "-o", "play"], options].concat())
}

fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

#[test]
fn the_next_command_can_be_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let output = rprov(directory.path(), &["render", "ansible", "-o", "out dir"]);
    assert!(
        text(&output.stdout).starts_with("cd 'out dir' && ansible-playbook "),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn every_option_of_install_is_one_of_the_module() {
    let help = text(&rprov(Path::new("/"), &["install", "--help"]).stdout);
    let words = help.lines().filter_map(|line| {
        line.split("--").nth(1).filter(|_| line.contains("    --") || line.contains(", --"))
    });
    let names: Vec<&str> = words.filter_map(|rest| rest.split([' ', '[', '=']).next()).collect();
    assert!(names.contains(&"allow-downgrade") && names.contains(&"gpu"), "{help}");
    for name in names {
        let name = match name {
            "user" => "users".to_owned(),
            "no-smoke" => "smoke".to_owned(),
            // Of the run and not of the host; Ansible reboots hosts itself.
            "yes" | "json" | "verbose" | "quiet" | "color" | "help" | "reboot" => continue,
            name => name.replace('-', "_"),
        };
        assert!(MODULE.contains(&format!("\n  {name}:\n")), "{name} is not documented");
        assert!(MODULE.contains(&format!("\"{name}\": dict(")), "the module does not take {name}");
    }
}

#[test]
fn the_options_are_those_of_the_playbook_and_files_are_carried() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("mirror.asc");
    fs::write(&key, "a key").unwrap();
    let config = format!("[source.docker]\nkey = \"{}\"\n", key.display());
    fs::write(directory.path().join("site.toml"), &config).unwrap();
    let options = ["--user", "o'brien", "--gpu", "--driver=580-open", "--no-smoke", "--config", "site.toml"];
    let output = render(directory.path(), &options);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let play = directory.path().join("play");
    let playbook = fs::read_to_string(play.join("install.yml")).unwrap();
    let carried = key.strip_prefix("/").unwrap().display();
    for line in [
        "      users: [\"o'brien\"]\n",
        "      gpu: \"on\"\n",
        "      driver: \"580-open\"\n",
        "      smoke: false\n",
        "      config: \"etc/rprov/config.toml\"\n",
        &format!("      keys: [{{\"dest\": \"{}\", \"src\": \"{carried}\"}}]\n", key.display()),
    ] {
        let line = line.replace("\"dest\":", "dest:").replace("\"src\":", "src:");
        assert!(playbook.contains(&line), "{line}{playbook}");
    }
    assert!(!playbook.contains("ansible.builtin.reboot"), "nobody asked for a reboot: {playbook}");
    assert_eq!(fs::read_to_string(play.join("files/etc/rprov/config.toml")).unwrap(), config);
    assert_eq!(fs::read_to_string(play.join("files").join(key.strip_prefix("/").unwrap())).unwrap(), "a key");
    let module = "collections/ansible_collections/rprov/host/plugins/modules/install.py";
    assert!(fs::read_to_string(play.join(module)).unwrap().contains(concat!(
        "\"",
        env!("CARGO_PKG_VERSION"),
        "\""
    )));
}

#[test]
fn a_playbook_with_other_options_is_not_overwritten_and_an_inventory_never() {
    let directory = tempfile::tempdir().unwrap();
    let play = directory.path().join("play");
    assert!(render(directory.path(), &["--reboot"]).status.success());
    assert!(fs::read_to_string(play.join("install.yml")).unwrap().contains("ansible.builtin.reboot"));
    fs::write(play.join("inventory.yml"), "mine\n").unwrap();
    let again = render(directory.path(), &["--reboot"]);
    assert!(
        again.status.success() && text(&again.stderr).contains("is kept as it is"),
        "{}",
        text(&again.stderr)
    );
    let other = render(directory.path(), &["--hold"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("move it away"), "{}", text(&other.stderr));
    assert_eq!(fs::read_to_string(play.join("inventory.yml")).unwrap(), "mine\n");
}

#[test]
fn what_is_python_is_that_of_3_6() {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/ansible/plugins");
    for name in ["action/install.py", "modules/install.py"] {
        let program = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 6))";
        // Where there is none, Ansible's own run in the lab tells.
        let Ok(output) = Command::new("python3").args(["-c", program]).arg(templates.join(name)).output()
        else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}
