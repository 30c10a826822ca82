//! dnf's own lists of the versions that packages stay at: the file of dnf 4's plugin, and the one that dnf 5 reads by itself.

use super::dnf::is_five;
use crate::error::{OrFail, Result};
use crate::host::{DNF_PLUGINS, DNF5_LOCKS, Look};
use std::path::{Path, PathBuf};

/// A list as it is now; where the file is not there, an empty one.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub path: PathBuf,
    pub text: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// A pattern a line: `docker-ce-3:29.7.2-1.el9.*`.
    Lines,
    /// TOML (dnf5-versionlock(8)).
    Toml,
}

/// That a package stays at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    pub name: String,
    /// Without an epoch of 0; or in the list's words, where they say more than one version.
    pub version: String,
}

/// The words of the plugin's configuration before the path of its list.
const LOCKLIST: &str = "locklist";

/// How dnf 5 knows its file.
const FRONT: &str = "version = \"1.0\"\n";

impl List {
    /// None where dnf knows none: dnf 4 without the plugin.
    pub fn of(host: &dyn Look) -> Result<Option<List>> {
        let (path, form) = if is_five(host)? {
            (PathBuf::from(DNF5_LOCKS), Form::Toml)
        } else {
            let conf = Path::new(DNF_PLUGINS).join("versionlock.conf");
            let Some(conf) = host.read_text(&conf)? else { return Ok(None) };
            match list_of(&conf) {
                Some(path) => (path, Form::Lines),
                None => return Ok(None),
            }
        };
        let text = host.read_text(&path)?.unwrap_or_default();
        Ok(Some(List { path, text, form }))
    }

    pub fn locks(&self) -> Result<Vec<Lock>> {
        match self.form {
            Form::Lines => Ok(self.text.lines().filter_map(lock_of).collect()),
            Form::Toml => locks_of(&self.text).or_fail(|| format!("cannot read `{}`", self.path.display())),
        }
    }

    /// One more package stays where it is. Whatever stands there keeps its bytes.
    pub fn add(&mut self, name: &str, version: &str) {
        let entry = self.entry(name, version);
        self.text = match self.form {
            Form::Lines => format!("{entry}{}", self.text),
            Form::Toml if self.text.is_empty() => format!("{FRONT}{entry}"),
            Form::Toml => format!("{}{entry}", self.text),
        };
    }

    /// What [`List::add`] wrote goes again, and nothing else.
    pub fn remove(&mut self, name: &str, version: &str) {
        self.text = self.text.replacen(&self.entry(name, version), "", 1);
    }

    fn entry(&self, name: &str, version: &str) -> String {
        let version = if version.contains(':') { version.to_owned() } else { format!("0:{version}") };
        match self.form {
            Form::Lines => format!("{name}-{version}.*\n"),
            Form::Toml => format!(
                "\n[[packages]]\nname = \"{name}\"\ncomment = \"held by rprov\"\n[[packages.conditions]]\n\
                 key = \"evr\"\ncomparator = \"=\"\nvalue = \"{version}\"\n"
            ),
        }
    }
}

/// The list that the plugin's configuration names; none where it is switched off.
fn list_of(conf: &str) -> Option<PathBuf> {
    let value = |wanted: &str| {
        conf.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == wanted).then(|| value.trim())
        })
    };
    let off = value("enabled").is_some_and(|value| ["0", "no", "false", "off"].contains(&value));
    value(LOCKLIST).filter(|_| !off).map(PathBuf::from)
}

/// `name-[epoch:]version-release[.arch]`; lines that exclude a version, and those of a name alone, hold nothing.
fn lock_of(line: &str) -> Option<Lock> {
    let pattern = line.trim();
    if pattern.starts_with(['#', '!']) {
        return None;
    }
    let pattern = match pattern.rsplit_once('.') {
        Some((rest, "*" | "noarch" | "x86_64" | "aarch64")) => rest,
        _ => pattern,
    };
    let mut parts = pattern.rsplitn(3, '-');
    let (release, version, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Lock { name: name.to_owned(), version: plain(&format!("{version}-{release}")).to_owned() })
}

fn plain(version: &str) -> &str {
    version.strip_prefix("0:").unwrap_or(version)
}

