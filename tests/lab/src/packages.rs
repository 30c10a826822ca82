//! A host's packages and their marks, as its own package manager says them.

use crate::Host;
use anyhow::Result;
use std::collections::BTreeMap;

/// With rpm a name may stand for several: all versions then, the keys in its database among them.
const RPM: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}.%{ARCH}\\n";

/// Packages by name: their version, and on dpkg their status.
pub fn installed(host: &Host) -> Result<BTreeMap<String, String>> {
    if host.identity().dnf().is_some() {
        let said = host.run(&["rpm", "-qa", "--qf", RPM])?.ok()?.stdout;
        return Ok(pairs(&said, '\t'));
    }
    let format = "${binary:Package}\t${Version} ${db:Status-Abbrev}\n";
    Ok(pairs(&host.run(&["dpkg-query", "-W", "-f", format])?.ok()?.stdout, '\t'))
}

/// On apt the packages marked manual and held, on dnf the reason of each.
pub fn marks(host: &Host) -> Result<BTreeMap<String, String>> {
    let line = match host.identity().dnf() {
        Some(_) => "dnf -q -C repoquery --installed --qf '%{name} %{reason}'",
        None => "apt-mark showmanual | sed 's/$/ manual/'; apt-mark showhold | sed 's/^/hold:/; s/$/ hold/'",
    };
    Ok(pairs(&host.sh(line)?.ok()?.stdout, ' '))
}

fn pairs(text: &str, between: char) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(between)) {
        all.entry(name.to_string()).or_default().push(value.trim());
    }
    let joined = all.into_iter().map(|(name, mut values)| {
        values.sort();
        (name, values.join(", "))
    });
    joined.collect()
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn a_name_that_stands_for_several_packages_keeps_them_all() {
        let keys = pairs("bash\t5.1-1\ngpg-pubkey\tb-2\ngpg-pubkey\ta-1\n", '\t');
        assert_eq!(keys["gpg-pubkey"], "a-1, b-2");
        assert_eq!(keys["bash"], "5.1-1");
    }
}
