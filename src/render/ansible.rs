//! Writes an install down as a collection for Ansible, with a playbook and an example of an inventory.

use super::{File, filled};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// An install as the module takes it.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Where the controller has rprov.
    pub binary: PathBuf,
    /// Options of the module.
    pub options: Map<String, Value>,
    /// What they name, below `files/`.
    pub files: Vec<File>,
    /// Whether hosts are rebooted where that is needed.
    pub reboots: bool,
}

/// Next to a playbook Ansible finds collections by itself.
const COLLECTION: &str = "collections/ansible_collections/rprov/host";
pub const PLAYBOOK: &str = "install.yml";
pub const INVENTORY: &str = "inventory.yml";

const PARTS: &[(&str, &str)] = &[
    ("galaxy.yml", include_str!("../../templates/ansible/galaxy.yml")),
    ("README.md", include_str!("../../templates/ansible/README.md")),
    ("CHANGELOG.md", include_str!("../../templates/ansible/CHANGELOG.md")),
    ("LICENSE", include_str!("../../LICENSE")),
    ("meta/runtime.yml", include_str!("../../templates/ansible/meta/runtime.yml")),
    ("tests/config.yml", include_str!("../../templates/ansible/tests/config.yml")),
    ("plugins/action/install.py", include_str!("../../templates/ansible/plugins/action/install.py")),
    ("plugins/modules/install.py", include_str!("../../templates/ansible/plugins/modules/install.py")),
];

/// All files, by their paths in the directory of the playbook.
pub fn ansible(playbook: &Playbook, note: &str) -> Vec<File> {
    let own = |path: &str, text: String| File { path: path.into(), bytes: text.into_bytes() };
    let binary = Value::from(playbook.binary.to_string_lossy()).to_string();
    let options: String =
        playbook.options.iter().map(|(name, value)| format!("      {name}: {}\n", flow(value))).collect();
    let mut tasks = filled(
        include_str!("../../templates/ansible/install.yml"),
        &[("{note}", note), ("{options}", &options)],
    );
    if playbook.reboots {
        tasks.push_str(include_str!("../../templates/ansible/reboot.yml"));
    }
    let mut files = vec![
        own(PLAYBOOK, tasks),
        own(
            INVENTORY,
            filled(include_str!("../../templates/ansible/inventory.yml"), &[("{binary}", &binary)]),
        ),
    ];
    let version = env!("CARGO_PKG_VERSION");
    files.extend(
        PARTS
            .iter()
            .map(|(path, text)| own(&format!("{COLLECTION}/{path}"), text.replace("{version}", version))),
    );
    let below = |file: &File| File { path: Path::new("files").join(&file.path), ..file.clone() };
    files.extend(playbook.files.iter().map(below));
    files
}

/// JSON is YAML; a blank behind each comma and colon is what its readers are used to.
fn flow(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", joined(items.iter().map(flow).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name}: {}", flow(value));
            format!("{{{}}}", joined(fields.iter().map(field).collect()))
        }
        plain => plain.to_string(),
    }
}