fn locks_of(text: &str) -> std::result::Result<Vec<Lock>, toml::de::Error> {
    let table: toml::Table = text.parse()?;
    let entries = table.get("packages").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let lock = |entry: &toml::Value| {
        let name = entry.get("name")?.as_str()?.to_owned();
        let conditions = entry.get("conditions")?.as_array()?;
        let text = |condition: &toml::Value, key: &str| Some(condition.get(key)?.as_str()?.to_owned());
        let words = |condition: &toml::Value| {
            let value = text(condition, "value")?;
            match text(condition, "comparator")?.as_str() {
                "=" => Some(plain(&value).to_owned()),
                other => Some(format!("{other} {value}")),
            }
        };
        let version = conditions.iter().filter_map(words).collect::<Vec<_>>().join(", ");
        // An entry that excludes a version holds nothing.
        (!version.is_empty() && !version.starts_with("!=")).then_some(Lock { name, version })
    };
    Ok(entries.iter().filter_map(lock).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    const CONF: &str = "[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n";
    const PLUGIN: &str = "/etc/dnf/plugins/versionlock.conf";
    const LINES: &str = "/etc/dnf/plugins/versionlock.list";

    fn lock(name: &str, version: &str) -> Lock {
        Lock { name: name.into(), version: version.into() }
    }

    #[test]
    fn the_list_is_that_of_the_plugin_where_there_is_one() {
        let with = |conf: &str| List::of(&FakeHost::new().file(PLUGIN, conf)).expect("looks");
        assert_eq!(with(CONF).map(|list| list.path), Some(PathBuf::from(LINES)));
        assert_eq!(with(&CONF.replace('1', "0")), None);
        assert_eq!(List::of(&FakeHost::new()).expect("looks"), None);
        let five = FakeHost::new().link("/usr/bin/dnf", "dnf5");
        assert_eq!(List::of(&five).expect("looks").map(|list| list.path), Some(PathBuf::from(DNF5_LOCKS)));
    }

    #[test]
    fn what_others_locked_is_read_and_keeps_its_bytes() {
        let theirs = "# Added lock on Mon\nkernel-0:5.14.0-1.el9.*\n!runc-4:1.2.4-1.el9.*\nbash\nvim-2:8.2-1.el9.x86_64";
        let host = FakeHost::new().file(PLUGIN, CONF).file(LINES, theirs);
        let mut list = List::of(&host).expect("looks").expect("is there");
        assert_eq!(
            list.locks().expect("reads"),
            [lock("kernel", "5.14.0-1.el9"), lock("vim", "2:8.2-1.el9")]
        );
        list.add("docker-ce", "3:29.7.2-1.el9");
        list.add("containerd.io", "2.2.1-1.el9");
        assert!(list.text.starts_with("containerd.io-0:2.2.1-1.el9.*\ndocker-ce-3:29.7.2-1.el9.*\n# Added"));
        assert_eq!(list.locks().expect("reads")[0], lock("containerd.io", "2.2.1-1.el9"));
        list.remove("docker-ce", "3:29.7.2-1.el9");
        list.remove("containerd.io", "2.2.1-1.el9");
        assert_eq!(list.text, theirs);
    }

    #[test]
    fn the_list_of_dnf_5_is_toml() {
        let theirs = "version = \"1.0\"\n\n[[packages]]\nname = \"bash\"\n[[packages.conditions]]\nkey = \"evr\"\n\
                      comparator = \">=\"\nvalue = \"5\"";
        for before in [theirs, ""] {
            let host = FakeHost::new().link("/usr/bin/dnf", "dnf5").file(DNF5_LOCKS, before);
            let mut list = List::of(&host).expect("looks").expect("is there");
            list.add("docker-ce", "3:29.7.2-1.fc44");
            let locks = list.locks().expect("is TOML that dnf would read");
            assert_eq!(locks.last(), Some(&lock("docker-ce", "3:29.7.2-1.fc44")));
            assert!(before.is_empty() || locks[0] == lock("bash", ">= 5"));
            list.remove("docker-ce", "3:29.7.2-1.fc44");
            assert_eq!(list.text, if before.is_empty() { FRONT } else { before });
        }
    }
}
